//! The suite that every transport must pass, through the embedded proxy.

use std::future::pending;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use pseudotcp_masque::conformance::{Loopback, run};
use pseudotcp_masque_h2::{Client, Config};
use pseudotcp_proxy::Server;

async fn conforms_on(ip: IpAddr) {
    let config = pseudotcp_proxy::Config::self_signed(["localhost"]).unwrap();
    let certificate = config.certificate_der().to_vec();
    let server = Server::bind(config, (ip, 0).into()).await.unwrap();
    let url = format!("https://{}", server.local_addr());
    let serving = tokio::spawn(server.serve(pending()));
    let client = Client::new(Config::new(&url).unwrap().pin(&certificate).unwrap()).unwrap();
    let fixture = Loopback::start_on(ip, Arc::new(client)).await.unwrap();
    run(&fixture).await.assert_passed();
    serving.abort();
}

#[tokio::test]
async fn the_client_conforms_over_ipv4() {
    conforms_on(Ipv4Addr::LOCALHOST.into()).await;
}

#[tokio::test]
async fn the_client_conforms_over_ipv6() {
    conforms_on(Ipv6Addr::LOCALHOST.into()).await;
}

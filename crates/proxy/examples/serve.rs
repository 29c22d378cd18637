//! An open proxy with a fresh certificate: `serve ADDRESS:PORT`, until Ctrl-C.

use std::error::Error;

use pseudotcp_proxy::{Config, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8443".into()).parse()?;
    let server = Server::bind(Config::self_signed(["localhost", "127.0.0.1"])?, address).await?;
    println!("serving at https://{}", server.local_addr());
    server.serve(async { drop(tokio::signal::ctrl_c().await) }).await;
    Ok(())
}

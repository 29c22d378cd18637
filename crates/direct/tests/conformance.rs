//! The direct transport against the suite that every transport must pass.

use std::net::Ipv6Addr;
use std::sync::Arc;

use pseudotcp_direct::Direct;
use pseudotcp_masque::conformance::{self, Loopback};

#[tokio::test]
async fn passes_over_ipv4() {
    let fixture = Loopback::start(Arc::new(Direct::default())).await.unwrap();
    conformance::run(&fixture).await.assert_complete();
}

#[tokio::test]
async fn passes_over_ipv6() {
    let transport = Arc::new(Direct::default());
    let fixture = Loopback::start_on(Ipv6Addr::LOCALHOST.into(), transport).await.unwrap();
    conformance::run(&fixture).await.assert_complete();
}

//! Runs the conformance suite through any MASQUE proxy that can reach this machine's loopback:
//!
//! ```text
//! cargo run -p pseudotcp-masque-h2 --example conform -- https://127.0.0.1:8443
//! ```
//!
//! The proxy's certificate is not checked. What a proxy fails is listed; see the guide on proxies
//! for what is known of each.

use std::error::Error;
use std::sync::Arc;

use pseudotcp_masque::conformance::{Loopback, run};
use pseudotcp_masque_h2::{Client, Config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let proxy = std::env::args().nth(1).ok_or("usage: conform https://HOST:PORT")?;
    let client = Client::new(Config::new(&proxy)?.insecure())?;
    let fixture = Loopback::start(Arc::new(client)).await?;
    println!("{}", run(&fixture).await);
    Ok(())
}

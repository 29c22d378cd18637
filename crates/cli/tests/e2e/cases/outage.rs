//! The proxy dies, and comes back.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::client;
use crate::support::clock::{self, timed};
use crate::support::lab::{Lab, SERVERS};
use crate::support::need;
use crate::support::proxy::{self, Kind};

/// Open flows hear a reset, and within a second of the proxy's return new ones work.
#[test]
fn d13_open_flows_are_reset_and_new_ones_work_again() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_half_close();
    let proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &[]);
    let mut flows: Vec<_> = (0..5).map(|_| connect(&lab)).collect();
    drop(proxy);
    for flow in &mut flows {
        let (outcome, took) = timed(|| flow.read(&mut [0; 1]));
        assert_eq!(outcome.expect_err("an end").kind(), ErrorKind::ConnectionReset, "{took:?}");
    }
    let _proxy = proxy::start(&lab, Kind::Ours);
    let (_, took) = timed(|| connect(&lab));
    assert!(took < Duration::from_secs(1), "the first flow took {took:?}");
}

/// Connects, trying again while the flow is refused: the program may notice the return late.
fn connect(lab: &Lab) -> TcpStream {
    let address = SocketAddr::new(SERVERS[0].parse().expect("an address"), 9);
    let limit = clock::now() + Duration::from_secs(5);
    loop {
        match lab.client.run(|| TcpStream::connect(address)) {
            Ok(stream) => {
                stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
                return stream;
            }
            Err(error) => assert!(clock::now() < limit, "connect: {error}"),
        }
    }
}

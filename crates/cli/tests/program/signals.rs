use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::pseudotcp;

/// A proxy that takes connections and never says a word keeps `up` waiting, not deaf.
#[test]
fn a_signal_ends_the_wait_for_the_proxy() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut command = pseudotcp(&["up", "--proxy", &url, "--insecure"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        // The program listens to signals before it dials.
        let (mut connection, _) = silent.accept().unwrap();
        connection.read_exact(&mut [0]).unwrap();
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
    }
}

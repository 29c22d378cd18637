//! What the direct transport does with its sockets.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use pseudotcp_direct::{Config, Direct};
use pseudotcp_masque::conformance::{Fixture, Loopback, Role};
use pseudotcp_masque::{OpenError, OpenRequest, Target, Transport};

async fn loopback(config: Config) -> Loopback {
    Loopback::start(Arc::new(Direct::new(config))).await.unwrap()
}

#[tokio::test]
async fn protect_sees_every_socket_before_it_connects() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let fixture = loopback(Config::default().with_protect(move |socket| {
        assert!(socket.peer_addr().is_err(), "connected too early");
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }))
    .await;
    let request = |role| OpenRequest::new(fixture.target(role).unwrap());
    let bytes = fixture.transport().open_tcp(request(Role::Echo)).await;
    let datagrams = fixture.transport().open_udp(request(Role::UdpEcho)).await;
    assert!(bytes.is_ok() && datagrams.is_ok());
    assert_eq!(seen.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_unprotected_socket_never_connects() {
    let config = Config::default().with_protect(|_| Err(io::ErrorKind::PermissionDenied.into()));
    let fixture = loopback(config).await;
    let request = |role| OpenRequest::new(fixture.target(role).unwrap());
    let bytes = fixture.transport().open_tcp(request(Role::Echo)).await;
    let datagrams = fixture.transport().open_udp(request(Role::UdpEcho)).await;
    assert!(matches!(bytes, Err(OpenError::Denied(_))));
    assert!(matches!(datagrams, Err(OpenError::Denied(_))));
}

#[tokio::test]
async fn names_are_resolved() {
    let fixture = loopback(Config::default()).await;
    let port = fixture.target(Role::Echo).unwrap().port();
    // Where localhost is ::1 first, that address refuses and the next one is tried.
    let request = OpenRequest::new(Target::host("localhost", port));
    let mut tunnel = fixture.transport().open_tcp(request).await.unwrap();
    tunnel.send("hello".into()).await.unwrap();
    assert_eq!(tunnel.next().await.unwrap().unwrap(), "hello");
}

#[tokio::test]
async fn a_name_that_cannot_exist_is_unresolved() {
    // A label of 64 letters is refused by the resolver itself, so no query leaves this machine.
    let request = OpenRequest::new(Target::host(&"a".repeat(64), 443));
    let opened = Direct::default().open_tcp(request).await;
    assert!(matches!(opened, Err(OpenError::Unresolved(_))));
}

#[tokio::test]
async fn the_own_limit_ends_an_open_without_deadline() {
    let fixture = loopback(Config::default().with_open_limit(Duration::from_millis(50))).await;
    let request = OpenRequest::new(fixture.target(Role::Silent).unwrap());
    let opened = fixture.transport().open_tcp(request).await;
    assert!(matches!(opened, Err(OpenError::TimedOut(_))));
}

#[tokio::test]
async fn many_small_reads_do_not_pin_large_buffers() {
    let fixture = loopback(Config::default()).await;
    let request = OpenRequest::new(fixture.target(Role::Echo).unwrap());
    let mut tunnel = fixture.transport().open_tcp(request).await.unwrap();
    for size in [1, 100, 1_400] {
        tunnel.send(vec![7; size].into()).await.unwrap();
        let chunk = tunnel.next().await.unwrap().unwrap();
        // A copy owns exactly its bytes; a slice would own its whole read buffer.
        assert!(chunk.try_into_mut().unwrap().capacity() <= 2 * size);
    }
}

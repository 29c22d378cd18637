//! Whom the client trusts, and what it shows.

use std::sync::Arc;
use std::sync::Mutex;

use pseudotcp_masque::OpenError;
use pseudotcp_masque_h2::{Client, Config};
use rustls::crypto::SupportedKxGroup;
use rustls::{HandshakeKind, NamedGroup};

use crate::support::{Identity, Proxy, builder, echo, open, serve, soon, works};

async fn outcome(config: Config) -> Result<(), OpenError> {
    soon(open(&Client::new(config).unwrap(), "echo.test")).await.map(drop)
}

#[tokio::test]
async fn a_key_may_be_pinned_and_so_may_several() {
    let proxy = Proxy::answering(echo).await;
    let (ours, other) = (proxy.identity.key_hash(), Identity::new(&[b"h2"]).key_hash());
    outcome(proxy.bare_config().pin_key(&ours).unwrap()).await.unwrap();
    outcome(proxy.bare_config().pin_key(&other).unwrap().pin_key(&ours).unwrap()).await.unwrap();
    let refused = outcome(proxy.bare_config().pin_key(&other).unwrap()).await;
    assert!(matches!(refused, Err(OpenError::ProxyGone(Some(_)))), "{refused:?}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_one_is_wanted() {
    let client = Identity::new(&[]);
    let identity = Identity::asking_for(&client);
    let any_port = ([127, 0, 0, 1], 0).into();
    let proxy = Proxy::start_at(any_port, identity, |tls| serve(tls, builder(), echo)).await;
    let shown = proxy.config().client_certificate(client.pem.as_bytes(), client.key_pem.as_bytes());
    outcome(shown.unwrap()).await.unwrap();
    let refused = outcome(proxy.config()).await;
    assert!(matches!(refused, Err(OpenError::ProxyGone(Some(_)))), "{refused:?}");
    let no_key = proxy.config().client_certificate(client.pem.as_bytes(), b"no key");
    assert!(no_key.is_err());
}

#[tokio::test(start_paused = true)]
async fn later_connections_resume_the_session() {
    let kinds = Arc::<Mutex<Vec<Option<HandshakeKind>>>>::default();
    let seen = Arc::clone(&kinds);
    let proxy = Proxy::in_memory(move |tls| {
        seen.lock().unwrap().push(tls.get_ref().1.handshake_kind());
        serve(tls, builder(), echo)
    });
    let client = proxy.client();
    for _ in 0..2 {
        works(&mut soon(open(&client, "echo.test")).await.unwrap()).await;
        proxy.cut().await;
    }
    let kinds = kinds.lock().unwrap();
    assert_eq!(*kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
}

#[tokio::test(start_paused = true)]
async fn key_exchange_is_post_quantum_where_the_proxy_has_it_and_nothing_is_sent_early() {
    let groups = Arc::<Mutex<Vec<Option<NamedGroup>>>>::default();
    let seen = Arc::clone(&groups);
    let proxy = Proxy::in_memory(move |mut tls| {
        let connection = tls.get_mut().1;
        assert!(connection.early_data().is_none());
        let group = connection.negotiated_key_exchange_group().map(SupportedKxGroup::name);
        seen.lock().unwrap().push(group);
        serve(tls, builder(), echo)
    });
    let client = proxy.client();
    works(&mut soon(open(&client, "echo.test")).await.unwrap()).await;
    assert_eq!(*groups.lock().unwrap(), [Some(NamedGroup::X25519MLKEM768)]);
}

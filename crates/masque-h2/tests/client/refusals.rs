//! What the proxy said, in the errors of the client.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use pseudotcp_masque::OpenError;
use pseudotcp_masque_h2::{Auth, Client};

use crate::support::raw::{self, DATA, END_HEADERS, END_STREAM, HEADERS, USUAL_SETTINGS};
use crate::support::{Identity, Proxy, Tls, http1, open, refuse, soon};

/// A field that HPACK does not index; `:status` by the number of its name.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let name = if name == ":status" { vec![8] } else { [vec![0], text(name)].concat() };
    [name, text(value)].concat()
}

/// Answers a request by these fields and this body, all in one record of TLS.
async fn answer(mut tls: Tls, fields: Vec<u8>, body: &'static [u8]) {
    raw::begin(&mut tls, USUAL_SETTINGS).await;
    while let Some(stream) = raw::request(&mut tls).await {
        let mut frames = raw::frame(HEADERS, END_HEADERS, stream, &fields);
        frames.extend(raw::frame(DATA, END_STREAM, stream, body));
        raw::write(&mut tls, &frames).await;
    }
}

async fn error_of(client: &Client) -> OpenError {
    soon(open(client, "refused.test")).await.map(drop).unwrap_err()
}

#[tokio::test]
async fn proxy_status_and_plain_text_are_quoted() {
    let squid = r#"squid; error=http_request_denied; details="not on Sundays""#;
    for (fields, cause, quoted) in [
        (
            [field(":status", "403"), field("proxy-status", squid)].concat(),
            "the proxy's policy forbids the target",
            r#"403, http_request_denied, "not on Sundays""#,
        ),
        (
            [field(":status", "503"), field("content-type", "text/plain; charset=utf-8")].concat(),
            "the proxy could not connect to the target",
            r#"503, "reset by \u{202e}peer""#,
        ),
        // HTML is for browsers.
        (
            [field(":status", "500"), field("content-type", "text/html")].concat(),
            "protocol error while opening",
            "500",
        ),
    ] {
        let body = "reset\r\n by \u{202e}peer".as_bytes();
        let proxy = Proxy::start(move |tls| answer(tls, fields.clone(), body)).await;
        let error = error_of(&proxy.client()).await.to_string();
        let (said_first, rest) = error.split_at(cause.len());
        assert_eq!(said_first, cause);
        let rest = rest.trim_start_matches([' ', ':', '(']).trim_end_matches(')');
        let rest =
            rest.strip_prefix("the proxy said: ").or(rest.strip_prefix("the proxy answered "));
        assert_eq!(rest, Some(quoted), "{error}");
    }
}

#[tokio::test]
async fn over_http1_the_reason_phrase_is_quoted_too() {
    let head = "HTTP/1.1 403 Go away\r\ncontent-type: text/plain\r\n\r\nBanned by rule 7.\n";
    let play = move |tls| http1(tls, Arc::<AtomicUsize>::default(), head);
    let proxy = Proxy::start_at(([127, 0, 0, 1], 0).into(), Identity::new(&[b"http/1.1"]), play);
    let error = error_of(&proxy.await.client()).await;
    let OpenError::Denied(Some(answer)) = &error else { panic!("{error}") };
    assert_eq!(answer.to_string(), r#"403, "Go away", "Banned by rule 7.""#);
}

#[tokio::test]
async fn a_proxy_that_repeats_a_secret_is_not_quoted() {
    let proxy = Proxy::answering(|request, respond| async move {
        let token = request.headers()["proxy-authorization"].to_str().unwrap();
        let details = format!("p; error=http_request_denied; details=\"bad: {token}\"");
        refuse(respond, 403, &[("proxy-status", &details)]);
    })
    .await;
    let config = proxy.config().auth(&Auth::Bearer("hunter2".into())).unwrap();
    let error = error_of(&Client::new(config).unwrap()).await;
    let OpenError::Denied(Some(answer)) = &error else { panic!("{error}") };
    assert_eq!(answer.to_string(), "403");
    assert!(!format!("{error:?}").contains("hunter2"));
}

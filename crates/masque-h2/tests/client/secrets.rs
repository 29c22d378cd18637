//! What the client knows and must not tell.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::{Proxy, echo, open, refuse, soon};
use async_trait::async_trait;
use futures::StreamExt as _;
use pseudotcp_masque::Source;
use pseudotcp_masque_h2::{Auth, Client, Credentials};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Has one token, and says too much when it is asked for another.
struct Purse;

#[async_trait]
impl Credentials for Purse {
    async fn fetch(&self, challenge: Option<&str>) -> Result<Auth, Source> {
        match challenge {
            None => Ok(Auth::PrivateToken("hunter2".into())),
            Some(_) => Err("hunter2 is spent".into()),
        }
    }
}

/// `u:hunter2` as Basic writes it.
const ENCODED: &str = "dTpodW50ZXIy";

#[tokio::test]
async fn secrets_appear_in_no_log_and_no_error() {
    let log = Log::default();
    // Of this thread alone, where all tasks of the test run: other tests would drown in words. The
    // subscriber is everybody's, since what one thread does not want to hear is remembered for all.
    let here = thread::current().id();
    let everything = dynamic_filter_fn(move |_, _| thread::current().id() == here);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(log.clone());
    tracing_subscriber::registry().with(lines.with_filter(everything)).init();

    let (tell, mut told) = tokio::sync::mpsc::channel(8);
    let proxy = Proxy::answering(move |request, respond| {
        let tell = tell.clone();
        async move {
            tell.send(request.headers().clone()).await.unwrap();
            if request.uri().host() == Some("echo.test") {
                echo(request, respond).await;
            } else {
                refuse(respond, 407, &[("proxy-authenticate", "Bearer")]);
            }
        }
    })
    .await;
    let config = proxy.config().auth(&Auth::Bearer("hunter2".into())).unwrap();
    let client = Client::new(config.header("x-device", "hunter2").unwrap()).unwrap();
    let mut tunnel = soon(open(&client, "echo.test")).await.unwrap();
    let error = soon(open(&client, "denied.test")).await.map(drop).unwrap_err();

    let basic = Auth::Basic { user: "u".into(), password: "hunter2".into() };
    let others = [proxy.config().auth(&basic).unwrap(), proxy.config().credentials(Purse)];
    let others = others.map(|config| Client::new(config).unwrap());
    let mut errors = vec![error];
    for client in &others {
        errors.push(soon(open(client, "denied.test")).await.map(drop).unwrap_err());
    }
    let shown = [
        "Bearer hunter2",
        "Bearer hunter2",
        "Basic dTpodW50ZXIy",
        "PrivateToken token=\"hunter2\"",
    ];
    for credentials in shown {
        let headers = told.recv().await.unwrap();
        assert_eq!(headers["proxy-authorization"], credentials);
        assert_eq!(headers.contains_key("x-device"), credentials == "Bearer hunter2");
    }
    let (address, _) = proxy.kill().await;
    let lost = soon(tunnel.next()).await.unwrap().unwrap_err();
    let soon_over = tokio::time::Instant::now() + std::time::Duration::from_millis(100);
    let gone = soon(client.ready(soon_over.into_std())).await.unwrap_err();

    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    let state = client.state().borrow().clone();
    let told = format!(
        "{log} {errors:?} {lost:?} {gone:?} {state} {client:?} {others:?} {config:?}",
        config = proxy_config(address)
    );
    assert!(log.contains("connected to the proxy"));
    for secret in ["hunter2", ENCODED] {
        assert!(!told.contains(secret), "{}", told.split(secret).next().unwrap());
    }
}

fn proxy_config(address: std::net::SocketAddr) -> pseudotcp_masque_h2::Config {
    let config = pseudotcp_masque_h2::Config::new(&format!("https://{address}")).unwrap();
    config.auth(&Auth::PrivacyToken("hunter2".into())).unwrap()
}

//! A MASQUE proxy whose answers are scripted, one for each port of a target.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What the proxy says to a CONNECT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    /// The status.
    pub(crate) status: u16,
    /// Further header fields.
    pub(crate) fields: &'static [(&'static str, &'static str)],
}

/// Gives the answer for the port of a target; called once for each request.
pub(crate) trait Scripts: Fn(u16) -> Script + Clone + Send + 'static {}

impl<F: Fn(u16) -> Script + Clone + Send + 'static> Scripts for F {}

/// Serves until the lab ends.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    scripts: impl Scripts,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, scripts) = (TlsAcceptor::from(Arc::clone(&tls)), scripts.clone());
        tokio::spawn(async move {
            let _ = connection(stream, tls, scripts).await;
        });
    }
}

async fn connection(
    stream: TcpStream,
    tls: TlsAcceptor,
    scripts: impl Scripts,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let mut connection = builder.handshake::<_, Bytes>(tls.accept(stream).await?).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request?;
        let script = scripts(port(request.uri()).ok_or("no port")?);
        let mut response = Response::builder().status(script.status);
        for (name, value) in script.fields {
            response = response.header(*name, *value);
        }
        respond.send_response(response.body(())?, true)?;
    }
    Ok(())
}

/// The target's port: of the authority, or of RFC 9298 §2's path `/…/{host}/{port}/`.
fn port(uri: &http::Uri) -> Option<u16> {
    let of_path =
        uri.path().trim_end_matches('/').rsplit('/').next().and_then(|part| part.parse().ok());
    of_path.or_else(|| uri.authority()?.port_u16())
}

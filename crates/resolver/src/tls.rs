//! TLS through a tunnel, judged by the platform's authorities.

use std::io;
use std::sync::Arc;

use pseudotcp_masque::Source;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls_platform_verifier::Verifier;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{ConfigError, ExchangeError};
use crate::upstream::Way;
use pseudotcp_masque::io::TunnelIo;

/// The protocols asked for by ALPN: HTTP/2 (RFC 9113 §3.2), DNS over TLS (RFC 7858 §7.1's registry).
pub(crate) const H2: &[u8] = b"h2";
pub(crate) const DOT: &[u8] = b"dot";

/// The platform's authorities, and those in `pem`.
pub(crate) fn client_config(pem: &[u8]) -> Result<Arc<ClientConfig>, ConfigError> {
    let extra: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let extra = extra.map_err(|_| ConfigError::Certificate)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider)).map_err(wrong)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(wrong)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn wrong(error: rustls::Error) -> ConfigError {
    ConfigError::Tls(Source::from(error))
}

/// The same, asking for one protocol.
pub(crate) fn with_protocol(config: &Arc<ClientConfig>, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(config);
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

/// A TLS connection to a server.
pub(crate) async fn connect(
    way: &Way,
    config: &Arc<ClientConfig>,
    deadline: Instant,
) -> Result<TlsStream<TunnelIo>, ExchangeError> {
    let name = ServerName::try_from(way.server.host.clone())
        .map_err(|_| ExchangeError::Connection(io::ErrorKind::InvalidInput.into()))?;
    let stream = TunnelIo::new(way.open(deadline).await?);
    let handshake = TlsConnector::from(Arc::clone(config)).connect(name, stream);
    let outcome = timeout_at(deadline, handshake).await.map_err(|_| ExchangeError::TimedOut)?;
    outcome.map_err(ExchangeError::Connection)
}

//! The certificate chain and key that the proxy shows to its clients.

use std::fmt;
use std::sync::Arc;

use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::ConfigError;

/// The application protocols that the proxy speaks (RFC 7301, RFC 9113 §3.2).
pub(crate) const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// A checked pair of chain and key.
#[derive(Clone)]
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    tls: Arc<ServerConfig>,
}

impl Identity {
    pub(crate) fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| ConfigError::Certificate(error.into()))?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| ConfigError::Key(error.into()))?;
        Self::new(chain, key)
    }

    pub(crate) fn self_signed(names: Vec<String>) -> Result<Self, ConfigError> {
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names)
            .map_err(|error| ConfigError::SelfSigned(error.into()))?;
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        Self::new(vec![cert.der().clone()], key.into())
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, ConfigError> {
        let certificate = chain
            .first()
            .cloned()
            .ok_or_else(|| ConfigError::Certificate("no certificate in the chain".into()))?;
        let mut tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| ConfigError::Key(error.into()))?;
        tls.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
        Ok(Self { certificate, tls: Arc::new(tls) })
    }

    pub(crate) fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    pub(crate) fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.tls)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

//! TLS with one provider, ALPN, and the ways to trust.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, KeyLogFile, NamedGroup,
    SignatureScheme,
};
use rustls_platform_verifier::Verifier;

use crate::config::{Pin, Trust};
use crate::{Config, ConfigError};

/// HTTP/2, as ALPN names it (RFC 9113 §3.2).
pub(super) const ALPN_H2: &[u8] = b"h2";

/// HTTP/1.1, as ALPN names it (RFC 7301 §6).
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// The TLS configuration of all connections of a client.
pub(super) fn client_config(settings: &Config) -> Result<Arc<ClientConfig>, ConfigError> {
    let mut provider = aws_lc_rs::default_provider();
    // What is recorded today shall not be read by tomorrow's machines.
    provider.kx_groups.sort_by_key(|group| group.name() != NamedGroup::X25519MLKEM768);
    let provider = Arc::new(provider);
    let verifier = verifier(&settings.trust, &provider).map_err(|e| ConfigError::Tls(e.into()))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| ConfigError::Tls(e.into()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &settings.client_identity {
        None => builder.with_no_client_auth(),
        Some(own) => builder
            .with_client_auth_cert(own.chain.clone(), own.key.clone_key())
            .map_err(|e| ConfigError::Tls(e.into()))?,
    };
    // Sessions are resumed from the configuration's own memory; no data is sent early.
    if settings.log_keys {
        config.key_log = Arc::new(KeyLogFile::new());
    }
    let offered = if settings.http1 { &[ALPN_H2, ALPN_HTTP1][..] } else { &[ALPN_H2] };
    config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

fn verifier(
    trust: &Trust,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let provider = Arc::clone(provider);
    Ok(match trust {
        Trust::Roots(extra) => Arc::new(Verifier::new_with_extra_roots(extra.clone(), provider)?),
        Trust::Pins(pins) => Arc::new(WithoutAuthority { pins: Some(pins.clone()), provider }),
        Trust::Anything => Arc::new(WithoutAuthority { pins: None, provider }),
    })
}

/// Judges by the end entity's certificate alone, and by its signature over the handshake.
///
/// The rest of the chain is not looked at: anybody can append the pinned certificate to a chain of
/// their own, but only its owner can sign with its key.
#[derive(Debug)]
struct WithoutAuthority {
    /// One of these must fit; `None` accepts any certificate.
    pins: Option<Vec<Pin>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for WithoutAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.pins {
            Some(pins) if !pins.iter().any(|pin| pin.fits(end_entity)) => {
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

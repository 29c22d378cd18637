//! Whom to trust, and what to show the proxy of oneself.

use std::fmt;
use std::sync::Arc;

use pseudotcp_masque::Source;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::server::ParsedCertificate;
use sha2::{Digest as _, Sha256};

use super::ConfigError;

/// How the proxy's certificate is judged.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// By the platform's roots and these.
    Roots(Vec<CertificateDer<'static>>),
    /// It must fit one of these; nothing else about it matters.
    Pins(Vec<Pin>),
    /// Not at all.
    Anything,
}

impl Trust {
    /// Adds a pin to those there are, or puts it in place of another kind of trust.
    pub(super) fn add_pin(&mut self, pin: Pin) {
        match self {
            Self::Pins(pins) => pins.push(pin),
            other => *other = Self::Pins(vec![pin]),
        }
    }

    /// Adds authorities to the platform's.
    pub(super) fn add_roots(&mut self, fresh: Vec<CertificateDer<'static>>) {
        match self {
            Self::Roots(roots) => roots.extend(fresh),
            other => *other = Self::Roots(fresh),
        }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Roots(extra) => write!(f, "platform roots and {} more", extra.len()),
            Self::Pins(pins) => write!(f, "{} pins", pins.len()),
            Self::Anything => f.write_str("anything"),
        }
    }
}

/// What the first certificate of the proxy's chain must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pin {
    /// This certificate.
    Certificate(CertificateDer<'static>),
    /// One with this public key: the SHA-256 of its `SubjectPublicKeyInfo` (RFC 7469 §2.4).
    Key([u8; 32]),
}

impl Pin {
    /// Whether a certificate is the pinned one. What cannot be read is not.
    pub(crate) fn fits(&self, certificate: &CertificateDer<'_>) -> bool {
        match self {
            Self::Certificate(pinned) => pinned == certificate,
            Self::Key(hash) => ParsedCertificate::try_from(certificate).is_ok_and(|parsed| {
                Sha256::digest(parsed.subject_public_key_info()).as_slice() == hash
            }),
        }
    }
}

/// The certificate and key that this side shows.
#[derive(Clone)]
pub(crate) struct ClientIdentity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Arc<PrivateKeyDer<'static>>,
}

impl ClientIdentity {
    pub(super) fn read(chain: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        let chain = read_certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| ConfigError::Key)?;
        Ok(Self { chain, key: Arc::new(key) })
    }
}

/// What begins with `-----BEGIN` is read as PEM, anything else as DER.
pub(super) fn read_certificate(certificate: &[u8]) -> Result<CertificateDer<'static>, ConfigError> {
    let read = if certificate.trim_ascii_start().starts_with(b"-----BEGIN") {
        read_certificates(certificate)?.into_iter().next()
    } else {
        // ITU-T X.690 §8.9: a certificate is a SEQUENCE.
        certificate.starts_with(&[0x30]).then(|| certificate.to_vec().into())
    };
    read.ok_or(ConfigError::Certificate(None))
}

pub(super) fn read_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(ConfigError::Certificate(None)),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(ConfigError::Certificate(Some(Source::from(error)))),
    }
}

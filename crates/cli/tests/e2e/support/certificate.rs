//! A fresh certificate for the addresses of the lab.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;

/// A self-signed certificate with its key, as files and as a TLS configuration.
pub(crate) struct Certificate {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    /// A server's side of TLS that speaks HTTP/2 only.
    pub(crate) server: Arc<rustls::ServerConfig>,
}

impl Certificate {
    /// A certificate for these names and addresses, its files in `folder`.
    pub(crate) fn new(folder: &std::path::Path, names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(names).expect("a certificate");
        let (chain, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        fs::write(&chain, cert.pem()).expect("write the certificate");
        fs::write(&key, signing_key.serialize_pem()).expect("write the key");
        let der = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().expect("known versions");
        let server = builder.with_no_client_auth().with_single_cert(vec![cert.der().clone()], der);
        let mut server = server.expect("a usable certificate");
        server.alpn_protocols = vec![b"h2".to_vec()];
        Self { chain, key, server: Arc::new(server) }
    }
}

use pseudotcp_masque::Source;

/// Why a [`Config`](crate::Config) cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No certificate in the chain, or one that is not PEM.
    #[error("the certificate chain cannot be read")]
    Certificate(#[source] Source),
    /// No private key, one that is not PEM, or one that does not belong to the certificate.
    #[error("the private key cannot be used")]
    Key(#[source] Source),
    /// A self-signed certificate could not be made for these names.
    #[error("no certificate can be made for these names")]
    SelfSigned(#[source] Source),
    /// A credential that no header can carry, or a user name with a colon in it.
    #[error("the credential cannot be carried by a header")]
    Credential,
    /// A path template without `{target_host}` and `{target_port}`, or with anything else in braces.
    #[error("the path template must hold {{target_host}} and {{target_port}}, once each")]
    Template,
}

//! What to do about the failures that operators meet first.

use std::error::Error;
use std::io;

use pseudotcp_masque::OpenError;

/// Says what to do about a proxy that cannot be used.
pub(super) fn unreachable(proxy: &str, error: OpenError) -> anyhow::Error {
    let error = anyhow::Error::from(error);
    let advice = if error.chain().any(is_certificate) {
        format!(
            "the certificate of {proxy} is not trusted; name its certificate with --pin FILE, or \
             its authority with --ca FILE"
        )
    } else if error.chain().any(is_refusal) {
        format!("{proxy} refuses connections; is the proxy running, is the port right?")
    } else {
        format!("{proxy} cannot be reached as a proxy")
    };
    error.context(advice)
}

fn is_certificate(cause: &(dyn Error + 'static)) -> bool {
    let io = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let tls = io.and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}

fn is_refusal(cause: &(dyn Error + 'static)) -> bool {
    let io = cause.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Says what to do about an interface that cannot be made.
pub(super) fn no_interface(error: io::Error) -> anyhow::Error {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "creating a TUN interface needs CAP_NET_ADMIN: run as root, or hand one in with --tun-fd"
        }
        io::ErrorKind::NotFound => "creating a TUN interface: /dev/net/tun is missing",
        io::ErrorKind::ResourceBusy | io::ErrorKind::InvalidInput => {
            "creating a TUN interface: the name is in use, or longer than 15 bytes; see --tun"
        }
        _ => "creating a TUN interface",
    };
    anyhow::Error::from(error).context(advice)
}

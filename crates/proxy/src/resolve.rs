use std::io;
use std::net::SocketAddr;

use pseudotcp_masque::Target;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::refusal::Refusal;
use crate::serve::Shared;

/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// The addresses of a target that the policy permits; at least one.
pub(crate) async fn resolve(shared: &Shared, target: &Target) -> Result<Vec<SocketAddr>, Refusal> {
    let mut addresses = match target {
        Target::Address(address) => vec![*address],
        Target::Host { name, port } => look_up(shared, name, *port).await?,
    };
    // The check is on what was resolved: a name cannot lead where its address may not.
    addresses.retain(|address| shared.policy.permits(*address));
    addresses.truncate(MAX_ADDRESSES);
    if addresses.is_empty() { Err(Refusal::prohibited()) } else { Ok(addresses) }
}

async fn look_up(shared: &Shared, name: &str, port: u16) -> Result<Vec<SocketAddr>, Refusal> {
    let lookup = async {
        let _permit = shared.lookups.acquire().await;
        lookup_host((name, port)).await.map(Iterator::collect)
    };
    match timeout(shared.limits.connect_timeout, lookup).await {
        Ok(Ok(addresses)) => some_of(addresses),
        Ok(Err(error)) => Err(Refusal::unresolved(rcode(&error))),
        Err(_) => Err(Refusal::resolver_timeout()),
    }
}

fn some_of(addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Refusal> {
    if addresses.is_empty() { Err(Refusal::unresolved(None)) } else { Ok(addresses) }
}

/// The DNS response code behind a failed look-up, as far as it can be told: getaddrinfo(3) keeps
/// the code to itself, and the standard library leaves only its words.
fn rcode(error: &io::Error) -> Option<&'static str> {
    let words = error.to_string();
    let codes = [
        ("Name or service not known", "NXDOMAIN"),
        ("No address associated with hostname", "NOERROR"),
        ("Temporary failure in name resolution", "SERVFAIL"),
    ];
    codes.iter().find(|(text, _)| words.contains(text)).map(|(_, code)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolvers_words_name_the_code() {
        let code = |words: &str| rcode(&io::Error::other(words.to_owned()));
        assert_eq!(code("failed to lookup address: Name or service not known"), Some("NXDOMAIN"));
        assert_eq!(code("Temporary failure in name resolution"), Some("SERVFAIL"));
        assert_eq!(code("something else"), None);
    }
}

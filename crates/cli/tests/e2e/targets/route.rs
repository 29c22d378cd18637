//! What the web targets serve.

/// What a path asks for.
#[derive(Debug)]
pub(super) enum Route {
    /// `/bytes/N`: the first N bytes of the pattern.
    Bytes(usize),
    /// `/until-close/N`: the same, its end marked by the end of the connection (HTTP/1.1 only).
    UntilClose(usize),
    /// `/paced-until-close/N`: the same at 32 MB/s, as over a network.
    PacedUntilClose(usize),
    /// `/sum`: the SHA-256 of the request's body.
    Sum,
    /// `/page`: HTML that needs the script of each of several hosts.
    Page,
    /// `/script`: writes the first label of its host's name into the page.
    Script,
    /// Anything else.
    Unknown,
}

impl Route {
    pub(super) fn of(path: &str) -> Self {
        let mut parts = path.trim_start_matches('/').split('/');
        let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        match (parts.next(), number(parts.next())) {
            (Some("bytes"), Some(length)) => Self::Bytes(length),
            (Some("until-close"), Some(length)) => Self::UntilClose(length),
            (Some("paced-until-close"), Some(length)) => Self::PacedUntilClose(length),
            (Some("sum"), None) => Self::Sum,
            (Some("page"), None) => Self::Page,
            (Some("script"), None) => Self::Script,
            _ => Self::Unknown,
        }
    }
}

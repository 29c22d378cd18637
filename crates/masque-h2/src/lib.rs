//! MASQUE client over HTTP/2: CONNECT and connect-udp through one corked TLS connection.
#![forbid(unsafe_code)]

//! A small, correct MASQUE proxy over HTTP/2.
#![forbid(unsafe_code)]

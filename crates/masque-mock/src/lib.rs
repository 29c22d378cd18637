//! In-memory MASQUE transport: echo, source, discard, scripted outcomes, latency and faults.
#![forbid(unsafe_code)]

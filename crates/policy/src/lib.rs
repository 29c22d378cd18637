//! Pure policy decisions: flow key in, verdict out.
#![forbid(unsafe_code)]

//! Sans-IO DNS interception: question in, cached or upstream answer out.
#![forbid(unsafe_code)]

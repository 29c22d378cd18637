//! Sans-IO TCP interposition engine: many flows between an app and somewhere else.
#![forbid(unsafe_code)]

//! What the fuzz targets have in common: a model of the outside of each thing that they attack.
#![forbid(unsafe_code)]

pub mod app;
pub mod engine;
pub mod packet;

//! The program's commands.

pub(crate) mod demo;
pub(crate) mod down;
pub(crate) mod policy;
pub(crate) mod proxy;
pub(crate) mod up;

//! The policy of the command line: rules from options and from a file.

mod args;
mod load;

pub(crate) use self::args::PolicyArgs;
pub(crate) use self::load::{DnsPlan, Loaded};

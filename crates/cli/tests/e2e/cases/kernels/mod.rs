//! Our TCP against the kernel's: every dialect that Linux speaks, and a second opinion on what we say.

mod matrix;
mod oracle;

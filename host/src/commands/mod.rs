//! The commands, one file each: arguments, and a function that runs them.

pub mod inspect;
pub mod precompile;

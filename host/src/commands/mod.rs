//! The commands, one file each: arguments, and a function that runs them.

pub mod attempt;
pub mod check;
pub mod demo;
pub mod inspect;
pub mod precompile;
pub mod run;
pub mod torture;
pub mod try_;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::plugin::{Cache, Compile, Engine, LoadError, Loader};

/// How a command ends. Scripts rely on these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The answer is no: invalid, rejected, differs, lost.
    No = 1,
    /// Usage or configuration.
    Configuration = 2,
    /// Something outside cannot be reached.
    Unreachable = 3,
    /// The grace period ended first.
    GraceOver = 4,
    /// A bug of ours.
    Bug = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Says something on stderr. Where that is gone there is nobody to tell, and the answer is the same.
fn say(words: impl Display) {
    drop(writeln!(io::stderr(), "{words}"));
}

/// Whether the reader of stdout went away, as `head` does: it has what it wanted.
pub fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// What became of writing an answer; that nobody reads it to its end is no failure.
fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if is_closed(&error) { Ok(()) } else { Err(error) })
}

/// Where native code of components is kept.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CacheArgs {
    /// The cache of native code, filled by `xylem precompile`; default is this user's own.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

impl CacheArgs {
    /// A loader that compiles out of the way of records, in a child process.
    pub fn loader(&self) -> Result<Loader, LoadError> {
        let cache = self.cache.as_ref().map_or_else(Cache::of_user, Cache::private);
        let compile = std::env::current_exe().map_or(Compile::InProcess, Compile::Child);
        Ok(Loader::new(Engine::new()?, cache, compile))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_went_away_is_no_failure() {
        assert!(unless_closed(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(unless_closed(Err(io::ErrorKind::StorageFull.into())).is_err());
    }
}

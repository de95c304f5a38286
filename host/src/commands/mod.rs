//! The commands, one file each: arguments, and a function that runs them.

pub mod attempt;
pub mod check;
pub mod demo;
pub mod inspect;
pub mod precompile;
pub mod run;
pub mod try_;

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

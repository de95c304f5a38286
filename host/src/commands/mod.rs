//! The commands, one file each: arguments, and a function that runs them.

mod beside;
pub mod canary;
pub mod check;
pub mod demo;
pub mod inspect;
pub mod precompile;
pub mod reload;
pub mod replay;
pub mod rollback;
pub mod shadow;
pub mod run;
pub mod torture;
pub mod try_;

mod process;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use crate::config::{self, Loaded};
use crate::generation::Generation;
use crate::http::{Client, Token, client};
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

/// A configuration with one of its pipelines, and its generation. None where it has been said what is wrong
/// with it.
fn one_pipeline(
    file: &Path,
    pipeline: &str,
    cache: &CacheArgs,
) -> anyhow::Result<Option<(Loaded, Generation)>> {
    let mut loaded = match config::load(file) {
        Ok(loaded) => loaded,
        Err(errors) => {
            say(errors);
            return Ok(None);
        }
    };
    if let Err(others) = keep_only(pipeline, &mut loaded) {
        let file = file.display();
        say(format_args!("`{file}` has no pipeline `{pipeline}`; it has {}", others.join(", ")));
        return Ok(None);
    }
    match Generation::build(&loaded, &cache.loader()?, None) {
        Ok(generation) => Ok(Some((loaded, generation))),
        Err(refusals) => {
            for refusal in refusals {
                say(refusal.problem);
            }
            Ok(None)
        }
    }
}

/// Leaves one pipeline and its destinations, so that what is wrong with the others does not matter. Where
/// there is no such pipeline, the error is the names of those that there are.
fn keep_only(pipeline: &str, loaded: &mut Loaded) -> Result<(), Vec<String>> {
    let config = &mut loaded.config;
    let Some(kept) = config.pipelines.get(pipeline) else {
        return Err(config.pipelines.keys().map(|name| format!("`{name}`")).collect());
    };
    config.destinations.retain(|name, _| kept.destinations.contains(name));
    config.pipelines.retain(|name, _| name == pipeline);
    Ok(())
}

/// What asks AEP and its token endpoint, or why there is none.
fn clients(loaded: &Loaded, connections: usize) -> Result<(Client, Option<Arc<Token>>), String> {
    let client = client(loaded, connections).map_err(|error| error.to_string())?;
    let token = loaded.config.aep.auth.as_ref().map(|auth| Token::new(auth, client.clone()));
    let token = token.transpose().map_err(|error| error.to_string())?;
    Ok((client, token.map(Arc::new)))
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

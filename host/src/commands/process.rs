//! A running process, as the commands that ask it for something see it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{Exit, say, unless_closed};
use crate::admin::{self, OUTCOME};
use crate::http::{Local, Said, Transport};

/// How an answer is wanted.
pub(super) const JSON: &str = "application/json";
/// For people.
pub(super) const TEXT: &str = "text/plain";

/// Which process is meant.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(super) struct ProcessArgs {
    /// The configuration file that it was started with.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The Unix socket that it was started with; default is the one that belongs to the configuration file.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl ProcessArgs {
    /// Posts to a path, shows the answer, and ends as it says.
    pub(super) fn ask(&self, path: &str, json: bool) -> anyhow::Result<ExitCode> {
        let accept = if json { JSON } else { TEXT };
        match self.call(path, Some(""), accept)? {
            Ok(said) => show(&said),
            Err(exit) => Ok(exit.into()),
        }
    }

    /// What the process says to a request ([`Local::ask`]); where there is none, that is said, and how to end.
    pub(super) fn call(
        &self,
        path: &str,
        asked: Option<&str>,
        accept: &str,
    ) -> anyhow::Result<Result<Said, Exit>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut silent = Vec::new();
        for socket in self.sockets() {
            match trusted(&socket, self.socket.is_some()) {
                Ok(()) => {}
                Err(words) => {
                    silent.push(format!("`{}`: {words}", socket.display()));
                    continue;
                }
            }
            let said = runtime.block_on(Local::new(&socket)?.ask(path, asked, accept, &OUTCOME));
            match said {
                Ok(said) => return Ok(Ok(said)),
                Err(error) if error.kind == Transport::Unreachable => {
                    silent.push(format!("`{}`: {}", socket.display(), error.detail));
                }
                Err(error) => {
                    let socket = socket.display();
                    say(format_args!(
                        "the xylem on `{socket}` went away before it answered: {error}"
                    ));
                    return Ok(Err(Exit::Unreachable));
                }
            }
        }
        say(format_args!(
            "no xylem answers ({}): start `xylem run` with this configuration, or name the `--socket` that it was started with",
            silent.join("; ")
        ));
        Ok(Err(Exit::Unreachable))
    }

    /// Where it may listen.
    fn sockets(&self) -> Vec<PathBuf> {
        if let Some(socket) = &self.socket {
            return vec![socket.clone()];
        }
        let config = self.config.as_deref().unwrap_or(Path::new("xylem.yaml"));
        // Where the folder of the file is not there, neither is a process.
        admin::places(config).unwrap_or_else(|_| vec![config.to_owned()])
    }
}

/// Whether nobody else can have put a socket there to answer in our process's place.
fn trusted(socket: &Path, named: bool) -> Result<(), String> {
    let folder = socket.parent().unwrap_or(Path::new("/"));
    match admin::is_own(folder) {
        _ if named => Ok(()),
        Ok(true) => Ok(()),
        Ok(false) => Err("its folder is not this user's own".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("is not there".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Shows what the process said, on stdout where it did what was asked for or says why not.
pub(super) fn show(said: &Said) -> anyhow::Result<ExitCode> {
    let exit = exit(said.status, said.header.as_deref());
    if exit == Exit::Unreachable {
        say(said.text.trim_end());
    } else {
        unless_closed(writeln!(io::stdout(), "{}", said.text.trim_end()))?;
    }
    Ok(exit.into())
}

/// What an answer means for scripts.
pub(super) fn exit(status: u16, outcome: Option<&str>) -> Exit {
    match (status, outcome) {
        (_, Some("restart-needed")) => Exit::Configuration,
        (200 | 202, _) => Exit::Done,
        // There was no shadow, no canary yet.
        (404 | 409, _) => Exit::No,
        _ => Exit::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reload::Outcome;

    #[test]
    fn scripts_read_the_exit_code() {
        let outcome = |outcome: Outcome| Some(outcome.as_str());
        assert_eq!(exit(200, outcome(Outcome::Swapped)), Exit::Done);
        assert_eq!(exit(200, outcome(Outcome::Unchanged)), Exit::Done);
        assert_eq!(exit(202, None), Exit::Done);
        assert_eq!(exit(409, outcome(Outcome::Refused)), Exit::No);
        assert_eq!(exit(409, outcome(Outcome::RestartNeeded)), Exit::Configuration);
        assert_eq!(exit(503, None), Exit::Unreachable);
        assert_eq!(exit(404, None), Exit::No);
        assert_eq!(exit(403, None), Exit::Unreachable);
    }
}

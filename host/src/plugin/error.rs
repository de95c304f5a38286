//! Why a plugin cannot be loaded or started.

use std::path::PathBuf;

/// The release of wasmtime that reads components; named when one is too new for it.
pub(super) const WASMTIME: &str = "48";

/// An error of wasmtime's, as a standard error.
type Wasmtime = Box<dyn std::error::Error + Send + Sync>;

/// Why a component cannot be used. `name` is the plugin's or the file's, as the caller named it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Its file cannot be read.
    #[error("cannot read component `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is something else.
    #[error("`{name}` {what}")]
    NotAComponent {
        /// The component.
        name: String,
        /// What it is instead.
        what: String,
    },
    /// It ends too early.
    #[error(
        "`{name}` is cut off: a section that begins before byte {at} goes beyond its end at {len}"
    )]
    Truncated {
        /// The component.
        name: String,
        /// Where reading stopped.
        at: usize,
        /// Its length in bytes.
        len: usize,
    },
    /// wasmtime does not understand it.
    #[error(
        "`{name}`{made_by} is not understood by wasmtime {WASMTIME}: {text}; it is damaged, or \
         its tools are newer than this host"
    )]
    NotUnderstood {
        /// The component.
        name: String,
        /// The tools that made it, as ` (made by …)`, or nothing.
        made_by: String,
        /// wasmtime's words.
        text: String,
    },
    /// It imports what a plugin cannot have.
    #[error(
        "`{name}` imports {imports}, which no plugin has: a plugin may import `xylem:plugin/logging` \
         and WASI 0.2 (with nothing granted)"
    )]
    Imports {
        /// The component.
        name: String,
        /// The imports, in backticks.
        imports: String,
    },
    /// It is not a plugin of this host's contract.
    #[error("`{name}` does not fit the contract of this host: {difference}")]
    Contract {
        /// The component.
        name: String,
        /// How it differs.
        difference: String,
    },
    /// There is not enough memory to compile it.
    #[error(
        "compiling `{name}` needs {need_mib} MiB of memory and {left_mib} MiB are left: raise the \
         container's limit, or fill the cache with the same release's `xylem precompile` on the same \
         kind of processor (x86-64 or Arm) when the image is built, and name it with `--cache`{stale}"
    )]
    CompileMemory {
        /// The component.
        name: String,
        /// What the compiler needs, in MiB.
        need_mib: u64,
        /// What is left, in MiB.
        left_mib: u64,
        /// What the cache has instead, as `; …`, or nothing.
        stale: &'static str,
    },
    /// The compiler's process failed.
    #[error("compiling `{name}` failed ({status}): {text}")]
    Compile {
        /// The component.
        name: String,
        /// How the process ended.
        status: String,
        /// What it said.
        text: String,
    },
    /// Native code cannot be kept or read.
    #[error("cannot {what} native code in `{}`", path.display())]
    Cache {
        /// `read`, `write` or `use`.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// wasmtime refuses native code that it made itself, or its own settings.
    #[error("wasmtime {WASMTIME} cannot load `{name}`")]
    Native {
        /// The component.
        name: String,
        /// Why.
        #[source]
        source: Wasmtime,
    },
    /// The ticker's thread cannot be started.
    #[error("cannot start the thread that watches plugins")]
    Ticker(#[source] std::io::Error),
}

impl LoadError {
    /// The same error, that tells of native code in the cache for another release or processor.
    #[must_use]
    pub(super) fn stale(mut self, is_stale: bool) -> Self {
        if let Self::CompileMemory { stale, .. } = &mut self
            && is_stale
        {
            *stale = "; what the cache has is for another release or kind of processor";
        }
        self
    }
}

/// Why a loaded plugin has no instance. It says nothing about any record.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The plugin's `init` refuses its configuration.
    #[error("plugin `{plugin}` refuses its configuration: {text}")]
    Refused {
        /// The plugin's name.
        plugin: String,
        /// The plugin's words.
        text: String,
    },
    /// The plugin's `init` failed, or it asks for more than its limits before it.
    #[error("plugin `{plugin}` does not start: {text}")]
    Failed {
        /// The plugin's name.
        plugin: String,
        /// What happened, with the guest's own words.
        text: String,
    },
}

/// Why records were given no outcome; they wait.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A new instance was needed and cannot be had now.
    #[error(transparent)]
    Start(#[from] StartError),
    /// [`Hooks::stop`](super::Hooks) was set.
    #[error("the worker is told to stop")]
    Stopped,
}

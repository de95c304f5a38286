//! Where native code is kept between starts.
//!
//! A file's name is the component's content hash and what native code depends on; its last 32 bytes
//! are a checksum over name and code. Files are written beside and renamed, and never changed: they
//! are mapped while plugins run. Mapping native code is trust, so a file counts only when it and its
//! directory are ours or the superuser's and nobody else may write them; and it is mapped from the open
//! file that was checked, not by its name. A cache filled before and mounted read-only does.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tempfile::{NamedTempFile, TempPath};

use super::error::LoadError;

/// The length of the checksum at a file's end.
const CHECKSUM: u64 = 32;

/// How native code's files end.
const SUFFIX: &str = ".native";

/// How files begin that are being written.
const PREFIX: &str = "compiling-";

/// What a cache may hold, in bytes: a dozen Python plugins or a thousand Rust ones. Above it the
/// files go that were used longest ago.
const MAX_BYTES: u64 = 512 * 1024 * 1024;

/// A file that is still being written after this time belongs to a process that was killed.
const ABANDONED: Duration = Duration::from_hours(1);

/// A directory of native code.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
    /// The permissions of what is written: of the directory and of files.
    modes: (u32, u32),
    /// Whether it was said that the directory is not used.
    told: Arc<AtomicBool>,
}

/// Native code that was checked, and is mapped from the open file.
#[derive(Debug)]
pub(super) struct Native {
    file: File,
    path: PathBuf,
    /// Of a file that is not kept: gone once it is mapped.
    _passing: Option<TempPath>,
}

impl Native {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Has `map` map it by a name that leads to the file that was checked, whatever others did with
    /// its own name meanwhile.
    pub(super) fn map<T, E: From<std::io::Error>>(
        &self,
        map: impl FnOnce(&Path) -> Result<T, E>,
    ) -> Result<T, E> {
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd;
            let open = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
            if open.exists() {
                return map(&open);
            }
        }
        let mapped = map(&self.path)?;
        let (checked, found) = (self.file.metadata()?, self.path.symlink_metadata()?);
        if (checked.dev(), checked.ino()) == (found.dev(), found.ino()) {
            return Ok(mapped);
        }
        Err(std::io::Error::other("it was exchanged while it was mapped").into())
    }
}

impl Cache {
    /// A cache for this user alone.
    pub fn private(directory: impl Into<PathBuf>) -> Self {
        Self::with(directory.into(), (0o700, 0o600))
    }

    /// A cache that others may read: filled when an image is built or by an init container, used
    /// by a process that may be another user's.
    pub fn shared(directory: impl Into<PathBuf>) -> Self {
        Self::with(directory.into(), (0o755, 0o644))
    }

    fn with(directory: PathBuf, modes: (u32, u32)) -> Self {
        Self { directory: absolute(directory), modes, told: Arc::default() }
    }

    /// The cache in the user's cache directory: `xylem` in `$XDG_CACHE_HOME` or `~/.cache`; without
    /// either, in the system's temporary directory.
    pub fn of_user() -> Self {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        Self::of(variable("XDG_CACHE_HOME"), variable("HOME"))
    }

    /// The user's cache, given the variables.
    fn of(xdg_cache_home: Option<PathBuf>, home: Option<PathBuf>) -> Self {
        let directory = xdg_cache_home
            .filter(|path| path.is_absolute())
            .or_else(|| Some(home.filter(|path| path.is_absolute())?.join(".cache")))
            .map_or_else(
                || {
                    let user = rustix::process::geteuid().as_raw();
                    std::env::temp_dir().join(format!("xylem-{user}"))
                },
                |caches| caches.join("xylem"),
            );
        Self::private(directory)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The native code of a key, where it is there, trusted and whole.
    pub(super) fn find(&self, key: &str) -> Option<Native> {
        let path = self.path(key);
        let mut file = File::open(&path).ok()?;
        if let Err(error) = self.check_directory() {
            self.tell(&error);
            return None;
        }
        let refused = match file.metadata() {
            Ok(metadata) if !is_trusted(&metadata) => "others may write it",
            Ok(metadata) => match is_whole(&mut file, key, metadata.len()) {
                Ok(true) => {
                    // Only for the order in which files go; a read-only cache has none.
                    file.set_modified(SystemTime::now()).ok();
                    return Some(Native { file, path, _passing: None });
                }
                Ok(false) => "its checksum differs",
                Err(_) => "it cannot be read",
            },
            Err(_) => "it cannot be read",
        };
        tracing::warn!(file = %path.display(), refused, "native code in the cache is not used");
        None
    }

    /// Whether there is native code of a component that this program cannot use: another release of
    /// it, or another kind of processor, made it.
    pub(super) fn is_stale(&self, component: &str) -> bool {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return false };
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.strip_prefix(component).is_some_and(|rest| rest.starts_with('-'))
                && name.ends_with(SUFFIX)
        })
    }

    /// A file for native code to be written to, beside where it will be kept.
    pub(super) fn begin(&self) -> Result<NamedTempFile, LoadError> {
        let made = self
            .make_directory()
            .and_then(|()| self.check_directory())
            .and_then(|()| tempfile::Builder::new().prefix(PREFIX).tempfile_in(&self.directory));
        made.or_else(|error| {
            self.tell(&error);
            NamedTempFile::new()
        })
        .map_err(|error| self.error("write", error))
    }

    /// Keeps what was written to `file` under a key.
    pub(super) fn keep(&self, mut file: NamedTempFile, key: &str) -> Result<Native, LoadError> {
        let failed = |error| self.error("write", error);
        if file.path().parent() != Some(&self.directory) {
            let path = file.path().to_owned();
            let (file, passing) = file.into_parts();
            return Ok(Native { file, path, _passing: Some(passing) });
        }
        let checksum = checksum(file.as_file_mut(), key, None).map_err(failed)?;
        file.as_file_mut().seek(SeekFrom::End(0)).map_err(failed)?;
        file.write_all(checksum.as_bytes()).map_err(failed)?;
        let permissions = std::fs::Permissions::from_mode(self.modes.1);
        file.as_file().set_permissions(permissions).map_err(failed)?;
        let path = self.path(key);
        let file = file.persist(&path).map_err(|error| failed(error.error))?;
        if let Err(error) = self.prune(MAX_BYTES) {
            tracing::warn!(directory = %self.directory.display(), %error, "the cache is not tidied");
        }
        Ok(Native { file, path, _passing: None })
    }

    /// Removes what was used longest ago above `limit` bytes, but the newest file, and what killed
    /// processes left. Code that is mapped stays until it is unmapped.
    fn prune(&self, limit: u64) -> std::io::Result<()> {
        let mut kept = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let (name, metadata) = (entry.file_name(), entry.metadata()?);
            let (name, modified) = (name.to_string_lossy(), metadata.modified()?);
            if name.ends_with(SUFFIX) {
                kept.push((modified, metadata.len(), entry.path()));
            } else if name.starts_with(PREFIX)
                && modified.elapsed().is_ok_and(|age| age > ABANDONED)
            {
                std::fs::remove_file(entry.path())?;
            }
        }
        kept.sort_by(|a, b| b.cmp(a));
        let mut total = 0;
        for (at, (_, len, path)) in kept.into_iter().enumerate() {
            total += len;
            if total > limit && at > 0 {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// The error of a cache that kept nothing.
    pub(super) fn unwritable(&self) -> LoadError {
        let refused = self.check_directory().err();
        self.error("write", refused.unwrap_or_else(|| ErrorKind::PermissionDenied.into()))
    }

    /// Refuses a directory in which others may lay or exchange files: one that they made first in
    /// the system's temporary directory, say.
    fn check_directory(&self) -> std::io::Result<()> {
        let metadata = self.directory.symlink_metadata()?;
        let refused = if metadata.is_symlink() {
            "it is a symbolic link: name the directory itself"
        } else if !is_ours(&metadata) {
            "it is another user's: set `HOME`, `XDG_CACHE_HOME` or `--cache` to a directory of this user"
        } else if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
            "others may write it: `chmod go-w` it, or name a directory below it"
        } else {
            return Ok(());
        };
        Err(std::io::Error::new(ErrorKind::PermissionDenied, refused))
    }

    /// Says once that the directory is not used.
    fn tell(&self, error: &std::io::Error) {
        if !self.told.swap(true, Ordering::Relaxed) {
            let directory = self.directory.display();
            tracing::warn!(%directory, %error, "native code is not kept");
        }
    }

    /// Makes the directory, for its users alone.
    fn make_directory(&self) -> std::io::Result<()> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(self.modes.0).create(&self.directory)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}{SUFFIX}"))
    }

    fn error(&self, what: &'static str, source: std::io::Error) -> LoadError {
        LoadError::Cache { what, path: self.directory.clone(), source }
    }
}

/// A path that means the same to a child process.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// The permissions of group and others to write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Whether something is this user's or the superuser's.
fn is_ours(metadata: &Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() || metadata.uid() == 0
}

/// Whether only we or the superuser can have written a file.
fn is_trusted(metadata: &Metadata) -> bool {
    is_ours(metadata) && metadata.is_file() && metadata.mode() & WRITABLE_BY_OTHERS == 0
}

/// Whether a file of `len` bytes ends with the checksum of its key and code.
fn is_whole(file: &mut File, key: &str, len: u64) -> std::io::Result<bool> {
    let Some(code) = len.checked_sub(CHECKSUM) else { return Ok(false) };
    let expected = checksum(file, key, Some(code))?;
    let mut found = [0; 32];
    file.read_exact(&mut found)?;
    Ok(expected == found)
}

/// The checksum over a key and the first `len` bytes of a file (all where none).
fn checksum(file: &mut File, key: &str, len: Option<u64>) -> std::io::Result<blake3::Hash> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(key.as_bytes());
    hasher.update_reader(file.take(len.unwrap_or(u64::MAX)))?;
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(cache: &Cache, key: &str, code: &[u8]) -> PathBuf {
        let mut file = cache.begin().unwrap();
        file.write_all(code).unwrap();
        cache.keep(file, key).unwrap().path().to_owned()
    }

    #[test]
    fn what_is_kept_is_found_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::private(directory.path().join("xylem"));
        assert!(cache.find("a").is_none());
        let path = keep(&cache, "a", b"code");
        assert_eq!(cache.find("a").unwrap().path(), path);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(cache.directory()).unwrap().mode() & 0o777, 0o700);
        assert!(cache.find("b").is_none());
    }

    #[test]
    fn code_of_the_component_that_is_for_another_host_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::private(directory.path());
        assert!(!cache.is_stale("abc"));
        keep(&cache, "abc-1", b"code");
        assert!(cache.find("abc-2").is_none() && cache.is_stale("abc"));
        assert!(!cache.is_stale("ab"));
    }

    #[test]
    fn damaged_exchanged_or_writable_code_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::private(directory.path());
        let path = keep(&cache, "a", b"code");
        std::fs::copy(&path, cache.path("b")).unwrap();
        assert!(cache.find("b").is_none(), "code of another component");

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o620)).unwrap();
        assert!(cache.find("a").is_none(), "the group may write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();

        let mut bytes = std::fs::read(&path).unwrap();
        bytes[0] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(cache.find("a").is_none(), "a flipped bit");
        std::fs::write(&path, b"short").unwrap();
        assert!(cache.find("a").is_none(), "shorter than a checksum");
        assert!(cache.find("a").is_none());
        keep(&cache, "a", b"code");
        assert!(cache.find("a").is_some(), "written again");
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::private(directory.path());
        let now = SystemTime::now();
        let aged = |name: &str, minutes| {
            let path = directory.path().join(name);
            let file = File::options().create(true).append(true).open(&path).unwrap();
            file.set_modified(now - Duration::from_mins(minutes)).unwrap();
            path
        };
        for (key, minutes) in [("a", 5), ("b", 9), ("c", 1)] {
            keep(&cache, key, &[0; 68]);
            aged(&format!("{key}.native"), minutes);
        }
        let (abandoned, fresh) = (aged("compiling-1", 61), aged("compiling-2", 59));
        let foreign = aged("foreign", 1_000);
        assert!(cache.find("b").is_some(), "and so it is the one used last");
        cache.prune(200).unwrap();
        assert!(
            cache.find("b").is_some() && cache.find("c").is_some() && cache.find("a").is_none()
        );
        assert!(!abandoned.exists() && fresh.exists() && foreign.exists());
        cache.prune(0).unwrap();
        assert!(cache.find("c").is_some() && cache.find("b").is_none(), "the newest stays");
    }

    #[test]
    fn without_a_writable_directory_code_passes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        // A directory cannot be made below a file, whoever one is.
        let cache = Cache::private(file.join("xylem"));
        let passing = cache.keep(cache.begin().unwrap(), "a").unwrap();
        let path = passing.path().to_owned();
        assert!(path.exists() && path.parent() != Some(cache.directory()));
        drop(passing);
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_that_others_may_write_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("xylem");
        let cache = Cache::private(&directory);
        keep(&cache, "a", b"code");
        let is_used = |of: &Cache| {
            let kept = of.keep(of.begin().unwrap(), "b").unwrap();
            let is_kept = kept.path().parent() == Some(of.directory());
            assert_eq!(is_kept, of.find("a").is_some());
            is_kept
        };
        assert!(is_used(&cache));
        let set = |mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&directory, permissions).unwrap();
        };
        for mode in [0o777, 0o1777, 0o720, 0o702] {
            set(mode);
            assert!(!is_used(&cache), "{mode:o}");
            assert!(cache.unwritable().to_string().contains("write"));
        }
        set(0o755);
        assert!(is_used(&cache));

        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&directory, &link).unwrap();
        assert!(!is_used(&Cache::private(&link)), "a link may lead elsewhere tomorrow");
    }

    #[test]
    fn what_is_mapped_is_what_was_checked() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::private(directory.path());
        let path = keep(&cache, "a", b"code");
        let found = cache.find("a").unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"other").unwrap();
        let mapped = found.map(|open| std::fs::read(open));
        // Elsewhere the exchange is noticed.
        assert!(mapped.is_ok() == cfg!(target_os = "linux"));
        assert!(
            mapped.is_ok_and(|bytes| bytes.starts_with(b"code")) || cfg!(not(target_os = "linux"))
        );
    }

    #[test]
    fn the_users_directory_comes_from_the_environment() {
        let of = |xdg: Option<&str>, home: Option<&str>| {
            Cache::of(xdg.map(PathBuf::from), home.map(PathBuf::from)).directory
        };
        assert_eq!(of(Some("/c"), Some("/h")), Path::new("/c/xylem"));
        assert_eq!(of(Some("relative"), Some("/h")), Path::new("/h/.cache/xylem"));
        assert!(of(None, None).starts_with(std::env::temp_dir()));
    }
}

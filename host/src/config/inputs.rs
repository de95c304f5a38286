//! The files that a configuration is made of: each is read once and hashed, so that what is checked,
//! built and watched is the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::{self, ReadError};

/// The files that one attempt to load a configuration has read. Clones share them.
#[derive(Clone, Default)]
pub struct Inputs {
    base_dir: PathBuf,
    read: Arc<Mutex<BTreeMap<PathBuf, Input>>>,
}

/// A file that was read, or could not be; or a folder whose names were.
struct Input {
    kind: Kind,
    state: State,
    /// None after [`Inputs::release`].
    content: Option<Result<Arc<[u8]>, ReadError>>,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The content of a file of at most so many bytes.
    File { limit: u64 },
    /// The names in a folder.
    Folder,
}

/// What a file held when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Held(blake3::Hash),
    Unreadable(String),
}

impl State {
    fn of(content: &Result<Arc<[u8]>, ReadError>) -> Self {
        match content {
            Ok(bytes) => Self::Held(blake3::hash(bytes)),
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }
}

impl Inputs {
    /// Nothing read yet; relative paths start at `base_dir`.
    pub fn new(base_dir: impl Into<PathBuf>) -> Self {
        Self { base_dir: base_dir.into(), read: Arc::default() }
    }

    /// Nothing read yet, of a configuration in this file.
    pub fn beside(file: &Path) -> Self {
        // Empty for a file in the working folder, so that paths are shown as they are written.
        Self::new(file.parent().unwrap_or(Path::new("")))
    }

    /// A path of the configuration, from its folder.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.base_dir.join(path)
    }

    /// The bytes of a file of at most `limit` bytes: those of the first time it was read.
    pub(crate) fn read(&self, path: impl AsRef<Path>, limit: u64) -> Result<Arc<[u8]>, ReadError> {
        self.read_at(&self.resolve(path), limit)
    }

    /// As [`Inputs::read_at`], as text without a byte order mark.
    pub(super) fn read_file(&self, path: &Path, limit: u64) -> Result<String, ReadError> {
        files::text(self.read_at(path, limit)?.to_vec())
    }

    /// As [`Inputs::read`], for a path that starts where the process stands.
    pub(crate) fn read_at(&self, path: &Path, limit: u64) -> Result<Arc<[u8]>, ReadError> {
        if let Some(content) = self.lock().get(path).and_then(|input| input.content.clone()) {
            let fits = |bytes: &Arc<[u8]>| bytes.len() as u64 <= limit;
            return content
                .and_then(|bytes| fits(&bytes).then_some(bytes).ok_or(ReadError::TooLarge(limit)));
        }
        let content = files::read_bytes(path, limit).map(Arc::from);
        let state = State::of(&content);
        let kind = Kind::File { limit };
        let input = Input { kind, state, content: Some(content.clone()) };
        self.lock().insert(path.to_owned(), input);
        content
    }

    /// As [`Inputs::read`], as text without a byte order mark.
    pub(crate) fn read_text(
        &self,
        path: impl AsRef<Path>,
        limit: u64,
    ) -> Result<String, ReadError> {
        files::text(self.read(path, limit)?.to_vec())
    }

    /// The names in a folder, for a path that starts where the process stands. One more or less is a change.
    pub(crate) fn names_at(&self, folder: &Path) -> Result<BTreeSet<OsString>, ReadError> {
        let names = files::names(folder);
        let state = match &names {
            Ok(names) => State::Held(hash_of(names)),
            Err(error) => State::Unreadable(error.to_string()),
        };
        let input = Input { kind: Kind::Folder, state, content: None };
        self.lock().insert(folder.to_owned(), input);
        names
    }

    /// What was read, without its contents.
    pub fn fingerprint(&self) -> Fingerprint {
        let read = self.lock();
        Fingerprint(
            read.iter()
                .map(|(path, input)| (path.clone(), (input.kind, input.state.clone())))
                .collect(),
        )
    }

    /// Gives the contents back: a component has megabytes that are of no use once it is compiled.
    pub fn release(&self) {
        for input in self.lock().values_mut() {
            input.content = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Input>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Files and what they held. Two are equal where nothing changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(BTreeMap<PathBuf, (Kind, State)>);

impl Fingerprint {
    /// Reads the same files again.
    #[must_use]
    pub fn again(&self) -> Self {
        let again = |path: &PathBuf, kind: Kind| {
            let hash = match kind {
                Kind::File { limit } => files::hash(path, limit),
                Kind::Folder => files::names(path).map(|names| hash_of(&names)),
            };
            hash.map_or_else(|error| State::Unreadable(error.to_string()), State::Held)
        };
        let files = self.0.iter();
        Self(files.map(|(path, (kind, _))| (path.clone(), (*kind, again(path, *kind)))).collect())
    }

    /// The files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// Whether both saw the same in a file.
    pub fn agrees_on(&self, other: &Self, path: &Path) -> bool {
        self.0.get(path) == other.0.get(path)
    }
}

fn hash_of(names: &BTreeSet<OsString>) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for name in names {
        // No name holds a zero.
        hasher.update(name.as_encoded_bytes()).update(&[0]);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "one").unwrap();
        let inputs = Inputs::new(dir.path());
        assert_eq!(&*inputs.read("a", 10).unwrap(), b"one");
        std::fs::write(dir.path().join("a"), "two").unwrap();
        assert_eq!(&*inputs.read("a", 10).unwrap(), b"one");
        assert!(inputs.read("a", 2).is_err());
        inputs.release();
        assert_eq!(&*inputs.read("a", 10).unwrap(), b"two");
    }

    #[test]
    fn a_name_more_in_a_folder_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let inputs = Inputs::new(dir.path());
        assert_eq!(inputs.names_at(dir.path()).unwrap().len(), 0);
        let before = inputs.fingerprint();
        assert_eq!(before.again(), before);
        std::fs::write(dir.path().join("a"), "").unwrap();
        assert_ne!(before.again(), before);
        std::fs::remove_file(dir.path().join("a")).unwrap();
        assert_eq!(before.again(), before);
    }

    #[test]
    fn contents_decide_and_not_times() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        std::fs::write(&file, "one").unwrap();
        let inputs = Inputs::new(dir.path());
        inputs.read("a", 10).unwrap();
        inputs.read("b", 10).unwrap_err();
        let before = inputs.fingerprint();
        std::fs::write(&file, "one").unwrap();
        assert_eq!(before.again(), before);
        std::fs::write(dir.path().join("b"), "").unwrap();
        assert!(before.again() != before && before.again().agrees_on(&before, &file));
        std::fs::remove_file(dir.path().join("b")).unwrap();
        assert_eq!(before.again(), before);
        std::fs::write(&file, "more than ten bytes").unwrap();
        assert!(!before.again().agrees_on(&before, &file));
    }
}

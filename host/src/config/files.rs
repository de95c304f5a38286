//! Reading files that strangers name: regular files only, bounded.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Why a file can not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// Nothing is there.
    #[error("there is no such file")]
    Missing,
    /// A folder is there.
    #[error("it is a folder")]
    Folder,
    /// A pipe, a socket or a device is there.
    #[error("it is no regular file")]
    NotRegular,
    /// It is larger than is read.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    /// It is no text.
    #[error("it is not UTF-8 (byte {0})")]
    NotUtf8(usize),
    /// The system says so.
    #[error("{0}")]
    Io(String),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::PermissionDenied => {
                Self::Io("permission denied for this user".to_owned())
            }
            _ => Self::Io(error.to_string()),
        }
    }
}

/// The bytes of a file of at most `limit` bytes.
pub(crate) fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    open(path, limit)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(ReadError::TooLarge(limit));
    }
    Ok(bytes)
}

/// The hash of a file of at most `limit` bytes, which is not held in memory.
pub(super) fn hash(path: &Path, limit: u64) -> Result<blake3::Hash, ReadError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(open(path, limit)?.take(limit + 1))?;
    if hasher.count() > limit {
        return Err(ReadError::TooLarge(limit));
    }
    Ok(hasher.finalize())
}

/// The names in a folder.
pub(super) fn names(folder: &Path) -> Result<BTreeSet<OsString>, ReadError> {
    let entries = fs::read_dir(folder)?;
    entries.map(|entry| Ok(entry?.file_name())).collect()
}

/// A file's text, without a byte order mark.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, ReadError> {
    let text = String::from_utf8(bytes)
        .map_err(|error| ReadError::NotUtf8(error.utf8_error().valid_up_to()))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Opens a regular file; anything else might block for ever. One that is too large is not begun.
fn open(path: &Path, limit: u64) -> Result<File, ReadError> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(ReadError::Folder);
    }
    if !metadata.is_file() {
        return Err(ReadError::NotRegular);
    }
    if metadata.len() > limit {
        return Err(ReadError::TooLarge(limit));
    }
    Ok(File::open(path)?)
}

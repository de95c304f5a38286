//! Reading files that strangers name: regular files only, bounded.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Why a file can not be read.
#[derive(Debug, thiserror::Error)]
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
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::PermissionDenied => {
                Self::Io(io::Error::other("permission denied for this user"))
            }
            _ => Self::Io(error),
        }
    }
}

/// The bytes of a file of at most `limit` bytes.
pub(crate) fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let mut file = open(path)?;
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(ReadError::TooLarge(limit));
    }
    Ok(bytes)
}

/// The text of a file of at most `limit` bytes, without a byte order mark.
pub(super) fn read_text(path: &Path, limit: u64) -> Result<String, ReadError> {
    let bytes = read_bytes(path, limit)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| ReadError::NotUtf8(error.utf8_error().valid_up_to()))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The first bytes of a file, as many as fit.
pub(super) fn read_head(path: &Path, head: &mut [u8]) -> Result<usize, ReadError> {
    let mut file = open(path)?;
    let mut filled = 0;
    while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// Opens a regular file; anything else might block for ever.
fn open(path: &Path) -> Result<File, ReadError> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(ReadError::Folder);
    }
    if !metadata.is_file() {
        return Err(ReadError::NotRegular);
    }
    Ok(File::open(path)?)
}

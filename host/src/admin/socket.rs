//! The Unix socket: what changes state is asked for here, by this user or by root.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// Digits of the digest in a socket's name.
const DIGITS: usize = 16;

/// A socket that is listened on; its file goes when this is dropped.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: UnixListener,
    pub(super) place: Place,
}

/// The file of a socket; removed when this is dropped, unless another has taken its place.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The path does not fit.
    #[error("`{}` has {} bytes, more than the path of a socket may have: give a shorter one with `--socket`", .0.display(), .0.as_os_str().len())]
    TooLong(PathBuf),
    /// The folder is not safe.
    #[error("`{}` is no folder of this user alone (mode 0700): remove it, or give another place with `--socket`", .0.display())]
    Folder(PathBuf),
    /// A process answers there.
    #[error("another xylem answers on `{}`: give each process its own with `--socket`", .0.display())]
    Taken(PathBuf),
    /// Something else is there.
    #[error("`{}` is there and is no socket", .0.display())]
    NoSocket(PathBuf),
    /// The system says so.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What.
        source: io::Error,
    },
}

impl SocketError {
    fn at(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path: path.clone(), source }
    }
}

impl Socket {
    /// Listens where the commands look for a process with this configuration file.
    pub fn of(config: &Path) -> Result<Self, SocketError> {
        let places = places(config).map_err(SocketError::at(config))?;
        let mut refused = SocketError::NoSocket(config.to_owned());
        for path in places {
            let folder = path.parent().unwrap_or(Path::new("/"));
            match own(folder) {
                Ok(()) => return Self::at(path),
                // Such as `/run/user/1000`, where nobody is logged in.
                Err(error) => refused = error,
            }
            if !matches!(refused, SocketError::Io { .. }) {
                break;
            }
        }
        Err(refused)
    }

    /// Listens on this path. What a process that is dead left there is replaced.
    pub fn at(path: PathBuf) -> Result<Self, SocketError> {
        let fails = SocketError::at(&path);
        if SocketAddr::from_pathname(&path).is_err() {
            return Err(SocketError::TooLong(path));
        }
        // Two processes that start together do not remove each other's.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new("."))).map_err(&fails)?;
        rustix::fs::flock(&folder, FlockOperation::LockExclusive)
            .map_err(|error| fails(error.into()))?;
        make_room(&path)?;
        let listener = UnixListener::bind(&path).map_err(&fails)?;
        // Who comes in before this line is held against its user, too.
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(&fails)?;
        listener.set_nonblocking(true).map_err(&fails)?;
        let file = identity(&path).map_err(&fails)?;
        Ok(Self { listener, place: Place { path, file } })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.place.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Where the socket of a process with this configuration file may be: in the user's runtime folder, or in a
/// folder of this user's own in `/tmp`.
pub fn places(config: &Path) -> io::Result<Vec<PathBuf>> {
    // The file itself may be a link into a `ConfigMap`, where it leads elsewhere after each change.
    let beside = config.parent().filter(|parent| !parent.as_os_str().is_empty());
    let root = fs::canonicalize(beside.unwrap_or(Path::new(".")))?;
    let file = root.join(config.file_name().unwrap_or_default());
    let mut name = blake3::hash(file.as_os_str().as_encoded_bytes()).to_hex().to_string();
    name.truncate(DIGITS);
    name.push_str(".sock");
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|folder| folder.is_absolute()).map(|folder| folder.join("xylem"));
    let own = Path::new("/tmp").join(format!("xylem-{}", rustix::process::geteuid().as_raw()));
    Ok(runtime.into_iter().chain([own]).map(|folder| folder.join(&name)).collect())
}

/// Whether a folder is this user's alone, so that nobody else put there what is found in it.
pub fn is_own(folder: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(folder)?;
    let user = rustix::process::geteuid().as_raw();
    Ok(metadata.is_dir() && metadata.uid() == user && metadata.mode() & 0o777 == 0o700)
}

/// Makes a folder of this user's own, or takes the one that is there.
fn own(folder: &Path) -> Result<(), SocketError> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(SocketError::at(folder)(error));
        }
        _ => {}
    }
    match is_own(folder) {
        Ok(true) => Ok(()),
        Ok(false) => Err(SocketError::Folder(folder.to_owned())),
        Err(error) => Err(SocketError::at(folder)(error)),
    }
}

/// Removes the socket of a process that is dead.
fn make_room(path: &Path) -> Result<(), SocketError> {
    let fails = SocketError::at(path);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fails(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(SocketError::NoSocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::Taken(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(fails)
        }
        Err(error) => Err(fails(error)),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_stale_is_replaced_and_one_that_answers_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "as after a kill");
        let socket = Socket::at(path.clone()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let words = Socket::at(path.clone()).unwrap_err().to_string();
        assert!(words.starts_with("another xylem answers on `"), "{words}");
        drop(socket);
        assert!(!path.exists(), "removed at the end");
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        fs::write(&path, "words").unwrap();
        assert!(matches!(Socket::at(path.clone()), Err(SocketError::NoSocket(_))));
        fs::remove_file(&path).unwrap();
        let socket = Socket::at(path.clone()).unwrap();
        fs::remove_file(&path).unwrap();
        let other = Socket::at(path.clone()).unwrap();
        drop(socket);
        assert!(path.exists());
        drop(other);
    }

    #[test]
    fn a_path_that_does_not_fit_is_said_to() {
        let words = Socket::at(PathBuf::from("/tmp").join("x".repeat(200))).unwrap_err();
        let words = words.to_string();
        assert!(words.contains("has 205 bytes") && words.ends_with("with `--socket`"), "{words}");
    }

    #[test]
    fn a_folder_that_others_may_use_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("xylem");
        own(&folder).unwrap();
        own(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(own(&folder), Err(SocketError::Folder(_))));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(matches!(own(&link), Err(SocketError::Folder(_))));
        assert!(matches!(own(Path::new("/nowhere/xylem")), Err(SocketError::Io { .. })));
    }

    #[test]
    fn a_configuration_has_one_place_however_it_is_called() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("sub")).unwrap();
        let straight = places(&root.join("xylem.yaml")).unwrap();
        assert_eq!(places(&root.join("sub/../xylem.yaml")).unwrap(), straight);
        assert_ne!(places(&root.join("sub/xylem.yaml")).unwrap(), straight);
        // As in a `ConfigMap`: the link changes, the place does not.
        std::os::unix::fs::symlink("sub/xylem.yaml", root.join("xylem.yaml")).unwrap();
        assert_eq!(places(&root.join("xylem.yaml")).unwrap(), straight);
    }
}

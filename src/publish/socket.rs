//! Where the results socket lies and how it gets there.
//!
//! It never takes a path away from a daemon that lives, nor from a file that is no socket, and nobody can connect before
//! mode and group are set.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, Gid, Mode};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind as bind_fd, connect, listen, socket_with,
};

use super::lock::Lock;

/// Mode of the socket: its user and its group may connect.
pub const MODE: u32 = 0o660;
/// Group of the socket, where the system has it.
pub const GROUP: &str = "milad";
const BACKLOG: i32 = 128;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another daemon has it.
    #[error("{0} is in use by a running program (another milad?): stop it, or choose another path with --socket")]
    Live(PathBuf),
    /// Not ours to remove.
    #[error("{0} exists and is not what milad makes there: remove it, or choose another path with --socket")]
    InTheWay(PathBuf),
    /// `sockaddr_un` has room for 107 bytes.
    #[error("{path} is {bytes} bytes long, a socket's path has at most 107: choose a shorter one with --socket")]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// The folder is not there.
    #[error("the folder of {0} does not exist: create it, or choose another path with --socket")]
    NoFolder(PathBuf),
    /// No lock file beside it.
    #[error("can't create {path}, which is locked while a daemon has the socket beside it: {source}; {}", advice(.source))]
    NoLock {
        /// The lock file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Whatever else.
    #[error("can't {doing} {path}: {source}; {}", advice(.source))]
    System {
        /// What was tried.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

/// What helps against the system's refusal.
fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "there is no room: free some (`df` and `df -i` tell where), or choose a path elsewhere with --socket"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "nothing can be written there: choose a path elsewhere with --socket, or have the socket passed (milad.socket)"
        }
        io::ErrorKind::PermissionDenied => {
            "choose a folder that this user may write to with --socket, or remove the file if another user left it"
        }
        _ => "choose another path with --socket",
    }
}

impl SocketError {
    /// Whether only another path, or somebody who clears this one, helps: waiting and trying again does not.
    pub fn is_final(&self) -> bool {
        match self {
            SocketError::TooLong { .. } | SocketError::NoFolder(_) | SocketError::InTheWay(_) => true,
            SocketError::Live(_) | SocketError::NoLock { .. } | SocketError::System { .. } => false,
        }
    }
}

/// A listening socket. One that was bound here is unlinked when dropped; one that was passed in stays.
#[derive(Debug)]
pub struct ListeningSocket {
    listener: UnixListener,
    bound: Option<Bound>,
}

#[derive(Debug)]
struct Bound {
    path: PathBuf,
    /// The file's own numbers: somebody else's file at the same path is left alone.
    device: u64,
    inode: u64,
    /// Given back after the socket is unlinked.
    _lock: Lock,
}

impl ListeningSocket {
    /// The listener.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Where clients find it; empty for a socket without a name in the file system.
    pub fn address(&self) -> PathBuf {
        let bound = self.listener.local_addr().ok();
        bound.and_then(|address| address.as_pathname().map(Path::to_owned)).unwrap_or_default()
    }

    /// Where it was bound; `None` when it was passed in.
    pub fn path(&self) -> Option<&Path> {
        self.bound.as_ref().map(|bound| bound.path.as_path())
    }
}

impl From<UnixListener> for ListeningSocket {
    /// A socket that the service manager passed.
    fn from(listener: UnixListener) -> Self {
        ListeningSocket { listener, bound: None }
    }
}

impl AsFd for ListeningSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for ListeningSocket {
    fn drop(&mut self) {
        if let Some(Bound { path, device, inode, .. }) = &self.bound
            && fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == (*device, *inode))
        {
            // Left behind it is stale, and replaced by the next start.
            let _ = fs::remove_file(path);
        }
    }
}

/// Binds and listens at `path`. A stale socket there is replaced. `group`: given to it where the system has that group.
pub fn bind(path: &Path, mode: u32, group: Option<&str>) -> Result<ListeningSocket, SocketError> {
    let system = |doing, error: io::Error| SocketError::System { doing, path: path.to_owned(), source: error };
    let address = address(path)?;
    // From here on nobody else looks, removes or binds.
    let lock = Lock::take(path)?;
    if find_out(path, &address)? == Found::Stale {
        fs::remove_file(path).map_err(|error| system("remove the stale socket", error))?;
    }
    let fd = new().map_err(|error| system("make a socket for", error.into()))?;
    bind_fd(&fd, &address).map_err(|error| match error {
        Errno::NOENT => SocketError::NoFolder(path.to_owned()),
        // By a program that knows nothing of the lock.
        Errno::ADDRINUSE => SocketError::Live(path.to_owned()),
        error => system("bind", error.into()),
    })?;
    let made = fs::symlink_metadata(path).map_err(|error| system("look at", error))?;
    let listener = UnixListener::from(fd);
    let bound = Bound { path: path.to_owned(), device: made.dev(), inode: made.ino(), _lock: lock };
    let socket = ListeningSocket { listener, bound: Some(bound) };
    // Before anybody can connect, that is before listening.
    if let Some(gid) = group.and_then(group_id)
        && let Err(error) = rustix::fs::chown(path, None, Some(gid))
    {
        log::warn!("can't give {} to group {}: {error}; only its own group may connect", path.display(), gid.as_raw());
    }
    rustix::fs::chmod(path, Mode::from_raw_mode(mode)).map_err(|error| system("set the mode of", error.into()))?;
    listen(&socket.listener, BACKLOG).map_err(|error| system("listen on", error.into()))?;
    Ok(socket)
}

/// Whether [`bind`] would succeed, as far as looking tells. Makes and removes nothing; takes no lock, so that it is in
/// nobody's way.
pub fn look(path: &Path) -> Result<(), SocketError> {
    let found = find_out(path, &address(path)?)?;
    if found == Found::Nothing
        && let Some(folder) = path.parent()
    {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        if !folder.is_dir() {
            return Err(SocketError::NoFolder(path.to_owned()));
        }
        rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| SocketError::System {
            doing: "create a socket in the folder of",
            path: path.to_owned(),
            source: error.into(),
        })?;
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A socket that nobody listens on.
    Stale,
}

/// What is at `path`. Only sure while nobody else binds there.
fn find_out(path: &Path, address: &SocketAddrUnix) -> Result<Found, SocketError> {
    let system = |doing, error: io::Error| SocketError::System { doing, path: path.to_owned(), source: error };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(SocketError::NoFolder(path.to_owned()));
        }
        Err(error) => return Err(system("look at", error)),
        Ok(found) if !found.file_type().is_socket() => return Err(SocketError::InTheWay(path.to_owned())),
        Ok(_) => {}
    }
    // Refused means that nobody listens. Without blocking: a daemon with a full queue says AGAIN.
    let probe = new().map_err(|error| system("make a socket for", error.into()))?;
    match connect(&probe, address) {
        Err(Errno::CONNREFUSED) => Ok(Found::Stale),
        Err(Errno::NOENT) => Ok(Found::Nothing),
        Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS) => Err(SocketError::Live(path.to_owned())),
        Err(error) => Err(system("find out who uses", error.into())),
    }
}

fn address(path: &Path) -> Result<SocketAddrUnix, SocketError> {
    let system = |error| SocketError::System { doing: "use as a socket's path", path: path.to_owned(), source: error };
    if path.as_os_str().is_empty() {
        return Err(system(io::ErrorKind::InvalidInput.into()));
    }
    SocketAddrUnix::new(path).map_err(|error| match error {
        Errno::NAMETOOLONG => {
            SocketError::TooLong { path: path.to_owned(), bytes: path.as_os_str().as_encoded_bytes().len() }
        }
        error => system(error.into()),
    })
}

fn new() -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

/// The path to use where none is given: the service's folder where we may write to it, else the user's runtime folder,
/// else a folder of our own in the folder for temporary files.
pub fn default_path() -> Result<PathBuf, SocketError> {
    let service = Path::new("/run/milad");
    if service.is_dir() && rustix::fs::access(service, Access::WRITE_OK).is_ok() {
        return Ok(service.join("results.sock"));
    }
    if let Some(folder) = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| Path::new(folder).is_dir()) {
        return Ok(Path::new(&folder).join("milad.sock"));
    }
    private_folder().map(|folder| folder.join("milad.sock"))
}

/// A folder that only this user can enter. Others can't be trusted in a folder that all may write to: it must be ours.
fn private_folder() -> Result<PathBuf, SocketError> {
    let uid = rustix::process::geteuid().as_raw();
    let folder = std::env::temp_dir().join(format!("milad-{uid}"));
    let system = |doing, source| SocketError::System { doing, path: folder.clone(), source };
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(system("create the private folder", error)),
    }
    let found = fs::symlink_metadata(&folder).map_err(|error| system("look at", error))?;
    if !found.is_dir() || found.uid() != uid || found.mode() & 0o077 != 0 {
        let source = io::Error::other("expected a folder that belongs to this user alone (mode 0700)");
        return Err(system("use the private folder", source));
    }
    Ok(folder)
}

/// A group's number from `/etc/group`; other sources of groups are not asked.
fn group_id(name: &str) -> Option<Gid> {
    let text = fs::read_to_string("/etc/group").ok()?;
    let fields = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let id = fields.filter(|f| f.first() == Some(&name)).find_map(|f| f.get(2)?.parse().ok())?;
    Some(Gid::from_raw(id))
}

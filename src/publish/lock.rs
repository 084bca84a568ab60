//! One daemon a socket: the lock file beside it, held for the daemon's life.
//!
//! Whether a socket is stale can only be asked, and the answer only be acted on, by one program at a time. It removes no file
//! but its own, and that only while it holds the lock, so that no two programs ever hold locks on two files of one name.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, fstat, lstat};
use rustix::io::Errno;

use super::SocketError;

/// Times that a lock which is just being given back is tried again.
const TRIES: usize = 16;

/// The right to bind at a path. Given back, and its file removed, when dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: OwnedFd,
}

impl Lock {
    /// Takes the lock of the socket at `socket`, without waiting.
    pub fn take(socket: &Path) -> Result<Lock, SocketError> {
        let path = path_of(socket);
        let system = |doing, error: Errno| SocketError::System { doing, path: path.clone(), source: error.into() };
        // No link of somebody else's is followed, and no pipe waited for.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        for _ in 0..TRIES {
            let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(|error| match error {
                Errno::NOENT | Errno::NOTDIR => SocketError::NoFolder(socket.to_owned()),
                Errno::LOOP | Errno::ISDIR => SocketError::InTheWay(path.clone()),
                error => SocketError::NoLock { path: path.clone(), source: error.into() },
            })?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::AGAIN) => return Err(SocketError::Live(socket.to_owned())),
                Err(error) => return Err(system("lock", error)),
            }
            let held = fstat(&file).map_err(|error| system("look at", error))?;
            if FileType::from_raw_mode(held.st_mode) != FileType::RegularFile || held.st_size != 0 {
                return Err(SocketError::InTheWay(path));
            }
            // Its last holder may have removed it between opening and locking.
            match lstat(&path) {
                Ok(there) if (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino) => {
                    return Ok(Lock { path, _file: file });
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(system("look at", error)),
            }
        }
        Err(SocketError::Live(socket.to_owned()))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked: whoever opened it meanwhile finds out that the path leads elsewhere, and tries again.
        let _: io::Result<()> = fs::remove_file(&self.path);
    }
}

/// `PATH.lock`.
fn path_of(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

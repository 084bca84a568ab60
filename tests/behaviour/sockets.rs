//! Where the results socket may lie, and whose paths it respects.

use std::fs::File;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use milad::publish::{Limits, Server, SocketError, socket};
use rustix::io::Errno;

use crate::clients::rig::Folder;

fn refused(path: &Path) -> SocketError {
    socket::bind(path, 0o660, None).unwrap_err()
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let folder = Folder::new("stale");
    let path = folder.path("s");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves its socket behind");
    let bound = socket::bind(&path, 0o600, None).unwrap();
    let found = std::fs::symlink_metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.mode() & 0o777, 0o600);
    assert!(matches!(refused(&path), SocketError::Live(_)));
    assert!(UnixStream::connect(&path).is_ok(), "the live one still works");
    drop(bound);
    assert!(!path.exists());
}

#[test]
fn a_socket_that_somebody_else_put_there_is_not_unlinked() {
    let folder = Folder::new("other");
    let path = folder.path("s");
    let bound = socket::bind(&path, 0o660, None).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(bound);
    assert!(path.exists());
}

#[test]
fn paths_that_cannot_be_are_refused_with_a_reason() {
    let folder = Folder::new("paths");
    let long = folder.path(&"x".repeat(108));
    assert!(matches!(refused(&long), SocketError::TooLong { bytes, .. } if bytes > 107));
    let missing = folder.path("missing/s");
    let error = refused(&missing);
    assert!(matches!(error, SocketError::NoFolder(_)), "{error}");
    assert!(error.to_string().contains("missing/s") && error.to_string().contains("does not exist"));
    let file = folder.path("file");
    std::fs::write(&file, "mine").unwrap();
    assert!(matches!(refused(&file), SocketError::InTheWay(_)));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    assert!(matches!(refused(&folder.0), SocketError::InTheWay(_)));
    let link = folder.path("link");
    symlink("nowhere", &link).unwrap();
    assert!(matches!(refused(&link), SocketError::InTheWay(_)));
    assert!(matches!(refused(Path::new("")), SocketError::System { .. }));
}

#[test]
fn a_full_and_a_read_only_file_system_are_named_with_what_helps() {
    let said = |errno: Errno| {
        let path = "/run/milad/results.sock.lock".into();
        SocketError::NoLock { path, source: errno.into() }.to_string()
    };
    for (errno, words) in [(Errno::NOSPC, "df -i"), (Errno::ROFS, "milad.socket"), (Errno::ACCESS, "may write to")] {
        let found = said(errno);
        assert!(found.contains("/run/milad/results.sock.lock") && found.contains(words), "{found}");
    }
}

#[test]
fn a_daemon_that_does_not_listen_yet_is_not_taken_for_a_stale_socket() {
    let folder = Folder::new("locked");
    let (path, lock_path) = (folder.path("s"), folder.path("s.lock"));
    // Bound by somebody who is not listening: so it looks between `bind` and `listen`, and so does a stale socket.
    drop(UnixListener::bind(&path).unwrap());
    let inode = || std::fs::symlink_metadata(&path).unwrap().ino();
    let (before, lock) = (inode(), File::create(&lock_path).unwrap());
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(matches!(refused(&path), SocketError::Live(_)));
    assert_eq!(inode(), before, "it was replaced");
    drop(lock);
    // A killed daemon leaves both files.
    let bound = socket::bind(&path, 0o660, None).unwrap();
    drop(bound);
    assert!(!path.exists() && !lock_path.exists(), "both go with the daemon");
}

#[test]
fn of_many_that_start_at_once_on_a_stale_socket_one_gets_it() {
    let folder = Folder::new("race");
    let path = folder.path("s");
    for _ in 0..50 {
        drop(UnixListener::bind(&path).unwrap());
        let barrier = std::sync::Barrier::new(4);
        let sockets: Vec<_> = std::thread::scope(|scope| {
            let start = || {
                barrier.wait();
                socket::bind(&path, 0o660, None)
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(sockets.iter().filter(|socket| socket.is_ok()).count(), 1, "{sockets:?}");
        assert!(UnixStream::connect(&path).is_ok(), "the path leads to the one that has it");
    }
}

#[test]
fn the_lock_is_for_its_user_alone_and_no_file_of_anybody_else_is_touched() {
    let folder = Folder::new("lock-file");
    let (path, lock_path) = (folder.path("s"), folder.path("s.lock"));
    let bound = socket::bind(&path, 0o666, None).unwrap();
    assert_eq!(std::fs::symlink_metadata(&lock_path).unwrap().mode() & 0o777, 0o600);
    drop(bound);
    std::fs::write(&lock_path, "mine").unwrap();
    let error = refused(&path);
    assert!(matches!(error, SocketError::InTheWay(_)) && error.to_string().contains("s.lock"), "{error}");
    assert_eq!(std::fs::read_to_string(&lock_path).unwrap(), "mine");
    std::fs::remove_file(&lock_path).unwrap();
    symlink(folder.path("elsewhere"), &lock_path).unwrap();
    assert!(matches!(refused(&path), SocketError::InTheWay(_)));
    assert!(!folder.path("elsewhere").exists());
    assert!(!path.exists());
    // Not even root can create a file here.
    let error = refused(Path::new("/sys/milad-test"));
    assert!(matches!(error, SocketError::NoLock { .. }) && error.to_string().contains("--socket"), "{error}");
}

#[test]
fn looking_tells_what_binding_would_and_changes_nothing() {
    let folder = Folder::new("look");
    let path = folder.path("s");
    let looked = |path: &Path| socket::look(path).unwrap_err();
    socket::look(&path).unwrap();
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0, "nothing was made");
    drop(UnixListener::bind(&path).unwrap());
    socket::look(&path).unwrap();
    assert!(path.exists(), "a stale socket is left to `run`");
    let bound = socket::bind(&path, 0o660, None).unwrap();
    assert!(matches!(looked(&path), SocketError::Live(_)));
    drop(bound);
    std::fs::write(&path, "mine").unwrap();
    assert!(matches!(looked(&path), SocketError::InTheWay(_)));
    assert!(matches!(looked(&folder.path("missing/s")), SocketError::NoFolder(_)));
    assert!(matches!(looked(&folder.path("s/s")), SocketError::NoFolder(_)));
    assert!(matches!(looked(&folder.path(&"x".repeat(108))), SocketError::TooLong { .. }));
}

#[test]
fn a_socket_that_was_passed_in_is_left_where_it_is() {
    let folder = Folder::new("passed");
    let listener = UnixListener::bind(folder.path("s")).unwrap();
    let server = Server::new(listener, Limits::default()).unwrap();
    assert!(format!("{server:?}").contains("bound: None"));
    server.close("stopped");
    assert!(folder.path("s").exists());
}

//! Where the results socket may lie, and whose paths it respects.

use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use milad::publish::{Limits, Server, SocketError, socket};

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
fn a_socket_that_was_passed_in_is_left_where_it_is() {
    let folder = Folder::new("passed");
    let listener = UnixListener::bind(folder.path("s")).unwrap();
    let server = Server::new(listener, Limits::default()).unwrap();
    assert!(format!("{server:?}").contains("bound: None"));
    server.close("stopped");
    assert!(folder.path("s").exists());
}

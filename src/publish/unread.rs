//! Whether a client has taken the descriptors that it was sent last. Those that lie in sockets unread count against this program's limit of
//! open files: a client that asks again and again and never reads could use it up for all others.

use std::os::fd::AsFd;

use rustix::ioctl::{Getter, ioctl};

/// Descriptors on their way.
#[derive(Debug, Default)]
pub struct Unread {
    /// Bytes that were sent after them; `None`: none were ever sent.
    behind: Option<usize>,
}

impl Unread {
    /// So many bytes were sent, with or without descriptors.
    pub fn sent(&mut self, bytes: usize, descriptors: bool) {
        self.behind = if descriptors { Some(0) } else { self.behind.map(|behind| behind.saturating_add(bytes)) };
    }

    /// Whether they may still lie in the socket through which they went.
    pub fn lies_in(&self, socket: impl AsFd) -> bool {
        // Theirs come before all those bytes, and the system counts what it needs beside them: so there is more than those.
        self.behind.is_some_and(|behind| left(socket).is_some_and(|left| left > behind))
    }
}

/// What the peer has not read yet, in bytes of the system's memory; `None`: it does not tell.
fn left(socket: impl AsFd) -> Option<usize> {
    // SAFETY: this request writes one C int, on any descriptor that knows it.
    let answer = unsafe { ioctl(socket, Getter::<{ libc::TIOCOUTQ as _ }, libc::c_int>::new()) };
    answer.ok().and_then(|left| usize::try_from(left).ok())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn they_lie_there_until_they_are_read_also_with_more_behind_them() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let mut unread = Unread::default();
        let mut send = |unread: &mut Unread, descriptors| {
            ours.write_all(&[7; 100]).unwrap();
            unread.sent(100, descriptors);
            ours.try_clone().unwrap()
        };
        let socket = send(&mut unread, false);
        assert!(!unread.lies_in(&socket), "there never were any");
        send(&mut unread, true);
        (0..50).for_each(|_| drop(send(&mut unread, false)));
        assert!(unread.lies_in(&socket));
        theirs.read_exact(&mut [0; 200]).unwrap();
        // Fifty messages are still there, with what the system needs for them; most of those are read, and it is certain.
        theirs.read_exact(&mut [0; 4900]).unwrap();
        assert!(!unread.lies_in(&socket));
        send(&mut unread, true);
        assert!(unread.lies_in(&socket));
        theirs.read_exact(&mut [0; 200]).unwrap();
        assert!(!unread.lies_in(&socket));
    }
}

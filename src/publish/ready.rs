//! Which sockets have something for the server, or room for something of it: an epoll set, looked at through its own descriptor.
//!
//! To poll every client's socket for every frame costs as much as telling it about one; here a socket is named once, and again when what is
//! waited for changes.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use super::limits::Limits;

/// The listener's number.
pub const LISTENER: u64 = u64::MAX;

/// The set. A socket that is closed is in it no more.
#[derive(Debug)]
pub struct Ready {
    set: OwnedFd,
    /// Whether newcomers are told of.
    listens: bool,
}

impl Ready {
    /// Only the listener is in it, of which nothing is told yet. It stays: what is added needs memory, and newcomers are told of no
    /// more just when that is short.
    pub fn new(listener: impl AsFd) -> io::Result<Ready> {
        let ready = Ready { set: epoll::create(CreateFlags::CLOEXEC)?, listens: false };
        ready.add(listener, LISTENER, EventFlags::empty())?;
        Ok(ready)
    }

    /// Readable while [`Ready::each`] has something to tell.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }

    /// Whether newcomers are told of from now on, by the same listener.
    pub fn listen(&mut self, listener: impl AsFd, wanted: bool) -> io::Result<()> {
        if self.listens != wanted {
            self.change(listener, LISTENER, if wanted { EventFlags::IN } else { EventFlags::empty() })?;
            self.listens = wanted;
        }
        Ok(())
    }

    /// From now on tells of a socket by its number: that its peer is gone, and what else is in `flags`.
    pub fn add(&self, socket: impl AsFd, number: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.set, socket, EventData::new_u64(number), flags)?)
    }

    /// The same with other flags; needs no memory.
    pub fn change(&self, socket: impl AsFd, number: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.set, socket, EventData::new_u64(number), flags)?)
    }

    /// What there is now, without waiting.
    pub fn each(&self, mut tell: impl FnMut(u64, EventFlags)) -> io::Result<()> {
        let mut space = [const { MaybeUninit::<Event>::uninit() }; Limits::MAX_CLIENTS + 1];
        let found = match epoll::wait(&self.set, &mut space, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok((found, _)) => found,
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // A packed struct's fields are copied.
        found.iter().for_each(|event| tell({ event.data }.u64(), event.flags));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn found(ready: &Ready) -> Vec<(u64, EventFlags)> {
        let mut found = vec![];
        ready.each(|number, flags| found.push((number, flags))).unwrap();
        found
    }

    fn listener(name: &str) -> (UnixListener, UnixStream) {
        let path = std::env::temp_dir().join(format!("milad-ready-{}-{name}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let newcomer = UnixStream::connect(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        (listener, newcomer)
    }

    #[test]
    fn what_is_asked_for_is_told_and_closed_sockets_are_not() {
        let (listener, _newcomer) = listener("sockets");
        let ready = Ready::new(&listener).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ready.add(&ours, 7, EventFlags::IN).unwrap();
        assert_eq!(found(&ready), []);
        theirs.write_all(b"x").unwrap();
        assert_eq!(found(&ready), [(7, EventFlags::IN)]);
        ready.change(&ours, 7, EventFlags::OUT).unwrap();
        assert_eq!(found(&ready), [(7, EventFlags::OUT)]);
        ready.change(&ours, 7, EventFlags::empty()).unwrap();
        assert_eq!(found(&ready), []);
        drop(theirs);
        assert!(matches!(found(&ready)[..], [(7, flags)] if flags.contains(EventFlags::HUP)));
        drop(ours);
        assert_eq!(found(&ready), []);
    }

    /// In the set, or it would have to be added again, which fails where memory is short.
    #[test]
    fn newcomers_are_told_of_while_they_are_wanted_and_the_listener_stays() {
        let (listener, _newcomer) = listener("newcomers");
        let mut ready = Ready::new(&listener).unwrap();
        for wanted in [false, true, true, false, false, true] {
            ready.listen(&listener, wanted).unwrap();
            assert_eq!(found(&ready).len(), usize::from(wanted));
            let set = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", ready.set.as_raw_fd())).unwrap();
            assert_eq!(set.lines().filter(|line| line.starts_with("tfd:")).count(), 1, "{set}");
        }
    }
}

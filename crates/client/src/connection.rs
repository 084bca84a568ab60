//! The connection's bytes, and the descriptors that come beside them.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

/// The most descriptors of one message: one a task, the image's, and the lines'.
const AT_ONCE: usize = 65;
/// Sets of descriptors that may wait for their line.
const WAITING: usize = 8;

/// A stream that keeps what descriptors it meets. The kernel ends a read behind the bytes that brought some, so that the
/// n-th set belongs to the n-th line that announces one.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    sets: VecDeque<Vec<OwnedFd>>,
}

impl Connection {
    pub fn new(stream: UnixStream) -> Connection {
        Connection { stream, sets: VecDeque::new() }
    }

    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// The oldest set that nobody took.
    pub fn take_descriptors(&mut self) -> Option<Vec<OwnedFd>> {
        self.sets.pop_front()
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(&self.stream, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let mut set = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                set.extend(descriptors);
            }
        }
        if !set.is_empty() {
            self.sets.push_back(set);
        }
        if received.flags.contains(ReturnFlags::CTRUNC) || self.sets.len() > WAITING {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more descriptors than the daemon ever sends"));
        }
        Ok(received.bytes)
    }
}

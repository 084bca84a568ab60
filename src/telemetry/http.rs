//! A small HTTP server for `/metrics`, `/healthz` and `/readyz`: one thread, one request a connection.
//!
//! Whatever comes in, it holds at most [`CONNECTIONS`] × [`HEAD_BYTES`] of it, for as long as [`Deadlines`] say, and it never
//! touches the pipeline: it reads atomics. What a request asks for is decided in [`super::request`].

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use super::health::Health;
use super::request::{Progress, answer};
use crate::stop::Stop;

/// Connections at a time; more wait in the kernel's queue.
pub const CONNECTIONS: usize = 16;
/// Bytes of a request's head.
pub const HEAD_BYTES: usize = 8 << 10;

/// How long a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// For a request's head, and again for taking the answer.
    pub exchange: Duration,
    /// After the answer: to hear that the peer is done, so that the answer is not cut off by what it still sends.
    pub linger: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines { exchange: Duration::from_secs(5), linger: Duration::from_secs(1) }
    }
}

/// After a failed accept (no descriptors left, say): time before the next try.
const PAUSE: Duration = Duration::from_millis(200);

/// Where requests come in: our own socket, or one that the service manager passed.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix stream socket.
    Unix(UnixListener),
}

impl Listener {
    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.set_nonblocking(true),
            Listener::Unix(listener) => listener.set_nonblocking(true),
        }
    }

    fn accept(&self) -> io::Result<OwnedFd> {
        Ok(match self {
            Listener::Tcp(listener) => listener.accept()?.0.into(),
            Listener::Unix(listener) => listener.accept()?.0.into(),
        })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Listener::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Listener::Unix(listener)
    }
}

#[derive(Debug)]
enum State {
    /// Collecting the head.
    Reading(Vec<u8>),
    /// Sending the answer; how much is sent.
    Writing(Vec<u8>, usize),
    /// All is sent; waiting for the peer to close.
    Lingering,
}

#[derive(Debug)]
struct Connection {
    fd: OwnedFd,
    state: State,
    deadline: Instant,
}

/// Serves until `stop`. `render` appends the metrics. Fails only where the listener or poll itself does.
pub fn serve(
    listener: impl Into<Listener>,
    render: impl Fn(&mut String),
    health: &Health,
    stop: &Stop,
) -> io::Result<()> {
    serve_within(listener, render, health, stop, Deadlines::default())
}

/// As [`serve`], with other deadlines.
pub fn serve_within(
    listener: impl Into<Listener>,
    render: impl Fn(&mut String),
    health: &Health,
    stop: &Stop,
    deadlines: Deadlines,
) -> io::Result<()> {
    let listener = listener.into();
    listener.set_nonblocking()?;
    let mut connections: Vec<Connection> = Vec::with_capacity(CONNECTIONS);
    let mut paused: Option<Instant> = None;
    while !stop.is_set() {
        let now = Instant::now();
        paused = paused.filter(|until| *until > now);
        let listening = connections.len() < CONNECTIONS && paused.is_none();
        let next = connections.iter().map(|c| c.deadline).chain(paused).min();
        let timeout = next.map(|at| {
            let left = at.saturating_duration_since(now) + Duration::from_millis(1);
            Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ }
        });
        let mut fds = Vec::with_capacity(CONNECTIONS + 2);
        fds.push(PollFd::from_borrowed_fd(stop.fd(), PollFlags::IN));
        fds.push(PollFd::new(&listener, if listening { PollFlags::IN } else { PollFlags::empty() }));
        fds.extend(connections.iter().map(|c| {
            let writing = matches!(c.state, State::Writing(..));
            PollFd::new(&c.fd, if writing { PollFlags::OUT } else { PollFlags::IN })
        }));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds.iter().skip(1).map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let (knocked, ready) = ready.split_first().map_or((false, &[][..]), |(first, rest)| (*first, rest));
        let now = Instant::now();
        let mut ready = ready.iter().copied();
        connections.retain_mut(|connection| {
            let ready = ready.next().unwrap_or(false);
            if ready && !connection.advance(now, deadlines, &render, health) {
                return false;
            }
            connection.deadline > now || connection.expire(now, deadlines)
        });
        if knocked && listening {
            match listener.accept() {
                Ok(fd) => {
                    let state = State::Reading(Vec::with_capacity(1024));
                    connections.push(Connection { fd, state, deadline: now + deadlines.exchange });
                }
                // Gone again, or another signal: poll tells of the next one.
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => {
                    log::warn!("metrics: can't accept a connection: {error}");
                    paused = Some(now + PAUSE);
                }
            }
        }
    }
    Ok(())
}

impl Connection {
    /// Reads or writes what it can without waiting. Returns whether to keep the connection.
    fn advance(&mut self, now: Instant, deadlines: Deadlines, render: &impl Fn(&mut String), health: &Health) -> bool {
        let mut buffer = [0; 2048];
        match &mut self.state {
            State::Reading(head) => {
                let count = match recv(&self.fd, &mut buffer, RecvFlags::DONTWAIT) {
                    Ok((0, _)) => return false,
                    Ok((count, _)) => count,
                    Err(error) => return transient(error),
                };
                head.extend(buffer.iter().take(count));
                if let Progress::Answer(response) = answer(head, render, health) {
                    self.state = State::Writing(response, 0);
                    self.deadline = now + deadlines.exchange;
                    return self.write(now, deadlines);
                }
                true
            }
            State::Writing(..) => self.write(now, deadlines),
            State::Lingering => match recv(&self.fd, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => false,
                Ok(_) => true,
                Err(error) => transient(error),
            },
        }
    }

    fn write(&mut self, now: Instant, deadlines: Deadlines) -> bool {
        let State::Writing(response, sent) = &mut self.state else { return true };
        while let Some(rest) = response.get(*sent..).filter(|rest| !rest.is_empty()) {
            match send(&self.fd, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => *sent += count,
                Err(error) => return transient(error),
            }
        }
        self.state = State::Lingering;
        self.deadline = now + deadlines.linger;
        shutdown(&self.fd, Shutdown::Write).is_ok()
    }

    /// Its time is over. One that is late with its head is told; returns whether to keep it for that.
    fn expire(&mut self, now: Instant, deadlines: Deadlines) -> bool {
        if !matches!(self.state, State::Reading(_)) {
            return false;
        }
        self.state = State::Writing(super::request::timed_out(), 0);
        self.deadline = now + deadlines.linger;
        self.write(now, deadlines)
    }
}

fn transient(error: rustix::io::Errno) -> bool {
    matches!(error, rustix::io::Errno::AGAIN | rustix::io::Errno::INTR)
}

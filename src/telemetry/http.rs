//! A small HTTP server for `/metrics`, `/healthz`, `/readyz` and the live view: one thread, one request a connection.
//!
//! Whatever comes in, it holds at most [`CONNECTIONS`] × [`HEAD_BYTES`] of it, for as long as [`Deadlines`] say, and it never
//! touches the pipeline: it reads atomics, and a stream of the view is passed on from the results socket through
//! [`STREAM_BYTES`], one piece after the other is taken. What a request asks for is decided in [`super::request`].

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use super::health::Health;
use super::metrics::Metrics;
use super::request::{Progress, Visitor, answer};
use crate::stop::Stop;
use crate::view::View;

/// Connections at a time; more wait in the kernel's queue.
pub const CONNECTIONS: usize = 16;
/// Streams of the view among them, so that metrics always have room.
pub const STREAMS: usize = 6;
/// Bytes of a stream that wait for their reader here.
pub const STREAM_BYTES: usize = 64 << 10;
/// How long a stream's reader may take for nothing.
const STREAM_STALL: Duration = Duration::from_secs(10);
/// A stream on which nothing happens, because there is no camera say, goes on.
const STREAM_IDLE: Duration = Duration::from_secs(24 * 3600);
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

    /// The connection, and whether it comes from this machine.
    fn accept(&self) -> io::Result<(OwnedFd, bool)> {
        Ok(match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                (stream.into(), peer.ip().to_canonical().is_loopback())
            }
            Listener::Unix(listener) => (listener.accept()?.0.into(), true),
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
    /// Passing on what comes from there; what waits for the peer, and how much of it is sent.
    Streaming(OwnedFd, Vec<u8>, usize),
    /// All is sent; waiting for the peer to close.
    Lingering,
}

#[derive(Debug)]
struct Connection {
    fd: OwnedFd,
    local: bool,
    state: State,
    deadline: Instant,
}

/// What every connection may ask for.
struct Site<'a> {
    metrics: &'a Metrics,
    health: &'a Health,
    view: Option<&'a View>,
    deadlines: Deadlines,
}

/// Serves until `stop`. Fails only where the listener or poll itself does.
pub fn serve(
    listener: impl Into<Listener>,
    metrics: &Metrics,
    health: &Health,
    view: Option<&View>,
    stop: &Stop,
) -> io::Result<()> {
    serve_within(listener, metrics, health, view, stop, Deadlines::default())
}

/// Closes every connection as it comes, until `stop`.
pub fn turn_away(listener: impl Into<Listener>, stop: &Stop) -> io::Result<()> {
    let listener = listener.into();
    listener.set_nonblocking()?;
    while !stop.is_set() {
        let mut fds = [PollFd::from_borrowed_fd(stop.fd(), PollFlags::IN), PollFd::new(&listener, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        match listener.accept() {
            Ok(connection) => drop(connection),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => drop(stop.wait(PAUSE)),
        }
    }
    Ok(())
}

/// As [`serve`], with other deadlines.
pub fn serve_within(
    listener: impl Into<Listener>,
    metrics: &Metrics,
    health: &Health,
    view: Option<&View>,
    stop: &Stop,
    deadlines: Deadlines,
) -> io::Result<()> {
    let site = Site { metrics, health, view, deadlines };
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
        let mut fds = Vec::with_capacity(2 * CONNECTIONS + 2);
        fds.push(PollFd::from_borrowed_fd(stop.fd(), PollFlags::IN));
        fds.push(PollFd::new(&listener, if listening { PollFlags::IN } else { PollFlags::empty() }));
        for connection in &connections {
            let (interest, source) = connection.interest();
            fds.push(PollFd::new(&connection.fd, interest));
            // A place for everybody's source, so that places can be counted; a peer's own descriptor asks for nothing.
            fds.push(match source {
                Some(source) => PollFd::new(source, PollFlags::IN),
                None => PollFd::new(&connection.fd, PollFlags::empty()),
            });
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds.iter().skip(1).map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let (knocked, ready) = ready.split_first().map_or((false, &[][..]), |(first, rest)| (*first, rest));
        let now = Instant::now();
        let streams = connections.iter().filter(|connection| matches!(connection.state, State::Streaming(..))).count();
        let mut room = STREAMS.saturating_sub(streams);
        let mut ready = ready.chunks(2).map(|pair| pair.contains(&true));
        connections.retain_mut(|connection| {
            let ready = ready.next().unwrap_or(false);
            let streamed = matches!(connection.state, State::Streaming(..));
            if ready && !connection.advance(now, &site, room > 0) {
                return false;
            }
            if !streamed && matches!(connection.state, State::Streaming(..)) {
                room = room.saturating_sub(1);
            }
            connection.deadline > now || connection.expire(now, &site)
        });
        if knocked && listening {
            match listener.accept() {
                Ok((fd, local)) => {
                    let state = State::Reading(Vec::with_capacity(1024));
                    connections.push(Connection { fd, local, state, deadline: now + deadlines.exchange });
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
    /// What to poll the peer for, and where else something may come from.
    fn interest(&self) -> (PollFlags, Option<&OwnedFd>) {
        match &self.state {
            State::Writing(..) => (PollFlags::OUT, None),
            // A peer that goes is noticed either way.
            State::Streaming(_, waiting, sent) if *sent < waiting.len() => (PollFlags::IN | PollFlags::OUT, None),
            State::Streaming(source, ..) => (PollFlags::IN, Some(source)),
            State::Reading(_) | State::Lingering => (PollFlags::IN, None),
        }
    }

    /// Reads or writes what it can without waiting. Returns whether to keep the connection.
    fn advance(&mut self, now: Instant, site: &Site<'_>, room: bool) -> bool {
        let deadlines = site.deadlines;
        let mut buffer = [0; 2048];
        match &mut self.state {
            State::Reading(head) => {
                let count = match recv(&self.fd, &mut buffer, RecvFlags::DONTWAIT) {
                    Ok((0, _)) => return false,
                    Ok((count, _)) => count,
                    Err(error) => return transient(error),
                };
                head.extend(buffer.iter().take(count));
                let visitor = Visitor { view: site.view, local: self.local, room };
                let progress = answer(head, &|out: &mut String| site.metrics.render(out), site.health, visitor);
                if matches!(progress, Progress::Refuse(_)) {
                    site.metrics.http_refused();
                }
                match progress {
                    Progress::Incomplete => true,
                    Progress::Answer(response) | Progress::Refuse(response) => {
                        self.state = State::Writing(response, 0);
                        self.deadline = now + deadlines.exchange;
                        self.write(now, deadlines)
                    }
                    Progress::Stream(head, source) => {
                        self.state = State::Streaming(source, head, 0);
                        self.deadline = now + STREAM_STALL;
                        self.pass_on(now)
                    }
                }
            }
            State::Streaming(..) => {
                // It has nothing more to say, but it may go.
                match recv(&self.fd, &mut buffer, RecvFlags::DONTWAIT) {
                    Ok((0, _)) => return false,
                    Ok(_) => {}
                    Err(error) if transient(error) => {}
                    Err(_) => return false,
                }
                self.pass_on(now)
            }
            State::Writing(..) => self.write(now, deadlines),
            State::Lingering => match recv(&self.fd, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => false,
                Ok(_) => true,
                Err(error) => transient(error),
            },
        }
    }

    /// Sends what waits; takes more from the source when nothing does. Its end is the stream's.
    fn pass_on(&mut self, now: Instant) -> bool {
        let State::Streaming(source, waiting, sent) = &mut self.state else { return true };
        // A few pieces at a time: others have their turn between them.
        for _ in 0..8 {
            while let Some(rest) = waiting.get(*sent..).filter(|rest| !rest.is_empty()) {
                match send(&self.fd, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                    Ok(count) => {
                        *sent += count;
                        self.deadline = now + STREAM_STALL;
                    }
                    Err(error) => return transient(error),
                }
            }
            waiting.resize(STREAM_BYTES, 0);
            *sent = 0;
            match recv(&*source, waiting.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((count, _)) => {
                    waiting.truncate(count);
                    if count == 0 {
                        return false;
                    }
                }
                Err(error) => {
                    waiting.clear();
                    self.deadline = now + STREAM_IDLE;
                    return transient(error);
                }
            }
        }
        true
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
    fn expire(&mut self, now: Instant, site: &Site<'_>) -> bool {
        if !matches!(self.state, State::Reading(_)) {
            return false;
        }
        let deadlines = site.deadlines;
        site.metrics.http_refused();
        self.state = State::Writing(super::request::timed_out(), 0);
        self.deadline = now + deadlines.linger;
        self.write(now, deadlines)
    }
}

fn transient(error: rustix::io::Errno) -> bool {
    matches!(error, rustix::io::Errno::AGAIN | rustix::io::Errno::INTR)
}

//! `milad watch`: a results client for people. One refreshing screen in a terminal, a line a second elsewhere, or the
//! daemon's own lines with `--json`.
//!
//! It never shows an old result as new: every screen tells how long ago its frame was captured.

mod screen;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use milad_client::{Client, ClientError, Message, default_socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock;
use crate::stop::Stop;
use screen::Screen;

/// Screens a second at most: more than that nobody reads.
const REFRESH: Duration = Duration::from_millis(100);
/// From line to line where stdout is no terminal.
const LINE: Duration = Duration::from_secs(1);
/// Between tries to connect again.
const RETRY: Duration = Duration::from_secs(1);

/// What to watch, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The socket; `None`: where it is by default.
    pub socket: Option<PathBuf>,
    /// Pass the daemon's lines through.
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Json,
    Lines,
    Screen,
}

/// Why watching ended.
enum Ended {
    /// By the daemon, or by an error on the way.
    Lost(String),
    /// By us: stop, or nobody reads our output any more.
    Done,
}

/// Watches until `stop`, or until nobody reads stdout. Fails only when nobody answers at first; a daemon that goes later is
/// waited for.
pub fn run(options: &Options, stop: &Stop) -> Result<(), ClientError> {
    let path = || options.socket.clone().unwrap_or_else(default_socket);
    let mode = match (options.json, io::stdout().is_terminal()) {
        (true, _) => Mode::Json,
        (_, true) => Mode::Screen,
        _ => Mode::Lines,
    };
    let mut client = Client::connect(path())?;
    loop {
        let why = match follow(&mut client, mode, stop) {
            Ended::Done => return Ok(()),
            Ended::Lost(why) => why,
        };
        notice(&format!("{why}; waiting for milad at {}", path().display()));
        client = loop {
            if stop.wait(RETRY) {
                return Ok(());
            }
            if let Ok(client) = Client::connect(path()) {
                break client;
            }
        };
        notice("connected again");
    }
}

/// For the person beside the output; a closed stderr is no reason to end.
fn notice(text: &str) {
    let _ = writeln!(io::stderr(), "milad watch: {text}");
}

/// Shows one connection to its end.
fn follow(client: &mut Client, mode: Mode, stop: &Stop) -> Ended {
    let mut screen = Screen::default();
    let mut out = io::stdout().lock();
    let pause = if mode == Mode::Lines { LINE } else { REFRESH };
    let mut next = Instant::now();
    loop {
        let now = Instant::now();
        if mode != Mode::Json && now >= next {
            next = now + pause;
            let text = if mode == Mode::Screen {
                screen.full(clock::monotonic_ns(), rows(&out))
            } else {
                screen.line(clock::monotonic_ns())
            };
            if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
                return Ended::Done;
            }
        }
        let left = (mode != Mode::Json).then(|| next.saturating_duration_since(now));
        match ready(client, stop, left) {
            Ok(_) if stop.is_set() => return Ended::Done,
            Ok(false) => continue,
            Ok(true) => {}
            Err(error) => return Ended::Lost(error.to_string()),
        }
        let received = match client.receive() {
            Ok(Some(received)) => received,
            Ok(None) => return Ended::Lost(screen.goodbye()),
            Err(error) => return Ended::Lost(error.to_string()),
        };
        if mode == Mode::Json && writeln!(out, "{}", received.line).and_then(|()| out.flush()).is_err() {
            return Ended::Done;
        }
        if mode == Mode::Lines && matches!(received.message, Message::Camera(_) | Message::Model(_)) {
            next = now;
        }
        screen.take(received.message);
    }
}

/// How many rows the terminal has now: it may have been resized since the last screen.
fn rows(out: &impl std::os::fd::AsFd) -> Option<u16> {
    rustix::termios::tcgetwinsize(out).ok().map(|size| size.ws_row).filter(|rows| *rows > 0)
}

/// Waits for a message, for `stop`, or for the next screen. Returns whether there is something to read.
fn ready(client: &Client, stop: &Stop, left: Option<Duration>) -> io::Result<bool> {
    if client.has_buffered() {
        return Ok(true);
    }
    let timeout = left.map(|left| Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ });
    let mut fds = [PollFd::new(client.stream(), PollFlags::IN), PollFd::from_borrowed_fd(stop.fd(), PollFlags::IN)];
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    Ok(fds.first().is_some_and(|fd| !fd.revents().is_empty()))
}

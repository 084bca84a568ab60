//! `milad watch`: a results client for people. One refreshing screen in a terminal, a line a second elsewhere, or the
//! daemon's own lines with `--json`; and it keeps what it sees, if it is asked to.
//!
//! It never shows an old result as new: every screen tells how long ago its frame was captured.

mod keep;
mod picture;
mod screen;
mod terminal;
mod text;
mod window;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use milad_client::{Client, ClientError, MapsMode, Message, Received, Subscribe, default_socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock;
use crate::stop::Stop;
use keep::Keep;
use picture::Picture;
use screen::Screen;
use terminal::{Abilities, Colours, Terminal};

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
    /// Keep the stream with all maps in this new file, for `clip:FILE`.
    pub record: Option<PathBuf>,
    /// Keep every result's maps as files in this folder.
    pub save: Option<PathBuf>,
    /// End after so many results.
    pub frames: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Json,
    Lines,
    Screen(Abilities),
}

/// Why watching ended.
enum Ended {
    /// By the daemon, or by an error on the way.
    Lost(String),
    /// By us: stop, enough results, or nobody reads our output any more.
    Done,
}

/// Watches until `stop`, until there were enough results, or until nobody reads stdout. Fails when nobody answers at first, and
/// when something can't be kept; a daemon that goes later is waited for.
pub fn run(options: &Options, stop: &Stop) -> anyhow::Result<()> {
    let path = || options.socket.clone().unwrap_or_else(default_socket);
    let mode = match (options.json, io::stdout().is_terminal()) {
        (true, _) => Mode::Json,
        (_, true) => Mode::Screen(Abilities::of_environment()),
        _ => Mode::Lines,
    };
    // Nothing is begun that has nobody to fill it.
    let mut client = Client::connect(path())?;
    let keep = Keep::new(options.record.as_deref(), options.save.as_deref())
        .context("can't keep results there; a recording is never written over")?;
    let mut watch = Watch { mode, keep, left: options.frames, stop };
    let done = loop {
        let why = match watch.follow(&mut client) {
            Ok(Ended::Done) => break Ok(()),
            Ok(Ended::Lost(why)) => why,
            Err(error) => break Err(error),
        };
        let Some(again) = watch.wait(&why, &path) else { break Ok(()) };
        client = again;
    };
    if let Some(told) = watch.keep.told() {
        notice(&told);
    }
    done
}

/// For the person beside the output; a closed stderr is no reason to end.
fn notice(text: &str) {
    let _ = writeln!(io::stderr(), "milad watch: {text}");
}

struct Watch<'a> {
    mode: Mode,
    keep: Keep,
    /// Results until the end, where there is one.
    left: Option<u64>,
    stop: &'a Stop,
}

impl Watch<'_> {
    /// What to ask the daemon for; `None`: what it gives anyway. `plain`: without what an old kernel may not be able to give.
    fn wants(&self, plain: bool) -> Option<Subscribe> {
        let account = matches!(self.mode, Mode::Screen(_));
        match self.mode {
            _ if self.keep.wants_maps() => {
                Some(Subscribe { maps: MapsMode::Inline, image: true, account, ..Subscribe::default() })
            }
            // In shared memory the pictures cost nothing until they are drawn.
            Mode::Screen(can) if can.colours != Colours::None && !plain => {
                Some(Subscribe { maps: MapsMode::Shared, image: true, account, ..Subscribe::default() })
            }
            Mode::Screen(_) => Some(Subscribe { account, ..Subscribe::default() }),
            Mode::Json | Mode::Lines => None,
        }
    }

    /// Waits until milad answers again, and says so; `None`: it is time to end.
    fn wait(&self, why: &str, path: &impl Fn() -> PathBuf) -> Option<Client> {
        let since = Instant::now();
        if !matches!(self.mode, Mode::Screen(_)) {
            notice(&format!("{why}; waiting for milad at {}", path().display()));
        }
        loop {
            if let Mode::Screen(can) = self.mode {
                let mut out = io::stdout().lock();
                let text = screen::waiting(why, &path(), since.elapsed().as_secs(), &Terminal::of(&out, can));
                out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok()?;
            }
            if self.stop.wait(RETRY) {
                return None;
            }
            if let Ok(client) = Client::connect(path()) {
                if !matches!(self.mode, Mode::Screen(_)) {
                    notice("connected again");
                }
                return Some(client);
            }
        }
    }

    /// Shows one connection to its end. Fails when something can't be kept.
    fn follow(&mut self, client: &mut Client) -> anyhow::Result<Ended> {
        let mut screen = Screen::default();
        let mut newest: Option<Received> = None;
        let mut pictures = Vec::new();
        let mut out = io::stdout().lock();
        let pause = if self.mode == Mode::Lines { LINE } else { REFRESH };
        let mut next = Instant::now();
        // A daemon without room has closed already: what it sent before tells why.
        if let Some(Err(error)) = self.wants(false).map(|wants| client.subscribe(&wants))
            && !matches!(error, ClientError::Io(_))
        {
            return Ok(Ended::Lost(error.to_string()));
        }
        let mut asked = false;
        loop {
            let now = Instant::now();
            if self.mode != Mode::Json && now >= next {
                next = now + pause;
                let now_ns = clock::monotonic_ns();
                let text = if let Mode::Screen(can) = self.mode {
                    if let Some(received) = newest.take().filter(|_| can.colours != Colours::None) {
                        renew(&mut pictures, client, &received, &screen);
                    }
                    screen.full(now_ns, &Terminal::of(&out, can), &pictures)
                } else {
                    screen.line(now_ns)
                };
                if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
                    return Ok(Ended::Done);
                }
            }
            let wait = (self.mode != Mode::Json).then(|| next.saturating_duration_since(now));
            match ready(client, self.stop, wait) {
                Ok(_) if self.stop.is_set() => return Ok(Ended::Done),
                Ok(false) => continue,
                Ok(true) => {}
                Err(error) => return Ok(Ended::Lost(error.to_string())),
            }
            let received = match client.receive() {
                Ok(Some(received)) => received,
                Ok(None) => return Ok(Ended::Lost(screen.goodbye())),
                Err(error) => return Ok(Ended::Lost(error.to_string())),
            };
            if self.mode == Mode::Json && writeln!(out, "{}", received.line).and_then(|()| out.flush()).is_err() {
                return Ok(Ended::Done);
            }
            match &received.message {
                Message::Camera(_) | Message::Model(_) if self.mode == Mode::Lines => next = now,
                Message::Error { message } if self.keep.wants_maps() && !asked => {
                    anyhow::bail!("milad refuses what was asked for: {message}");
                }
                // The screen goes without pictures then.
                Message::Error { .. } if !asked => {
                    asked = true;
                    let _ = self.wants(true).map(|wants| client.subscribe(&wants));
                }
                Message::Ok => asked = true,
                _ => {}
            }
            let one_more = self.keep.take(&received).context("can't keep a result")?;
            if let Some(left) = self.left.as_mut().filter(|_| one_more) {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    screen.take(received.message);
                    if self.mode == Mode::Lines {
                        // Whoever reads is gone or not: this is the end anyway.
                        let _ = out.write_all(screen.line(clock::monotonic_ns()).as_bytes());
                    }
                    return Ok(Ended::Done);
                }
            }
            if let (Message::Result(_), Mode::Screen(_)) = (&received.message, self.mode) {
                newest = Some(received.clone());
            }
            screen.take(received.message);
        }
    }
}

/// Makes the pictures of a result anew. A map that the daemon has written over meanwhile leaves the picture before.
fn renew(pictures: &mut Vec<Picture>, client: &Client, received: &Received, screen: &Screen) {
    let Message::Result(result) = &received.message else { return };
    let made: Option<Vec<Picture>> = screen
        .maps()
        .map(|(name, task)| Picture::of(name, task, result.tasks.get(name), &client.map_of(received, name).ok()?))
        .collect();
    if let Some(made) = made {
        *pictures = made;
    }
}

/// `#rrggbb` as red, green and blue; black where it is something else.
fn colour(text: &str) -> [u8; 3] {
    let number = text.strip_prefix('#').and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0);
    [(number >> 16) as u8, (number >> 8) as u8, number as u8]
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

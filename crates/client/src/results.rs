//! Results for programs that act on them: connects again when the daemon went, and keeps old results away.
//!
//! What was captured longer ago than [`Options::max_age`] is not handed out: a program that paused, or a daemon that hangs,
//! must not make a robot act on the past. It is counted instead, and waiting for the next one goes on. Nor does a program that
//! is slower than the camera fall behind: of several results that wait, it gets the newest.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::map::{Map, MapError};
use crate::message::{CameraState, Hello, Message};
use crate::request::Subscribe;
use crate::result::ResultMessage;
use crate::stream::{Client, ClientError, Received, default_socket};

/// Between tries to connect again.
const RETRY: Duration = Duration::from_millis(200);

/// Messages that are passed over at most before a result is handed out: an endless stream must not hold it back.
const AT_ONCE: usize = 256;

/// What to wait for, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The daemon's socket; `None`: where it is by default.
    pub socket: Option<PathBuf>,
    /// What is wanted.
    pub subscribe: Subscribe,
    /// Results captured longer ago are refused; `None`: none is.
    pub max_age: Option<Duration>,
    /// Whether results that came while the program was busy are passed over, but for the newest.
    pub newest: bool,
    /// Whether a daemon that went is waited for.
    pub reconnect: bool,
    /// How long [`Results::next`] waits before it gives up with [`ClientError::Timeout`]; `None`: for ever.
    pub timeout: Option<Duration>,
}

/// Statistics of the newest result, none older than a second, for ever.
impl Default for Options {
    fn default() -> Self {
        let max_age = Some(Duration::from_secs(1));
        Options { socket: None, subscribe: Subscribe::default(), max_age, newest: true, reconnect: true, timeout: None }
    }
}

/// A stream of fresh results.
#[derive(Debug)]
pub struct Results {
    options: Options,
    client: Option<Client>,
    hello: Option<Hello>,
    camera_lost: Option<String>,
    current: Option<Received>,
    accepted: bool,
    broken: bool,
    refused: u64,
}

/// A fresh result with its maps.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The result.
    pub result: &'a ResultMessage,
    /// Who gave it, and what its numbers mean.
    pub hello: &'a Hello,
    client: &'a Client,
    received: &'a Received,
}

impl<'a> Answer<'a> {
    /// A map by its task's name, or `image`.
    pub fn map(&self, task: &str) -> Result<Map<'a>, MapError> {
        self.client.map_of(self.received, task)
    }
}

impl Results {
    /// Connects and subscribes. Fails when nobody answers; a daemon that goes later is waited for.
    pub fn open(options: Options) -> Result<Results, ClientError> {
        let mut results = Results {
            options,
            client: None,
            hello: None,
            camera_lost: None,
            current: None,
            accepted: false,
            broken: false,
            refused: 0,
        };
        results.connect()?;
        Ok(results)
    }

    /// How many results were too old to hand out.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Why the daemon has no camera, while it has none.
    pub fn camera_lost(&self) -> Option<&str> {
        self.camera_lost.as_deref()
    }

    fn connect(&mut self) -> Result<(), ClientError> {
        let path = self.options.socket.clone().unwrap_or_else(default_socket);
        let mut client = Client::connect(path)?;
        // A daemon without room has closed already: what it sent before tells why.
        match client.subscribe(&self.options.subscribe) {
            Ok(()) | Err(ClientError::Io(_)) => {}
            Err(error) => return Err(error),
        }
        (self.client, self.hello, self.camera_lost, self.accepted) = (Some(client), None, None, false);
        Ok(())
    }

    /// Waits for the next fresh result.
    // Not an Iterator: what it gives borrows from it.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Answer<'_>, ClientError> {
        let end = self.options.timeout.map(|timeout| Instant::now() + timeout);
        while !self.advance(end)? {}
        if self.options.newest {
            self.catch_up();
        }
        let gone = || ClientError::Malformed("a result before the greeting".to_owned());
        let received = self.current.as_ref().ok_or_else(gone)?;
        let Message::Result(result) = &received.message else { return Err(gone()) };
        let hello = self.hello.as_ref().ok_or_else(gone)?;
        let client = self.client.as_ref().ok_or_else(gone)?;
        Ok(Answer { result, hello, client, received })
    }

    /// Takes what has come meanwhile. Trouble waits for the next call: this one has its result.
    fn catch_up(&mut self) {
        for _ in 0..AT_ONCE {
            let Some(client) = &mut self.client else { return };
            if !client.wait(Some(Duration::ZERO)).unwrap_or(false) {
                return;
            }
            match client.receive() {
                Ok(Some(received)) if !matches!(received.message, Message::Error { .. }) => {
                    let _ = self.take(received);
                }
                Ok(Some(_)) => {}
                _ => {
                    self.broken = true;
                    return;
                }
            }
        }
    }

    /// Takes one message, or connects again. Returns whether a fresh result is there now.
    fn advance(&mut self, end: Option<Instant>) -> Result<bool, ClientError> {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(ClientError::Timeout);
        }
        if std::mem::take(&mut self.broken) {
            self.client = None;
            if !self.options.reconnect {
                return Err(ClientError::Closed);
            }
        }
        let Some(client) = &mut self.client else {
            if let Err(error) = self.connect() {
                if !self.options.reconnect {
                    return Err(error);
                }
                thread::sleep(left.map_or(RETRY, |left| left.min(RETRY)));
            }
            return Ok(false);
        };
        if !client.wait(left)? {
            return Ok(false);
        }
        match client.receive() {
            Ok(Some(received)) => self.take(received),
            Ok(None) | Err(ClientError::Io(_) | ClientError::Torn) if self.options.reconnect => {
                self.client = None;
                Ok(false)
            }
            Ok(None) => Err(ClientError::Closed),
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, received: Received) -> Result<bool, ClientError> {
        match &received.message {
            Message::Hello(hello) => self.hello = Some(hello.clone()),
            Message::Model(model) => {
                if let Some(hello) = &mut self.hello {
                    (hello.bundle, hello.tasks) = (model.bundle.clone(), model.tasks.clone());
                }
            }
            Message::Camera(camera) => {
                self.camera_lost = match camera.state {
                    CameraState::Lost => Some(camera.reason.clone().unwrap_or_default()),
                    _ => None,
                };
                if let Some(hello) = &mut self.hello {
                    hello.camera.clone_from(&camera.camera);
                }
            }
            Message::Ok => self.accepted = true,
            // Before the answer to our one request, an error is that answer, or the greeting of a full house.
            Message::Error { message } if !self.accepted => {
                self.client = None;
                return Err(ClientError::Refused(message.clone()));
            }
            // Results that come before the request is in force have not what was asked for.
            Message::Result(result) if self.accepted => {
                let age = now_ns().saturating_sub(result.captured_ns);
                if self.options.max_age.is_some_and(|limit| u128::from(age) > limit.as_nanos()) {
                    self.refused += 1;
                } else {
                    self.current = Some(received);
                    return Ok(true);
                }
            }
            _ => {}
        }
        Ok(false)
    }
}

/// The hello's clock.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}

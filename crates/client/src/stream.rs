//! A blocking client: connects, reads line by line, takes the payload and the descriptors that a line announces. Results' lines that
//! come in shared memory are found there, behind all that the socket has.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use milad_ring::{Line, LinesReader};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::connection::Connection;
use crate::map::{Map, MapError, SharedMaps};
use crate::maps::MapsMessage;
use crate::message::{CameraState, Message};
use crate::request::{Request, Subscribe};
use crate::result::MapInfo;

/// What a daemon may make a client hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a line.
    pub line: usize,
    /// Bytes of a payload.
    pub payload: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { line: 1 << 20, payload: 256 << 20 }
    }
}

/// Why a client can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers at that path.
    #[error("can't connect to {path}: {source}; is milad running, and may you use its socket (group milad)?")]
    Connect {
        /// The path.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The daemon ended in the middle of a message.
    #[error("the stream ended in the middle of a message")]
    Torn,
    /// The daemon closed the connection between two messages.
    #[error("the daemon closed the connection")]
    Closed,
    /// No fresh result in time.
    #[error("no fresh result in time")]
    Timeout,
    /// The daemon refused what was asked for, or had no room.
    #[error("refused by milad: {0}")]
    Refused(String),
    /// A line that is no message.
    #[error("not a message of milad: {0}")]
    Malformed(String),
    /// More than [`Limits`] allow.
    #[error("a {what} of more than {limit} bytes: not a message of milad")]
    TooLong {
        /// `line` or `payload`.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
}

/// One message as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// Its line, without the newline.
    pub line: String,
    /// The raw bytes behind it; empty without maps.
    pub payload: Vec<u8>,
}

impl Received {
    /// The bytes of a map of this message. `None` where the message describes bytes that it did not bring.
    pub fn map(&self, info: &MapInfo) -> Option<&[u8]> {
        let start = usize::try_from(info.offset).ok()?;
        let end = start.checked_add(usize::try_from(info.bytes).ok()?)?;
        self.payload.get(start..end)
    }
}

/// A connection to a daemon. Iterating gives its messages; the end of the iteration is the end of the stream.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<Connection>,
    limits: Limits,
    shared: Option<SharedMaps>,
    lines: Option<LinesReader>,
    /// The lines that were read before, whose memory counts no more.
    before: Option<LinesReader>,
    /// What is to be given before anything is read.
    rest: VecDeque<Received>,
    over: bool,
}

impl Client {
    /// Connects to the socket at `path`.
    pub fn connect(path: impl AsRef<Path>) -> Result<Client, ClientError> {
        let path = path.as_ref();
        let stream =
            UnixStream::connect(path).map_err(|source| ClientError::Connect { path: path.to_owned(), source })?;
        Ok(Client::from_stream(stream, Limits::default()))
    }

    /// A client on a connection that is there already.
    pub fn from_stream(stream: UnixStream, limits: Limits) -> Client {
        let reader = BufReader::with_capacity(64 << 10, Connection::new(stream));
        Client { reader, limits, shared: None, lines: None, before: None, rest: VecDeque::new(), over: false }
    }

    /// How long a read may wait before it fails with [`io::ErrorKind::WouldBlock`]; `None`: for ever.
    /// A message that has begun is then lost: make another connection. Lines in shared memory are waited for without a limit:
    /// see [`Client::wait`].
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> Result<(), ClientError> {
        Ok(self.stream().set_read_timeout(timeout)?)
    }

    /// The connection itself, for `poll`; which does not tell of lines in shared memory.
    pub fn stream(&self) -> &UnixStream {
        self.reader.get_ref().stream()
    }

    /// Whether bytes were taken from the connection that [`Client::receive`] has not given yet: `poll` can't know.
    pub fn has_buffered(&self) -> bool {
        !self.rest.is_empty() || !self.reader.buffer().is_empty()
    }

    /// Waits until [`Client::receive`] has something to begin with, or `left` is over. Returns whether it has. May return early.
    pub fn wait(&self, left: Option<Duration>) -> Result<bool, ClientError> {
        if self.has_buffered() {
            return Ok(true);
        }
        let end = left.map(|left| Instant::now() + left);
        while let Some(lines) = &self.lines {
            let bell = lines.bell();
            if self.poll(Some(Duration::ZERO))? || lines.waits() {
                return Ok(true);
            }
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(false);
            }
            lines.wait(bell, left);
        }
        self.poll(left)
    }

    fn poll(&self, left: Option<Duration>) -> Result<bool, ClientError> {
        let timeout = left.map(|left| Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ });
        match poll(&mut [PollFd::new(self.stream(), PollFlags::IN)], timeout.as_ref()) {
            Ok(count) => Ok(count > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(ClientError::Io(error.into())),
        }
    }

    /// Asks for `what`. The answer (`ok` or `error`) comes among the messages.
    pub fn subscribe(&mut self, what: &Subscribe) -> Result<(), ClientError> {
        let request = Request { protocol: None, subscribe: what.clone() };
        let mut line = serde_json::to_vec(&request).map_err(|e| ClientError::Malformed(e.to_string()))?;
        line.push(b'\n');
        Ok(self.stream().write_all(&line)?)
    }

    /// The next message; `None` when the daemon closed the connection between two messages.
    pub fn receive(&mut self) -> Result<Option<Received>, ClientError> {
        if let Some(received) = self.rest.pop_front() {
            return Ok(Some(received));
        }
        while self.lines.is_some() && !self.has_buffered() {
            if !self.wait(None)? || self.poll(Some(Duration::ZERO))? {
                break;
            }
            // It may be gone again by now.
            if let Some(line) = self.lines.as_mut().and_then(LinesReader::take) {
                return from_line(line).map(Some);
            }
        }
        let mut line = Vec::new();
        let limit = self.limits.line as u64;
        // One more than allowed, to tell a line of just that length from a longer one.
        self.reader.by_ref().take(limit + 1).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            self.end_lines()?;
            return Ok(self.rest.pop_front());
        }
        if line.pop_if(|byte| *byte == b'\n').is_none() {
            return Err(if line.len() as u64 > limit {
                ClientError::TooLong { what: "line", limit }
            } else {
                ClientError::Torn
            });
        }
        let line = String::from_utf8(line).map_err(|e| ClientError::Malformed(e.to_string()))?;
        let mut message: Message = serde_json::from_str(&line).map_err(|e| ClientError::Malformed(e.to_string()))?;
        let mut payload = Vec::new();
        if let Message::Result(result) = &message {
            let bytes = result.payload_bytes;
            if bytes > self.limits.payload {
                return Err(ClientError::TooLong { what: "payload", limit: self.limits.payload });
            }
            // Grows with what comes, not with what is announced.
            if self.reader.by_ref().take(bytes).read_to_end(&mut payload)? as u64 != bytes {
                return Err(ClientError::Torn);
            }
        }
        match &mut message {
            Message::Maps(maps) => self.take_memory(maps)?,
            // Lines of another epoch come in other memory. What was not read of the last one's is too late, and counted as missed.
            Message::Camera(camera) if camera.state == CameraState::Up => self.leave_lines(),
            Message::Model(_) => self.leave_lines(),
            // Another request may want none; where it does, memory comes anew, and once for several requests.
            Message::Ok => self.leave_lines(),
            Message::Bye { .. } => self.end_lines()?,
            Message::Result(result) => {
                if self.lines.is_none() {
                    // From here on there is nothing to count from.
                    self.before = None;
                }
                if let (Some(lines), Some(shared)) = (&mut self.lines, result.shared) {
                    result.dropped = result.dropped.saturating_add(u64::from(lines.saw(shared.generation)));
                }
            }
            _ => {}
        }
        self.rest.push_back(Received { message, line, payload });
        Ok(self.rest.pop_front())
    }

    fn leave_lines(&mut self) {
        self.before = self.lines.take().or(self.before.take());
    }

    /// Before the end comes what was written before it.
    fn end_lines(&mut self) -> Result<(), ClientError> {
        let rest = self.lines.take().map(|mut lines| lines.rest()).unwrap_or_default();
        for line in rest {
            self.rest.push_back(from_line(line)?);
        }
        Ok(())
    }

    fn take_memory(&mut self, maps: &MapsMessage) -> Result<(), ClientError> {
        let descriptors = self.reader.get_mut().take_descriptors().unwrap_or_default();
        self.shared = Some(SharedMaps::new(maps, &descriptors).map_err(ClientError::Malformed)?);
        let layout = maps.lines.as_ref().map(|lines| lines.layout(maps.slots));
        let mut lines = match (layout, descriptors.last()) {
            (None, _) => None,
            (Some(Some(layout)), Some(fd)) => {
                Some(LinesReader::new(fd, layout).map_err(|error| ClientError::Malformed(error.to_string()))?)
            }
            _ => return Err(ClientError::Malformed("lines larger than this machine's memory".to_owned())),
        };
        self.leave_lines();
        if let (Some(lines), Some(before)) = (&mut lines, self.before.take()) {
            lines.follow(&before);
        }
        self.lines = lines;
        Ok(())
    }

    /// A map of the newest result, by its task's name or `image`. Maps in shared memory last only until the daemon comes
    /// around: see [`Map`].
    pub fn map_of<'a>(&'a self, received: &'a Received, task: &str) -> Result<Map<'a>, MapError> {
        let missing = |there: Vec<&str>| MapError::Missing { task: task.to_owned(), there: there.join(", ") };
        let Message::Result(result) = &received.message else { return Err(missing(Vec::new())) };
        if let (Some(slot), Some(shared)) = (result.shared, &self.shared) {
            return shared.map(slot, task).ok_or_else(|| missing(shared.names().collect()));
        }
        let info = result.maps.iter().find(|info| info.task == task);
        info.and_then(|info| Some(Map::inline(info.dtype, &info.shape, received.map(info)?)))
            .ok_or_else(|| missing(result.maps.iter().map(|info| info.task.as_str()).collect()))
    }
}

impl Iterator for Client {
    type Item = Result<Received, ClientError>;

    /// The next message. After an error there is nothing more: its place in the stream is lost.
    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.receive().transpose();
        self.over = !matches!(next, Some(Ok(_)));
        next
    }
}

/// A result's line from shared memory. The daemon does not know what this reader overlooked there.
fn from_line(line: Line) -> Result<Received, ClientError> {
    let text = String::from_utf8(line.text).map_err(|e| ClientError::Malformed(e.to_string()))?;
    let mut message: Message = serde_json::from_str(&text).map_err(|e| ClientError::Malformed(e.to_string()))?;
    let Message::Result(result) = &mut message else {
        return Err(ClientError::Malformed("a line in shared memory that is no result".to_owned()));
    };
    result.dropped = result.dropped.saturating_add(u64::from(line.missed));
    Ok(Received { message, line: text, payload: Vec::new() })
}

/// Where a daemon's socket is by default: the system service's if it is there, else that of a daemon run by this user, in
/// its runtime folder or in a folder for temporary files that belongs to it. If none is there: the service's.
pub fn default_socket() -> PathBuf {
    let service = PathBuf::from("/run/milad/results.sock");
    if service.exists() {
        return service;
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(|folder| Path::new(&folder).join("milad.sock"));
    if let Some(socket) = runtime.filter(|socket| socket.exists()) {
        return socket;
    }
    // Everybody may write to the folder for temporary files: believe only what belongs to this user.
    if let Ok(me) = std::fs::metadata("/proc/self") {
        let folder = std::env::temp_dir().join(format!("milad-{}", me.uid()));
        let ours = std::fs::symlink_metadata(&folder).is_ok_and(|found| found.is_dir() && found.uid() == me.uid());
        if ours && folder.join("milad.sock").exists() {
            return folder.join("milad.sock");
        }
    }
    service
}

//! One connection to the results socket: its queue, its requests, its limits.
//!
//! It never waits and never holds more than [`Limits`] say. What a slow client loses are whole messages, the oldest
//! first, and it is told how many.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use milad_client::{Hello, LinesMode, MapsMode, Message, Subscribe};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, recv, send, sendmsg, shutdown,
};

use super::allowance::Allowance;
use super::block::{Block, Kind, TaskMask, Way};
use super::limits::Limits;
use super::plane::IMAGE_TASK;
use super::request;
use super::shared::{Delivery, Ring, Shared};
use super::unread::Unread;

const SECOND_NS: u64 = 1_000_000_000;
/// Requests of one client that are looked at before others have their turn.
const REQUESTS: usize = 8;
/// Descriptors of one message at most: one a task, the image's, and the lines'.
const DESCRIPTORS: usize = IMAGE_TASK + 2;
/// How long the requests of a client wait that sends more than it may.
const PAUSE_NS: u64 = 10_000_000;

/// The connection is over.
#[derive(Debug)]
pub struct Gone;

/// A message that waits, or that is being sent.
#[derive(Debug, Clone)]
enum Outgoing {
    Line(Arc<[u8]>),
    Maps(Delivery),
    Result { block: Arc<Block>, tasks: TaskMask, way: Way },
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    fd: OwnedFd,
    /// For the log.
    pub name: String,
    /// Tells it from all others that were ever there.
    pub number: u64,
    /// What of its socket is being waited for.
    pub watched: EventFlags,
    limits: Limits,
    /// Bytes of requests that are not answered yet.
    input: Vec<u8>,
    /// The peer has shut down its writing side.
    input_over: bool,
    current: Option<Outgoing>,
    /// Bytes of `current` that are sent.
    sent: usize,
    /// The own part of `current`; empty: it has none, its line is one that others get, too.
    tail: Vec<u8>,
    /// The socket took no more: no use in trying at once again.
    blocked: bool,
    waiting: VecDeque<Outgoing>,
    /// Messages lost since the last result that was sent.
    lost: u64,
    full_since: Option<u64>,
    /// When a client that is being disconnected is cut off.
    closing: Option<u64>,
    output_over: bool,
    /// Error messages that it may get.
    errors: Allowance,
    /// Requests that it may make; any number of blank lines in a row are one.
    requests: Allowance,
    /// Until then its requests wait.
    paused_until: u64,
    subscribed: Subscribe,
    tasks: TaskMask,
    /// The ring whose planes it was given last, of which tasks, and whether with lines.
    ring: (u64, TaskMask, bool),
    /// The descriptors that it was sent last.
    unread: Unread,
    /// It was sent something, and may be waiting elsewhere for a bell that tells of it.
    spoke: bool,
    /// Results until the next one that it wants.
    skip: u32,
}

impl Client {
    /// A client that gets everything without maps.
    pub fn new(fd: OwnedFd, name: String, hello: &Hello, limits: Limits, now_ns: u64) -> Client {
        let mut client = Client {
            fd,
            name,
            number: 0,
            watched: EventFlags::IN,
            limits,
            input: Vec::new(),
            input_over: false,
            current: None,
            sent: 0,
            tail: Vec::with_capacity(1024),
            blocked: false,
            waiting: VecDeque::with_capacity(limits.waiting + 1),
            lost: 0,
            full_since: None,
            closing: None,
            output_over: false,
            errors: Allowance::new(limits.errors, SECOND_NS, now_ns),
            requests: Allowance::new(limits.requests, PAUSE_NS, now_ns),
            paused_until: 0,
            subscribed: Subscribe::default(),
            tasks: 0,
            ring: (0, 0, false),
            unread: Unread::default(),
            spoke: false,
            skip: 0,
        };
        client.resolve(hello);
        client
    }

    /// The socket.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Finds its tasks among those of another hello.
    pub fn resolve(&mut self, hello: &Hello) {
        let names = self.subscribed.tasks.as_deref();
        let tasks = hello.tasks.iter().take(IMAGE_TASK).enumerate();
        let wanted = tasks.filter(|(_, task)| names.is_none_or(|names| names.contains(&task.name)));
        let image = if self.subscribed.image { 1 << IMAGE_TASK } else { 0 };
        self.tasks = wanted.fold(image, |mask, (i, _)| mask | 1 << i);
    }

    /// The tasks whose maps it wants this way.
    pub fn wants(&self, maps: MapsMode) -> TaskMask {
        if self.subscribed.maps == maps && self.closing.is_none() { self.tasks } else { 0 }
    }

    /// Whether it reads results' lines where their maps are.
    pub fn wants_lines(&self) -> bool {
        self.subscribed.lines == LinesMode::Shared && self.closing.is_none()
    }

    /// Whether it was sent something since the last time, though it may be waiting elsewhere.
    pub fn take_spoke(&mut self) -> bool {
        std::mem::take(&mut self.spoke)
    }

    /// Whether it wants to know where frames go.
    pub fn wants_account(&self) -> bool {
        self.subscribed.account && self.closing.is_none()
    }

    /// Whether there is something to send.
    pub fn has_output(&self) -> bool {
        self.current.is_some() || !self.waiting.is_empty()
    }

    /// Whether something is to be sent and the socket may take it.
    pub fn can_send(&self) -> bool {
        self.has_output() && !self.blocked
    }

    /// The socket may take something again. It tells only once three quarters of it are free, which takes a client that reads slowly
    /// but steadily for longer than it is waited for: so it is asked, too.
    pub fn unblock(&mut self) {
        self.blocked = false;
    }

    /// Whether its requests are read now. With a full queue they wait, in the kernel's buffer and then in the client.
    pub fn reads(&self, now_ns: u64) -> bool {
        let room = self.waiting.len() < self.limits.waiting && now_ns >= self.paused_until && !self.has_request();
        !self.input_over && (self.closing.is_some() || room)
    }

    /// When it must be looked at again though nothing happens.
    pub fn deadline(&self, now_ns: u64) -> Option<u64> {
        let end = self.closing.or(self.full_since.map(|since| since.saturating_add(self.limits.patience_ns)));
        let room = self.closing.is_none() && self.waiting.len() < self.limits.waiting;
        let paused = room && now_ns < self.paused_until && !self.input_over;
        let next = if room && self.has_request() { Some(self.paused_until) } else { None };
        [end, next, paused.then_some(self.paused_until)].into_iter().flatten().min()
    }

    /// Counts a result; whether it is one of those that this client wants.
    pub fn is_due(&mut self) -> bool {
        let due = self.will_be_due();
        self.skip = if due { self.subscribed.every.saturating_sub(1) } else { self.skip.saturating_sub(1) };
        due
    }

    /// Whether the next result is one of those that this client wants.
    pub fn will_be_due(&self) -> bool {
        self.closing.is_none() && self.skip == 0
    }

    /// What its next result's line is like, should it lose nothing and have the ring's memory.
    pub fn kind(&self, shared: Option<Shared<'_>>) -> Kind {
        let way = match (self.subscribed.maps, shared) {
            (MapsMode::Inline, _) => Way::Inline,
            (MapsMode::Shared, Some(Shared { ring, slot, .. })) if self.finds_all_in(ring) => Way::Shared(slot),
            _ => Way::None,
        };
        (self.tasks, way)
    }

    /// Whether the newest result is one that it looks for in this ring. Who has memory with lines does so even when a map is missing, which
    /// the slot's generation tells: some lines there and some by the socket would have no order.
    fn finds_all_in(&self, ring: &Ring) -> bool {
        self.tasks != 0 && (ring.has(self.tasks) || self.wants_lines() && self.was_given(ring, true))
    }

    /// Whether it was given the planes of its tasks, and lines if they are to be there.
    fn was_given(&self, ring: &Ring, lines: bool) -> bool {
        let (serial, given, given_lines) = self.ring;
        serial == ring.serial() && self.tasks & !given == 0 && (given_lines || !lines)
    }

    /// Queues a result, whose maps are in the ring's slot where there is one, unless its line is there, too, and read there. Returns
    /// how many messages were lost for it.
    pub fn offer_result(&mut self, block: &Arc<Block>, shared: Option<Shared<'_>>, now_ns: u64) -> u64 {
        let ((_, mut way), mut lost) = (self.kind(shared), 0);
        if let (Way::Shared(_), Some(Shared { ring, line, .. })) = (way, shared) {
            let lines = line && self.wants_lines();
            if !self.was_given(ring, lines) && !self.lies_unread() {
                let (queued, lost_now) = self.offer(Outgoing::Maps(ring.delivery(self.tasks, lines)), now_ns);
                lost += lost_now;
                if queued {
                    self.ring = (ring.serial(), self.tasks, lines);
                }
            }
            match self.was_given(ring, lines) {
                true if lines => return lost,
                true => {}
                // Without its memory, which comes as soon as it has read the one before, a slot's number is of no use: then there are no maps with this result.
                false => way = Way::None,
            }
        }
        lost + self.offer(Outgoing::Result { block: block.clone(), tasks: self.tasks, way }, now_ns).1
    }

    /// Whether memory that it was given before waits to be read, here or in the socket.
    fn lies_unread(&self) -> bool {
        let mut here = self.current.iter().chain(&self.waiting);
        here.any(|message| matches!(message, Outgoing::Maps(_))) || self.unread.lies_in(&self.fd)
    }

    /// Queues a line (with its newline). Returns how many messages were lost for it.
    pub fn offer_line(&mut self, line: Arc<[u8]>, now_ns: u64) -> u64 {
        self.offer(Outgoing::Line(line), now_ns).1
    }

    /// Whether the message was queued, and how many messages were lost.
    fn offer(&mut self, message: Outgoing, now_ns: u64) -> (bool, u64) {
        if self.closing.is_some() {
            return (false, 0);
        }
        let mut lost = 0;
        if self.waiting.len() >= self.limits.waiting {
            lost = 1;
            // The oldest result: what comes later says more. Other lines are rarer and not repeated.
            match self.waiting.iter().position(|waiting| matches!(waiting, Outgoing::Result { .. })) {
                Some(oldest) => drop(self.waiting.remove(oldest)),
                None => {
                    self.lost += lost;
                    return (false, lost);
                }
            }
        }
        self.lost += lost;
        self.waiting.push_back(message);
        self.note_fullness(now_ns);
        (true, lost)
    }

    fn note_fullness(&mut self, now_ns: u64) {
        if self.waiting.len() < self.limits.waiting || self.closing.is_some() {
            self.full_since = None;
        } else if self.full_since.is_none() {
            self.full_since = Some(now_ns);
        }
    }

    /// Lets it go: what waits is thrown away, `last` is the last line it gets, if it takes it in time.
    pub fn dismiss(&mut self, last: &Message, now_ns: u64) {
        if self.closing.is_none() {
            self.waiting.clear();
            self.waiting.push_back(Outgoing::Line(encode(last)));
            self.unblock();
            self.closing = Some(now_ns.saturating_add(self.limits.grace_ns));
            self.full_since = None;
        }
    }

    /// Whether too many messages waited for too long.
    pub fn is_overdue(&self, now_ns: u64) -> bool {
        self.full_since.is_some_and(|since| now_ns.saturating_sub(since) >= self.limits.patience_ns)
    }

    /// Whether a dismissed client's time is over.
    pub fn is_over(&self, now_ns: u64) -> bool {
        self.closing.is_some_and(|deadline| now_ns >= deadline)
    }

    /// Sends what the socket takes without waiting.
    pub fn send(&mut self, now_ns: u64) -> Result<(), Gone> {
        loop {
            if self.current.is_none() {
                let Some(next) = self.waiting.pop_front() else { break };
                if let Outgoing::Result { block, tasks, way } = &next {
                    self.tail.clear();
                    if self.lost > 0 || block.line((*tasks, *way)).is_none() {
                        block.write_tail(&mut self.tail, self.lost, *tasks, *way);
                        self.lost = 0;
                    }
                }
                self.current = Some(next);
                self.sent = 0;
                self.note_fullness(now_ns);
            }
            match self.send_some() {
                Ok(true) => self.current = None,
                Ok(false) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.blocked = true;
                    return Ok(());
                }
                Err(_) => return Err(Gone),
            }
        }
        if self.closing.is_some() && !self.output_over {
            self.output_over = true;
            // The peer reads to the end of the stream; then it closes, or its time is over.
            shutdown(&self.fd, Shutdown::Write).map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// One system call's worth of the current message. Returns whether it is complete.
    fn send_some(&mut self) -> Result<bool, Errno> {
        const SLICES: usize = 16;
        let mut slices = [IoSlice::new(&[]); SLICES];
        let (mut count, mut skip, mut left) = (0, self.sent, 0);
        let mut add = |bytes: &'_ [u8]| -> usize {
            let rest = bytes.len().saturating_sub(skip);
            skip = skip.saturating_sub(bytes.len());
            rest
        };
        // What is left of each part, in order; parts beyond the slices wait for the next call.
        macro_rules! part {
            ($bytes:expr) => {{
                let bytes: &[u8] = $bytes;
                let rest = add(bytes);
                if rest > 0 {
                    left += rest;
                    if let (Some(slot), Some(bytes)) = (slices.get_mut(count), bytes.get(bytes.len() - rest..)) {
                        *slot = IoSlice::new(bytes);
                        count += 1;
                    }
                }
            }};
        }
        let mut descriptors: Option<&[Arc<OwnedFd>]> = None;
        match &self.current {
            None => return Ok(true),
            Some(Outgoing::Line(line)) => part!(line),
            Some(Outgoing::Maps(delivery)) => {
                part!(&delivery.line);
                // The descriptors go with the first byte.
                if self.sent == 0 {
                    descriptors = Some(&delivery.descriptors);
                }
            }
            Some(Outgoing::Result { block, tasks, way }) => {
                match block.line((*tasks, *way)).filter(|_| self.tail.is_empty()) {
                    Some(line) => part!(line),
                    None => {
                        part!(block.head());
                        part!(&self.tail);
                    }
                }
                if *way == Way::Inline {
                    block.planes(*tasks).for_each(|plane| part!(plane));
                }
            }
        }
        let slices = slices.get(..count).unwrap_or_default();
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = match (descriptors, slices) {
            (None, [slice]) => send(&self.fd, slice, flags)?,
            (None, slices) => sendmsg(&self.fd, slices, &mut SendAncillaryBuffer::default(), flags)?,
            (Some(descriptors), slices) => {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                let descriptors: Vec<_> = descriptors.iter().map(|fd| fd.as_fd()).collect();
                if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
                    return Err(Errno::TOOBIG);
                }
                sendmsg(&self.fd, slices, &mut control, flags)?
            }
        };
        self.sent += sent;
        self.unread.sent(sent, descriptors.is_some());
        self.spoke |= self.subscribed.lines == LinesMode::Shared;
        Ok(sent == left)
    }

    /// Reads what is there without waiting. A dismissed client's words are thrown away.
    pub fn receive(&mut self) -> Result<(), Gone> {
        let mut buffer = [0u8; 4096];
        match recv(&self.fd, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                self.input_over = true;
                // Half a line is no request; whole ones may still wait for their answer.
                let whole = self.input.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                self.input.truncate(whole);
                // No more requests is not goodbye; but somebody who was dismissed has nothing more to get.
                if self.output_over { Err(Gone) } else { Ok(()) }
            }
            Ok((count, _)) => {
                if self.closing.is_none() {
                    self.input.extend(buffer.iter().take(count));
                }
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(_) => Err(Gone),
        }
    }

    /// Whether a complete line waits for its answer.
    pub fn has_request(&self) -> bool {
        self.input.contains(&b'\n')
    }

    /// Answers a few of the complete lines that were received, as far as the queue has room for answers. Returns whether the
    /// client had to be dismissed.
    pub fn answer(&mut self, hello: &Hello, now_ns: u64) -> bool {
        let limit = self.limits.request_bytes;
        for _ in 0..REQUESTS {
            if self.closing.is_some() || self.waiting.len() >= self.limits.waiting || now_ns < self.paused_until {
                return false;
            }
            let Some(end) = self.input.iter().position(|byte| *byte == b'\n').filter(|end| *end <= limit) else {
                if self.input.len() <= limit {
                    return false;
                }
                let message = format!("a request has at most {limit} bytes and a newline: closing");
                self.dismiss(&Message::Error { message }, now_ns);
                self.input = Vec::new();
                return true;
            };
            if !self.requests.take(now_ns) {
                self.paused_until = now_ns.saturating_add(PAUSE_NS);
                return false;
            }
            let line = self.input.get(..end).unwrap_or_default();
            if line.trim_ascii().is_empty() {
                let blank = self.input.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(self.input.len());
                let end = self.input.iter().take(blank).rposition(|byte| *byte == b'\n').unwrap_or(end);
                self.input.drain(..=end);
                continue;
            }
            let answer = request::parse(line, hello);
            self.input.drain(..=end);
            match answer {
                Ok(subscribe) => {
                    self.subscribed = subscribe;
                    self.skip = 0;
                    // Who may have ended reading lines begins again with memory.
                    self.ring = (0, 0, false);
                    self.resolve(hello);
                    self.offer_line(encode(&Message::Ok), now_ns);
                }
                Err(message) if self.errors.take(now_ns) => {
                    self.offer_line(encode(&Message::Error { message }), now_ns);
                }
                // It was told often enough.
                Err(_) => self.paused_until = now_ns.saturating_add(PAUSE_NS),
            }
        }
        false
    }
}

/// A message as a line.
pub fn encode(message: &Message) -> Arc<[u8]> {
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

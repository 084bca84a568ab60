//! The poll loop over the results socket and all its clients: one thread, no waiting for anybody.
//!
//! Results come first: when one waits, clients have their turn behind it, and a turn is short. Lines go out before payloads, and one
//! right behind the other: while the kernel wakes the first reader's processor, waking others there costs next to nothing.
//!
//! Once warm it allocates nothing per result: blocks and queues are reused, and what the system tells lies on the stack.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use milad_client::{Hello, IMAGE, MapsMode, Message, ResultMessage};
use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{SendFlags, SocketFlags, accept_with, send};

use super::block::{Block, TaskMask, Way, contains, encoded};
use super::client::{Client, encode};
use super::limits::Limits;
use super::plane::{IMAGE_TASK, Plane};
use super::ready::{LISTENER, Ready};
use super::shared::{Ring, Shared};
use super::socket::ListeningSocket;
use crate::clock;
use crate::pulse::rest_during;
use crate::telemetry::Metrics;

/// Newcomers greeted before anybody else's turn.
const ACCEPTS: usize = 16;
/// After a failed accept (no descriptors left, say): time before the next try.
const PAUSE_NS: u64 = 200_000_000;
/// How long a turn of the clients may take before a result that came meanwhile.
const TURN_NS: u64 = 300_000;
/// How long clients' turn may wait for a frame that is on its way.
const COURTESY: Duration = Duration::from_millis(2);
/// How long the last words may take.
const FAREWELL: Duration = Duration::from_millis(200);

/// Which tasks' maps anybody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wants(TaskMask);

impl Wants {
    /// Whether somebody wants this task's map; tasks are counted as in the hello.
    pub fn task(self, task: usize) -> bool {
        contains(self.0, task)
    }

    /// Whether somebody wants the picture that the networks saw.
    pub fn image(self) -> bool {
        contains(self.0, IMAGE_TASK)
    }

    /// Whether somebody wants any map.
    pub fn any(self) -> bool {
        self.0 != 0
    }
}

/// The results socket with its clients.
pub struct Server {
    listener: ListeningSocket,
    ready: Ready,
    limits: Limits,
    clock: Box<dyn Fn() -> u64 + Send>,
    metrics: Metrics,
    hello: Option<Hello>,
    clients: Vec<Client>,
    /// Blocks that nobody holds are used again.
    blocks: Vec<Arc<Block>>,
    /// Maps in shared memory, while somebody wants them.
    ring: Option<Ring>,
    rings: u64,
    /// Of the next maps in shared memory.
    generation: NonZeroU32,
    connections: u64,
    paused_until: u64,
    /// Clients were passed over for a result: their turn is next.
    passed_over: bool,
    /// Whether a frame is on its way.
    expects: Box<dyn Fn() -> bool + Send>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("listener", &self.listener).field("clients", &self.clients.len()).finish()
    }
}

impl Server {
    /// A server that accepts nobody until it has a [`Server::hello`].
    pub fn new(listener: impl Into<ListeningSocket>, limits: Limits) -> io::Result<Server> {
        let listener = listener.into();
        listener.listener().set_nonblocking(true)?;
        let limits =
            Limits { clients: limits.clients.min(Limits::MAX_CLIENTS), waiting: limits.waiting.max(1), ..limits };
        Ok(Server {
            ready: Ready::new(&listener)?,
            listener,
            limits,
            clock: Box::new(clock::monotonic_ns),
            metrics: Metrics::new(),
            hello: None,
            clients: Vec::with_capacity(limits.clients),
            blocks: Vec::new(),
            ring: None,
            rings: 0,
            generation: NonZeroU32::MIN,
            connections: 0,
            paused_until: 0,
            passed_over: false,
            expects: Box::new(|| false),
        })
    }

    /// Counts its clients and their losses there.
    pub fn with_metrics(mut self, metrics: Metrics) -> Server {
        self.metrics = metrics;
        self
    }

    /// Another clock than `CLOCK_MONOTONIC`: for tests of time limits.
    pub fn with_clock(mut self, clock: impl Fn() -> u64 + Send + 'static) -> Server {
        self.clock = Box::new(clock);
        self
    }

    /// Clients' turn waits for a result while `frame` says that one is on its way: they may share a processor with the stages that
    /// work on it. Not for long; and not behind a result.
    pub fn courteous(&mut self, frame: impl Fn() -> bool + Send + 'static) {
        self.expects = Box::new(frame);
    }

    /// How newcomers are greeted from now on (its `realtime_offset_ns` is measured anew for each). Clients that are there
    /// keep what they subscribed to by name; [`Server::announce`] the change to them.
    pub fn hello(&mut self, hello: Hello) {
        self.clients.iter_mut().for_each(|client| client.resolve(&hello));
        self.hello = Some(hello);
    }

    /// How many clients are connected.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Which maps to hand to [`Server::publish`].
    pub fn wants(&self) -> Wants {
        Wants(self.wanted(MapsMode::Inline) | self.wanted(MapsMode::Shared))
    }

    fn wanted(&self, maps: MapsMode) -> TaskMask {
        self.clients.iter().fold(0, |mask, client| mask | client.wants(maps))
    }

    /// Whether somebody wants to know where frames go.
    pub fn wants_account(&self) -> bool {
        self.clients.iter().any(Client::wants_account)
    }

    /// Lends the planes of the next result, which count tasks as the hello does, room in shared memory, as far as somebody will read
    /// them there. Before they are made; else nobody gets them that way. Memory is there once a client wanted any, until the epoch ends.
    pub fn lend(&mut self, epoch: u64, planes: &mut [Plane]) {
        planes.iter_mut().for_each(|plane| plane.values.lend(None));
        let due = self.clients.iter().filter(|client| client.will_be_due());
        let wanted = due.fold(0, |mask, client| mask | client.wants(MapsMode::Shared));
        if wanted == 0 {
            self.ring.take_if(|ring| !ring.fits(epoch, planes));
            let nobody = self.wanted(MapsMode::Shared) == 0;
            if let Some(ring) = self.ring.as_mut().filter(|_| nobody) {
                ring.forgive();
            }
            return;
        }
        let Some(hello) = &self.hello else { return };
        let ring = match &mut self.ring {
            Some(ring) if ring.fits(epoch, planes) => ring,
            other => {
                self.rings += 1;
                other.insert(Ring::new(epoch, self.rings))
            }
        };
        let task = |task: usize| hello.tasks.get(task).map(|task| task.name.as_str());
        ring.lend(planes, wanted, |number| if number == IMAGE_TASK { Some(IMAGE) } else { task(number) });
    }

    /// Sends a result to all clients that want it. `result.tasks` and `planes` count tasks as the hello does; `dropped`,
    /// `maps`, `payload_bytes` and `shared` of `result` are filled in by client.
    pub fn publish(&mut self, result: &ResultMessage, planes: &mut [Plane]) {
        let now = (self.clock)();
        // Only what somebody gets now is encoded, or written to shared memory.
        let mut due = [false; Limits::MAX_CLIENTS];
        let (mut inline, mut shared) = (0, 0);
        for (client, due) in self.clients.iter_mut().zip(&mut due) {
            *due = client.is_due();
            if *due {
                inline |= client.wants(MapsMode::Inline);
                shared |= client.wants(MapsMode::Shared);
            }
        }
        let slot = self.ring.as_mut().filter(|_| shared != 0).map(|ring| {
            let generation = self.generation;
            self.generation = generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
            ring.announce(planes, generation)
        });
        // Whoever wants payloads waits for those who don't.
        for (wanted, payloads) in [(0, false), (inline, true)] {
            let chosen = |client: &Client, due: bool| due && (client.wants(MapsMode::Inline) != 0) == payloads;
            let mut kinds = self.clients.iter().zip(due).filter(|(client, due)| chosen(client, *due)).peekable();
            if kinds.peek().is_none() {
                continue;
            }
            let shared = slot.zip(self.ring.as_ref()).map(|(slot, ring)| Shared { ring, slot, line: false });
            // One line for all who read it beside the maps: of all tasks that any of them wants.
            let readers =
                self.clients.iter().zip(due).filter(|(client, due)| chosen(client, *due) && client.wants_lines());
            let all = readers.map(|(client, _)| client.kind(shared)).filter(|(_, way)| *way != Way::None);
            let all = all.reduce(|(tasks, way), (more, _)| (tasks | more, way));
            let kinds = all.into_iter().chain(kinds.map(|(client, _)| client.kind(shared)));
            let block = encoded(&mut self.blocks, result, planes, wanted, kinds);
            let place = slot.zip(all.and_then(|kind| block.line(kind))).zip(self.ring.as_mut());
            let line = place.is_some_and(|((slot, line), ring)| ring.write_line(slot, line, block.longest_line()));
            // Who reads there has it all now. Whoever else is woken first may take the processor that they wait for.
            if let (true, Some(ring)) = (line, &self.ring) {
                ring.ring();
            }
            let shared = slot.zip(self.ring.as_ref()).map(|(slot, ring)| Shared { ring, slot, line });
            let clients = self.clients.iter_mut().zip(due).filter(|(client, due)| chosen(client, *due));
            let lost = clients.map(|(client, _)| client.offer_result(&block, shared, now)).sum();
            self.metrics.client_lost(lost);
            drop(block);
            // Nothing but sending from here to the last of the others.
            let clients = self.clients.iter_mut().zip(due).filter(|(client, due)| chosen(client, *due));
            for (client, _) in clients {
                client.unblock();
                // A client that is gone stays until the next poll tells so: nothing is closed here.
                let _ = client.send(now);
            }
            self.chime();
        }
    }

    /// Wakes clients that wait in shared memory, for what they were sent.
    fn chime(&mut self) {
        let spoke = self.clients.iter_mut().fold(false, |spoke, client| client.take_spoke() | spoke);
        if let (Some(ring), true) = (&self.ring, spoke) {
            ring.ring();
        }
    }

    /// Sends a line to all clients that want to know where frames go.
    pub fn account(&mut self, message: &Message) {
        let now = (self.clock)();
        let line = encode(message);
        let clients = self.clients.iter_mut().filter(|client| client.wants_account());
        let lost = clients.map(|client| client.offer_line(line.clone(), now)).sum();
        self.metrics.client_lost(lost);
        self.flush(now);
    }

    /// Sends a line to all clients.
    pub fn announce(&mut self, message: &Message) {
        let now = (self.clock)();
        let line = encode(message);
        let lost = self.clients.iter_mut().map(|client| client.offer_line(line.clone(), now)).sum();
        self.metrics.client_lost(lost);
        self.flush(now);
    }

    /// Serves clients until `wake` or `stop` is readable, or `timeout` is over. What `wake` tells of comes first: clients that
    /// have something to say then have their turn in the next call.
    pub fn wait(&mut self, wake: BorrowedFd<'_>, stop: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<()> {
        let end = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let woken = self.serve_once(wake, stop, left)?;
            if woken || end.is_some_and(|end| Instant::now() >= end) {
                return Ok(());
            }
        }
    }

    /// Says goodbye to all, gives them a moment to take it, and closes.
    pub fn close(mut self, reason: &str) {
        let now = (self.clock)();
        let bye = Message::Bye { reason: reason.into() };
        self.hello = None;
        self.clients.iter_mut().for_each(|client| client.dismiss(&bye, now));
        let end = Instant::now() + FAREWELL;
        loop {
            // Who has it all, or is gone, is closed.
            self.clients.retain_mut(|client| client.send(now).is_ok() && client.has_output());
            if let Some(ring) = &self.ring {
                ring.ring();
            }
            let left = end.saturating_duration_since(Instant::now());
            if self.clients.is_empty() || left.is_zero() {
                return;
            }
            let timeout = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos() as _ };
            let mut fds: Vec<_> = self.clients.iter().map(|client| PollFd::new(client.fd(), PollFlags::OUT)).collect();
            if poll(&mut fds, Some(&timeout)).is_err_and(|error| error != Errno::INTR) {
                return;
            }
        }
    }

    /// One poll and what follows from it. Returns whether `wake` or `stop` is readable.
    fn serve_once(&mut self, wake: BorrowedFd<'_>, stop: BorrowedFd<'_>, left: Option<Duration>) -> io::Result<bool> {
        let now = (self.clock)();
        let listening = self.hello.is_some() && now >= self.paused_until;
        let deadlines = self.clients.iter().filter_map(|client| client.deadline(now));
        let next = deadlines.chain((now < self.paused_until).then_some(self.paused_until)).min();
        let left = [left, next.map(|at| Duration::from_nanos(at.saturating_sub(now)))].into_iter().flatten().min();

        self.ready.listen(&self.listener, listening)?;
        let before = self.clients.len();
        self.clients.retain_mut(|client| watch(client, &self.ready, now));
        if self.clients.len() != before {
            self.metrics.clients(self.clients.len());
        }
        let [woken, stopped, ready] = look([wake, stop, self.ready.fd()], left)?;
        let mut woken = woken || stopped;
        if ready && !woken && !self.passed_over && (self.expects)() {
            let left = left.map_or(COURTESY, |left| left.min(COURTESY));
            woken = look([wake, stop], Some(left))?.contains(&true);
        }
        self.passed_over = woken && !self.passed_over;
        if self.passed_over {
            return Ok(true);
        }
        let (mut events, mut newcomers) = ([EventFlags::empty(); Limits::MAX_CLIENTS], false);
        if ready {
            let clients = &self.clients;
            self.ready.each(|number, flags| {
                newcomers |= number == LISTENER;
                let place = clients.iter().position(|client| client.number == number);
                if let Some(events) = place.and_then(|place| events.get_mut(place)) {
                    *events = flags;
                }
            })?;
        }
        let now = (self.clock)();
        self.serve_clients(&events, now);
        if newcomers {
            self.accept(now);
        }
        Ok(woken)
    }

    fn serve_clients(&mut self, events: &[EventFlags], now: u64) {
        let Some(hello) = &self.hello else { return };
        let before = self.clients.len();
        let (metrics, clock) = (&self.metrics, &self.clock);
        let mut events = events.iter().copied();
        let (mut served, mut over) = (0, false);
        self.clients.retain_mut(|client| {
            let events = events.next().unwrap_or(EventFlags::empty());
            if over {
                return true;
            }
            // Asking for the time costs more than looking at a client that has nothing.
            over = (!events.is_empty() || client.has_request()) && clock().saturating_sub(now) > TURN_NS;
            served += 1;
            let stays = serve(client, events, hello, now, metrics);
            if !stays {
                log::info!("client {} is gone", client.name);
                served -= 1;
            }
            stays
        });
        if over {
            // The others are the first next time.
            self.clients.rotate_left(served);
        }
        if self.clients.len() != before {
            self.metrics.clients(self.clients.len());
        }
        self.chime();
    }

    /// Sends to everybody what goes without waiting.
    fn flush(&mut self, now: u64) {
        for client in self.clients.iter_mut().filter(|client| client.has_output()) {
            client.unblock();
            let _ = client.send(now);
        }
        self.chime();
    }

    fn accept(&mut self, now: u64) {
        for number in 0..ACCEPTS {
            // At least one, or they might wait for ever.
            if number > 0 && (self.clock)().saturating_sub(now) > TURN_NS {
                return;
            }
            match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(fd) => self.greet(fd, now),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => {
                    log::warn!("can't accept a client: {error}");
                    self.paused_until = now.saturating_add(PAUSE_NS);
                    return;
                }
            }
        }
    }

    fn greet(&mut self, fd: OwnedFd, now: u64) {
        let Some(hello) = &mut self.hello else { return };
        self.connections += 1;
        self.metrics.client_connected();
        let name = match socket_peercred(&fd) {
            Ok(peer) => format!("{} (uid {}, pid {})", self.connections, peer.uid.as_raw(), peer.pid.as_raw_pid()),
            Err(_) => format!("{} (unknown uid)", self.connections),
        };
        if self.clients.len() >= self.limits.clients {
            log::warn!("client {name} refused: {} are connected", self.clients.len());
            self.metrics.client_refused();
            let message = format!("{} clients are connected, no room for more: try again later", self.limits.clients);
            // An empty socket has room for a line; if not, the closed connection says enough.
            let _ = send(&fd, &encode(&Message::Error { message }), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            return;
        }
        log::info!("client {name} connected");
        hello.realtime_offset_ns = clock::realtime_offset_ns();
        let mut client = Client::new(fd, name, hello, self.limits, now);
        client.number = self.connections;
        if let Err(error) = self.ready.add(client.fd(), client.number, client.watched) {
            log::warn!("client {} can't be waited for: {error}", client.name);
            return;
        }
        client.offer_line(encode(&Message::Hello(hello.clone())), now);
        // If it is gone already, poll tells.
        let _ = client.send(now);
        self.clients.push(client);
        self.metrics.clients(self.clients.len());
    }
}

/// Which of these are readable, now or in time.
fn look<const N: usize>(fds: [BorrowedFd<'_>; N], left: Option<Duration>) -> io::Result<[bool; N]> {
    let timeout = left.map(|left| Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ });
    let mut fds = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    match rest_during(left, || poll(&mut fds, timeout.as_ref())) {
        Ok(_) | Err(Errno::INTR) => Ok(fds.map(|fd| !fd.revents().is_empty())),
        Err(error) => Err(error.into()),
    }
}

/// Has its socket waited for as it is now. Returns whether it stays: what can't be waited for is that client's end, and no other's.
fn watch(client: &mut Client, ready: &Ready, now: u64) -> bool {
    let input = if client.reads(now) { EventFlags::IN } else { EventFlags::empty() };
    let output = if client.has_output() { EventFlags::OUT } else { EventFlags::empty() };
    if client.watched == input | output {
        return true;
    }
    client.watched = input | output;
    let changed = ready.change(client.fd(), client.number, client.watched);
    if let Err(error) = &changed {
        log::warn!("client {} can't be waited for: {error}", client.name);
    }
    changed.is_ok()
}

/// One client's turn. Returns whether it stays.
fn serve(client: &mut Client, events: EventFlags, hello: &Hello, now: u64, metrics: &Metrics) -> bool {
    // Both directions are shut down: nobody is there any more.
    if events.intersects(EventFlags::HUP | EventFlags::ERR) || client.is_over(now) {
        return false;
    }
    if events.contains(EventFlags::IN) && client.reads(now) && client.receive().is_err() {
        return false;
    }
    if events.contains(EventFlags::OUT) {
        client.unblock();
        if client.send(now).is_err() {
            return false;
        }
    }
    // Also requests that were received while the queue had no room for their answers.
    if client.answer(hello, now) {
        log::warn!("client {} sent a line that is too long: closing", client.name);
        metrics.client_expelled();
    }
    if client.can_send() && client.send(now).is_err() {
        return false;
    }
    if client.is_overdue(now) {
        client.unblock();
        if client.send(now).is_err() {
            return false;
        }
    }
    if client.is_overdue(now) {
        log::warn!("client {} does not read: closing", client.name);
        metrics.client_expelled();
        client.dismiss(&Message::Bye { reason: "too slow: messages waited for too long".into() }, now);
    }
    !client.can_send() || client.send(now).is_ok()
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;

//! The way from a stage to the next: newest wins, or lossless. Lock-free, and nothing is allocated per value.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};
use milad_handover::{Putter, Signal, Taker, mailbox};
use rustix::event::{EventfdFlags, eventfd};

use crate::pulse::rest_during;

/// What becomes of a value when the receiver is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The next value replaces it.
    NewestWins,
    /// The sender waits.
    Lossless,
}

/// What became of a value that was sent.
#[derive(Debug)]
pub enum Sent<T> {
    /// It is on its way.
    Delivered,
    /// It is on its way, and this one, which nobody had taken, made room.
    Replaced(T),
    /// The receiver is gone.
    Refused(T),
}

/// What a receiver finds without waiting.
#[derive(Debug)]
pub enum Received<T> {
    /// A value.
    Value(T),
    /// Nothing yet.
    Empty,
    /// Nothing, and there will be nothing any more.
    Closed,
}

// Fields drop in their order: an end is gone before the other one is told.

/// `values` is rung for each value, `room` whenever there is a place for another one.
#[derive(Debug)]
enum Sending<T> {
    Mailbox { putter: Putter<T>, values: Closing },
    Channel { sender: Sender<T>, values: Closing, room: Arc<Signal> },
}

#[derive(Debug)]
enum Receiving<T> {
    Mailbox { taker: Taker<T>, values: Arc<Signal> },
    Channel { receiver: Receiver<T>, room: Closing, values: Arc<Signal> },
}

/// The end that rings: closes the signal when it goes.
#[derive(Debug)]
struct Closing(Arc<Signal>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The sending end. Dropping it closes the link; what was sent can still be received.
#[derive(Debug)]
pub struct LinkSender<T> {
    // The link is closed before the bell rings for the last time.
    way: Sending<T>,
    bell: Bell,
}

/// The receiving end.
#[derive(Debug)]
pub struct LinkReceiver<T>(Receiving<T>);

/// Rings an event after each value, and when the sender is gone.
#[derive(Debug)]
struct Bell(Option<Event>);

impl Bell {
    fn ring(&self) {
        if let Some(event) = &self.0 {
            event.ring();
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.ring();
    }
}

/// A descriptor that becomes readable when a value (or the end) may wait, for a receiver that sits in `poll`.
#[derive(Debug, Clone)]
pub struct Event(Arc<OwnedFd>);

impl Event {
    /// Fails when the process is out of file descriptors.
    pub fn new() -> io::Result<Event> {
        Ok(Event(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Makes it readable.
    pub fn ring(&self) {
        // Fails only when the counter is full, and then it is readable already.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    /// Makes it unreadable until the next ring. Look for values *after* this, so that none is overlooked.
    pub fn clear(&self) {
        // EAGAIN means that nobody rang.
        let _ = rustix::io::read(&*self.0, &mut [0u8; 8]);
    }

    /// The descriptor to poll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A link. With `event`, the receiver may wait in `poll` instead of in [`LinkReceiver::receive`].
pub fn link<T: Send>(policy: Policy, event: Option<Event>) -> (LinkSender<T>, LinkReceiver<T>) {
    let bell = Bell(event);
    let values = Arc::new(Signal::default());
    let closing = Closing(values.clone());
    match policy {
        Policy::NewestWins => {
            let (putter, taker) = mailbox();
            let way = Sending::Mailbox { putter, values: closing };
            (LinkSender { way, bell }, LinkReceiver(Receiving::Mailbox { taker, values }))
        }
        Policy::Lossless => {
            let (sender, receiver) = bounded(1);
            let room = Arc::new(Signal::default());
            let way = Sending::Channel { sender, values: closing, room: room.clone() };
            let receiving = Receiving::Channel { receiver, room: Closing(room), values };
            (LinkSender { way, bell }, LinkReceiver(receiving))
        }
    }
}

impl<T: Send> LinkSender<T> {
    /// Sends a value. Waits only where the link is lossless and its one place is taken.
    pub fn send(&mut self, value: T) -> Sent<T> {
        let sent = match &mut self.way {
            Sending::Mailbox { putter, values } => {
                let replaced = putter.put(value);
                values.0.ring();
                replaced.map_or(Sent::Delivered, Sent::Replaced)
            }
            Sending::Channel { sender, values, room } => {
                let mut value = value;
                // Never the channel's own wait, which yields many times before it sleeps.
                loop {
                    match sender.try_send(value) {
                        Ok(()) => break,
                        Err(TrySendError::Disconnected(refused)) => return Sent::Refused(refused),
                        Err(TrySendError::Full(back)) => value = back,
                    }
                    rest_during(None, || room.wait());
                }
                values.0.ring();
                Sent::Delivered
            }
        };
        self.bell.ring();
        sent
    }
}

impl<T: Send> LinkReceiver<T> {
    /// Waits for the next value. `None` when the sender is gone and nothing is left.
    pub fn receive(&mut self) -> Option<T> {
        loop {
            match self.look() {
                Received::Value(value) => return Some(value),
                Received::Closed => return None,
                Received::Empty => {}
            }
            let values = self.values();
            if !rest_during(None, || values.wait()) {
                // Closed: what was put before is there by now.
                return match self.look() {
                    Received::Value(value) => Some(value),
                    Received::Empty | Received::Closed => None,
                };
            }
        }
    }

    /// Whether there is certainly nothing to receive, neither a value nor the end; who sends one later rings.
    pub fn is_idle(&self) -> bool {
        // The token may be taken: a value is found without it.
        let state = self.values().take();
        !state.rung && !state.closed
    }

    /// Looks for a value without waiting.
    pub fn try_receive(&mut self) -> Received<T> {
        // The signal first: a value put before the end is then still found. Its token is taken, for that may be of a value that was found before
        // its token came.
        let closed = self.values().take().closed;
        match self.look() {
            Received::Empty if closed => Received::Closed,
            found => found,
        }
    }

    fn values(&self) -> &Signal {
        match &self.0 {
            Receiving::Mailbox { values, .. } | Receiving::Channel { values, .. } => values,
        }
    }

    /// What is there; of a mailbox the end is not seen.
    fn look(&mut self) -> Received<T> {
        match &mut self.0 {
            Receiving::Mailbox { taker, .. } => taker.take().map_or(Received::Empty, Received::Value),
            Receiving::Channel { receiver, room, .. } => match receiver.try_recv() {
                Ok(value) => {
                    room.0.ring();
                    Received::Value(value)
                }
                Err(TryRecvError::Empty) => Received::Empty,
                Err(TryRecvError::Disconnected) => Received::Closed,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_wins_hands_back_what_it_replaced_and_keeps_the_last_value_after_the_end() {
        let (mut sender, mut receiver) = link(Policy::NewestWins, None);
        assert!(matches!(receiver.try_receive(), Received::Empty));
        assert!(matches!(sender.send(1), Sent::Delivered));
        assert!(matches!(sender.send(2), Sent::Replaced(1)));
        drop(sender);
        assert_eq!(receiver.receive(), Some(2));
        assert_eq!(receiver.receive(), None);
        assert!(matches!(receiver.try_receive(), Received::Closed));
    }

    #[test]
    fn lossless_delivers_everything_in_order() {
        let (mut sender, mut receiver) = link(Policy::Lossless, None);
        let sending = std::thread::spawn(move || (0..100).all(|i| matches!(sender.send(i), Sent::Delivered)));
        let mut received = Vec::new();
        while let Some(value) = receiver.receive() {
            received.push(value);
        }
        assert!(sending.join().unwrap());
        assert_eq!(received, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_lossless_sender_learns_that_nobody_receives() {
        let (mut sender, receiver) = link(Policy::Lossless, None);
        drop(receiver);
        assert!(matches!(sender.send(7), Sent::Refused(7)));
    }

    /// The token of a value that was found before its token came must not hide the end: nobody rings a second time.
    #[test]
    fn the_end_is_seen_at_once_although_a_token_is_left() {
        let (sender, mut receiver) = link::<u8>(Policy::NewestWins, None);
        if let Sending::Mailbox { values, .. } = &sender.way {
            values.0.ring();
        }
        drop(sender);
        assert!(matches!(receiver.try_receive(), Received::Closed));
    }

    #[test]
    fn idle_is_said_only_where_nothing_is_to_come_without_a_ring() {
        let (mut sender, mut receiver) = link(Policy::NewestWins, None);
        assert!(receiver.is_idle());
        sender.send(1);
        assert!(!receiver.is_idle());
        // Asked twice, the token is gone and the value is not.
        assert!(receiver.is_idle() && matches!(receiver.try_receive(), Received::Value(1)));
        sender.send(2);
        assert!(matches!(receiver.try_receive(), Received::Value(2)) && receiver.is_idle());
        drop(sender);
        assert!(!receiver.is_idle() && matches!(receiver.try_receive(), Received::Closed));
        let (sender, receiver) = link::<u8>(Policy::Lossless, None);
        assert!(receiver.is_idle());
        drop(sender);
        assert!(!receiver.is_idle());
    }

    #[test]
    fn a_receiver_in_poll_is_rung_for_values_and_for_the_end() {
        let readable = |event: &Event| {
            let mut fds = [rustix::event::PollFd::from_borrowed_fd(event.fd(), rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
        };
        for policy in [Policy::NewestWins, Policy::Lossless] {
            let event = Event::new().unwrap();
            let (mut sender, mut receiver) = link(policy, Some(event.clone()));
            assert!(!readable(&event));
            sender.send(1);
            assert!(readable(&event));
            event.clear();
            assert!(matches!(receiver.try_receive(), Received::Value(1)));
            assert!(!readable(&event));
            drop(sender);
            assert!(readable(&event));
            assert!(matches!(receiver.try_receive(), Received::Closed));
        }
    }
}

//! One switch that ends the daemon: a flag for loops, a descriptor for `poll`, a timed wait for pauses.
//!
//! Every blocking wait of every thread includes [`Stop::fd`] or is a [`Stop::wait`], so that SIGTERM ends the
//! program within a second in every state.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::pulse::rest_during;

#[derive(Debug)]
struct Inner {
    set: AtomicBool,
    event: OwnedFd,
}

/// A cloneable stop switch; once set it stays set.
#[derive(Debug, Clone)]
pub struct Stop(Arc<Inner>);

impl Stop {
    /// A switch that is not yet set. Fails when the process is out of file descriptors.
    pub fn new() -> io::Result<Stop> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Stop(Arc::new(Inner { set: AtomicBool::new(false), event })))
    }

    /// Asks every thread to end.
    pub fn set(&self) {
        self.0.set.store(true, Ordering::SeqCst);
        // The counter cannot overflow before the readers see it, and a full counter is readable all the same.
        let _ = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
    }

    /// Whether the end was asked for.
    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::SeqCst)
    }

    /// Becomes (and stays) readable when the switch is set: for `poll` beside other descriptors.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }

    /// Sleeps for `pause`, or until the switch is set. Returns whether it is set.
    pub fn wait(&self, pause: Duration) -> bool {
        let deadline = std::time::Instant::now() + pause;
        while !self.is_set() {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return false;
            }
            let timeout = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ };
            // EINTR and time-outs both lead back to the loop's own conditions.
            let _ = rest_during(Some(left), || poll(&mut [PollFd::new(&self.0.event, PollFlags::IN)], Some(&timeout)));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_the_switch_is_set_from_elsewhere() {
        let stop = Stop::new().unwrap();
        let other = stop.clone();
        let waiter = std::thread::spawn(move || other.wait(Duration::from_secs(60)));
        stop.set();
        assert!(waiter.join().unwrap());
    }

    #[test]
    fn a_wait_that_runs_out_says_so() {
        assert!(!Stop::new().unwrap().wait(Duration::from_millis(5)));
    }
}

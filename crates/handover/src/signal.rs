//! How one thread wakes another: a bell with one token, and whether it is closed. One word of atomics, and a futex where somebody sleeps.
//!
//! Ringing costs one atomic operation while nobody sleeps. Waiting never spins and never yields: who waits for a frame waits for milliseconds, and a
//! yield on a busy core costs more than the sleep that it puts off.

#[cfg(not(loom))]
use futex::Word;
#[cfg(loom)]
use model::Word;

/// A token that nobody has taken.
const RUNG: u32 = 1;
/// Somebody sleeps, or is about to.
const WAITING: u32 = 2;
/// No token will come any more.
const CLOSED: u32 = 4;

/// A bell that one thread waits for. Any number of threads may ring it.
#[derive(Debug, Default)]
pub struct Signal(Word);

/// What [`Signal::take`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// There was a token.
    pub rung: bool,
    /// The bell is closed.
    pub closed: bool,
}

impl Signal {
    /// Leaves a token, if there is none yet. What was written before is seen by who takes it.
    pub fn ring(&self) {
        if self.0.set(RUNG) & WAITING != 0 {
            self.0.wake();
        }
    }

    /// Says that nobody will ring any more.
    pub fn close(&self) {
        if self.0.set(CLOSED) & WAITING != 0 {
            self.0.wake();
        }
    }

    /// Takes the token, if there is one, without waiting.
    pub fn take(&self) -> State {
        let state = self.0.clear(RUNG | WAITING);
        State { rung: state & RUNG != 0, closed: state & CLOSED != 0 }
    }

    /// Waits for the token and takes it. `false` when there is none and the bell is closed.
    pub fn wait(&self) -> bool {
        loop {
            let state = self.take();
            if state.rung || state.closed {
                return state.rung;
            }
            // Fails when somebody rang or closed meanwhile.
            if self.0.replace(0, WAITING) {
                self.0.sleep_while(WAITING);
            }
        }
    }
}

#[cfg(not(loom))]
mod futex {
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::io::Errno;
    use rustix::thread::futex::{Flags, wait, wake};

    #[derive(Debug, Default)]
    pub(super) struct Word(AtomicU32);

    impl Word {
        pub fn set(&self, bits: u32) -> u32 {
            self.0.fetch_or(bits, Ordering::AcqRel)
        }

        pub fn clear(&self, bits: u32) -> u32 {
            self.0.fetch_and(!bits, Ordering::AcqRel)
        }

        pub fn replace(&self, old: u32, new: u32) -> bool {
            self.0.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        }

        /// Returns at the latest when the word is another and somebody wakes; also for no reason.
        pub fn sleep_while(&self, value: u32) {
            match wait(&self.0, Flags::PRIVATE, value, None) {
                // The word is another already, or a signal came: the caller looks again.
                Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
                // A sandbox that refuses the call must not make the caller look without a pause.
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
        }

        pub fn wake(&self) {
            // It can't fail on a word of our own.
            let _ = wake(&self.0, Flags::PRIVATE, 1);
        }
    }
}

/// A futex as loom can explore it: the kernel compares and queues under a lock of its own.
#[cfg(loom)]
mod model {
    use loom::sync::atomic::{AtomicU32, Ordering};
    use loom::sync::{Condvar, Mutex};

    #[derive(Debug)]
    pub(super) struct Word {
        word: AtomicU32,
        queue: Mutex<()>,
        woken: Condvar,
    }

    impl Default for Word {
        fn default() -> Word {
            Word { word: AtomicU32::new(0), queue: Mutex::new(()), woken: Condvar::new() }
        }
    }

    impl Word {
        pub fn set(&self, bits: u32) -> u32 {
            self.word.fetch_or(bits, Ordering::AcqRel)
        }

        pub fn clear(&self, bits: u32) -> u32 {
            self.word.fetch_and(!bits, Ordering::AcqRel)
        }

        pub fn replace(&self, old: u32, new: u32) -> bool {
            self.word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        }

        pub fn sleep_while(&self, value: u32) {
            if let Ok(queue) = self.queue.lock()
                && self.word.load(Ordering::Acquire) == value
            {
                drop(self.woken.wait(queue));
            }
        }

        pub fn wake(&self) {
            let _queue = self.queue.lock();
            self.woken.notify_one();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_token_waits_for_its_taker_however_often_it_rang() {
        let signal = Signal::default();
        signal.ring();
        signal.ring();
        assert!(signal.wait());
        assert_eq!(signal.take(), State { rung: false, closed: false });
    }

    #[test]
    fn a_token_that_was_left_comes_before_the_end() {
        let signal = Signal::default();
        signal.ring();
        signal.close();
        assert!(signal.wait());
        assert!(!signal.wait());
        assert_eq!(signal.take(), State { rung: false, closed: true });
    }

    #[test]
    fn who_sleeps_is_woken_by_a_ring_and_by_the_end() {
        let [there, back] = [(); 2].map(|()| Arc::new(Signal::default()));
        let (heard, answer) = (there.clone(), back.clone());
        let sleeper = std::thread::spawn(move || {
            let mut count = 0;
            while heard.wait() {
                count += 1;
                answer.ring();
            }
            count
        });
        for _ in 0..2000 {
            there.ring();
            assert!(back.wait());
        }
        std::thread::sleep(Duration::from_millis(2));
        there.close();
        assert_eq!(sleeper.join().unwrap(), 2000);
    }
}

//! A mailbox for one value in which the newest wins: how frames, nominations and keyframe memories pass between threads.
//!
//! One thread puts, one thread takes. Neither ever waits for the other, neither allocates, and no value is ever lost
//! without a trace: [`Putter::put`] hands back the value that it replaced, so that the caller can count it.
//!
//! Three slots and one atomic word. At any moment the putter owns one slot, the taker owns one, and the third lies in
//! the middle; both sides exchange their own slot for the middle one by an atomic swap. The word holds the index of the
//! middle slot and whether it carries a value that nobody has taken. (The scheme is known as triple buffering.)
//!
//! A [`Signal`] wakes who waits for a value.
//!
//! It is a crate of its own so that loom can explore it without building anything else:
//! `RUSTFLAGS="--cfg loom" cargo test --release -p milad-handover`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod signal;

pub use signal::{Signal, State};

#[cfg(loom)]
use loom::{cell::UnsafeCell, sync::Arc, sync::atomic::AtomicUsize, sync::atomic::Ordering};
#[cfg(not(loom))]
use std::sync::{Arc, atomic::AtomicUsize, atomic::Ordering};

/// Set in the atomic word while the middle slot holds a value that was not taken.
const FRESH: usize = 4;
/// The bits of the atomic word that hold the index of the middle slot.
const INDEX: usize = 3;

/// std's cell in the shape of loom's, so that the algorithm below is written once.
#[cfg(not(loom))]
#[derive(Debug, Default)]
struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    fn new(value: T) -> Self {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

#[derive(Debug)]
struct Shared<T> {
    slots: [UnsafeCell<Option<T>>; 3],
    middle: AtomicUsize,
}

// SAFETY: a slot is only touched by the side that owns it, and ownership passes through the atomic word with
// acquire-release ordering; so sharing moves values from thread to thread and never gives two threads the same one.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above; the structure itself has no tie to a thread.
unsafe impl<T: Send> Send for Shared<T> {}

/// The side that puts values in. There is exactly one.
#[derive(Debug)]
pub struct Putter<T> {
    shared: Arc<Shared<T>>,
    own: usize,
}

/// The side that takes values out. There is exactly one.
#[derive(Debug)]
pub struct Taker<T> {
    shared: Arc<Shared<T>>,
    own: usize,
}

/// An empty mailbox.
pub fn mailbox<T: Send>() -> (Putter<T>, Taker<T>) {
    let slots = [UnsafeCell::new(None), UnsafeCell::new(None), UnsafeCell::new(None)];
    let shared = Arc::new(Shared { slots, middle: AtomicUsize::new(1) });
    (Putter { shared: shared.clone(), own: 0 }, Taker { shared, own: 2 })
}

impl<T> Putter<T> {
    /// Puts `value` in. Returns the value that it replaced, if that one was never taken.
    pub fn put(&mut self, value: T) -> Option<T> {
        // SAFETY: slot `own` belongs to this side until the swap below gives it away.
        self.shared.slots[self.own].with_mut(|slot| unsafe { *slot = Some(value) });
        let middle = self.shared.middle.swap(self.own | FRESH, Ordering::AcqRel);
        self.own = middle & INDEX;
        // SAFETY: the swap made the former middle slot ours; acquire ordering shows what the taker did to it.
        self.shared.slots[self.own].with_mut(|slot| unsafe { (*slot).take() })
    }
}

impl<T> Taker<T> {
    /// Takes the newest value, or `None` when there is none that was not taken already.
    pub fn take(&mut self) -> Option<T> {
        // Only this side ever clears FRESH, so what it sees set stays set until the swap.
        if self.shared.middle.load(Ordering::Relaxed) & FRESH == 0 {
            return None;
        }
        let middle = self.shared.middle.swap(self.own, Ordering::AcqRel);
        self.own = middle & INDEX;
        // SAFETY: the swap made the former middle slot ours; acquire ordering shows the value that the putter wrote.
        self.shared.slots[self.own].with_mut(|slot| unsafe { (*slot).take() })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_empty_mailbox_gives_nothing() {
        let (_putter, mut taker) = mailbox::<u8>();
        assert_eq!(taker.take(), None);
    }

    #[test]
    fn the_newest_value_wins_and_the_replaced_one_comes_back() {
        let (mut putter, mut taker) = mailbox();
        assert_eq!(putter.put(1), None);
        assert_eq!(putter.put(2), Some(1));
        assert_eq!(taker.take(), Some(2));
        assert_eq!(taker.take(), None);
        assert_eq!(putter.put(3), None);
        assert_eq!(taker.take(), Some(3));
    }

    #[test]
    fn what_nobody_took_is_dropped_with_the_mailbox() {
        let value = std::sync::Arc::new(());
        let (mut putter, taker) = mailbox();
        putter.put(value.clone());
        drop((putter, taker));
        assert_eq!(std::sync::Arc::strong_count(&value), 1);
    }

    #[test]
    fn every_value_is_taken_or_handed_back_exactly_once_under_load() {
        let (mut putter, mut taker) = mailbox();
        const COUNT: u64 = 200_000;
        let taking = std::thread::spawn(move || {
            let (mut taken, mut last) = (0u64, 0u64);
            while last < COUNT {
                if let Some(value) = taker.take() {
                    assert!(value > last, "{value} came after {last}");
                    last = value;
                    taken += 1;
                }
            }
            taken
        });
        let replaced = (1..=COUNT).filter(|value| putter.put(*value).is_some()).count() as u64;
        assert_eq!(taking.join().unwrap() + replaced, COUNT);
    }
}

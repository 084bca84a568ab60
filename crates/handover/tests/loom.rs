//! loom explores every interleaving of a few puts and takes, as the pipeline uses the mailbox: for frames, and for the
//! swap of the keyframe memory.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p milad-handover`
#![cfg(loom)]
#![allow(clippy::unwrap_used)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
use milad_handover::mailbox;

/// Counts its own drops, so that a value lost or dropped twice shows.
struct Counted {
    value: usize,
    drops: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn each_value_is_taken_or_handed_back_once_and_in_order() {
    loom::model(|| {
        let (mut putter, mut taker) = mailbox::<usize>();
        let putting = thread::spawn(move || (1..=3).filter_map(|value| putter.put(value)).collect::<Vec<_>>());
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.extend(taker.take());
        }
        let replaced = putting.join().unwrap();
        taken.extend(taker.take());
        assert!(taken.is_sorted(), "taken out of order: {taken:?}");
        assert_eq!(taken.last(), Some(&3), "the newest value must arrive");
        let mut all: Vec<_> = taken.iter().chain(&replaced).copied().collect();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
    });
}

#[test]
fn values_are_dropped_exactly_once_whoever_ends_first() {
    loom::model(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let (mut putter, mut taker) = mailbox();
        let counter = drops.clone();
        let putting = thread::spawn(move || {
            for value in 0..2 {
                drop(putter.put(Counted { value, drops: counter.clone() }));
            }
        });
        let first = taker.take().map(|counted| counted.value);
        drop(taker);
        putting.join().unwrap();
        assert!(first.is_none_or(|value| value < 2));
        assert_eq!(drops.load(Ordering::Relaxed), 2);
    });
}

/// The swap of the memory as the pipeline does it: the fast side nominates only while the slow side is idle, the slow
/// side publishes a memory whole and only then becomes idle again. The fast side must never see half a memory, nor an
/// older one after a newer one, and never nominate into a busy slow side.
#[test]
fn a_memory_arrives_whole_and_a_nomination_never_meets_a_busy_slow_side() {
    loom::model(|| {
        let busy = Arc::new(AtomicBool::new(false));
        let (mut nominate, mut nominated) = mailbox::<usize>();
        let (mut publish, mut memories) = mailbox::<[usize; 2]>();
        let slow_busy = busy.clone();
        let slow = thread::spawn(move || {
            for _ in 0..2 {
                if let Some(frame) = nominated.take() {
                    assert!(slow_busy.load(Ordering::Acquire));
                    let _ = publish.put([frame, frame]);
                    slow_busy.store(false, Ordering::Release);
                }
                thread::yield_now();
            }
        });
        let mut newest = 0;
        for frame in 1..=2 {
            if let Some(memory) = memories.take() {
                assert_eq!(memory[0], memory[1], "half a memory");
                assert!(memory[0] > newest, "an older memory after a newer one");
                newest = memory[0];
            }
            if !busy.load(Ordering::Acquire) {
                busy.store(true, Ordering::Release);
                assert_eq!(nominate.put(frame), None, "the slow side was not idle");
            }
        }
        slow.join().unwrap();
    });
}

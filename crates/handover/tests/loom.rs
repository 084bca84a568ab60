//! loom explores the interleavings of a few puts and takes, as the pipeline uses the mailbox: for frames, and for the
//! swap of the keyframe memory.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p milad-handover`
#![cfg(loom)]
#![allow(clippy::unwrap_used)]

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use milad_handover::{Signal, mailbox};

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

/// Explores every interleaving in which at most so many switches come where a thread could have gone on: bugs need few, and without a bound a bell
/// that two threads ring and sleep for takes minutes.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(6);
    builder.check(model);
}

/// The event of a receiver that sits in `poll`: a lock, a condition, and whether it was rung.
#[derive(Default)]
struct Event {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Event {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_one();
    }

    /// Waits until it is rung, and silences it.
    fn poll(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.changed.wait(rung).unwrap();
        }
        *rung = false;
    }
}

/// Puts `values` one after the other, each followed by a token, then goes.
fn send(mut putter: milad_handover::Putter<usize>, signal: &Signal, values: usize) -> Vec<usize> {
    let replaced = (1..=values).filter_map(|value| {
        let replaced = putter.put(value);
        signal.ring();
        replaced
    });
    let replaced = replaced.collect();
    drop(putter);
    signal.close();
    replaced
}

fn all_arrived(mut taken: Vec<usize>, replaced: &[usize], values: usize) {
    assert!(taken.is_sorted(), "received out of order: {taken:?}");
    assert_eq!(taken.last(), Some(&values), "the newest value was left behind");
    taken.extend(replaced);
    taken.sort_unstable();
    assert!(taken.iter().copied().eq(1..=values), "{taken:?}");
}

/// A link's receiver that blocks: take, else wait for the token and take again; at the end one last take. loom fails on a
/// wake-up that is lost, for then nobody can run any more.
#[test]
fn a_receiver_that_waits_gets_the_newest_value_and_then_the_end() {
    const VALUES: usize = 2;
    explore(|| {
        let (putter, mut taker) = mailbox::<usize>();
        let signal = Arc::new(Signal::default());
        let ringing = signal.clone();
        let sending = thread::spawn(move || send(putter, &ringing, VALUES));
        let mut receive = || {
            loop {
                if let Some(value) = taker.take() {
                    return Some(value);
                }
                if !signal.wait() {
                    return taker.take();
                }
            }
        };
        let taken: Vec<_> = std::iter::from_fn(&mut receive).collect();
        assert_eq!(receive(), None, "the end comes once and stays");
        all_arrived(taken, &sending.join().unwrap(), VALUES);
    });
}

/// A link's receiver that sits in `poll`: the event is cleared first, then the signal is read, then the mailbox. The
/// sender rings after each value, and after it has closed the link.
#[test]
fn a_receiver_in_poll_gets_the_newest_value_and_then_the_end() {
    const VALUES: usize = 2;
    explore(|| {
        let (mut putter, mut taker) = mailbox::<usize>();
        let (signal, event) = (Arc::new(Signal::default()), Arc::new(Event::default()));
        let (waking, ringing) = (signal.clone(), event.clone());
        let sending = thread::spawn(move || {
            let mut replaced = Vec::new();
            for value in 1..=VALUES {
                replaced.extend(putter.put(value));
                waking.ring();
                ringing.ring();
            }
            drop(putter);
            waking.close();
            ringing.ring();
            replaced
        });
        let mut taken = Vec::new();
        'polling: loop {
            // `poll` returns for a bell that was rung; `clear` silences it.
            event.poll();
            loop {
                let closed = signal.take().closed;
                match taker.take() {
                    Some(value) => taken.push(value),
                    None if !closed => break,
                    None => break 'polling,
                }
            }
        }
        all_arrived(taken, &sending.join().unwrap(), VALUES);
    });
}

/// A lossless link: room for one value, a bell for the receiver and one for the sender. Both sleep when they can't go on, and neither for ever.
#[test]
fn a_lossless_link_delivers_everything_and_both_ends_wake_each_other() {
    const VALUES: usize = 2;
    explore(|| {
        let place = Arc::new(Mutex::new(None));
        let (full, room) = (Arc::new(Signal::default()), Arc::new(Signal::default()));
        let (to, values, free) = (place.clone(), full.clone(), room.clone());
        let sending = thread::spawn(move || {
            for value in 1..=VALUES {
                loop {
                    let mut place = to.lock().unwrap();
                    if place.is_none() {
                        *place = Some(value);
                        break;
                    }
                    drop(place);
                    assert!(free.wait());
                }
                values.ring();
            }
            values.close();
        });
        let mut taken = Vec::new();
        loop {
            let value = place.lock().unwrap().take();
            match value {
                Some(value) => {
                    taken.push(value);
                    room.ring();
                }
                None if full.wait() => {}
                None => break,
            }
        }
        taken.extend(place.lock().unwrap().take());
        assert_eq!(taken, [1, 2]);
        sending.join().unwrap();
    });
}

/// A lossless sender that waits for room learns that the receiver went, whether it slept already or was about to.
#[test]
fn a_sender_that_waits_is_woken_when_the_receiver_goes() {
    explore(|| {
        let place = Arc::new(Mutex::new(Some(0)));
        let (room, gone) = (Arc::new(Signal::default()), Arc::new(AtomicBool::new(false)));
        let (to, free, left) = (place.clone(), room.clone(), gone.clone());
        let sending = thread::spawn(move || {
            loop {
                // As a channel answers: refused when nobody receives any more, else by its place.
                if left.load(Ordering::Acquire) {
                    return;
                }
                let mut place = to.lock().unwrap();
                if place.is_none() {
                    *place = Some(1);
                }
                drop(place);
                free.wait();
            }
        });
        assert_eq!(place.lock().unwrap().take(), Some(0));
        room.ring();
        gone.store(true, Ordering::Release);
        room.close();
        sending.join().unwrap();
    });
}

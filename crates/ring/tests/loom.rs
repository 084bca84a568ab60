//! loom explores every interleaving, and every reordering that the memory model allows, of a writer and a reader of a slot.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p milad-ring`
#![cfg(loom)]
#![allow(clippy::unwrap_used)]

use std::num::NonZeroU32;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use milad_ring::{Slot, WORD, Word};

struct Memory {
    generation: AtomicU32,
    words: Vec<Word>,
}

impl Memory {
    fn new() -> Arc<Memory> {
        Arc::new(Memory { generation: AtomicU32::new(0), words: vec![Word::new(0), Word::new(0)] })
    }

    fn slot(&self) -> Slot<'_> {
        Slot::new(&self.generation, &self.words)
    }
}

fn generation(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn filled(number: u32) -> Vec<u8> {
    (number as usize).to_ne_bytes().repeat(2)
}

#[test]
fn a_copy_that_counts_is_whole_and_of_the_generation_asked_for() {
    loom::model(|| {
        let memory = Memory::new();
        let shared = memory.clone();
        let writing =
            thread::spawn(move || (1..=2).for_each(|number| shared.slot().write(generation(number), &filled(number))));
        for number in 1..=2 {
            let mut out = vec![0; 2 * WORD];
            if memory.slot().copy(generation(number), &mut out).is_ok() {
                assert_eq!(out, filled(number));
            }
        }
        writing.join().unwrap();
        let mut out = vec![0; 2 * WORD];
        assert_eq!(memory.slot().copy(generation(2), &mut out), Ok(()));
        assert_eq!(out, filled(2));
    });
}

#[test]
fn a_view_that_saw_the_next_generation_does_not_hold() {
    loom::model(|| {
        let memory = Memory::new();
        memory.slot().write(generation(1), &filled(1));
        let shared = memory.clone();
        let writing = thread::spawn(move || shared.slot().write(generation(2), &filled(2)));
        memory.slot().begin(generation(1)).ok().map(|()| {
            let slot = memory.slot();
            let (first, second) = (slot.byte(0), slot.byte(WORD));
            if slot.holds(generation(1)) {
                assert_eq!((first, second), (Some(filled(1)[0]), Some(filled(1)[0])));
            }
        });
        writing.join().unwrap();
        assert_eq!(memory.generation.load(Ordering::Relaxed), 2);
    });
}

/// The message that names a generation comes over a socket, which orders like a release and an acquire: what it names is
/// there, unless it was overtaken.
#[test]
fn what_a_message_announces_is_there_or_was_overtaken() {
    loom::model(|| {
        let memory = Memory::new();
        let announced = Arc::new(AtomicU32::new(0));
        let (shared, announce) = (memory.clone(), announced.clone());
        let writing = thread::spawn(move || {
            shared.slot().write(generation(1), &filled(1));
            announce.store(1, Ordering::Release);
            shared.slot().write(generation(2), &filled(2));
        });
        if announced.load(Ordering::Acquire) == 1 {
            let mut out = vec![0; 2 * WORD];
            if memory.slot().copy(generation(1), &mut out).is_ok() {
                assert_eq!(out, filled(1));
            }
        }
        writing.join().unwrap();
    });
}

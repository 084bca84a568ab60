//! A reader that pauses in the middle of a read always notices that the writer came by meanwhile.

#![allow(clippy::unwrap_used)]
#![cfg(not(loom))]

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};

use milad_ring::{PlaneReader, PlaneWriter};

const BYTES: usize = 4096;
const SLOTS: usize = 4;

fn generation(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn pair() -> (PlaneWriter, PlaneReader) {
    let writer = PlaneWriter::new("test", SLOTS, BYTES).unwrap();
    let reader = PlaneReader::new(writer.fd(), writer.layout()).unwrap();
    (writer, reader)
}

/// The writer comes by between two bytes of a view, at another byte each time.
#[test]
fn a_view_that_was_overtaken_is_never_valid_ten_thousand_times() {
    let (mut writer, reader) = pair();
    let mut next = 1;
    for round in 0..10_000usize {
        let (slot, number) = (round % SLOTS, next);
        writer.write(slot, generation(number), &[number as u8; BYTES]);
        let view = reader.slot(slot).unwrap();
        view.begin(generation(number)).unwrap();
        let pause = round * 7 % BYTES;
        for index in 0..pause {
            assert_eq!(view.byte(index), Some(number as u8));
        }
        assert!(view.holds(generation(number)));
        // A whole ring later the slot is another frame's.
        next += SLOTS as u32;
        writer.write(slot, generation(next), &[next as u8; BYTES]);
        assert_eq!(view.byte(pause), Some(next as u8), "the memory is shared");
        assert!(!view.holds(generation(number)), "round {round}");
        assert!(view.copy(generation(number), &mut [0; BYTES]).is_err(), "round {round}");
        next += 1;
    }
}

/// A writer that never pauses: whatever copy is called whole is of one generation.
#[test]
fn a_copy_is_whole_or_refused_however_fast_the_writer_is() {
    let (mut writer, reader) = pair();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let done = &done;
        scope.spawn(move || {
            for number in 1..200_000u32 {
                writer.write(number as usize % SLOTS, generation(number), &[number as u8; BYTES]);
            }
            done.store(true, Ordering::Release);
        });
        let (mut out, mut whole, mut refused, mut number) = (vec![0u8; BYTES], 0u64, 0u64, 1u32);
        while !done.load(Ordering::Acquire) {
            match reader.slot(number as usize % SLOTS).unwrap().copy(generation(number), &mut out) {
                Ok(()) => {
                    assert!(out.iter().all(|byte| *byte == number as u8), "a mixture was called whole");
                    whole += 1;
                    number += 1;
                }
                Err(_) => {
                    refused += 1;
                    // Somewhere near the writer, at a guess.
                    number = if refused.is_multiple_of(3) { number + 1 } else { number.max(2) - 1 };
                }
            }
            number = number.max(1);
        }
        // The writer is done: what it wrote last is there.
        reader.slot(199_999 % SLOTS).unwrap().copy(generation(199_999), &mut out).unwrap();
        println!("{whole} whole, {refused} refused");
    });
}

//! One slot: a generation and the words behind it, as a sequence lock of which readers only ever read.
//!
//! The orderings are those of Boehm, "Can Seqlocks Get Along With Programming Language Memory Models?" (MSPC 2012). The data
//! themselves are atomic words, read and written relaxed: a reader that is overtaken gets a mixture, which is no undefined
//! behaviour, and then finds out. Loads are relaxed with fences behind them, and no wider than a pointer: the only kind
//! that Rust's `std::sync::atomic` promises for memory that is mapped for reading only.
//!
//! The daemon makes its maps in the slot itself, between [`retract`] and [`announce`], with whatever stores its kernels have
//! (`Room`). To its own program that memory is like any other, since nobody else can write there; other programs see what stores
//! of words would have done.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
use std::num::NonZeroU32;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};

/// What data are read and written in.
pub type Word = AtomicUsize;

/// Bytes of a [`Word`].
pub const WORD: usize = size_of::<usize>();

/// The generation while a slot is written, and before it was ever written.
const NONE: u32 = 0;

/// The writer has begun to put something else there: what was read counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overtaken;

impl std::fmt::Display for Overtaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the writer has overtaken this reader: the map is gone")
    }
}

impl std::error::Error for Overtaken {}

/// From here on, whoever reads what the writer puts there also finds the generation gone.
pub fn retract(generation: &AtomicU32) {
    generation.store(NONE, Ordering::Relaxed);
    // Release would do for words; this keeps plain stores behind it as well.
    fence(Ordering::SeqCst);
}

/// All that was put there is there before the generation is.
pub fn announce(generation: &AtomicU32, number: NonZeroU32) {
    generation.store(number.get(), Ordering::Release);
}

/// A slot, wherever its memory is.
#[derive(Debug, Clone, Copy)]
pub struct Slot<'a> {
    generation: &'a AtomicU32,
    words: &'a [Word],
}

impl<'a> Slot<'a> {
    /// Of its two parts.
    pub fn new(generation: &'a AtomicU32, words: &'a [Word]) -> Slot<'a> {
        Slot { generation, words }
    }

    /// Replaces what is in it. There is one writer. What goes beyond the slot is left out.
    pub fn write(&self, generation: NonZeroU32, bytes: &[u8]) {
        retract(self.generation);
        for (to, from) in self.words.iter().zip(bytes.chunks(WORD)) {
            let mut word = [0; WORD];
            word.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            to.store(usize::from_ne_bytes(word), Ordering::Relaxed);
        }
        announce(self.generation, generation);
    }

    /// Whether all that was read from it until now was of this generation.
    pub fn holds(&self, generation: NonZeroU32) -> bool {
        // What was read before is read before the generation is.
        fence(Ordering::Acquire);
        self.generation.load(Ordering::Relaxed) == generation.get()
    }

    /// Which generation is there now; `None` while it is written, and before it was ever written.
    pub fn generation(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.generation.load(Ordering::Acquire))
    }

    /// Before the first read: whether this generation is there at all, and all of it.
    pub fn begin(&self, generation: NonZeroU32) -> Result<(), Overtaken> {
        let found = self.generation.load(Ordering::Relaxed);
        // The words are read after the generation.
        fence(Ordering::Acquire);
        if found == generation.get() { Ok(()) } else { Err(Overtaken) }
    }

    /// Copies the slot's first bytes, as many as fit into `out`. On an error `out` holds a mixture.
    pub fn copy(&self, generation: NonZeroU32, out: &mut [u8]) -> Result<(), Overtaken> {
        self.begin(generation)?;
        let (whole, rest) = out.as_chunks_mut::<WORD>();
        let count = whole.len();
        for (bytes, word) in whole.iter_mut().zip(self.words) {
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        if let Some(word) = self.words.get(count) {
            let last = word.load(Ordering::Relaxed).to_ne_bytes();
            rest.iter_mut().zip(last).for_each(|(to, from)| *to = from);
        }
        if self.holds(generation) { Ok(()) } else { Err(Overtaken) }
    }

    /// One byte as it is now; ask [`Slot::holds`] afterwards. `None` beyond the slot.
    pub fn byte(&self, index: usize) -> Option<u8> {
        let word = self.words.get(index / WORD)?.load(Ordering::Relaxed).to_ne_bytes();
        word.get(index % WORD).copied()
    }

    /// Four bytes from a multiple of four as they are now; ask [`Slot::holds`] afterwards. `None` beyond the slot.
    pub fn four(&self, index: usize) -> Option<[u8; 4]> {
        let at = index.checked_mul(4)?;
        let word = self.words.get(at / WORD)?.load(Ordering::Relaxed).to_ne_bytes();
        word.get(at % WORD..)?.first_chunk().copied()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn generation(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_only_under_its_generation() {
        let (number, words) = (AtomicU32::new(0), [const { Word::new(0) }; 3]);
        let slot = Slot::new(&number, &words);
        let mut out = [0; 11];
        assert_eq!(slot.copy(generation(1), &mut out), Err(Overtaken));
        let bytes: Vec<u8> = (1..=11).collect();
        slot.write(generation(7), &bytes);
        assert_eq!(slot.copy(generation(7), &mut out), Ok(()));
        assert_eq!(out, *bytes);
        assert_eq!(slot.copy(generation(6), &mut out), Err(Overtaken));
        assert!(slot.holds(generation(7)) && !slot.holds(generation(8)));
        assert_eq!(slot.generation(), Some(generation(7)));
        assert_eq!((slot.byte(10), slot.byte(3 * WORD)), (Some(11), None));
        assert_eq!((slot.four(1), slot.four(3 * WORD / 4)), (Some([5, 6, 7, 8]), None));
    }

    #[test]
    fn more_than_fits_stays_inside() {
        let (number, words) = (AtomicU32::new(0), [const { Word::new(0) }; 2]);
        let slot = Slot::new(&number, &words[..1]);
        slot.write(generation(1), &[9; 3 * WORD]);
        assert_eq!(words[1].load(Ordering::Relaxed), 0);
        let mut out = [1; 3 * WORD];
        assert_eq!(slot.copy(generation(1), &mut out), Ok(()));
        assert_eq!(out[..WORD], [9; WORD]);
    }
}

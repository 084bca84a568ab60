//! Bytes that start at a cache line: packed weights, and arenas of tensors.

use std::ops::{Deref, DerefMut};

/// The size of a cache line, and of the widest vector.
pub const ALIGNMENT: usize = 64;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; ALIGNMENT]);

/// Zeroed bytes whose first lies at a multiple of [`ALIGNMENT`].
pub struct AlignedBytes {
    lines: Box<[Line]>,
}

impl AlignedBytes {
    /// At least `length` of them: whole cache lines.
    pub fn new(length: usize) -> AlignedBytes {
        AlignedBytes { lines: vec![Line([0; ALIGNMENT]); length.div_ceil(ALIGNMENT)].into_boxed_slice() }
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: lines are bytes without padding, all initialised; the borrow of `self` goes along.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), size_of_val(&*self.lines)) }
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        let length = size_of_val(&*self.lines);
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), length) }
    }
}

impl Clone for AlignedBytes {
    fn clone(&self) -> AlignedBytes {
        AlignedBytes { lines: self.lines.clone() }
    }
}

impl std::fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBytes({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_start_at_a_cache_line_and_hold_what_is_written() {
        for length in [0, 1, 64, 65, 1000] {
            let mut bytes = AlignedBytes::new(length);
            assert!(bytes.len() >= length && bytes.as_ptr().addr().is_multiple_of(ALIGNMENT));
            assert!(bytes.iter().all(|&byte| byte == 0));
            if let Some(last) = bytes.last_mut() {
                *last = 7;
                assert_eq!(bytes.clone().last(), Some(&7));
            }
        }
    }
}

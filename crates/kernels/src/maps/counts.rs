//! Counts over published maps of bytes.

#![allow(
    clippy::needless_range_loop,
    reason = "lanes side by side; closures are not always inlined where they must be"
)]

use crate::int8::Kernel;
use crate::int8::versions::versions;

/// Classes up to which each is looked for in turn, which is vectors of bytes; more are counted pixel by pixel.
const FEW: usize = 16;

/// Bytes that are compared before their matches are added up: a byte holds that many.
const AT_ONCE: usize = 255 * LANES;
const LANES: usize = 64;

/// How many pixels of `map` each class has, from class 0; those of classes beyond `counts` are not counted.
pub fn count_classes(map: &[u8], counts: &mut [u32]) {
    classes_with(Kernel::selected(), map, counts);
}

fn classes_with(kernel: Kernel, map: &[u8], counts: &mut [u32]) {
    counts.fill(0);
    if counts.len() <= FEW {
        return count_few(kernel, map, counts);
    }
    // Four counters a class: neighbours are often of one, and none waits for the one before.
    let mut four = [[0u32; 256]; 4];
    for classes in map.chunks(4) {
        for (counts, &class) in four.iter_mut().zip(classes) {
            counts[usize::from(class)] += 1;
        }
    }
    for (class, count) in counts.iter_mut().enumerate().take(256) {
        *count = four.iter().map(|counts| counts[class]).sum();
    }
}

/// How many numbers of `map` are `limit` or less.
pub fn count_at_most(map: &[i8], limit: i8) -> u32 {
    at_most_with(Kernel::selected(), map, limit)
}

fn at_most_with(kernel: Kernel, map: &[i8], limit: i8) -> u32 {
    let mut count = 0;
    count_low(kernel, map, limit, &mut count);
    count
}

versions! {
    fn count_few(map: &[u8], counts: &mut [u32]) {
        // A piece at a time, which stays in the first-level cache for all classes.
        for piece in map.chunks(AT_ONCE) {
            let (vectors, rest) = piece.as_chunks::<LANES>();
            for (class, count) in counts.iter_mut().enumerate() {
                let mut lanes = [0u8; LANES];
                for vector in vectors {
                    for lane in 0..LANES {
                        lanes[lane] += u8::from(vector[lane] == class as u8);
                    }
                }
                *count += sum(&lanes);
                for &byte in rest {
                    *count += u32::from(byte == class as u8);
                }
            }
        }
    }
}

versions! {
    fn count_low(map: &[i8], limit: i8, count: &mut u32) {
        for piece in map.chunks(AT_ONCE) {
            let (vectors, rest) = piece.as_chunks::<LANES>();
            let mut lanes = [0u8; LANES];
            for vector in vectors {
                for lane in 0..LANES {
                    lanes[lane] += u8::from(vector[lane] <= limit);
                }
            }
            *count += sum(&lanes);
            for &byte in rest {
                *count += u32::from(byte <= limit);
            }
        }
    }
}

#[inline(always)]
fn sum(lanes: &[u8; LANES]) -> u32 {
    let mut sum = 0;
    for &lane in lanes {
        sum += u32::from(lane);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_a_plain_loop_with_every_kernel() {
        for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.available()) {
            for length in [0, 1, 63, 64, 1000, 3 * AT_ONCE + 77] {
                let map: Vec<u8> = (0..length).map(|i| (i * i % 251 % 23) as u8).collect();
                for classes in [1, 8, 16, 17, 23, 256] {
                    let mut counts = vec![7; classes];
                    classes_with(kernel, &map, &mut counts);
                    let plain = |class: usize| map.iter().filter(|&&byte| usize::from(byte) == class).count() as u32;
                    assert_eq!(counts, (0..classes).map(plain).collect::<Vec<_>>(), "{kernel}: {length} {classes}");
                }
                // All of one class: every lane is as full as it gets.
                let mut counts = [0];
                classes_with(kernel, &vec![0; length], &mut counts);
                assert_eq!(counts[0] as usize, length, "{kernel}");
                let signed: Vec<i8> = map.iter().map(|&byte| (byte as i8 - 11) * 11).collect();
                for limit in [i8::MIN, -110, 0, i8::MAX] {
                    let plain = signed.iter().filter(|&&byte| byte <= limit).count() as u32;
                    assert_eq!(at_most_with(kernel, &signed, limit), plain, "{kernel}: {length} {limit}");
                }
            }
        }
    }
}

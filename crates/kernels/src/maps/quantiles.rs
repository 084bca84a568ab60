//! Quantiles of a map of depths: exact values of given ranks, found without sorting. Never allocates once warm.
//!
//! Positive floats are in the order of their bits. Between the least and the greatest one these are cut into bins of equal width; how many values
//! each has tells in which of them a rank lies; a second pass picks out the values of the bins that are wanted, which are few.

#![allow(
    clippy::needless_range_loop,
    reason = "lanes side by side; closures are not always inlined where they must be"
)]

use crate::int8::Kernel;
use crate::int8::versions::versions;

/// Bins of finite numbers; one more is for the others.
const BINS: usize = 2048;
const INFINITE: u32 = f32::INFINITY.to_bits();
/// Bins whose values are added up to look for a rank.
const GROUP: usize = 32;
/// Values whose bins are found together, and those that are looked at together for wanted ones: a vector of [`Bin`].
const AT_ONCE: usize = 512;
const TOGETHER: usize = 64;
/// Least and greatest numbers are kept by lane.
const LANES: usize = 32;

/// The number of a bin.
type Bin = u16;

/// What is kept between maps.
#[derive(Debug)]
pub struct Quantiles {
    /// Four times, for neighbours are often in the same bin: a counter does not wait for the one before.
    counts: Box<[[u32; BINS + 1]; 4]>,
    /// Of each value.
    bins: Vec<Bin>,
    picked: [Vec<f32>; 4],
}

/// How bits become bins.
#[derive(Debug, Clone, Copy)]
struct Scale {
    /// Of the least finite number.
    least: u32,
    /// 2ˢ numbers a bin.
    shift: u32,
}

impl Quantiles {
    /// For maps of up to `pixels`, which make it allocate nothing later.
    pub fn new(pixels: usize) -> Quantiles {
        Quantiles {
            counts: Box::new([[0; BINS + 1]; 4]),
            bins: Vec::with_capacity(pixels),
            picked: [0; 4].map(|_| Vec::with_capacity(pixels)),
        }
    }

    /// The values of rank ⌊q·(n−1)⌋ among the n finite ones, as numpy's quantile with `method="lower"`; `None` of nothing.
    /// The sign of a zero or of a number does not count: depths have none.
    pub fn of(&mut self, values: &[f32], wanted: [f64; 4]) -> [Option<f32>; 4] {
        self.with_kernel(Kernel::selected(), values, wanted)
    }

    fn with_kernel(&mut self, kernel: Kernel, values: &[f32], wanted: [f64; 4]) -> [Option<f32>; 4] {
        let mut ends = [u32::MAX, 0];
        bounds(kernel, values, &mut ends);
        let [least, greatest] = ends;
        if least >= INFINITE {
            return [None; 4];
        }
        let span = greatest.saturating_sub(least);
        let shift = (u32::BITS - span.leading_zeros()).saturating_sub(BINS.trailing_zeros());
        let scale = Scale { least, shift };
        let counts = &mut *self.counts;
        counts.iter_mut().for_each(|counts| counts.fill(0));
        self.bins.resize(values.len(), 0);
        count(kernel, values, scale, &mut self.bins, counts);
        let [first, rest @ ..] = counts;
        for counts in rest {
            first.iter_mut().zip(counts).for_each(|(sum, count)| *sum += *count);
        }
        let finite = &first[..BINS];
        // A group of bins first, then the bin in it.
        let (groups, _) = finite.as_chunks::<GROUP>();
        let mut sums = [0usize; BINS / GROUP];
        for (sum, group) in sums.iter_mut().zip(groups) {
            *sum = group.iter().sum::<u32>() as usize;
        }
        let all: usize = sums.iter().sum();
        // Each quantile's bin, and its rank within.
        let bins = wanted.map(|q| {
            let mut rank = (all.saturating_sub(1) as f64 * q) as usize;
            let mut here = |&count: &usize| {
                let here = rank < count;
                rank -= if here { 0 } else { count };
                here
            };
            let group = sums.iter().position(&mut here).unwrap_or(0);
            let bin = groups[group].iter().position(|&count| here(&(count as usize))).unwrap_or(0);
            ((group * GROUP + bin) as Bin, rank)
        });
        self.picked.iter_mut().for_each(Vec::clear);
        pick(kernel, values, &self.bins, bins.map(|(bin, _)| bin), &mut self.picked);
        std::array::from_fn(|i| {
            let (bin, rank) = bins[i];
            // Quantiles that share a bin share what is picked out of it.
            let first = bins.iter().position(|&(other, _)| other == bin)?;
            let picked = self.picked.get_mut(first)?;
            (rank < picked.len()).then(|| *picked.select_nth_unstable_by(rank, f32::total_cmp).1)
        })
    }
}

versions! {
    /// The bits of the least and of the greatest finite number; of none more than the greatest there is, and 0.
    fn bounds(values: &[f32], ends: &mut [u32; 2]) {
        let (vectors, rest) = values.as_chunks::<LANES>();
        let (mut least, mut greatest) = ([u32::MAX; LANES], [0; LANES]);
        for vector in vectors {
            for lane in 0..LANES {
                (least[lane], greatest[lane]) = wider(least[lane], greatest[lane], vector[lane]);
            }
        }
        let [low, high] = ends;
        for lane in 0..LANES {
            (*low, *high) = ((*low).min(least[lane]), (*high).max(greatest[lane]));
        }
        for value in rest {
            (*low, *high) = wider(*low, *high, *value);
        }
    }
}

/// Bounds that take in one value more.
#[inline(always)]
fn wider(least: u32, greatest: u32, value: f32) -> (u32, u32) {
    let bits = value.abs().to_bits();
    // What is not finite is greater than all that is.
    (least.min(bits), greatest.max(if bits < INFINITE { bits } else { 0 }))
}

versions! {
    /// Finds each value's bin and adds it to the bin's counter.
    fn count(values: &[f32], scale: Scale, bins: &mut [Bin], counts: &mut [[u32; BINS + 1]; 4]) {
        for (bins, values) in bins.chunks_mut(AT_ONCE).zip(values.chunks(AT_ONCE)) {
            for (bin, value) in bins.iter_mut().zip(values) {
                let bits = value.abs().to_bits();
                let place = (bits.wrapping_sub(scale.least) >> scale.shift).min(BINS as u32 - 1);
                *bin = if bits < INFINITE { place } else { BINS as u32 } as Bin;
            }
            let (fours, rest) = bins.as_chunks::<4>();
            let [first, second, third, fourth] = &mut *counts;
            for &[a, b, c, d] in fours {
                first[usize::from(a).min(BINS)] += 1;
                second[usize::from(b).min(BINS)] += 1;
                third[usize::from(c).min(BINS)] += 1;
                fourth[usize::from(d).min(BINS)] += 1;
            }
            for &bin in rest {
                first[usize::from(bin).min(BINS)] += 1;
            }
        }
    }
}

versions! {
    /// Picks out the values of each wanted bin, into the place of the first that wants it.
    fn pick(values: &[f32], bins: &[Bin], wanted: [Bin; 4], picked: &mut [Vec<f32>; 4]) {
        // Of a length that the compiler knows, so that each is looked at in whole vectors.
        let (vectors, rest) = values.as_chunks::<TOGETHER>();
        let (bins, rest_bins) = bins.as_chunks::<TOGETHER>();
        for (values, bins) in vectors.iter().zip(bins) {
            // Most have none of them.
            if !has_wanted(bins, wanted) {
                continue;
            }
            let mut found = [0u8; TOGETHER];
            for i in 0..TOGETHER {
                found[i] = u8::from(is_wanted(bins[i], wanted));
            }
            for (eighth, found) in found.as_chunks::<8>().0.iter().enumerate() {
                let mut found = u64::from_le_bytes(*found);
                while found != 0 {
                    let at = 8 * eighth + found.trailing_zeros() as usize / 8;
                    put(values[at], bins[at], wanted, picked);
                    // The lowest bit is its only one.
                    found &= found - 1;
                }
            }
        }
        for (value, bin) in rest.iter().zip(rest_bins) {
            if is_wanted(*bin, wanted) {
                put(*value, *bin, wanted, picked);
            }
        }
    }
}

/// Puts a value of a wanted bin where it belongs.
#[inline(always)]
fn put(value: f32, bin: Bin, wanted: [Bin; 4], picked: &mut [Vec<f32>; 4]) {
    let mut place = 0;
    while wanted[place] != bin {
        place += 1;
    }
    picked[place].push(value.abs());
}

#[inline(always)]
fn has_wanted(bins: &[Bin; TOGETHER], wanted: [Bin; 4]) -> bool {
    let mut any = 0;
    for i in 0..TOGETHER {
        any |= Bin::from(is_wanted(bins[i], wanted));
    }
    any != 0
}

#[inline(always)]
fn is_wanted(bin: Bin, [a, b, c, d]: [Bin; 4]) -> bool {
    (bin == a) | (bin == b) | (bin == c) | (bin == d)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: [f64; 4] = [0.001, 0.05, 0.5, 0.95];

    fn defined(values: &[f32]) -> [Option<f32>; 4] {
        let mut sorted: Vec<f32> = values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f32::total_cmp);
        WANTED.map(|q| sorted.get((sorted.len().saturating_sub(1) as f64 * q) as usize).copied())
    }

    #[test]
    fn they_equal_those_of_a_sorted_list() {
        let mut state = 7u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u32 << 24) as f32
        };
        let mut quantiles = Quantiles::new(0);
        for count in (0..70).chain([1000, 32_767]) {
            let spreads: [&dyn Fn(f32) -> f32; 5] =
                [&|x| x * 100.0, &|x| (x * 20.0 - 8.0).exp(), &|x| (x * 5.0).floor(), &|_| 3.25, &|x| {
                    if x > 0.6 {
                        f32::INFINITY
                    } else if x > 0.5 {
                        f32::NAN
                    } else {
                        x * 1e-40
                    }
                }];
            for spread in spreads {
                let values: Vec<f32> = (0..count).map(|_| spread(next())).collect();
                for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.available()) {
                    assert_eq!(
                        quantiles.with_kernel(kernel, &values, WANTED),
                        defined(&values),
                        "{kernel}: {count} values"
                    );
                }
            }
        }
    }

    #[test]
    fn numbers_of_all_sizes_are_told_apart() {
        let ends = [0.0, f32::from_bits(1), f32::MIN_POSITIVE, 1.0, f32::MAX];
        let mut quantiles = Quantiles::new(0);
        for number in 0..1 << ends.len() {
            let mut values: Vec<f32> =
                (0..ends.len()).filter(|bit| number >> bit & 1 == 1).map(|bit| ends[bit]).collect();
            for more in [None, Some(f32::INFINITY), Some(f32::NAN)] {
                values.extend(more);
                for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.available()) {
                    assert_eq!(
                        quantiles.with_kernel(kernel, &values, WANTED),
                        defined(&values),
                        "{kernel}: {values:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn of_nothing_finite_there_are_none() {
        assert_eq!(Quantiles::new(4).of(&[f32::NAN, f32::INFINITY], WANTED), [None; 4]);
        assert_eq!(Quantiles::new(4).of(&[-0.0, 0.0], WANTED), [Some(0.0); 4]);
    }
}

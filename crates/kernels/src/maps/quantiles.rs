//! Quantiles of a map of depths: exact values of given ranks, found without sorting. Never allocates once warm.
//!
//! Positive floats are in the order of their bits. Between the least and the greatest one these are cut into bins of equal width; how many values
//! each has tells in which of them a rank lies; a second pass picks out the values of the bins that are wanted, which are few.

use crate::int8::Kernel;
use crate::int8::versions::versions;

/// Bins of finite numbers; one more is for the others.
const BINS: usize = 2048;
const INFINITE: u32 = f32::INFINITY.to_bits();
/// Bins whose values are added up to look for a rank.
const GROUP: usize = 32;
/// Values whose bins are found together, and those that are looked at together for wanted ones.
const AT_ONCE: usize = 512;
const TOGETHER: usize = 64;

/// What is kept between maps.
#[derive(Debug)]
pub struct Quantiles {
    /// Four times, for neighbours are often in the same bin: a counter does not wait for the one before.
    counts: Box<[[u32; BINS + 1]; 4]>,
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
        Quantiles { counts: Box::new([[0; BINS + 1]; 4]), picked: [0; 4].map(|_| Vec::with_capacity(pixels)) }
    }

    /// The values of rank ⌊q·(n−1)⌋ among the n finite ones, as numpy's quantile with `method="lower"`; `None` of nothing.
    /// The sign of a zero or of a number does not count: depths have none.
    pub fn of(&mut self, values: &[f32], wanted: [f64; 4]) -> [Option<f32>; 4] {
        let kernel = Kernel::selected();
        let mut ends = [u32::MAX, 0];
        bounds(kernel, values, &mut ends);
        let [least, greatest] = ends;
        let Some(span) = greatest.checked_sub(least) else { return [None; 4] };
        let shift = (u32::BITS - span.leading_zeros()).saturating_sub(BINS.trailing_zeros());
        let scale = Scale { least, shift };
        let counts = &mut *self.counts;
        counts.iter_mut().for_each(|counts| counts.fill(0));
        count(kernel, values, scale, counts);
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
            ((group * GROUP + bin) as u32, rank)
        });
        self.picked.iter_mut().for_each(Vec::clear);
        pick(kernel, values, scale, bins.map(|(bin, _)| bin), &mut self.picked);
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
    /// The bits of the least and of the greatest finite number.
    fn bounds(values: &[f32], ends: &mut [u32; 2]) {
        for value in values {
            let bits = value.abs().to_bits();
            let finite = bits < INFINITE;
            ends[0] = ends[0].min(if finite { bits } else { u32::MAX });
            ends[1] = ends[1].max(if finite { bits } else { 0 });
        }
    }
}

versions! {
    /// Adds each value to the counter of its bin.
    fn count(values: &[f32], scale: Scale, counts: &mut [[u32; BINS + 1]; 4]) {
        let mut bins = [0u32; AT_ONCE];
        for some in values.chunks(AT_ONCE) {
            for (bin, value) in bins.iter_mut().zip(some) {
                let bits = value.abs().to_bits();
                let place = bits.wrapping_sub(scale.least) >> scale.shift;
                *bin = if bits < INFINITE { place.min(BINS as u32 - 1) } else { BINS as u32 };
            }
            let (fours, rest) = bins[..some.len()].as_chunks::<4>();
            let [first, second, third, fourth] = &mut *counts;
            for &[a, b, c, d] in fours {
                first[(a as usize).min(BINS)] += 1;
                second[(b as usize).min(BINS)] += 1;
                third[(c as usize).min(BINS)] += 1;
                fourth[(d as usize).min(BINS)] += 1;
            }
            rest.iter().for_each(|&bin| first[(bin as usize).min(BINS)] += 1);
        }
    }
}

versions! {
    /// Picks out the values of each wanted bin, into the place of the first that wants it.
    fn pick(values: &[f32], scale: Scale, wanted: [u32; 4], picked: &mut [Vec<f32>; 4]) {
        let place = |value: &f32| value.abs().to_bits().wrapping_sub(scale.least) >> scale.shift;
        let [a, b, c, d] = wanted;
        for some in values.chunks(TOGETHER) {
            // Most have none of them.
            let any = some.iter().map(place).fold(false, |any, at| any | (at == a) | (at == b) | (at == c) | (at == d));
            if !any {
                continue;
            }
            for value in some.iter().filter(|value| value.is_finite()) {
                let at = place(value);
                if let Some(place) = wanted.iter().position(|&wanted| wanted == at) {
                    picked[place].push(value.abs());
                }
            }
        }
    }
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
                assert_eq!(quantiles.of(&values, WANTED), defined(&values), "{count} values");
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
                assert_eq!(quantiles.of(&values, WANTED), defined(&values), "{values:?}");
            }
        }
    }

    #[test]
    fn of_nothing_finite_there_are_none() {
        assert_eq!(Quantiles::new(4).of(&[f32::NAN, f32::INFINITY], WANTED), [None; 4]);
        assert_eq!(Quantiles::new(4).of(&[-0.0, 0.0], WANTED), [Some(0.0); 4]);
    }
}

//! Quantiles of a map of depths: exact values of given ranks, found without sorting. Never allocates once warm.
//!
//! Positive floats are in the order of their bits. A first pass counts values by the leading bits, which tells in which of these
//! bins a rank lies; a second pass picks out the values of the bins that are wanted, which are few.

/// Bits of a float that tell its bin apart: 8 of the exponent, 3 of the fraction.
const SHIFT: u32 = 20;
/// Bins of positive floats; those from [`FINITE`] on hold infinity and NaN.
const BINS: usize = 1 << (31 - SHIFT);
const FINITE: usize = (f32::INFINITY.to_bits() >> SHIFT) as usize;

/// What is kept between maps.
#[derive(Debug)]
pub struct Quantiles {
    /// Twice, for neighbours are often in the same bin: two counters don't wait for each other.
    counts: Box<[[u32; BINS]; 2]>,
    /// For each bin, one more than its place among those that are wanted; 0: it is not.
    places: Box<[u8; BINS]>,
    picked: [Vec<f32>; 4],
}

impl Quantiles {
    /// For maps of up to `pixels`, which make it allocate nothing later.
    pub fn new(pixels: usize) -> Quantiles {
        Quantiles {
            counts: Box::new([[0; BINS]; 2]),
            places: Box::new([0; BINS]),
            picked: [0; 4].map(|_| Vec::with_capacity(pixels)),
        }
    }

    /// The values of rank ⌊q·(n−1)⌋ among the n finite ones, as numpy's quantile with `method="lower"`; `None` of nothing.
    /// The sign of a zero or of a number does not count: depths have none.
    pub fn of(&mut self, values: &[f32], wanted: [f64; 4]) -> [Option<f32>; 4] {
        let [even, odd] = &mut *self.counts;
        even.fill(0);
        odd.fill(0);
        let (pairs, last) = values.as_chunks();
        for &[a, b] in pairs {
            even[bin(a)] += 1;
            odd[bin(b)] += 1;
        }
        last.iter().for_each(|&last| even[bin(last)] += 1);
        even.iter_mut().zip(odd.iter()).for_each(|(even, odd)| *even += odd);
        let finite = even.get(..FINITE).unwrap_or_default();
        let all: usize = finite.iter().map(|&count| count as usize).sum();
        if all == 0 {
            return [None; 4];
        }
        // Each quantile's bin, and its rank within.
        let bins = wanted.map(|q| {
            let mut rank = ((all - 1) as f64 * q) as usize;
            let bin = finite.iter().position(|&count| {
                let here = rank < count as usize;
                rank -= if here { 0 } else { count as usize };
                here
            });
            (bin.unwrap_or(0), rank)
        });
        for (place, &(bin, _)) in bins.iter().enumerate() {
            // Quantiles that share a bin share what is picked out of it: the last one's place stands.
            self.places[bin % BINS] = place as u8 + 1;
        }
        self.picked.iter_mut().for_each(Vec::clear);
        for &value in values {
            let place = self.places[bin(value)];
            if place > 0
                && let Some(picked) = self.picked.get_mut(usize::from(place) - 1)
            {
                picked.push(value.abs());
            }
        }
        let found = bins.map(|(bin, rank)| {
            let place = usize::from(self.places[bin % BINS]).checked_sub(1)?;
            let picked = self.picked.get_mut(place)?;
            (rank < picked.len()).then(|| *picked.select_nth_unstable_by(rank, f32::total_cmp).1)
        });
        bins.iter().for_each(|&(bin, _)| self.places[bin % BINS] = 0);
        found
    }
}

/// Always below [`BINS`]: the remainder is of a power of two and tells the compiler so.
#[inline(always)]
fn bin(value: f32) -> usize {
    (value.abs().to_bits() >> SHIFT) as usize % BINS
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
    fn of_nothing_finite_there_are_none() {
        assert_eq!(Quantiles::new(4).of(&[f32::NAN, f32::INFINITY], WANTED), [None; 4]);
        assert_eq!(Quantiles::new(4).of(&[-0.0, 0.0], WANTED), [Some(0.0); 4]);
    }
}

//! The table of instruction sets: which functions serve which one. Chosen when an attention is made, never during a run.

use super::tiles::{Exponentials, LoadQueries, Logits, Values};
use crate::cpu::Isa;

/// The most query rows that a tile has.
pub(super) const MAX_ROWS: usize = 4;

/// The inner loops for one instruction set and width of vectors.
///
/// # Safety of its functions
/// Only called when the CPU has the instruction set, and with jobs whose pointers are good for what their fields say.
pub(super) struct Kernels {
    /// Pixels of a block.
    pub lanes: usize,
    /// R: query rows of a tile, at most [`MAX_ROWS`].
    pub rows: usize,
    pub load_queries: unsafe fn(&LoadQueries),
    /// `[rows − 1][offsets − 1]`.
    pub logits: &'static [&'static [unsafe fn(&Logits)]],
    pub exponentials: unsafe fn(&Exponentials),
    /// `[channels − 1]`.
    pub values: &'static [unsafe fn(&Values)],
}

impl Kernels {
    /// R·lanes: elements that one channel, or one offset, of a tile takes.
    pub fn vectors(&self) -> usize {
        self.rows * self.lanes
    }
}

/// What serves one instruction set.
pub(super) struct Family {
    /// For logs and benchmarks.
    pub name: &'static str,
    pub isa: Isa,
    pub wide: &'static Kernels,
    /// For the end of a row, where half a vector is enough. No more lanes or rows than `wide`.
    pub narrow: Option<&'static Kernels>,
}

/// Makes a [`Kernels`] of the generic tiles for a vector type: the features to enable, R, for each number of query rows the numbers of
/// offsets dx that a call can take, and the numbers of channels.
macro_rules! kernels {
    ($simd:ty, [$($feature:meta)?], rows: $rows:literal, offsets: [$($r:literal: [$($n:literal)*])*], channels: [$($c:literal)*]) => {
        use crate::ila::table::Kernels;
        use crate::ila::tiles::{self, Exponentials, LoadQueries, Logits, Values};

        $(#[$feature])?
        unsafe fn load_queries(job: &LoadQueries) {
            // SAFETY: the instruction set is enabled here; the job is the caller's.
            unsafe { tiles::load_queries::<$simd>(job) }
        }

        $(#[$feature])?
        unsafe fn logits<const ROWS: usize, const N: usize>(job: &Logits) {
            // SAFETY: the instruction set is enabled here; the job is the caller's.
            unsafe { tiles::logits::<$simd, ROWS, N>(job) }
        }

        $(#[$feature])?
        unsafe fn exponentials(job: &Exponentials) {
            // SAFETY: the instruction set is enabled here; the job is the caller's.
            unsafe { tiles::exponentials::<$simd>(job) }
        }

        $(#[$feature])?
        unsafe fn values<const N: usize>(job: &Values) {
            // SAFETY: the instruction set is enabled here; the job is the caller's.
            unsafe { tiles::values::<$simd, $rows, N>(job) }
        }

        pub(super) static KERNELS: Kernels = Kernels {
            lanes: <$simd as tiles::Simd>::LANES,
            rows: $rows,
            load_queries,
            logits: &[$(&[$(logits::<$r, $n>),*]),*],
            exponentials,
            values: &[$(values::<$c>),*],
        };
    };
}
pub(super) use kernels;

/// All that this build has, the least capable first.
static ALL: &[&Family] = &[
    &super::portable::FAMILY,
    #[cfg(target_arch = "x86_64")]
    &super::avx2::FAMILY,
    #[cfg(target_arch = "x86_64")]
    &super::avx512::FAMILY,
    #[cfg(target_arch = "aarch64")]
    &super::neon::FAMILY,
    #[cfg(target_arch = "arm")]
    &super::neon32::FAMILY,
];

/// What serves an instruction set, if this CPU and this build have it.
pub(super) fn family(isa: Isa) -> Option<&'static Family> {
    ALL.iter().copied().find(|family| family.isa == isa && isa.available())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2^(s − max) and their sum, in place.
    fn exponentials(kernels: &Kernels, scores: &mut [f32], max: f32) -> Vec<f32> {
        let (max, mut sum) = (vec![max; kernels.lanes], vec![f32::NAN; kernels.lanes]);
        let job = Exponentials {
            scores: scores.as_mut_ptr(),
            stride: kernels.lanes,
            count: scores.len() / kernels.lanes,
            max: max.as_ptr(),
            sum: sum.as_mut_ptr(),
        };
        // SAFETY: whole vectors of scores, one of max and sum; the families below are this CPU's.
        unsafe { (kernels.exponentials)(&job) };
        sum
    }

    fn all() -> impl Iterator<Item = (&'static str, &'static Kernels)> {
        Isa::ALL
            .into_iter()
            .filter_map(family)
            .flat_map(|family| std::iter::once(family.wide).chain(family.narrow).map(|kernels| (family.name, kernels)))
    }

    #[test]
    fn exponentials_are_right_to_two_units_in_the_last_place() {
        for (name, kernels) in all() {
            for count in [1, 2, 3, 1000] {
                let logits: Vec<f32> = (0..count * kernels.lanes).map(|i| 3.0 - i as f32 * 0.013_7 % 125.9).collect();
                let mut scores = logits.clone();
                let sum = exponentials(kernels, &mut scores, 3.0);
                for (logit, score) in logits.iter().zip(&scores) {
                    // What the kernel sees: the difference rounded to f32.
                    let expected = f64::from(logit - 3.0).exp2();
                    let error = (f64::from(*score) / expected - 1.0).abs();
                    assert!(error < 2.4e-7, "{name}: 2^{} is {expected}, found {score}", logit - 3.0);
                }
                for (lane, sum) in sum.iter().enumerate() {
                    let expected: f64 = scores.iter().skip(lane).step_by(kernels.lanes).map(|&x| f64::from(x)).sum();
                    assert!(
                        (f64::from(*sum) / expected - 1.0).abs() < 1e-5,
                        "{name}: expected {expected}, found {sum}"
                    );
                }
            }
        }
    }

    #[test]
    fn exponentials_of_what_is_masked_are_zero_and_nan_stays() {
        for (name, kernels) in all() {
            for (logit, max) in
                [(f32::NEG_INFINITY, f32::MIN), (f32::NEG_INFINITY, 1e30), (f32::MIN, f32::MAX), (-200.0, 0.0)]
            {
                let mut scores = vec![logit; kernels.lanes];
                let sum = exponentials(kernels, &mut scores, max);
                assert!(scores.iter().chain(&sum).all(|&x| x == 0.0), "{name}: {scores:?}");
            }
            let mut scores = vec![f32::NAN; kernels.lanes];
            exponentials(kernels, &mut scores, 0.0);
            assert!(scores.iter().all(|x| x.is_nan()), "{name}");
        }
    }

    #[test]
    fn narrow_kernels_fit_into_the_scratch_of_wide_ones() {
        for family in Isa::ALL.into_iter().filter_map(family) {
            for kernels in std::iter::once(family.wide).chain(family.narrow) {
                assert!(kernels.lanes <= family.wide.lanes && kernels.rows <= family.wide.rows, "{}", family.name);
                assert!(kernels.rows <= MAX_ROWS && kernels.logits.len() == kernels.rows, "{}", family.name);
            }
        }
    }
}

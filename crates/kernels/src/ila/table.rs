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

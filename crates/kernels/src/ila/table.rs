//! The table of instruction sets: which functions serve which one. Chosen when an attention is made, never during a run.

use super::tiles::{Exponentials, LoadQueries, Logits, Values};
use crate::cpu::Isa;

/// Query rows of a tile.
pub(super) const ROWS: usize = 2;

/// The inner loops for one instruction set.
///
/// # Safety of its functions
/// Only called when the CPU has the instruction set, and with jobs whose pointers are good for what their fields say.
pub(super) struct Kernels {
    /// For logs and benchmarks.
    pub name: &'static str,
    /// The instruction set.
    pub isa: Isa,
    /// Pixels of a block.
    pub lanes: usize,
    pub load_queries: unsafe fn(&LoadQueries),
    /// `[rows − 1][offsets − 1]`.
    pub logits: [&'static [unsafe fn(&Logits)]; ROWS],
    pub exponentials: unsafe fn(&Exponentials),
    /// `[channels − 1]`.
    pub values: &'static [unsafe fn(&Values)],
}

/// Makes a [`Kernels`] of the generic tiles for a vector type.
macro_rules! kernels {
    ($name:literal, $isa:expr, $simd:ty, [$($feature:meta)?], offsets: [$($n:literal)*], channels: [$($c:literal)*]) => {
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
            unsafe { tiles::values::<$simd, N>(job) }
        }

        pub(super) static KERNELS: Kernels = Kernels {
            name: $name,
            isa: $isa,
            lanes: <$simd as tiles::Simd>::LANES,
            load_queries,
            logits: [&[$(logits::<1, $n>),*], &[$(logits::<2, $n>),*]],
            exponentials,
            values: &[$(values::<$c>),*],
        };
    };
}
pub(super) use kernels;

/// All that this build has, the least capable first.
static ALL: &[&Kernels] = &[
    &super::portable::KERNELS,
    #[cfg(target_arch = "x86_64")]
    &super::avx2::KERNELS,
    #[cfg(target_arch = "x86_64")]
    &super::avx512::KERNELS,
    #[cfg(target_arch = "aarch64")]
    &super::neon::KERNELS,
    #[cfg(target_arch = "arm")]
    &super::neon32::KERNELS,
];

/// The kernels for an instruction set, if this CPU and this build have it.
pub(super) fn kernels_for(isa: Isa) -> Option<&'static Kernels> {
    ALL.iter().copied().find(|kernels| kernels.isa == isa && isa.available())
}

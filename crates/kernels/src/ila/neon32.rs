//! Local attention for 32-bit ARM with NEON. Until its tiles are written, the portable ones stand in under their own name.

use super::portable::Portable;
use super::table::{Family, kernels};
use crate::cpu::Isa;

/// What serves this instruction set.
pub(super) static FAMILY: Family = Family { name: "portable", isa: Isa::Neon, wide: &KERNELS, narrow: None };

kernels!(Portable, [], rows: 2, offsets: [1: [1 2 3 4 5] 2: [1 2 3 4 5]], channels: [1 2 3 4 5 6]);

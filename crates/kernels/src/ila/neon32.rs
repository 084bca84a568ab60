//! Local attention for 32-bit ARM with NEON. Until its tiles are written, the portable ones stand in under their own name.

use super::portable::Portable;
use super::table::kernels;
use crate::cpu::Isa;

kernels!("portable", Isa::Neon, Portable, [], offsets: [1 2 3 4 5], channels: [1 2 3 4 5 6]);

//! Which kernels there are, and which of them this CPU runs. Chosen when an operator is made, never during a run.

use std::fmt;

use crate::cpu::Isa;

/// A way to multiply u8 activations with s8 weights. All give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kernel {
    /// Plain Rust, every CPU.
    Portable,
    /// AVX2: activations widened to 16 bits and multiplied in pairs (vpmaddwd), or vpmaddubsw where the weights can't make it saturate.
    Avx2,
    /// AVX-512 with VNNI: four products a lane and instruction (vpdpbusd).
    Avx512Vnni,
    /// NEON before dotprod (Cortex-A53, A72, and 32-bit ARM): smull, smlal, sadalp.
    Neon,
    /// NEON with dotprod (Cortex-A76): four products a lane and instruction (sdot).
    NeonDot,
}

impl Kernel {
    /// All of them, the least capable first.
    pub const ALL: [Kernel; 5] = [Kernel::Portable, Kernel::Avx2, Kernel::Avx512Vnni, Kernel::Neon, Kernel::NeonDot];

    /// The name used in logs and benchmarks.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Portable => "portable",
            Kernel::Avx2 => "avx2",
            Kernel::Avx512Vnni => "avx512-vnni",
            Kernel::Neon => "neon",
            Kernel::NeonDot => "neon-dotprod",
        }
    }

    /// Whether this CPU, and this build, runs it.
    pub fn available(self) -> bool {
        match self {
            Kernel::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => Isa::Avx2.available(),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512Vnni => Isa::Avx512.available() && std::arch::is_x86_feature_detected!("avx512vnni"),
            #[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
            Kernel::Neon => Isa::Neon.available(),
            #[cfg(target_arch = "aarch64")]
            Kernel::NeonDot => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[allow(unreachable_patterns, reason = "the kernels of other architectures")]
            _ => false,
        }
    }

    /// The most capable one within an instruction set.
    pub fn of(isa: Isa) -> Kernel {
        let within: &[Kernel] = match isa {
            Isa::Portable => &[],
            Isa::Avx2 => &[Kernel::Avx2],
            Isa::Avx512 => &[Kernel::Avx512Vnni, Kernel::Avx2],
            Isa::Neon => &[Kernel::NeonDot, Kernel::Neon],
        };
        within.iter().copied().find(|kernel| kernel.available()).unwrap_or(Kernel::Portable)
    }

    /// The one in force: see [`Isa::selected`].
    pub fn selected() -> Kernel {
        Kernel::of(Isa::selected())
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

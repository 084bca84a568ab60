//! Which instruction set the kernels use: found once at start, or forced by `MILAD_KERNELS`.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// An instruction set that some kernel of this crate is written for.
///
/// Holding a value means nothing by itself; [`Isa::available`] tells whether this CPU can run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust, every CPU.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL, and all of [`Isa::Avx2`].
    Avx512,
    /// NEON: always there on aarch64, found at run time on 32-bit ARM.
    Neon,
}

/// The environment variable that forces an instruction set, by its [`Isa::name`].
pub const FORCE_VARIABLE: &str = "MILAD_KERNELS";

impl Isa {
    /// All of them, the least capable first.
    pub const ALL: [Isa; 4] = [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Neon];

    /// The name used in logs, in benchmarks and in `MILAD_KERNELS`.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Neon => "neon",
        }
    }

    /// Whether this CPU runs it.
    pub fn available(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                // AVX2 too: what a zmm register is too wide for goes to those kernels.
                Isa::Avx2.available()
                    && std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512dq")
                    && std::arch::is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => true,
            #[cfg(target_arch = "arm")]
            Isa::Neon => arm_hwcap_has_neon(),
            #[allow(unreachable_patterns, reason = "the instruction sets of other architectures")]
            _ => false,
        }
    }

    /// The most capable one that this CPU runs.
    pub fn best() -> Isa {
        Isa::ALL.into_iter().rev().find(|isa| isa.available()).unwrap_or(Isa::Portable)
    }

    /// The one in force: what `MILAD_KERNELS` names, else [`Isa::best`]. Decided once per process.
    ///
    /// An unknown or unavailable name in the variable is not obeyed; [`forced`] tells the caller, who reports it.
    pub fn selected() -> Isa {
        static SELECTED: OnceLock<Isa> = OnceLock::new();
        *SELECTED.get_or_init(|| forced().ok().flatten().unwrap_or_else(Isa::best))
    }
}

/// What `MILAD_KERNELS` asks for: nothing, an instruction set that this CPU runs, or the reason why it can't be had.
pub fn forced() -> Result<Option<Isa>, String> {
    let Some(value) = std::env::var_os(FORCE_VARIABLE) else { return Ok(None) };
    let isa: Isa = value.to_string_lossy().parse()?;
    if isa.available() { Ok(Some(isa)) } else { Err(format!("{FORCE_VARIABLE}={isa}: this CPU does not have it")) }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = String;

    fn from_str(name: &str) -> Result<Isa, String> {
        Isa::ALL.into_iter().find(|isa| isa.name() == name).ok_or_else(|| {
            let known: Vec<_> = Isa::ALL.iter().map(|isa| isa.name()).collect();
            format!("{FORCE_VARIABLE}={name}: expected one of {}", known.join(", "))
        })
    }
}

/// HWCAP bit 12 of the 32-bit ARM Linux ABI (`arch/arm/include/uapi/asm/hwcap.h`), read from the auxiliary vector.
#[cfg(target_arch = "arm")]
fn arm_hwcap_has_neon() -> bool {
    const AT_HWCAP: u32 = 16;
    const HWCAP_NEON: u32 = 1 << 12;
    std::fs::read("/proc/self/auxv").is_ok_and(|auxv| {
        auxv.chunks_exact(8).any(|entry| {
            let word = |i: usize| u32::from_ne_bytes([entry[i], entry[i + 1], entry[i + 2], entry[i + 3]]);
            word(0) == AT_HWCAP && word(4) & HWCAP_NEON != 0
        })
    })
}

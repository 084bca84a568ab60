//! The most multiply-adds that one core does with an instruction set: independent chains in registers, nothing loaded.

use std::hint::black_box;
use std::time::Instant;

use crate::cpu::Isa;
use crate::int8::Kernel;

/// FLOP/s of a short burst (about 0.1 ms) by the clock on the wall; see [`work`].
pub fn burst(isa: Isa) -> f64 {
    let start = Instant::now();
    let flops = work(isa);
    flops / start.elapsed().as_secs_f64()
}

/// Does nothing but multiply-adds for about 0.1 ms; returns how many FLOPs, a multiply-add counting as two. For callers with a clock of
/// their own. What this CPU lacks is done as portable code; 32-bit ARM always is, so there it is a lower bound.
pub fn work(isa: Isa) -> f64 {
    const ROUNDS: usize = 12_000;
    let isa = if isa.available() { isa } else { Isa::Portable };
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU has it, as was just asked.
        Isa::Avx512 => unsafe { avx512(ROUNDS) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { avx2(ROUNDS) },
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => neon(ROUNDS),
        _ => portable(ROUNDS),
    }
}

/// Twelve chains: more than latency times throughput of any core so far, and few enough for sixteen registers.
const CHAINS: usize = 12;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(rounds: usize) -> f64 {
    use std::arch::x86_64::*;
    let (a, b) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
    let mut sums = [_mm512_set1_ps(black_box(1.0)); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, a, b);
        }
    }
    black_box(sums.map(|sum| _mm512_reduce_add_ps(sum)));
    (rounds * CHAINS * 16 * 2) as f64
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(rounds: usize) -> f64 {
    use std::arch::x86_64::*;
    let (a, b) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
    let mut sums = [_mm256_set1_ps(black_box(1.0)); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, a, b);
        }
    }
    black_box(sums.map(|sum| _mm256_cvtss_f32(sum)));
    (rounds * CHAINS * 8 * 2) as f64
}

#[cfg(target_arch = "aarch64")]
fn neon(rounds: usize) -> f64 {
    use std::arch::aarch64::*;
    // SAFETY: NEON is part of the target; these only compute.
    unsafe {
        let (a, b) = (vdupq_n_f32(black_box(0.999)), vdupq_n_f32(black_box(0.001)));
        let mut sums = [vdupq_n_f32(black_box(1.0)); CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = vfmaq_f32(b, *sum, a);
            }
        }
        black_box(sums.map(|sum| vaddvq_f32(sum)));
    }
    (rounds * CHAINS * 4 * 2) as f64
}

/// Also for 32-bit ARM, whose NEON has no stable intrinsics: shares there are of what plain code reaches, not of a peak.
///
/// A multiplication and an addition, as the compiler vectorises them for the target's baseline.
fn portable(rounds: usize) -> f64 {
    let (a, b) = (black_box(0.999f32), black_box(0.001f32));
    let mut sums = [[black_box(1.0f32); 4]; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = sum.map(|x| x * a + b);
        }
    }
    black_box(sums);
    (rounds * CHAINS * 4 * 2) as f64
}

/// Does nothing but integer multiply-adds for about 0.1 ms, as the kernels of [`crate::int8`] do them; returns how many multiply-accumulates.
///
/// vpdpbusd with [`Kernel::Avx512Vnni`]; vpmaddwd and an addition with [`Kernel::Avx2`]; sdot with [`Kernel::NeonDot`]; smull, smlal and sadalp
/// with [`Kernel::Neon`] on aarch64; elsewhere, 32-bit ARM included, what the compiler makes of plain code.
pub fn integer_work(kernel: Kernel) -> f64 {
    const ROUNDS: usize = 30_000;
    let kernel = if kernel.available() { kernel } else { Kernel::Portable };
    match kernel {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU has it, as was just asked.
        Kernel::Avx512Vnni => unsafe { integer_avx512(ROUNDS) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Kernel::Avx2 => unsafe { integer_avx2(ROUNDS) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Kernel::NeonDot => unsafe { integer_neon_dot(ROUNDS) },
        #[cfg(target_arch = "aarch64")]
        Kernel::Neon => integer_neon(ROUNDS),
        _ => integer_portable(ROUNDS),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn integer_avx512(rounds: usize) -> f64 {
    use std::arch::x86_64::*;
    let (a, b) = (_mm512_set1_epi32(black_box(0x0102_0304)), _mm512_set1_epi32(black_box(0x0101_ff02)));
    let mut sums = [_mm512_set1_epi32(black_box(1)); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, a, b);
        }
    }
    black_box(sums.map(|sum| _mm512_reduce_add_epi32(sum)));
    (rounds * CHAINS * 64) as f64
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn integer_avx2(rounds: usize) -> f64 {
    use std::arch::x86_64::*;
    let mut sums = [_mm256_set1_epi32(black_box(1)); CHAINS];
    let b = _mm256_set1_epi32(black_box(0x0003_fffe));
    let a = _mm256_set1_epi32(black_box(0x0005_0007));
    for _ in 0..rounds {
        for sum in &mut sums {
            let product: __m256i;
            // Volatile, or the compiler would multiply once for all.
            // SAFETY: multiplies registers; touches nothing else.
            unsafe {
                std::arch::asm!(
                    "vpmaddwd {product}, {a}, {b}",
                    product = lateout(ymm_reg) product, a = in(ymm_reg) a, b = in(ymm_reg) b,
                    options(nomem, nostack, preserves_flags)
                );
            }
            *sum = _mm256_add_epi32(*sum, product);
        }
    }
    black_box(sums.map(|sum| _mm256_extract_epi32::<0>(sum)));
    (rounds * CHAINS * 16) as f64
}

/// # Safety
/// The CPU has dotprod.
#[cfg(target_arch = "aarch64")]
unsafe fn integer_neon_dot(rounds: usize) -> f64 {
    use std::arch::aarch64::*;
    // SAFETY: the caller's; multiplies registers, touches nothing else.
    unsafe {
        let (a, b) = (vdupq_n_s8(black_box(3)), vdupq_n_s8(black_box(-2)));
        let mut sums = [vdupq_n_s32(black_box(1)); CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                std::arch::asm!(
                    ".arch_extension dotprod",
                    "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
                    sum = inout(vreg) *sum, a = in(vreg) a, b = in(vreg) b,
                    options(nomem, nostack, preserves_flags)
                );
            }
        }
        black_box(sums.map(|sum| vaddvq_s32(sum)));
    }
    (rounds * CHAINS * 16) as f64
}

#[cfg(target_arch = "aarch64")]
fn integer_neon(rounds: usize) -> f64 {
    use std::arch::aarch64::*;
    // SAFETY: NEON is part of the target; multiplies registers, touches nothing else.
    unsafe {
        let (a, b) = (vdupq_n_s8(black_box(3)), vdupq_n_s8(black_box(-2)));
        let mut sums = [vdupq_n_s32(black_box(1)); CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                std::arch::asm!(
                    "smull {product:v}.8h, {a:v}.8b, {b:v}.8b",
                    "smlal2 {product:v}.8h, {a:v}.16b, {b:v}.16b",
                    "sadalp {sum:v}.4s, {product:v}.8h",
                    product = out(vreg) _, sum = inout(vreg) *sum, a = in(vreg) a, b = in(vreg) b,
                    options(nomem, nostack, preserves_flags)
                );
            }
        }
        black_box(sums.map(|sum| vaddvq_s32(sum)));
    }
    (rounds * CHAINS * 16) as f64
}

fn integer_portable(rounds: usize) -> f64 {
    let (a, b) = (black_box([3i16; 8]), black_box([5i16; 8]));
    let mut sums = [[black_box(1i32); 8]; CHAINS];
    for round in 0..rounds {
        for sum in &mut sums {
            for ((sum, &a), &b) in sum.iter_mut().zip(&a).zip(&b) {
                *sum = sum.wrapping_add(i32::from(a ^ round as i16) * i32::from(b));
            }
        }
    }
    black_box(sums);
    (rounds * CHAINS * 8) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel whose peak is that of plain code would be compared with a fraction of what the core can do.
    #[test]
    fn each_instruction_set_that_is_there_has_integer_work_of_its_own() {
        let plain = integer_work(Kernel::Portable);
        for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.available() && *kernel != Kernel::Portable) {
            let macs = integer_work(kernel);
            if cfg!(target_arch = "arm") {
                assert_eq!(macs, plain, "{kernel}");
            } else {
                assert!(macs > plain, "{kernel}: {macs}, plain code {plain}");
            }
        }
    }
}

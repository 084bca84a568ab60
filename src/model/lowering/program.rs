//! What a region computes, before it is packed for a kernel: values (bytes with a scale), steps in their order, and the edges where
//! it meets the rest of the network. Plain data: no engine, no kernels.

/// How bytes stand for numbers: number = scale · (byte − zero point). Signed bytes are held with 128 added to byte and zero point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quantisation {
    /// Greater than zero, finite.
    pub scale: f32,
    pub zero_point: u8,
}

impl Quantisation {
    /// QuantizeLinear of one number: halves to even, then saturation. ONNX operator set 19, QuantizeLinear.
    pub fn quantise(self, number: f32) -> u8 {
        let rounded = (number / self.scale).round_ties_even() + f32::from(self.zero_point);
        // `as` saturates.
        rounded as u8
    }

    /// DequantizeLinear of one byte.
    pub fn dequantise(self, byte: u8) -> f32 {
        (f32::from(byte) - f32::from(self.zero_point)) * self.scale
    }
}

/// A quantised map. The picture's axis N is 1 everywhere.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    /// Of the tensor of bytes in the file.
    pub name: String,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub quantisation: Quantisation,
    /// Whether the file's bytes are signed.
    pub signed: bool,
}

/// Index of a [`Value`].
pub(crate) type ValueId = usize;

/// Rows and columns of a window that moves over a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Top, left, bottom, right.
    pub pads: [usize; 4],
}

/// A convolution with everything that its weights say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Convolution {
    pub window: Window,
    pub groups: usize,
    /// `[output channel][input channel of the group][kernel row][kernel column]`; weight zero-points are taken off.
    pub weights: Vec<i8>,
    /// One an output channel.
    pub scales: Vec<f32>,
    /// In units of input scale × weight scale; one an output channel.
    pub bias: Vec<i32>,
}

/// How positions of a resized map are mapped back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sampling {
    /// Bilinear between pixel centres at half positions.
    Linear(Grid),
    /// The nearest pixel, of an integer factor.
    Nearest,
}

/// Where pixels are taken to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grid {
    HalfPixel,
    AlignCorners,
    Asymmetric,
}

/// One fused operation on bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operation {
    Conv(Box<Convolution>),
    /// Byte to byte: any function of one number.
    Table(Box<[u8; 256]>),
    Add,
    /// The second input may be `[C, 1, 1]`.
    Multiply,
    /// Channels of all inputs, one after the other.
    Concat,
    Resize(Sampling),
    MaxPool(Window),
    /// With or without the padding in the mean's divisor.
    AveragePool(Window, bool),
    /// Mean over the whole map.
    GlobalAverage,
}

impl Operation {
    /// For tables and logs.
    pub fn word(&self) -> &'static str {
        match self {
            Operation::Conv(conv) if conv.groups > 1 && conv.weights.len() == conv.groups * conv.window.area() => {
                "depthwise"
            }
            Operation::Conv(conv) if conv.window.area() == 1 => "conv 1x1",
            Operation::Conv(_) => "conv",
            Operation::Table(_) => "table",
            Operation::Add => "add",
            Operation::Multiply => "multiply",
            Operation::Concat => "concat",
            Operation::Resize(_) => "resize",
            Operation::MaxPool(_) => "max pool",
            Operation::AveragePool(..) | Operation::GlobalAverage => "average",
        }
    }
}

impl Window {
    /// Positions of the kernel.
    pub fn area(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

/// An operation with its inputs and its output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    /// Of the node in the file.
    pub name: String,
    pub operation: Operation,
    pub inputs: Vec<ValueId>,
    pub output: ValueId,
    /// The least and the greatest byte of the output: an activation that follows without a quantisation between.
    pub clamp: [u8; 2],
    pub macs: u64,
}

/// What a tensor at a region's edge looks like outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// float32 `[1, C, H, W]`.
    Float,
    /// The file's own bytes `[1, C, H, W]`.
    Bytes,
    /// A plane as it lies in the arena, handed to another region.
    Plane,
}

/// A tensor that enters or leaves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Edge {
    /// The tensor's name in the lowered graph.
    pub tensor: String,
    pub form: Form,
    pub value: ValueId,
}

/// A connected part of a network that runs in integers as one operator.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Region {
    pub name: String,
    pub values: Vec<Value>,
    pub inputs: Vec<Edge>,
    pub steps: Vec<Step>,
    pub outputs: Vec<Edge>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_even_and_bytes_saturate() {
        let q = Quantisation { scale: 0.5, zero_point: 3 };
        let bytes = [0.25, 0.75, 1.25, -0.25, -0.75, 1e9, -1e9].map(|number| q.quantise(number));
        assert_eq!(bytes, [3, 5, 5, 3, 1, 255, 0]);
        assert_eq!(q.dequantise(0), -1.5);
    }
}

//! What a region computes, before it is packed for a kernel: values (bytes with a scale), steps in their order, and the edges where
//! it meets the rest of the network. Plain data.

use milad_kernels::int8::{Coordinates, Mean, Mix, Mode, Quantisation, Window};

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

/// One fused operation on bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operation {
    Conv(Box<Convolution>),
    /// A convolution whose sums leave as numbers within these bounds, without a quantisation.
    Real(Box<Convolution>, [f32; 2]),
    /// Byte to byte: any function of one number.
    Table(Box<[u8; 256]>),
    /// The second input may be `[C, 1, 1]`.
    Add,
    /// The second input may be `[C, 1, 1]`.
    Multiply,
    /// Channels of all inputs, one after the other.
    Concat,
    Resize(Mode, Coordinates),
    MaxPool(Window),
    /// With or without the padding in the mean's divisor.
    AveragePool(Window, bool),
    /// Mean over the whole map.
    GlobalAverage(Mean),
}

impl Operation {
    /// For tables and logs.
    pub fn word(&self) -> &'static str {
        match self {
            Operation::Conv(conv) | Operation::Real(conv, _) => match conv.area() {
                area if conv.groups > 1 && conv.weights.len() == conv.groups * area => "depthwise",
                1 => "conv 1x1",
                _ => "conv",
            },
            Operation::Table(_) => "table",
            Operation::Add => "add",
            Operation::Multiply => "multiply",
            Operation::Concat => "concat",
            Operation::Resize(..) => "resize",
            Operation::MaxPool(_) => "max pool",
            Operation::AveragePool(..) | Operation::GlobalAverage(_) => "average",
        }
    }
}

impl Convolution {
    /// Positions of the kernel.
    pub fn area(&self) -> usize {
        self.window.size[0] * self.window.size[1]
    }

    /// The pixels around an input of this size that the kernel reaches.
    pub fn border(&self, height: usize, width: usize) -> usize {
        let Window { size, stride, dilation, pads, .. } = self.window;
        let mut border = pads[0].max(pads[1]);
        for (axis, extent) in [height, width].into_iter().enumerate() {
            let span = dilation[axis] * (size[axis].max(1) - 1) + 1;
            let steps = (extent + pads[axis] + pads[axis + 2]).saturating_sub(span) / stride[axis].max(1);
            border = border.max((steps * stride[axis] + span).saturating_sub(pads[axis] + extent));
        }
        border
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
    /// The prepared picture, bytes `[H, W, 4]`, of which the value is made.
    Picture,
    /// The file's own bytes `[1, C, H, W]`.
    Bytes,
    /// A plane as it lies in the arena, handed to another region.
    Plane,
}

/// How floats become a value on the way in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Way {
    /// Number by number.
    Plain,
    /// Their planes are mixed before they are quantised.
    Mixed(Mix),
    /// The first channels of a tensor with so many.
    Leading(usize),
}

/// A part of a tensor of bytes: where it starts, and how long the whole is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub start: usize,
    pub whole: usize,
}

/// A value that enters or leaves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Edge {
    /// The tensor's name in the lowered graph. Planes that leave one region share one.
    pub tensor: String,
    pub form: Form,
    pub value: ValueId,
    pub way: Way,
    /// Where in the tensor, if it shares it.
    pub part: Option<Part>,
}

impl Edge {
    /// Of a tensor of its own.
    pub fn new(tensor: String, form: Form, value: ValueId) -> Edge {
        Edge { tensor, form, value, way: Way::Plain, part: None }
    }
}

/// The tensors of edges, each once, in the order of a node's inputs or outputs.
pub(crate) fn tensors(edges: &[Edge]) -> Vec<&str> {
    let mut tensors: Vec<&str> = vec![];
    for edge in edges {
        if !tensors.contains(&edge.tensor.as_str()) {
            tensors.push(&edge.tensor);
        }
    }
    tensors
}

/// A connected part of a network that runs in integers as one operator.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Region {
    pub name: String,
    pub values: Vec<Value>,
    /// Pixels of zero-point around each value that some convolution reads, here or in another region.
    pub borders: Vec<usize>,
    pub inputs: Vec<Edge>,
    pub steps: Vec<Step>,
    pub outputs: Vec<Edge>,
}

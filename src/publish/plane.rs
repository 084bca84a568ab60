//! One published map: its numbers and their shape.

use milad_client::Dtype;
use milad_ring::Numbers;

/// The number that the image goes by among the tasks, which are counted from 0 as in the hello.
pub const IMAGE_TASK: usize = 63;

/// A map of a task in the order of `[channels,] height, width`; or the image, of `height, width, 3`.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    /// Which task, counted as in the hello, or [`IMAGE_TASK`].
    pub task: usize,
    /// Numbers a pixel; 1: the shape on the wire is `[height, width]`.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Pixels a row.
    pub width: usize,
    /// The numbers.
    pub values: Values,
}

impl Plane {
    /// Its sides as they are on the wire.
    pub fn shape(&self) -> impl Iterator<Item = u32> {
        let [channels, height, width] = [self.channels, self.height, self.width].map(|side| side as u32);
        let (sides, from) = match (self.task, channels) {
            (IMAGE_TASK, _) => ([height, width, channels], 0),
            (_, 1) => ([0, height, width], 1),
            _ => ([channels, height, width], 0),
        };
        sides.into_iter().skip(from)
    }
}

/// A map's numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Classes.
    U8(Vec<u8>),
    /// Parts of unit vectors × 127.
    I8(Vec<i8>),
    /// Metres, or raw numbers.
    F32(Vec<f32>),
}

impl Values {
    /// Their type on the wire.
    pub fn dtype(&self) -> Dtype {
        match self {
            Values::U8(_) => Dtype::U8,
            Values::I8(_) => Dtype::I8,
            Values::F32(_) => Dtype::F32,
        }
    }

    /// Their length on the wire.
    pub fn bytes(&self) -> usize {
        match self {
            Values::U8(values) => values.len(),
            Values::I8(values) => values.len(),
            Values::F32(values) => values.len() * 4,
        }
    }

    /// The numbers as they are, for memory that is shared.
    pub fn numbers(&self) -> Numbers<'_> {
        match self {
            Values::U8(values) => Numbers::U8(values),
            Values::I8(values) => Numbers::I8(values),
            Values::F32(values) => Numbers::F32(values),
        }
    }

    /// Appends them as they go over the wire: little-endian.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Values::U8(values) => out.extend_from_slice(values),
            Values::I8(values) => out.extend(values.iter().map(|v| *v as u8)),
            Values::F32(values) => {
                let start = out.len();
                out.resize(start + values.len() * 4, 0);
                // One pass that the compiler turns into a copy.
                if let Some(bytes) = out.get_mut(start..) {
                    for (bytes, value) in bytes.chunks_exact_mut(4).zip(values) {
                        bytes.copy_from_slice(&value.to_le_bytes());
                    }
                }
            }
        }
    }
}

//! The sizes of one attention, checked before anything is allocated.

use std::fmt;

use super::table::MAX_ROWS;

/// The sizes of one attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// g: heads; each is a contiguous block of channels of q, k and v.
    pub heads: usize,
    /// Cq: channels of q and k, all heads together.
    pub query_channels: usize,
    /// Cv: channels of v and y, all heads together.
    pub value_channels: usize,
    /// H, of the map.
    pub height: usize,
    /// W, of the map.
    pub width: usize,
    /// T: how many keyframes are looked at.
    pub keyframes: usize,
    /// r: the window is (2r+1)×(2r+1).
    pub radius: usize,
}

/// A size that doesn't fit: what it is of, what was expected and what was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ShapeError {
    /// A size that must be at least 1.
    Zero(&'static str),
    /// Channels that the heads don't divide.
    Heads {
        /// Which tensor.
        tensor: &'static str,
        /// Its channels.
        channels: usize,
        /// The heads.
        heads: usize,
    },
    /// The sizes multiply to more than this machine can address.
    TooLarge,
    /// A scale that is not a finite number.
    Scale(f32),
    /// The instruction set asked for is not there on this CPU.
    Unavailable(&'static str),
    /// A tensor with the wrong number of elements.
    Length {
        /// Which tensor.
        tensor: &'static str,
        /// Elements that the shape asks for.
        expected: usize,
        /// Elements that came.
        found: usize,
    },
    /// A keyframe's number that is not below T.
    Keyframe {
        /// T.
        keyframes: usize,
        /// The number given.
        found: usize,
    },
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("local attention: ")?;
        match *self {
            ShapeError::Zero(what) => write!(f, "{what}: expected at least 1, found 0"),
            ShapeError::Heads { tensor, channels, heads } => {
                write!(f, "{tensor}: expected channels in a multiple of {heads} heads, found {channels}")
            }
            ShapeError::TooLarge => {
                write!(f, "expected sizes whose product fits into memory; reduce the map or the radius")
            }
            ShapeError::Scale(scale) => write!(f, "scale: expected a finite number, found {scale}"),
            ShapeError::Unavailable(isa) => write!(f, "kernels for {isa}: this CPU, or this build, does not have them"),
            ShapeError::Length { tensor, expected, found } => {
                write!(f, "{tensor}: expected {expected} elements, found {found}")
            }
            ShapeError::Keyframe { keyframes, found } => {
                write!(f, "keyframe {found}: expected a number below {keyframes}")
            }
        }
    }
}

impl std::error::Error for ShapeError {}

impl Shape {
    /// The window's side, 2r+1.
    pub fn window(&self) -> usize {
        2 * self.radius + 1
    }

    /// H·W.
    pub fn positions(&self) -> usize {
        self.height * self.width
    }

    /// Multiply-accumulates of one run, T·H·W·(2r+1)²·(Cq+Cv); the masked ones at the border count too.
    pub fn macs(&self) -> u64 {
        let window = self.window() as u64;
        self.keyframes as u64
            * self.positions() as u64
            * window
            * window
            * (self.query_channels + self.value_channels) as u64
    }

    /// Whether every size is at least 1, the heads divide the channels and no product of sizes overflows.
    pub(super) fn check(&self) -> Result<(), ShapeError> {
        let sizes = [
            ("heads", self.heads),
            ("query channels", self.query_channels),
            ("value channels", self.value_channels),
            ("height", self.height),
            ("width", self.width),
            ("keyframes", self.keyframes),
        ];
        if let Some((what, _)) = sizes.into_iter().find(|&(_, size)| size == 0) {
            return Err(ShapeError::Zero(what));
        }
        for (tensor, channels) in [("q and k", self.query_channels), ("v", self.value_channels)] {
            if !channels.is_multiple_of(self.heads) {
                return Err(ShapeError::Heads { tensor, channels, heads: self.heads });
            }
        }
        // Upper bounds of what is allocated, whatever the kernel: a tile has 64 lanes in all its rows at most, a padded row 64 elements more
        // than its pixels and its window.
        const TILE: usize = 64;
        let window = self.radius.checked_mul(2).and_then(|d| d.checked_add(1)).ok_or(ShapeError::TooLarge)?;
        let row = self.width.checked_add(window).and_then(|row| row.checked_add(64)).ok_or(ShapeError::TooLarge)?;
        let slots = window.checked_add(MAX_ROWS).ok_or(ShapeError::TooLarge)?;
        allocatable(&[self.keyframes, self.height, self.query_channels, row])?;
        allocatable(&[self.keyframes, self.height, self.value_channels, row])?;
        allocatable(&[self.keyframes, slots, window, TILE])?;
        allocatable(&[self.query_channels.max(self.value_channels), TILE])?;
        allocatable(&[self.heads, window, window])?;
        allocatable(&[row, window])?;
        Ok(())
    }
}

/// Whether an array of f32 with these dimensions can exist.
fn allocatable(dimensions: &[usize]) -> Result<(), ShapeError> {
    let bytes = dimensions.iter().try_fold(size_of::<f32>(), |product, &size| product.checked_mul(size));
    if bytes.is_some_and(|bytes| bytes <= isize::MAX as usize) { Ok(()) } else { Err(ShapeError::TooLarge) }
}

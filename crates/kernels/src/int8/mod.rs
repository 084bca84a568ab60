//! Integer operators of quantised networks: u8 activations with a scale and zero-point, s8 weights, exact i32 sums.
//!
//! Every operator is made once (checks, packed weights, tables) and run many times without allocating; it computes the rows that the output
//! it is given is for ([`PlaneMut::split_at_row`]), so that threads can share one without changing a bit. All [`Kernel`]s give the same bits.
//!
//! | item | computes |
//! |---|---|
//! | [`Layout`], [`Plane`], [`PlaneMut`] | where a tensor's codes lie |
//! | [`Conv`] | dense and depthwise convolution, with activation and a residual; codes or real numbers |
//! | [`Add`], [`Multiply`] | two tensors of codes; a gate of one number a channel |
//! | [`Lookup`] | a function of single codes; requantisation, and with a view of some channels concatenation |
//! | [`MaxPool`], [`AveragePool`] | pooling, global too |
//! | [`Resize`] | bilinear and nearest |
//! | [`quantise`], [`dequantise`], [`Mix`], [`ImageTable`] | where the integer part begins and ends |
//!
//! Rounding is half to even and saturating throughout, in the order of operations that each item states: that of onnxruntime's operators on
//! x86-64, because scales of real networks make numbers halfway between two codes common, and a different last bit in each layer adds up.
//! The order is the same on every CPU, also where onnxruntime's is not.

mod add;
mod aligned;
mod conv;
mod convert;
mod error;
mod kernel;
mod layout;
mod lookup;
mod multiply;
mod pool;
mod quantisation;
mod resize;
pub(crate) mod versions;

pub use add::Add;
pub use aligned::{ALIGNMENT, AlignedBytes};
pub use conv::{Conv, ConvSpec, DEPTHWISE_TAPS, Output, Residual, signed_weights};
pub use convert::{ImageTable, Mix, dequantise, quantise};
pub use error::Error;
pub use kernel::Kernel;
pub use layout::{CHANNEL_STEP, Layout, Plane, PlaneMut, SLACK};
pub use lookup::Lookup;
pub use multiply::Multiply;
pub use pool::{AveragePool, MaxPool, Mean, Window};
pub use quantisation::Quantisation;
pub use resize::{Coordinates, Mode, Resize, Rounding};

//! Arithmetic of milad, and nothing else: no files, no threads, no sockets, no inference engine.
//!
//! | module | what it computes |
//! |---|---|
//! | [`cpu`] | which instruction set the kernels use, chosen once |
//! | [`ila`] | inter-frame local attention |
//! | [`int8`] | operators of quantised networks: convolution, addition, pooling, resizing, tables |
//! | [`pixel`] | camera pixels → the network's picture: RGB bytes of its size |
//! | [`peak`] | the most multiply-adds that this core does: what benchmarks compare with |
//! | [`maps`] | network output → published maps (upsampling fused with argmax, depth, normals) |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod cpu;
pub mod ila;
pub mod int8;
pub mod maps;
pub mod peak;
pub mod pixel;

//! Procedural clips with exact truth: training data, demo camera, evaluation. A ray-caster renders worlds that any
//! machine rebuilds from a seed, to the same bytes on every architecture. Must never use libm, a fused multiply-add,
//! unsafe code, or a dependency outside the feature `write`.
//!
//! ```
//! use milad_scene::{Clip, Options, Truth, World};
//! let options = Options { width: 64, height: 32, ..Options::default() };
//! let clip = Clip::new(World::Street, 3, &options);
//! let mut rgb = vec![0; 64 * 32 * 3];
//! clip.frame(0, &mut rgb);
//! let mut truth = Truth::default();
//! clip.truth(0, &mut truth);
//! assert_eq!(truth.class.len(), 64 * 32);
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod clip;
pub mod description;
pub mod frame;
pub mod material;
pub mod math;
pub mod random;
mod render;
pub mod world;
#[cfg(feature = "write")]
pub mod write;

pub use clip::Clip;
pub use frame::{Intrinsics, Options, Pose, Quality, Truth};
pub use world::{Class, FRAMES_PER_SECOND, UnknownWorld, World};

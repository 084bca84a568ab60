//! Bundles and the two networks in them.
//!
//! A bundle is loaded and checked as a whole ([`Bundle`]), then becomes a [`Model`]: a fast and a slow network, wired by
//! name, that run on different threads and share nothing but the [`engine::Memory`] that passes between them.

pub mod engine;
pub mod spec;

pub use engine::{Fast, FastRun, Keys, Memory, Prediction, RunError, Slow, SlowRun};
pub use spec::{Class, DepthEncoding, InputSpec, Spec, TaskKind, TaskSpec};

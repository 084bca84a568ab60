//! Bundles and the two networks in them.
//!
//! A bundle is loaded and checked as a whole ([`Bundle`]), then becomes a [`Model`]: a fast and a slow network, wired by
//! name, that run on different threads and share nothing but the [`engine::Memory`] that passes between them.
//!
//! | module | what it does |
//! |---|---|
//! | `manifest`, `onnx` | read `bundle.toml` and the network files |
//! | `check`, `facts`, `wiring` | what must hold in a file, between tensors, between the networks |
//! | `caught` | the engine's panics, as refusals |
//! | `guard` | keeps the engine from computing what `facts` would refuse |
//! | `hoist` | takes out of the frame's network what only changes with the keyframe |
//! | `lowering` | quantised parts as integer operators |
//! | `ila`, `plan` | attention as an operator of the engine; the engine's plan |
//! | `kept` | output tensors of our operators, used again |
//! | `memory` | what loading freed goes back to the system |
//! | `profile` | times of a plan's nodes |
//! | `network` | the two networks as the pipeline runs them |

mod bundle;
mod caught;
mod check;
pub mod engine;
mod error;
mod facts;
mod guard;
mod hoist;
mod ila;
mod kept;
mod lowering;
mod manifest;
mod memory;
mod network;
mod onnx;
mod plan;
pub mod profile;
pub mod spec;
#[cfg(test)]
pub(crate) mod tests;
mod wiring;

pub use bundle::{Bundle, IntegerReport, Limits, LoadReport, Model, Networks, SEARCH};
pub use engine::{Fast, FastRun, Image, Keys, Memory, Prediction, RunError, Slow, SlowRun};
pub use error::BundleError;
pub use network::{FastNetwork, SlowNetwork};
pub use spec::{Class, DepthEncoding, InputSpec, Spec, TaskKind, TaskSpec};

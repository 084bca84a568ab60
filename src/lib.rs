//! milad: dense multi-task predictions for every camera frame, at a fraction of the cost of a good network per frame.
//!
//! The rooms of this crate follow the way of a frame:
//! [`capture`] → prepare → [`model`] inside pipeline → publish, watched by telemetry, run by service.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod bench;
pub mod capture;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod eval;
pub mod infer;
pub mod logging;
pub mod model;
pub mod npy;
pub mod pipeline;
pub mod prepare;
pub mod publish;
pub mod pulse;
pub mod run;
pub mod scene;
pub mod seeds;
pub mod sequence;
pub mod service;
pub mod settings;
pub mod stop;
pub mod telemetry;
pub mod view;
pub mod watch;

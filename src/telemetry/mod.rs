//! What the daemon tells about itself: metrics for Prometheus, and whether it is alive and ready.
//!
//! [`Metrics`] is handed to every room of the pipeline. Every series exists from the start with bounded labels, lives in
//! atomics, and is updated without a lock or an allocation. `docs/METRICS.md` lists them all.

pub mod cells;
pub mod families;
pub mod health;
pub mod http;
mod metrics;
mod process;
mod registry;
mod request;

pub use self::families::{Cause, Stage};
pub use self::health::{CameraState, Health, NotReady};
pub use self::metrics::Metrics;
pub use self::registry::Registry;

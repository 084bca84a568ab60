//! What clips promise, seen from outside: gates on the worlds, truth that fits itself, the same bytes everywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bytes;
mod gates;
mod geometry;
mod metrics;
mod truth;

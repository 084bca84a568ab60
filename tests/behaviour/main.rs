//! What the program does, seen from outside: one room a file, each test a sentence.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod allocations;
mod bundles;
mod camera;
mod clients;
mod daemon;
mod eval;
mod lines;
mod manual;
mod metrics;
mod samples;
mod scene;
mod shared;
mod sockets;
mod sources;
mod support;
mod view;

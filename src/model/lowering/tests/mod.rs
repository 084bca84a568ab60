//! Small graphs and what becomes of them.

mod finding;
mod refusing;
pub mod sketch;

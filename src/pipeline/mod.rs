//! The stages, one thread each, and how frames pass between them.
//!
//! ```text
//! capture ─link→ prepare ─link→ fast ─link→ publish
//!                                │  ▲
//!                     nomination ▼  │ memory (mailbox)
//!                               slow
//! ```
//!
//! - A [`link`] is *newest wins* when the source is live (a frame that nobody took in time is replaced, and counted by
//!   stage and cause) and *lossless* otherwise (the source waits).
//! - **Asynchronous**: every frame is answered by the fast network with the newest finished keyframe ([`fast`]); the slow
//!   network runs beside it on frames that the fast thread nominates ([`slow`]). A failed or slow keyframe changes nothing.
//! - **Synchronous**: the fast thread runs the slow network itself on every n-th frame and publishes its predictions
//!   ([`synchronous`]). The output depends on the frames alone.
//!
//! Every captured frame is accounted for: `captured = published + Σ dropped{stage, cause} + in flight`, and once the
//! threads have ended nothing is in flight.

mod account;
pub mod capture;
pub mod cores;
pub mod fast;
pub mod frame;
pub mod images;
pub mod link;
pub mod prepare;
pub mod publish;
#[cfg(test)]
mod publish_tests;
pub mod slow;
pub mod synchronous;
#[cfg(test)]
mod tests;
mod threads;
mod throttle;

pub use account::Account;
pub use frame::{KeyframeMark, Meta, Outcome, Prepared};
pub use threads::{Options, Parts, Pipeline, start};

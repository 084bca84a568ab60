//! Maps in shared memory: a ring of slots that one process writes and many read.
//!
//! The writer never waits for a reader and never learns of one. A reader never locks, never faults, and can always tell
//! that the writer overtook it: every slot carries the *generation* of what is in it, and what was read counts only while
//! the generation is still the one that was announced. `docs/PROTOCOL.md` describes the layout to the byte.
//!
//! | file | subject |
//! |---|---|
//! | `slot` | the algorithm, explored by loom |
//! | `mapping` | memory of a file descriptor; unsafe |
//! | `plane` | sealed memfds with their slots: the writer's and the reader's side |
//! | `lines` | a plane of lines, with a bell for all who read them |
//!
//! It is a crate of its own so that loom can explore it without building anything else:
//! `RUSTFLAGS="--cfg loom" cargo test --release -p milad-ring`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(not(loom))]
mod lines;
#[cfg(not(loom))]
mod mapping;
#[cfg(not(loom))]
mod plane;
mod slot;

#[cfg(not(loom))]
pub use lines::{Line, LinesReader, LinesWriter, NAP, WOKEN};
#[cfg(not(loom))]
pub use mapping::Number;
#[cfg(not(loom))]
pub use plane::{Announced, HEADER_BYTES, Layout, PlaneError, PlaneReader, PlaneWriter, Room};
pub use slot::{Overtaken, Slot, WORD, Word, announce, retract};

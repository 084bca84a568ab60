//! Integer operators against plain restatements of their definitions, over odd shapes, with every kernel that this CPU has.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod add;
mod conv;
mod convert;
mod pool;
mod resize;
mod tensor;

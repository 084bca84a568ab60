//! What a bundle must hold, and what its networks do, on bundles that the tests build.

mod bad;
mod running;
pub(crate) mod toy;

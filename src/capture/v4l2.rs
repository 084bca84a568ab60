//! V4L2 cameras.

/// A mapped driver buffer that goes back to the driver when dropped.
#[derive(Debug)]
pub struct Lease;

impl Lease {
    /// The bytes by memory plane.
    pub fn memory_planes(&self) -> [&[u8]; 3] {
        [&[], &[], &[]]
    }
}

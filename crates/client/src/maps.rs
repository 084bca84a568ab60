//! How maps in shared memory are described: the line that brings the memory, and where a result's maps are in it.

use std::num::NonZeroU32;

use milad_ring::Layout;
use serde::{Deserialize, Serialize};

use crate::result::Dtype;

/// The name under which the picture that the networks saw comes along with maps. No task has it.
pub const IMAGE: &str = "image";

/// Shared memory: a sealed memfd for each plane, in the order of `planes`. It replaces what came before as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapsMessage {
    /// The epoch whose results are in it.
    pub epoch: u64,
    /// How many maps of each plane are there at a time; the newest takes the place of the oldest.
    pub slots: u32,
    /// One for each descriptor.
    pub planes: Vec<PlaneInfo>,
    /// Where results' lines are, for a client that reads them there: one more descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<LinesInfo>,
}

/// A memfd with the lines of results, slot by slot, and the bell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinesInfo {
    /// From the start of a slot to the start of the next.
    pub slot_bytes: u64,
    /// From the start of a slot to its line.
    pub data_offset: u64,
    /// The most that a line has, with its newline.
    pub bytes: u64,
}

impl LinesInfo {
    /// Its numbers, as far as they fit this machine.
    pub fn layout(&self, slots: u32) -> Option<Layout> {
        layout(slots, self.slot_bytes, self.data_offset, self.bytes)
    }
}

/// A memfd with the maps of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaneInfo {
    /// Whose maps: a task's name, or [`IMAGE`].
    pub task: String,
    /// Their number type.
    pub dtype: Dtype,
    /// `[height, width]`, `[channels, height, width]`, or for the image `[height, width, 3]`; the last axis is contiguous.
    pub shape: Vec<u32>,
    /// `little`.
    pub byte_order: String,
    /// From the start of a slot to the start of the next; slot 0 starts the memory, each slot with its generation (`u32`).
    pub slot_bytes: u64,
    /// From the start of a slot to its map.
    pub data_offset: u64,
    /// The map's length.
    pub bytes: u64,
}

impl PlaneInfo {
    /// Its numbers, as far as they fit this machine.
    pub fn layout(&self, slots: u32) -> Option<Layout> {
        layout(slots, self.slot_bytes, self.data_offset, self.bytes)
    }
}

fn layout(slots: u32, slot_bytes: u64, data_offset: u64, bytes: u64) -> Option<Layout> {
    Some(Layout {
        slots: usize::try_from(slots).ok()?,
        slot_bytes: usize::try_from(slot_bytes).ok()?,
        data_offset: usize::try_from(data_offset).ok()?,
        bytes: usize::try_from(bytes).ok()?,
    })
}

/// Where a result's maps are: in this slot of every plane, for as long as the slot's generation is this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedSlot {
    /// The slot.
    pub slot: u32,
    /// What the slot's generation is while the maps are there.
    pub generation: NonZeroU32,
}

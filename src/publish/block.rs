//! One result, encoded once for all clients: what they share, and the pieces of which each one's own part is put together.
//!
//! A message is `head` + a client's own `tail` + the planes that it asked for. Written once, read by many, reused when
//! the last client is done with it.

use std::io::Write;
use std::ops::Range;

use milad_client::{IMAGE, ResultMessage, SharedSlot};

use super::plane::{IMAGE_TASK, Plane};

/// Tasks by their place in the hello, as a set of bits; tasks beyond the 63rd can't be named, the last bit is the image's.
pub type TaskMask = u64;

/// How a result's maps reach a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Not at all.
    None,
    /// Behind the line.
    Inline,
    /// In shared memory, there.
    Shared(SharedSlot),
}

/// Whether a task is in a mask.
pub fn contains(mask: TaskMask, task: usize) -> bool {
    u32::try_from(task).ok().and_then(|task| 1u64.checked_shl(task)).is_some_and(|bit| mask & bit != 0)
}

/// A map's name on the wire.
pub fn name(result: &ResultMessage, task: usize) -> Option<&str> {
    if task == IMAGE_TASK { Some(IMAGE) } else { result.tasks.0.get(task).map(|(name, _)| name.as_str()) }
}

/// A result's bytes.
#[derive(Debug, Default)]
pub struct Block {
    /// From `{"type":"result"` to the field before `dropped`.
    head: Vec<u8>,
    /// Fragments of JSON.
    text: Vec<u8>,
    /// `"depth":{…}` in `text`, by task.
    statistics: Vec<Range<usize>>,
    /// The maps that somebody asked for.
    maps: Vec<EncodedMap>,
    /// Their bytes.
    payload: Vec<u8>,
}

#[derive(Debug)]
struct EncodedMap {
    task: usize,
    /// `{"task":…,"byte_order":"little","offset":` in the block's text.
    info: Range<usize>,
    bytes: Range<usize>,
}

impl Block {
    /// Encodes `result`, and of `planes` those in `wanted`. Reuses all its memory.
    pub fn encode(&mut self, result: &ResultMessage, planes: &[Plane], wanted: TaskMask) -> serde_json::Result<()> {
        self.head.clear();
        self.text.clear();
        self.statistics.clear();
        self.maps.clear();
        self.payload.clear();
        serde_json::to_writer(&mut self.head, &result.head())?;
        // The closing brace: the tail goes on in the same object.
        self.head.pop();
        for (name, statistics) in result.tasks.iter() {
            let start = self.text.len();
            serde_json::to_writer(&mut self.text, name)?;
            self.text.push(b':');
            serde_json::to_writer(&mut self.text, statistics)?;
            self.statistics.push(start..self.text.len());
        }
        for plane in planes.iter().filter(|plane| contains(wanted, plane.task)) {
            let Some(name) = name(result, plane.task) else { continue };
            let (info, start) = (self.text.len(), self.payload.len());
            self.text.extend_from_slice(b"{\"task\":");
            serde_json::to_writer(&mut self.text, name)?;
            self.text.extend_from_slice(b",\"dtype\":");
            serde_json::to_writer(&mut self.text, &plane.values.dtype())?;
            let mut open = ",\"shape\":[";
            for side in plane.shape() {
                // Writing to a vector does not fail.
                let _ = write!(self.text, "{open}{side}");
                open = ",";
            }
            self.text.extend_from_slice(b"],\"byte_order\":\"little\",\"offset\":");
            plane.values.append_to(&mut self.payload);
            self.maps.push(EncodedMap {
                task: plane.task,
                info: info..self.text.len(),
                bytes: start..self.payload.len(),
            });
        }
        Ok(())
    }

    /// The part that all clients share.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Writes a client's own part: from `dropped` to the newline.
    pub fn write_tail(&self, tail: &mut Vec<u8>, dropped: u64, tasks: TaskMask, way: Way) {
        tail.clear();
        // Writing to a vector does not fail.
        let _ = write!(tail, ",\"dropped\":{dropped},\"tasks\":{{");
        let mut comma: &[u8] = b"";
        for (task, fragment) in self.statistics.iter().enumerate() {
            if contains(tasks, task) {
                tail.extend_from_slice(comma);
                tail.extend_from_slice(self.text.get(fragment.clone()).unwrap_or_default());
                comma = b",";
            }
        }
        tail.push(b'}');
        if let Way::Shared(SharedSlot { slot, generation }) = way {
            let _ = write!(tail, ",\"shared\":{{\"slot\":{slot},\"generation\":{generation}}}");
        }
        if way == Way::Inline {
            let mut offset = 0;
            for map in self.maps.iter().filter(|map| contains(tasks, map.task)) {
                let open: &[u8] = if offset == 0 { b",\"maps\":[" } else { b"," };
                tail.extend_from_slice(open);
                tail.extend_from_slice(self.text.get(map.info.clone()).unwrap_or_default());
                let _ = write!(tail, "{offset},\"bytes\":{}}}", map.bytes.len());
                offset += map.bytes.len();
            }
            if offset > 0 {
                let _ = write!(tail, "],\"payload_bytes\":{offset}");
            }
        }
        tail.extend_from_slice(b"}\n");
    }

    /// The bytes behind the line, map by map, for a client that wants `tasks` inline.
    pub fn planes(&self, tasks: TaskMask) -> impl Iterator<Item = &[u8]> {
        let maps = self.maps.iter().filter(move |map| contains(tasks, map.task));
        maps.map(|map| self.payload.get(map.bytes.clone()).unwrap_or_default())
    }
}

//! One result, encoded once for all clients: what they share, and the pieces of which each one's own part is put together.
//!
//! A message is `head` + a client's own `tail` + the planes that it asked for. Clients that asked for the same and lost nothing
//! have the same line, which is put together once. Written once, read by many, reused when the last client is done with it.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use milad_client::{IMAGE, ResultMessage, SharedSlot};

use super::plane::{IMAGE_TASK, Plane};

/// Tasks by their place in the hello, as a set of bits; tasks beyond the 63rd can't be named, the last bit is the image's.
pub type TaskMask = u64;

/// How a result's maps reach a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// Not at all.
    #[default]
    None,
    /// Behind the line.
    Inline,
    /// In shared memory, there.
    Shared(SharedSlot),
}

/// What sets one client's line apart from another's, losses aside: the tasks, and the way of their maps.
pub type Kind = (TaskMask, Way);

/// Room for the field names of a client's own part, and for the numbers that are no statistics.
const TAIL: usize = 128;

/// Whole lines that are kept for clients that asked for the same; others put their own together.
const LINES: usize = 8;

/// The mask of one task.
pub fn bit(task: usize) -> TaskMask {
    u32::try_from(task).ok().and_then(|task| 1u64.checked_shl(task)).unwrap_or(0)
}

/// Whether a task is in a mask.
pub fn contains(mask: TaskMask, task: usize) -> bool {
    mask & bit(task) != 0
}

/// A map's name on the wire.
fn name(result: &ResultMessage, task: usize) -> Option<&str> {
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
    /// Whole lines without losses, by kind; those from `ready` on are of another result.
    lines: Vec<(Kind, Vec<u8>)>,
    ready: usize,
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
        self.ready = 0;
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

    /// Puts the whole line of clients of this kind together, where there is none yet. After [`Block::encode`].
    pub fn prepare(&mut self, kind: Kind) {
        if self.ready == LINES || self.line(kind).is_some() {
            return;
        }
        if self.ready == self.lines.len() {
            self.lines.push((kind, Vec::with_capacity(1024)));
        }
        let Some((_, mut line)) = self.lines.get_mut(self.ready).map(std::mem::take) else { return };
        line.clear();
        line.extend_from_slice(&self.head);
        self.append_tail(&mut line, 0, kind.0, kind.1);
        if let Some(place) = self.lines.get_mut(self.ready) {
            *place = (kind, line);
            self.ready += 1;
        }
    }

    /// The whole line of a client of this kind that lost nothing, where it was prepared.
    pub fn line(&self, kind: Kind) -> Option<&[u8]> {
        let ready = self.lines.get(..self.ready)?;
        ready.iter().find(|(known, _)| *known == kind).map(|(_, line)| line.as_slice())
    }

    /// No fewer bytes than the line of a client that wants all tasks, its maps elsewhere.
    pub fn longest_line(&self) -> usize {
        self.head.len() + self.statistics.iter().map(|fragment| fragment.len() + 1).sum::<usize>() + TAIL
    }

    /// The part that all clients share.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Writes a client's own part: from `dropped` to the newline.
    pub fn write_tail(&self, tail: &mut Vec<u8>, dropped: u64, tasks: TaskMask, way: Way) {
        tail.clear();
        self.append_tail(tail, dropped, tasks, way);
    }

    fn append_tail(&self, tail: &mut Vec<u8>, dropped: u64, tasks: TaskMask, way: Way) {
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

/// A block that nobody holds, or a new one, with this result in it, and with the lines of these kinds.
pub fn encoded(
    blocks: &mut Vec<Arc<Block>>,
    result: &ResultMessage,
    planes: &[Plane],
    wanted: TaskMask,
    kinds: impl Iterator<Item = Kind>,
) -> Arc<Block> {
    // A slow client can hold each of its messages in another block; no more than that are ever made.
    if !blocks.iter().any(|block| Arc::strong_count(block) == 1) {
        blocks.push(Arc::default());
    }
    let free = blocks.iter_mut().find(|block| Arc::strong_count(block) == 1);
    let Some(block) = free else { return Arc::default() };
    if let Some(block) = Arc::get_mut(block) {
        if let Err(error) = block.encode(result, planes, wanted) {
            // Only a fault in a Serialize can do this: vectors take what they are given.
            log::error!("can't encode a result: {error}");
        }
        kinds.for_each(|kind| block.prepare(kind));
    }
    block.clone()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use milad_client::{Named, Statistics};

    use super::super::plane::Values;
    use super::*;

    fn result(sequence: u64) -> ResultMessage {
        let tasks = ["depth", "flow"].map(|name| (name.to_owned(), Statistics::Raw {}));
        ResultMessage { sequence, tasks: Named(tasks.into()), ..ResultMessage::default() }
    }

    fn planes() -> [Plane; 2] {
        [0, 1].map(|task| Plane { task, channels: 1, height: 1, width: 3, values: Values::U8(vec![7; 3].into()) })
    }

    #[test]
    fn a_whole_line_is_what_a_client_without_losses_puts_together_itself() {
        let mut block = Block::default();
        let slot = |number: u32| Way::Shared(SharedSlot { slot: 3, generation: NonZeroU32::new(number + 1).unwrap() });
        for sequence in 0..3 {
            block.encode(&result(sequence), &planes(), 0b11).unwrap();
            let number = sequence as u32 + 1;
            let kinds = [(0b11, slot(number)), (0b01, slot(number)), (0b11, Way::None), (0b10, Way::Inline)];
            kinds.iter().chain(&kinds).for_each(|kind| block.prepare(*kind));
            for kind in kinds {
                let mut tail = vec![];
                block.write_tail(&mut tail, 0, kind.0, kind.1);
                assert_eq!(block.line(kind).unwrap(), [block.head(), &tail].concat());
            }
            // Nothing of the result before is left.
            assert_eq!(block.line((0b11, slot(sequence as u32))), None);
        }
        block.encode(&result(3), &planes(), 0).unwrap();
        assert_eq!(block.line((0b11, Way::None)), None);
        let longest = (0b11, slot(u32::MAX - 1));
        block.prepare(longest);
        assert!(block.longest_line() >= block.line(longest).unwrap().len() + "18446744073709551615".len());
    }

    #[test]
    fn more_kinds_than_lines_are_kept_for_put_theirs_together_themselves() {
        let mut block = Block::default();
        block.encode(&result(1), &planes(), 0).unwrap();
        (0..20).for_each(|tasks| block.prepare((tasks, Way::None)));
        assert!((0..20).all(|tasks| block.line((tasks, Way::None)).is_some() == (tasks < LINES as u64)));
    }
}

//! A plane: one sealed memfd with the slots of one map. The writer makes it and passes its descriptor on; readers check what
//! they are given before they touch it.
//!
//! ```text
//! slot 0                                slot 1
//! ├ generation u32 ┼ 60 zeros ┼ data ┼ padding ┼ generation u32 …
//! 0                4          64     64+bytes  slot_bytes
//! ```

use std::io;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create,
};

use crate::mapping::{Access, Mapping, Number, Stretch};
use crate::slot::{Slot, WORD, announce, retract};

// What is written are the machine's own numbers, and readers are promised little-endian ones.
const _: () = assert!(cfg!(target_endian = "little"));

/// Bytes before a slot's data: the generation, and zeros up to a cache line.
pub const HEADER_BYTES: usize = 64;
/// What slots are aligned to.
const ALIGN: usize = 64;
/// The most that a reader maps for one plane.
const MOST: usize = 1 << 30;

/// Where things are in a plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// How many slots there are.
    pub slots: usize,
    /// From the start of a slot to the start of the next.
    pub slot_bytes: usize,
    /// From the start of a slot to its data.
    pub data_offset: usize,
    /// The data's length.
    pub bytes: usize,
}

impl Layout {
    /// For `slots` maps of `bytes` bytes.
    pub fn of(slots: usize, bytes: usize) -> Layout {
        let slot_bytes = HEADER_BYTES.saturating_add(bytes).next_multiple_of(ALIGN);
        Layout { slots, slot_bytes, data_offset: HEADER_BYTES, bytes }
    }

    /// All slots, where the numbers make sense: the data lie behind the generation and within the slot, and everything is
    /// aligned.
    fn total(&self) -> Option<usize> {
        let ends = self.data_offset.checked_add(self.bytes)?.checked_next_multiple_of(WORD)?;
        let aligned = self.slot_bytes.is_multiple_of(WORD) && self.data_offset.is_multiple_of(WORD);
        let sound = aligned && self.data_offset >= size_of::<u32>() && ends <= self.slot_bytes && self.slots > 0;
        self.slots.checked_mul(self.slot_bytes).filter(|total| sound && *total <= MOST)
    }

    fn slot<'a>(&self, mapping: &'a Mapping, slot: usize) -> Option<Slot<'a>> {
        if slot >= self.slots {
            return None;
        }
        let start = slot.checked_mul(self.slot_bytes)?;
        let words = mapping.words(start + self.data_offset, self.bytes.div_ceil(WORD))?;
        Some(Slot::new(mapping.number(start)?, words))
    }
}

/// Why a plane can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// The system refused.
    #[error("shared memory: can't {doing}: {source}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// The numbers that came with it contradict each other.
    #[error("shared memory: a layout that can't be: {0:?}")]
    Layout(Layout),
    /// It could shrink under the reader's hands.
    #[error("shared memory: the descriptor is not sealed against shrinking: not a map of milad")]
    Unsealed,
    /// It is smaller than its layout.
    #[error("shared memory: expected at least {expected} bytes, found {found}")]
    Short {
        /// What the layout needs.
        expected: usize,
        /// What is there.
        found: u64,
    },
}

fn system(doing: &'static str) -> impl FnOnce(rustix::io::Errno) -> PlaneError {
    move |error| PlaneError::System { doing, source: error.into() }
}

/// A slot to make a map in. No reader takes what is in it for a map before it is announced; dropped without that, it stays so.
#[derive(Debug)]
pub struct Room {
    memory: Stretch,
}

impl Room {
    fn new(memory: Stretch) -> Room {
        retract(memory.number());
        Room { memory }
    }

    /// What is in it.
    pub fn numbers<T: Number>(&self) -> &[T] {
        self.memory.data()
    }

    /// What is in it, to be made.
    pub fn numbers_mut<T: Number>(&mut self) -> &mut [T] {
        self.memory.data_mut()
    }

    /// What is in it is a map now, and stays one until the slot's turn comes again.
    pub fn announce(self, generation: NonZeroU32) -> Announced {
        announce(self.memory.number(), generation);
        Announced { memory: self.memory }
    }
}

/// A slot whose map readers may take. While it is here, no other room of its plane is given out.
#[derive(Debug)]
pub struct Announced {
    memory: Stretch,
}

impl Announced {
    /// The map.
    pub fn numbers<T: Number>(&self) -> &[T] {
        self.memory.data()
    }
}

/// The side of the daemon.
#[derive(Debug)]
pub struct PlaneWriter {
    fd: Arc<OwnedFd>,
    mapping: Arc<Mapping>,
    layout: Layout,
}

impl PlaneWriter {
    /// A plane for `slots` maps of `bytes` bytes; nothing is in them yet. `name` is for people who look into `/proc`.
    ///
    /// Needs Linux 5.1 for a seal that lets this process write on while nobody else can.
    pub fn new(name: &str, slots: usize, bytes: usize) -> Result<PlaneWriter, PlaneError> {
        let layout = Layout::of(slots, bytes);
        let total = layout.total().ok_or(PlaneError::Layout(layout))?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = memfd_create(name, flags).map_err(system("create it"))?;
        ftruncate(&fd, total as u64).map_err(system("give it its size"))?;
        // All of it now: memory that is short is an error here and a dead process later.
        fallocate(&fd, FallocateFlags::empty(), 0, total as u64).map_err(system("reserve it"))?;
        let mapping = Mapping::new(&fd, total, Access::Write)
            .map_err(|source| PlaneError::System { doing: "map it for writing", source })?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
        fcntl_add_seals(&fd, seals).map_err(system("seal it (Linux 5.1 is needed)"))?;
        Ok(PlaneWriter { fd: Arc::new(fd), mapping: Arc::new(mapping), layout })
    }

    /// Where things are in it.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What readers are given.
    pub fn fd(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    /// A slot to make a map in. `None` where there is none of that number, and while another is out.
    pub fn room(&self, slot: usize) -> Option<Room> {
        let start = slot.checked_mul(self.layout.slot_bytes).filter(|_| slot < self.layout.slots)?;
        let data = start.checked_add(self.layout.data_offset)?;
        Stretch::take(&self.mapping, start, data, self.layout.bytes).map(Room::new)
    }

    /// The mapping, for the bell in it.
    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Puts a map into a slot. Without a room there, and beyond the slot's end, nothing is written.
    pub fn write<T: Number>(&mut self, slot: usize, generation: NonZeroU32, map: &[T]) {
        if let Some(mut room) = self.room(slot) {
            room.numbers_mut().iter_mut().zip(map).for_each(|(to, from)| *to = *from);
            drop(room.announce(generation));
        }
    }
}

/// The side of a client. It can't write, and what the daemon does can't make it fault.
#[derive(Debug)]
pub struct PlaneReader {
    mapping: Mapping,
    layout: Layout,
}

impl PlaneReader {
    /// A plane that came over a socket, with the layout that came with it. Believes neither before it has looked.
    pub fn new(fd: &OwnedFd, layout: Layout) -> Result<PlaneReader, PlaneError> {
        let total = layout.total().ok_or(PlaneError::Layout(layout))?;
        // Anything but a memfd has no seals.
        if !fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SealFlags::SHRINK)) {
            return Err(PlaneError::Unsealed);
        }
        let found = fstat(fd).map_err(system("ask for its size"))?.st_size;
        if u64::try_from(found).unwrap_or(0) < total as u64 {
            return Err(PlaneError::Short { expected: total, found: found as u64 });
        }
        let mapping = Mapping::new(fd, total, Access::Read)
            .map_err(|source| PlaneError::System { doing: "map it for reading", source })?;
        Ok(PlaneReader { mapping, layout })
    }

    /// Where things are in it.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The mapping, for the bell in it.
    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// A slot; `None` where there is none of that number.
    pub fn slot(&self, slot: usize) -> Option<Slot<'_>> {
        self.layout.slot(&self.mapping, slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    fn reader(writer: &PlaneWriter) -> PlaneReader {
        PlaneReader::new(writer.fd(), writer.layout()).unwrap()
    }

    #[test]
    fn a_reader_sees_each_slot_under_its_generation() {
        let mut writer = PlaneWriter::new("test", 3, 5).unwrap();
        assert_eq!(writer.layout(), Layout { slots: 3, slot_bytes: 128, data_offset: 64, bytes: 5 });
        let reader = reader(&writer);
        for number in 1..=4u32 {
            writer.write((number as usize - 1) % 3, generation(number), &[number as u8; 5]);
        }
        writer.write(3, generation(9), &[9u8; 5]);
        let read = |slot, number| {
            let mut out = [0; 5];
            reader.slot(slot).unwrap().copy(generation(number), &mut out).map(|()| out)
        };
        assert_eq!(read(1, 2), Ok([2; 5]));
        assert_eq!(read(0, 4), Ok([4; 5]));
        assert!(read(0, 1).is_err() && reader.slot(3).is_none());
    }

    #[test]
    fn a_map_is_made_in_its_slot_and_counts_once_it_is_announced() {
        let writer = PlaneWriter::new("test", 2, 12).unwrap();
        let reader = reader(&writer);
        let read = |slot, number| {
            let mut out = [0; 12];
            reader.slot(slot).unwrap().copy(generation(number), &mut out).map(|()| out)
        };
        let mut room = writer.room(1).unwrap();
        assert!(writer.room(0).is_none(), "one at a time");
        room.numbers_mut::<f32>().copy_from_slice(&[1.5, -2.0, f32::INFINITY]);
        assert_eq!((room.numbers::<i8>().len(), room.numbers::<f32>()[1]), (12, -2.0));
        assert!(read(1, 7).is_err());
        let made = room.announce(generation(7));
        assert!(writer.room(0).is_none() && made.numbers::<f32>()[0] == 1.5);
        drop(made);
        assert_eq!(read(1, 7).unwrap().as_chunks::<4>().0, &[1.5f32, -2.0, f32::INFINITY].map(f32::to_le_bytes));
        // Taken again it counts no more, also where nothing comes of it.
        drop(writer.room(1).unwrap());
        assert!(read(1, 7).is_err() && writer.room(2).is_none());
        // It outlives its writer.
        let room = writer.room(0).unwrap();
        drop(writer);
        assert_eq!(room.numbers::<u8>(), [0; 12]);
    }

    #[test]
    fn nobody_but_the_writer_can_write_shrink_or_unseal() {
        let writer = PlaneWriter::new("test", 2, 5000).unwrap();
        let fd = writer.fd();
        assert!(ftruncate(fd, 0).is_err() && ftruncate(fd, 1 << 20).is_err());
        assert!(rustix::io::pwrite(fd, b"x", 0).is_err());
        assert!(Mapping::new(fd, 4096, Access::Write).is_err());
        assert!(fallocate(fd, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, 4096).is_err());
        assert!(fcntl_add_seals(fd, SealFlags::WRITE).is_err());
    }

    #[test]
    fn what_is_no_plane_is_refused() {
        let writer = PlaneWriter::new("test", 2, 100).unwrap();
        let fd = writer.fd();
        let layout = writer.layout();
        for wrong in [
            Layout { slots: 0, ..layout },
            Layout { slots: usize::MAX, ..layout },
            Layout { slot_bytes: 100, ..layout },
            Layout { data_offset: 0, ..layout },
            Layout { data_offset: 66, ..layout },
            Layout { bytes: usize::MAX, ..layout },
        ] {
            assert!(matches!(PlaneReader::new(fd, wrong), Err(PlaneError::Layout(_))), "{wrong:?}");
        }
        let larger = Layout { slots: 3, ..layout };
        assert!(matches!(PlaneReader::new(fd, larger), Err(PlaneError::Short { .. })));
        let unsealed = memfd_create("test", MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&unsealed, 4096).unwrap();
        assert!(matches!(PlaneReader::new(&unsealed, layout), Err(PlaneError::Unsealed)));
        let file = std::fs::File::open("/proc/self/exe").unwrap().into();
        assert!(matches!(PlaneReader::new(&file, layout), Err(PlaneError::Unsealed)));
    }
}

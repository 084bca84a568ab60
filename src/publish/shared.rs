//! Maps in shared memory: the ring of an epoch, made when the first client asks for it and gone with the epoch. Were it gone with its last
//! reader, one that comes and goes could have this program make memory without end, and keep it all.
//!
//! Maps are made in it: the planes of a result are lent room there, and what is in it is announced with the result. Writing never waits for
//! a reader. What a client is given can't be written, shrunk or unsealed by it (`milad-ring`).

use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use milad_client::{LinesInfo, MapsMessage, Message, PlaneInfo, SharedSlot};
use milad_ring::{LinesWriter, PlaneError, PlaneWriter};

use super::block::{TaskMask, bit, contains};
use super::client::encode;
use super::plane::Plane;

/// How many maps of each plane are there at a time. A client has this many frames, less one, to read what it was told of:
/// more than wait for it in the daemon (`Limits::waiting`), the one being sent, and one in its hands.
pub const SLOTS: usize = 8;

/// Room for a line at least, and in what steps there is more.
const LINE_BYTES: usize = 2048;

/// Whether this system has what shared maps need; if not, why.
pub fn unavailable() -> Option<&'static str> {
    static PROBE: OnceLock<Option<String>> = OnceLock::new();
    let probe = || PlaneWriter::new("milad-probe", 1, 1).err().map(|error: PlaneError| error.to_string());
    PROBE.get_or_init(probe).as_deref()
}

/// The line that brings planes, and what comes with it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The line, with its newline.
    pub line: Arc<[u8]>,
    /// A descriptor for each plane that the line names.
    pub descriptors: Arc<[Arc<OwnedFd>]>,
}

/// A result's place in a ring.
#[derive(Debug, Clone, Copy)]
pub struct Shared<'a> {
    /// Which ring.
    pub ring: &'a Ring,
    /// Where in it.
    pub slot: SharedSlot,
    /// Whether its line is there, too.
    pub line: bool,
}

/// The ring of an epoch.
#[derive(Debug)]
pub struct Ring {
    epoch: u64,
    /// Tells one ring from another: an epoch may have several, should its maps change their size.
    serial: u64,
    next: usize,
    planes: Vec<RingPlane>,
    /// Tasks whose map is in the slot that was announced last.
    made: TaskMask,
    /// Tasks whose plane could not be made: said once, not tried again.
    failed: TaskMask,
    /// Results' lines, once somebody wanted them here; `Err`: that could not be.
    lines: Option<Result<LinesWriter, ()>>,
}

#[derive(Debug)]
struct RingPlane {
    task: usize,
    info: PlaneInfo,
    writer: PlaneWriter,
}

impl Ring {
    /// Without any plane yet.
    pub fn new(epoch: u64, serial: u64) -> Ring {
        Ring { epoch, serial, next: 0, planes: Vec::new(), made: 0, failed: 0, lines: None }
    }

    /// Which ring it is.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether the maps of this epoch, of these sizes, can go into it.
    pub fn fits(&self, epoch: u64, planes: &[Plane]) -> bool {
        epoch == self.epoch
            && planes.iter().all(|plane| {
                let known = self.planes.iter().find(|known| known.task == plane.task);
                known.is_none_or(|known| {
                    known.info.shape.iter().copied().eq(plane.shape())
                        && known.writer.layout().bytes == plane.values.bytes()
                })
            })
    }

    /// Lends the `wanted` ones of `planes` room in the next slot. `name` tells a task's name by its number.
    pub fn lend<'a>(&mut self, planes: &mut [Plane], wanted: TaskMask, name: impl Fn(usize) -> Option<&'a str>) {
        for plane in planes {
            if !contains(wanted & !self.failed, plane.task) {
                continue;
            }
            let Some(index) = name(plane.task).and_then(|name| self.plane(plane, name)) else { continue };
            plane.values.lend(self.planes.get(index).and_then(|known| known.writer.room(self.next)));
        }
    }

    /// Lets readers take what was made in the rooms. A generation is used once, in whatever ring, so that a result never fits
    /// another ring's memory.
    pub fn announce(&mut self, planes: &mut [Plane], generation: NonZeroU32) -> SharedSlot {
        let made = planes.iter_mut().filter_map(|plane| plane.values.announce(generation).then_some(plane.task));
        self.made = made.fold(0, |made, task| made | bit(task));
        let slot = self.next;
        self.next = (slot + 1) % SLOTS;
        SharedSlot { slot: slot as u32, generation }
    }

    /// The place of a plane's memory, which is made where there is none.
    fn plane(&mut self, plane: &Plane, name: &str) -> Option<usize> {
        if let Some(index) = self.planes.iter().position(|known| known.task == plane.task) {
            return Some(index);
        }
        let writer = match PlaneWriter::new(&format!("milad-{name}"), SLOTS, plane.values.bytes()) {
            Ok(writer) => writer,
            Err(error) => {
                log::error!("no shared maps of {name}: {error}");
                self.failed |= bit(plane.task);
                return None;
            }
        };
        let layout = writer.layout();
        let info = PlaneInfo {
            task: name.to_owned(),
            dtype: plane.values.dtype(),
            shape: plane.shape().collect(),
            byte_order: "little".to_owned(),
            slot_bytes: layout.slot_bytes as u64,
            data_offset: layout.data_offset as u64,
            bytes: layout.bytes as u64,
        };
        self.planes.push(RingPlane { task: plane.task, info, writer });
        // The order of the hello, which is that of the tasks' numbers.
        self.planes.sort_by_key(|known| known.task);
        self.planes.iter().position(|known| known.task == plane.task)
    }

    /// Whether the maps of all of these tasks are in the slot that was announced last.
    pub fn has(&self, tasks: TaskMask) -> bool {
        tasks & !self.made == 0
    }

    /// While nobody reads: what could not be had is tried again for the next one who asks.
    pub fn forgive(&mut self) {
        self.failed = 0;
        if matches!(self.lines, Some(Err(()))) {
            self.lines = None;
        }
    }

    /// Puts a result's line beside its maps; `longest` is how long it were with all tasks. Returns whether it is there: it may be longer
    /// than any before, or there is no memory.
    pub fn write_line(&mut self, shared: SharedSlot, line: &[u8], longest: usize) -> bool {
        let lines = self.lines.get_or_insert_with(|| {
            // Readers of more tasks may come. Numbers in it vary in length, and little else.
            let bytes = longest.max(line.len()).saturating_mul(2).next_multiple_of(LINE_BYTES);
            LinesWriter::new("milad-lines", SLOTS, bytes)
                .map_err(|error| log::error!("no lines in shared memory: {error}"))
        });
        let slot = shared.slot as usize;
        lines.as_mut().is_ok_and(|lines| lines.write(slot, shared.generation, line))
    }

    fn lines(&self) -> Option<&LinesWriter> {
        self.lines.as_ref()?.as_ref().ok()
    }

    /// Wakes all who read lines here.
    pub fn ring(&self) {
        if let Some(lines) = self.lines() {
            lines.ring();
        }
    }

    /// What a client that wants these tasks, and maybe lines, must be given.
    pub fn delivery(&self, tasks: TaskMask, lines: bool) -> Delivery {
        let planes = || self.planes.iter().filter(|known| contains(tasks, known.task));
        let lines = self.lines().filter(|_| lines);
        let message = Message::Maps(MapsMessage {
            epoch: self.epoch,
            slots: SLOTS as u32,
            planes: planes().map(|known| known.info.clone()).collect(),
            lines: lines.map(LinesWriter::layout).map(|layout| LinesInfo {
                slot_bytes: layout.slot_bytes as u64,
                data_offset: layout.data_offset as u64,
                bytes: layout.bytes as u64,
            }),
        });
        let descriptors = planes().map(|known| known.writer.fd()).chain(lines.map(LinesWriter::fd));
        Delivery { line: encode(&message), descriptors: descriptors.cloned().collect() }
    }
}

//! Lines in shared memory, and one bell for all who read them: a plane of text, whose first slot has the bell behind its generation.
//!
//! Telling eight readers by eight messages costs the writer eight system calls; here it is one. The bell is a word that only the writer
//! changes, and on which readers wait in the kernel (`FUTEX_WAIT` needs no right to write). A reader that does not wait, dies or never
//! comes back costs the writer nothing. Readers of one ring can wake each other for nothing, and one that means to can take one wake-up
//! or all of them away from others (`FUTEX_REQUEUE`, `FUTEX_WAIT_REQUEUE_PI`, or more waiting threads than are ever woken at once): so
//! nobody sleeps longer than [`NAP`] without a look.

use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex;
use rustix::time::Timespec;

use crate::plane::{Layout, PlaneError, PlaneReader, PlaneWriter};

/// How long a reader sleeps at most: a writer that was killed rings no bell.
pub const NAP: Duration = Duration::from_millis(200);

/// How many a ring wakes at most: as many clients as there can be. A process that only reads may wait with thousands of threads, and to
/// wake them all would be the writer's time.
pub const WOKEN: u32 = 64;

/// How long a reader sleeps at a time whom the kernel does not let wait.
const DOZE: Duration = Duration::from_millis(5);

/// The side of the daemon. Dropped, it rings for the last time.
#[derive(Debug)]
pub struct LinesWriter(PlaneWriter);

impl LinesWriter {
    /// For `slots` lines of at most `bytes` bytes, their newline included.
    pub fn new(name: &str, slots: usize, bytes: usize) -> Result<LinesWriter, PlaneError> {
        PlaneWriter::new(name, slots, bytes).map(LinesWriter)
    }

    /// Where things are in it.
    pub fn layout(&self) -> Layout {
        self.0.layout()
    }

    /// What readers are given.
    pub fn fd(&self) -> &Arc<OwnedFd> {
        self.0.fd()
    }

    /// Puts a line, which ends with its newline, into a slot. Returns whether there is room for it.
    pub fn write(&mut self, slot: usize, generation: NonZeroU32, line: &[u8]) -> bool {
        let fits = line.len() <= self.layout().bytes && slot < self.layout().slots;
        if fits {
            self.0.write(slot, generation, line);
        }
        fits
    }

    /// Wakes those who wait, [`WOKEN`] at most; the rest find out by their [`NAP`]. What was written before, or sent to them otherwise,
    /// is there when they look. Returns how many the kernel woke.
    pub fn ring(&self) -> usize {
        let Some(bell) = self.0.mapping().bell() else { return 0 };
        bell.fetch_add(1, Ordering::Release);
        // A reader that waits by FUTEX_WAIT_REQUEUE_PI makes this fail, for as long as it likes. There is nothing to be done about it
        // here, and the others look for themselves.
        futex::wake(bell, futex::Flags::empty(), WOKEN).unwrap_or(0)
    }
}

impl Drop for LinesWriter {
    fn drop(&mut self) {
        self.ring();
    }
}

/// The side of a client.
#[derive(Debug)]
pub struct LinesReader {
    plane: PlaneReader,
    /// The newest generation that was looked at.
    last: Option<NonZeroU32>,
}

/// A line, and how many before it were overlooked.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Without its newline.
    pub text: Vec<u8>,
    /// Lines that came since the one before and are gone.
    pub missed: u32,
}

impl LinesReader {
    /// Of what came over a socket: see [`PlaneReader::new`].
    pub fn new(fd: &OwnedFd, layout: Layout) -> Result<LinesReader, PlaneError> {
        Ok(LinesReader { plane: PlaneReader::new(fd, layout)?, last: None })
    }

    /// Goes on where another one is, whose memory this one's replaces.
    pub fn follow(&mut self, before: &LinesReader) {
        self.last = before.last;
    }

    /// This generation's line came another way. Those before it are given no more; returns how many they were.
    pub fn saw(&mut self, generation: NonZeroU32) -> u32 {
        let distance = self.last.map_or(1, |last| later(last, generation));
        if distance > 0 {
            self.last = Some(generation);
        }
        u32::try_from(distance.saturating_sub(1)).unwrap_or(0)
    }

    /// Whether [`LinesReader::take`] has something to give.
    pub fn waits(&self) -> bool {
        self.next().is_some()
    }

    /// The oldest line that was not given yet; at first the newest.
    pub fn take(&mut self) -> Option<Line> {
        // Once more each time that the writer comes by meanwhile; it does not come by that often.
        for _ in 0..self.plane.layout().slots {
            let (slot, generation) = self.next()?;
            let mut text = vec![0; self.plane.layout().bytes];
            if self.plane.slot(slot)?.copy(generation, &mut text).is_ok() {
                let missed = self.last.map_or(0, |last| later(last, generation) - 1);
                self.last = Some(generation);
                text.truncate(text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len()));
                return Some(Line { text, missed: u32::try_from(missed).unwrap_or(0) });
            }
        }
        None
    }

    /// What is to be given before an end, the writer's or one's own: no more lines than there is room for, though it may go on writing.
    pub fn rest(&mut self) -> Vec<Line> {
        (0..self.plane.layout().slots).map_while(|_| self.take()).collect()
    }

    fn next(&self) -> Option<(usize, NonZeroU32)> {
        let slots = 0..self.plane.layout().slots;
        let found = slots.filter_map(|slot| Some((slot, self.plane.slot(slot)?.generation()?)));
        match self.last {
            None => found.reduce(|newest, other| if later(newest.1, other.1) > 0 { other } else { newest }),
            Some(last) => found.filter(|(_, it)| later(last, *it) > 0).min_by_key(|(_, it)| later(last, *it)),
        }
    }

    /// What the bell is like. Look for lines *after* this, so that none is overlooked.
    pub fn bell(&self) -> u32 {
        self.plane.mapping().bell().map_or(0, |bell| bell.load(Ordering::Acquire))
    }

    /// Sleeps until the bell is another one than `seen`, for `most` and [`NAP`] at most; or wakes up for nothing. Where the kernel
    /// refuses to let it wait, it sleeps for some milliseconds.
    pub fn wait(&self, seen: u32, most: Duration) {
        let most = most.min(NAP);
        let timeout = Timespec { tv_sec: most.as_secs() as _, tv_nsec: most.subsec_nanos() as _ };
        let waited = match self.plane.mapping().bell() {
            Some(bell) => futex::wait(bell, futex::Flags::empty(), seen, Some(&timeout)),
            None => Err(Errno::INVAL),
        };
        if let Some(doze) = doze(waited, most) {
            std::thread::sleep(doze);
        }
    }
}

/// What is to be slept in place of a wait that the kernel refused: who only looks again would do so without end.
fn doze(waited: Result<(), Errno>, most: Duration) -> Option<Duration> {
    match waited {
        // Rung meanwhile, interrupted, timed out: the caller looks again.
        Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => None,
        Err(_) => Some(most.min(DOZE)),
    }
}

/// How many generations one is later than another; past 2³²−1 comes 1.
fn later(from: NonZeroU32, to: NonZeroU32) -> i32 {
    let distance = to.get().wrapping_sub(from.get()) as i32;
    if distance > 0 && to < from { distance - 1 } else { distance }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn generation(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    fn pair() -> (LinesWriter, LinesReader) {
        let writer = LinesWriter::new("test", 4, 16).unwrap();
        let reader = LinesReader::new(writer.fd(), writer.layout()).unwrap();
        (writer, reader)
    }

    fn taken(reader: &mut LinesReader) -> Option<(String, u32)> {
        reader.take().map(|line| (String::from_utf8(line.text).unwrap(), line.missed))
    }

    #[test]
    fn every_line_comes_once_and_in_order_and_what_is_gone_is_counted() {
        let (mut writer, mut reader) = pair();
        let mut write =
            |number: u32| writer.write(number as usize % 4, generation(number), format!("{number}\n").as_bytes());
        assert_eq!((reader.waits(), taken(&mut reader)), (false, None));
        assert!(write(5) && write(6));
        assert_eq!(taken(&mut reader), Some(("6".into(), 0)), "what came before its time is nobody's");
        assert!(write(7) && write(8) && reader.waits());
        assert_eq!(
            [taken(&mut reader), taken(&mut reader), taken(&mut reader)],
            [Some(("7".into(), 0)), Some(("8".into(), 0)), None]
        );
        (9..16).for_each(|number| assert!(write(number)));
        assert_eq!(taken(&mut reader), Some(("12".into(), 3)));
        // What came another way is neither given nor missed.
        assert_eq!([reader.saw(generation(14)), reader.saw(generation(3))], [1, 0], "13 lies there unread");
        assert_eq!([taken(&mut reader), taken(&mut reader)], [Some(("15".into(), 0)), None]);
        (16..24).for_each(|number| assert!(writer.write(number as usize % 4, generation(number), b"x\n")));
        assert_eq!(reader.rest().iter().map(|line| line.missed).collect::<Vec<_>>(), [4, 0, 0, 0]);
        assert!(reader.rest().is_empty());
        // Given the same memory once more, nothing is given twice.
        let mut again = LinesReader::new(writer.fd(), writer.layout()).unwrap();
        assert!(again.waits());
        again.follow(&reader);
        assert!(!again.waits());
    }

    #[test]
    fn generations_come_round() {
        let (mut writer, mut reader) = pair();
        for (slot, number) in [u32::MAX - 1, u32::MAX, 1, 2].into_iter().enumerate() {
            assert!(writer.write(slot, generation(number), b"x\n"));
            assert_eq!(taken(&mut reader), Some(("x".into(), 0)), "{number}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_not_written() {
        let (mut writer, mut reader) = pair();
        assert!(!writer.write(0, generation(1), &[b'x'; 17]) && !writer.write(4, generation(1), b"x\n"));
        assert_eq!(taken(&mut reader), None);
        // A writer that forgets the newline makes no reader go beyond its memory.
        assert!(writer.write(0, generation(1), &[b'x'; 16]));
        assert_eq!(taken(&mut reader), Some(("x".repeat(16), 0)));
    }

    #[test]
    fn the_bell_wakes_all_who_wait_also_for_the_last_time() {
        let (writer, _) = pair();
        let readers: Vec<_> = (0..3).map(|_| LinesReader::new(writer.fd(), writer.layout()).unwrap()).collect();
        std::thread::scope(|scope| {
            for reader in &readers {
                scope.spawn(|| {
                    // Without the bell this never ends.
                    (0..2).for_each(|rung| {
                        while reader.bell() == rung {
                            reader.wait(rung, Duration::MAX);
                        }
                    });
                });
            }
            writer.ring();
            drop(writer);
        });
        assert!(readers.iter().all(|reader| reader.bell() == 2));
    }

    /// How many the kernel woke, the first time that it were at least `enough`, out of `readers`.
    fn woken(readers: usize, enough: usize) -> usize {
        let (writer, reader) = pair();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..readers {
                scope.spawn(|| {
                    while !over.load(Ordering::Acquire) {
                        reader.wait(reader.bell(), Duration::MAX);
                    }
                });
            }
            // They all sleep sooner or later, on a busy machine too.
            let rings = std::iter::repeat_with(|| {
                std::thread::sleep(Duration::from_millis(10));
                writer.ring()
            });
            let found = rings.take(3000).find(|woken| *woken >= enough);
            over.store(true, Ordering::Release);
            found.unwrap_or(0)
        })
    }

    #[test]
    fn one_ring_wakes_all_readers_but_no_more_than_there_can_be_clients() {
        assert_eq!(woken(3, 3), 3);
        assert_eq!(woken(80, WOKEN as usize), WOKEN as usize);
    }

    #[test]
    fn who_may_not_wait_sleeps_all_the_same() {
        for usual in [Ok(()), Err(Errno::AGAIN), Err(Errno::INTR), Err(Errno::TIMEDOUT)] {
            assert_eq!(doze(usual, NAP), None);
        }
        for refused in [Errno::NOSYS, Errno::PERM, Errno::INVAL, Errno::FAULT] {
            assert_eq!(doze(Err(refused), NAP), Some(DOZE));
            assert_eq!(doze(Err(refused), Duration::from_millis(1)), Some(Duration::from_millis(1)));
        }
    }
}

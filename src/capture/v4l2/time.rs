//! When a frame was taken, and which one in the driver's count.

use v4l::v4l_sys as sys;

/// Differences between the driver's clock readings and ours that mean nothing.
const SLACK_NS: u64 = 10_000_000;

/// Where a frame's time came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// The driver's own, on `CLOCK_MONOTONIC`.
    Driver(u64),
    /// When we took the frame from the driver: its own stamp is on another clock, or impossible.
    Dequeued(u64, &'static str),
}

impl Stamp {
    /// Nanoseconds on `CLOCK_MONOTONIC`.
    pub fn ns(self) -> u64 {
        match self {
            Stamp::Driver(ns) | Stamp::Dequeued(ns, _) => ns,
        }
    }

    /// Decides by the buffer's clock flag, and by what is possible: a frame is not older than the stream
    /// (`started_ns`) and not younger than `now_ns`.
    pub fn new(flags: u32, seconds: i64, microseconds: i64, started_ns: u64, now_ns: u64) -> Stamp {
        if flags & sys::V4L2_BUF_FLAG_TIMESTAMP_MASK != sys::V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC {
            return Stamp::Dequeued(now_ns, "the driver does not stamp frames on the monotonic clock");
        }
        let ns = u64::try_from(seconds).ok().and_then(|s| s.checked_mul(1_000_000_000));
        let ns = ns.zip(u64::try_from(microseconds).ok()).and_then(|(s, us)| s.checked_add(us.checked_mul(1000)?));
        match ns {
            Some(ns) if ns > now_ns.saturating_add(SLACK_NS) => {
                Stamp::Dequeued(now_ns, "the driver's stamp lies in the future")
            }
            Some(ns) if ns.saturating_add(SLACK_NS) < started_ns => {
                Stamp::Dequeued(now_ns, "the driver's stamp lies before the start of the stream")
            }
            Some(ns) => Stamp::Driver(ns.min(now_ns)),
            None => Stamp::Dequeued(now_ns, "the driver's stamp is no time"),
        }
    }
}

/// What a driver's stamps mean, for people.
pub fn stamp_source(flags: u32) -> &'static str {
    if flags & sys::V4L2_BUF_FLAG_TSTAMP_SRC_MASK == sys::V4L2_BUF_FLAG_TSTAMP_SRC_SOE {
        "start of exposure"
    } else {
        "end of frame"
    }
}

/// A driver's 32-bit count made 64 bits wide, so that its wrap-around is no gap.
#[derive(Debug, Default)]
pub struct Counter {
    /// The driver's last number and what it was widened to.
    last: Option<(u32, u64)>,
}

/// One step of a [`Counter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The widened count.
    pub sequence: u64,
    /// The driver repeated its number or went back: counted on by one instead.
    pub repaired: bool,
}

impl Counter {
    /// The frame that the driver calls `sequence`.
    pub fn step(&mut self, sequence: u32) -> Step {
        let step = match self.last {
            None => Step { sequence: sequence.into(), repaired: false },
            Some((last, wide)) => match sequence.wrapping_sub(last) {
                0 | 0x8000_0000.. => Step { sequence: wide + 1, repaired: true },
                ahead => Step { sequence: wide + u64::from(ahead), repaired: false },
            },
        };
        self.last = Some((sequence, step.sequence));
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONOTONIC: u32 = sys::V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;

    #[test]
    fn a_monotonic_stamp_is_taken_as_it_is() {
        let stamp = Stamp::new(MONOTONIC, 5, 250, 4_000_000_000, 5_100_000_000);
        assert_eq!(stamp, Stamp::Driver(5_000_250_000));
    }

    #[test]
    fn a_stamp_on_another_clock_or_an_impossible_one_gives_way_to_ours() {
        let now = 100_000_000_000;
        let dequeued = |flags, seconds, microseconds| matches!(Stamp::new(flags, seconds, microseconds, now - 1_000_000_000, now), Stamp::Dequeued(ns, _) if ns == now);
        assert!(dequeued(0, 100, 0), "unknown clock");
        assert!(dequeued(sys::V4L2_BUF_FLAG_TIMESTAMP_COPY, 100, 0), "copied");
        assert!(dequeued(MONOTONIC, 1_700_000_000, 0), "wall time");
        assert!(dequeued(MONOTONIC, 0, 0), "zero");
        assert!(dequeued(MONOTONIC, -1, 0), "negative");
        assert!(dequeued(MONOTONIC, i64::MAX, i64::MAX), "overflow");
    }

    #[test]
    fn an_old_frame_stays_old() {
        // Waited for 8 s in the driver's queue, while we slept: its own time is right.
        assert_eq!(Stamp::new(MONOTONIC, 92, 0, 90_000_000_000, 100_000_000_000), Stamp::Driver(92_000_000_000));
    }

    #[test]
    fn a_wrap_is_no_gap_and_a_gap_is_one() {
        let mut counter = Counter::default();
        let steps: Vec<_> = [u32::MAX - 1, u32::MAX, 0, 3].map(|s| counter.step(s).sequence).into();
        assert_eq!(steps, [0xffff_fffe, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0003]);
    }

    #[test]
    fn a_driver_that_does_not_count_is_counted_for() {
        let mut counter = Counter::default();
        assert_eq!(counter.step(0), Step { sequence: 0, repaired: false });
        assert_eq!(counter.step(0), Step { sequence: 1, repaired: true });
        assert_eq!(counter.step(0), Step { sequence: 2, repaired: true });
    }

    #[test]
    fn a_driver_that_starts_anew_is_followed_from_there() {
        let mut counter = Counter::default();
        let steps: Vec<_> = [100, 101, 0, 1, 3].map(|s| counter.step(s).sequence).into();
        assert_eq!(steps, [100, 101, 102, 103, 105]);
    }
}

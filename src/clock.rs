//! CLOCK_MONOTONIC in nanoseconds: the one clock of captures, results and ages.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`, which V4L2 drivers stamp their buffers with.
pub fn monotonic_ns() -> u64 {
    to_ns(clock_gettime(ClockId::Monotonic))
}

/// `CLOCK_REALTIME − CLOCK_MONOTONIC` in nanoseconds, so that a client can turn a capture time into a date.
pub fn realtime_offset_ns() -> i64 {
    let monotonic = monotonic_ns();
    let realtime = to_ns(clock_gettime(ClockId::Realtime));
    realtime as i64 - monotonic as i64
}

fn to_ns(time: rustix::time::Timespec) -> u64 {
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

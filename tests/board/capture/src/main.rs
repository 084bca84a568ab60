//! The daemon's capture room alone, from its own sources: so small that it is built for a second architecture in a minute, while
//! the whole program takes a quarter of an hour. On the emulated board it runs as a 32-bit program on a 64-bit kernel, where the
//! sizes of the driver's structures and of time differ, and says what it got:
//!     milad-board-capture SOURCE WIDTH HEIGHT FORMAT FRAMES
//! A line for each event: `up FORMAT WIDTH HEIGHT INTERVAL_NS`, `frame SEQUENCE CAPTURED_NS SUM`, `bad SEQUENCE REASON`,
//! `lost REASON`. It judges nothing.

// Most of the room's doors are for the daemon.
#![allow(dead_code, unused_imports)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[path = "../../../../src/capture/mod.rs"]
mod capture;
#[path = "../../../../src/clock.rs"]
mod clock;
#[path = "../../../../src/prepare/jpeg.rs"]
mod jpeg;
/// What capture asks of the next room.
mod prepare {
    pub use crate::jpeg::jpeg_size;
}
#[path = "../../../../src/pulse.rs"]
mod pulse;
#[path = "../../../../src/stop.rs"]
mod stop;
/// The stages' names.
#[path = "../../../../src/telemetry/families.rs"]
mod telemetry;

use std::io::Write;

use anyhow::{Context, bail};

use capture::supervisor::{Event, Supervisor};
use capture::{Camera, RawFrame, Request};
use stop::Stop;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source, width, height, format, frames] = arguments.as_slice() else {
        bail!("expected SOURCE WIDTH HEIGHT FORMAT FRAMES, found {} arguments", arguments.len());
    };
    let request = Request {
        size: Some((width.parse().context("WIDTH")?, height.parse().context("HEIGHT")?)),
        rate: Some(25.0),
        format: Some(format.clone()),
        ..Request::default()
    };
    let mut left: u32 = frames.parse().context("FRAMES")?;
    let mut supervisor = Supervisor::new(source.parse()?, request);
    let stop = Stop::new()?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "bits {}", usize::BITS)?;
    let mut camera = None;
    while left > 0 {
        match supervisor.next(&stop) {
            Event::Up(found) => {
                let format = &found.format;
                writeln!(out, "up {} {} {} {}", found.format_name, format.width, format.height, found.interval_ns)?;
                camera = Some(found);
            }
            Event::Frame(frame) => {
                let sum = camera.as_ref().map_or(0, |camera| sum(camera, &frame));
                writeln!(out, "frame {} {} {sum}", frame.driver_sequence, frame.captured_ns)?;
                left -= 1;
            }
            Event::Bad { driver_sequence, reason } => writeln!(out, "bad {driver_sequence} {reason}")?,
            Event::Lost { reason } => writeln!(out, "lost {reason}")?,
            Event::Waiting => {}
            Event::Ended | Event::Stopped => break,
            Event::Unusable(reason) => bail!(reason),
        }
    }
    Ok(())
}

/// Of the picture's bytes, so that pictures can be told apart: each plane's rows as wide as the picture.
fn sum(camera: &Camera, frame: &RawFrame) -> u64 {
    let format = &camera.format;
    let (Some(picture), capture::Encoding::Raw(pixels)) = (format.picture(&frame.payload), format.encoding) else {
        return 0;
    };
    let (sizes, count) = milad_kernels::pixel::plane_sizes(pixels, format.width, format.height);
    let mut sum = 0u64;
    for (plane, &(row, rows)) in sizes.iter().enumerate().take(count) {
        for bytes in picture.planes[plane].chunks(picture.strides[plane]).take(rows) {
            sum += bytes.iter().take(row).map(|&byte| u64::from(byte)).sum::<u64>();
        }
    }
    sum
}

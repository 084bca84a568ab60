//! `card:`: a moving test card at a camera's pace, for a daemon without a camera.
//!
//! Colour bars, a grey ramp, two things that move, and the frame's number as large black and white blocks that a program
//! can read back ([`read_sequence`]). Paced by `CLOCK_MONOTONIC` like a camera: a number that could not be drawn in time
//! is left out, as a driver would.

use std::sync::Arc;
use std::time::{Duration, Instant};

use milad_kernels::pixel::{Colour, Picture, PixelFormat};

use super::canvas::Canvas;
use super::pool::Pool;
use super::source_spec::CardSpec;
use super::y4m::{MAX_FRAME_BYTES, MAX_SIDE, frame_bytes, raw_camera};
use super::y4m_reader::take;
use super::{Camera, Next, Payload, RawFrame, Source, SourceError};
use crate::clock::monotonic_ns;
use crate::stop::Stop;

/// The formats that it can be drawn in, by V4L2's names (and `RGB24` for `RGB3`).
const FORMATS: [(&str, PixelFormat); 8] = [
    ("YUYV", PixelFormat::Yuyv),
    ("UYVY", PixelFormat::Uyvy),
    ("NV12", PixelFormat::Nv12),
    ("YU12", PixelFormat::Yu12),
    ("422P", PixelFormat::Yu16),
    ("RGB3", PixelFormat::Rgb24),
    ("RGB24", PixelFormat::Rgb24),
    ("GREY", PixelFormat::Grey),
];

/// Frames that can be on their way at once.
const BUFFERS: usize = 4;

/// Bits a row of blocks, and rows: four of the number, one of parity.
const COLUMNS: usize = 16;
const ROWS: usize = 5;
/// Makes the parity of an empty picture wrong.
const PARITY_OF_ZERO: u16 = 0xa5c3;

const BLACK: [u8; 3] = [0; 3];
const WHITE: [u8; 3] = [255; 3];
/// White, yellow, cyan, green, magenta, red, blue, black.
const BARS: [[u8; 3]; 8] =
    [WHITE, [255, 255, 0], [0, 255, 255], [0, 255, 0], [255, 0, 255], [255, 0, 0], [0, 0, 255], BLACK];

/// The source.
#[derive(Debug)]
pub struct Card {
    camera: Arc<Camera>,
    canvas: Canvas,
    /// What doesn't move.
    background: Vec<u8>,
    pool: Pool,
    start_ns: u64,
    next: u64,
}

impl Card {
    /// Fails when the size or the format can't be drawn.
    pub fn open(spec: &CardSpec) -> Result<Card, SourceError> {
        let unusable = |problem: String| Err(SourceError::Unusable(format!("card: {problem}")));
        let (width, height) = (spec.width as usize, spec.height as usize);
        let Some((name, format)) = FORMATS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(&spec.format)) else {
            let known: Vec<_> = FORMATS.iter().map(|(name, _)| *name).collect();
            return unusable(format!("format {:?}: expected one of {}", spec.format, known.join(", ")));
        };
        let sides = 2 * COLUMNS..=MAX_SIDE;
        if !sides.contains(&width) || !sides.contains(&height) {
            return unusable(format!("{width}×{height}: expected {} to {MAX_SIDE} pixels a side", sides.start()));
        }
        if frame_bytes(format, width, height) > MAX_FRAME_BYTES {
            return unusable(format!("{width}×{height} {name} takes more than {} MiB a frame", MAX_FRAME_BYTES >> 20));
        }
        if !(spec.rate > 0.0 && spec.rate <= 1000.0) {
            return unusable(format!("rate {}: expected frames a second, above 0 and at most 1000", spec.rate));
        }
        let colour = Colour::unsaid(format);
        let canvas = Canvas::new(format, colour, width, height);
        let mut camera = raw_camera("test card".to_owned(), name, format, width, height, colour);
        (camera.interval_ns, camera.live, camera.counts) = ((1e9 / spec.rate).round() as u64, true, true);
        let mut background = vec![0; canvas.bytes()];
        draw_background(&canvas, &mut background);
        let pool = Pool::new(BUFFERS, background.len());
        Ok(Card { camera: Arc::new(camera), canvas, background, pool, start_ns: monotonic_ns(), next: 0 })
    }

    /// The card with number `sequence`, into `out`.
    fn draw(&self, sequence: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.background);
        let (width, height) = (self.canvas.width, self.canvas.height);
        let swing = |period: u64, length: usize| {
            // There and back again, `length` pixels in `period` frames each way.
            let phase = sequence % (2 * period);
            phase.min(2 * period - phase) as usize * length / period as usize
        };
        // A square that bounces, and a bar that sweeps.
        let side = (width.min(height) / 6).max(2);
        let (x, y) = (swing(90, width - side), swing(53, height / 2 - side.min(height / 2)));
        self.canvas.fill(out, [x, y, side, side], [230, 120, 30]);
        let bar = swing(120, width - 2);
        self.canvas.fill(out, [bar, height / 2, (width / 80).max(2), height / 8], WHITE);
        let block = block_side(width, height);
        for row in 0..ROWS {
            let bits = code_row(sequence, row);
            for column in 0..COLUMNS {
                let colour = if bits >> (COLUMNS - 1 - column) & 1 == 1 { WHITE } else { BLACK };
                self.canvas.fill(out, [column * block, code_top(height, block) + row * block, block, block], colour);
            }
        }
    }
}

impl Source for Card {
    fn camera(&self) -> Arc<Camera> {
        self.camera.clone()
    }

    fn next(&mut self, stop: &Stop) -> Result<Next, SourceError> {
        let interval = self.camera.interval_ns.max(1);
        let due = |sequence: u64| self.start_ns.saturating_add(sequence.saturating_mul(interval));
        // Late by more than a frame: what should have been drawn meanwhile is left out.
        let newest = monotonic_ns().saturating_sub(self.start_ns) / interval;
        let sequence = self.next.max(newest);
        let left = Duration::from_nanos(due(sequence).saturating_sub(monotonic_ns()));
        if stop.wait(left) || stop.is_set() {
            return Ok(Next::Stopped);
        }
        let Some(mut buffer) = take(&self.pool, stop, Instant::now() + Duration::from_secs(2)) else {
            return match stop.is_set() {
                true => Ok(Next::Stopped),
                false => Err(SourceError::Lost("card: no buffer came back for 2 s".to_owned())),
            };
        };
        self.draw(sequence, &mut buffer);
        self.next = sequence + 1;
        let captured_ns = due(sequence);
        Ok(Next::Frame(RawFrame { driver_sequence: sequence, captured_ns, payload: Payload::Pooled(buffer) }))
    }
}

/// The number drawn in a picture of the card, at the card's own size. `None` where there is none that is whole.
pub fn read_sequence(picture: &Picture) -> Option<u64> {
    let (width, height) = (picture.width, picture.height);
    let block = block_side(width, height);
    if width < COLUMNS * block || height < ROWS * block {
        return None;
    }
    let mut rows = [0u16; ROWS];
    for (row, bits) in rows.iter_mut().enumerate() {
        for column in 0..COLUMNS {
            let (x, y) = (column * block + block / 2, code_top(height, block) + row * block + block / 2);
            *bits = *bits << 1 | u16::from(brightness(picture, x, y)? > 126);
        }
    }
    let sequence = rows[..ROWS - 1].iter().fold(0, |sequence, bits| sequence << 16 | u64::from(*bits));
    (0..ROWS).all(|row| rows[row] == code_row(sequence, row)).then_some(sequence)
}

/// The luma code (or green) of a pixel.
fn brightness(picture: &Picture, x: usize, y: usize) -> Option<u8> {
    let (step, offset) = match picture.format {
        PixelFormat::Yuyv => (2, 0),
        PixelFormat::Uyvy => (2, 1),
        PixelFormat::Ycc => (3, 0),
        PixelFormat::Rgb24 => (3, 1),
        _ => (1, 0),
    };
    picture.planes[0].get(y * picture.strides[0] + x * step + offset).copied()
}

/// Row `row` of the blocks, leftmost bit highest.
fn code_row(sequence: u64, row: usize) -> u16 {
    let data = |row: usize| (sequence >> (16 * (ROWS - 2 - row))) as u16;
    if row < ROWS - 1 { data(row) } else { (0..ROWS - 1).fold(PARITY_OF_ZERO, |parity, row| parity ^ data(row)) }
}

/// An even number of pixels, so that no chroma sample lies on two blocks.
fn block_side(width: usize, height: usize) -> usize {
    ((width / 32).min(height / 12) & !1).max(2)
}

/// The blocks stand at the bottom, on an even row.
fn code_top(height: usize, block: usize) -> usize {
    (height - ROWS * block) & !1
}

fn draw_background(canvas: &Canvas, out: &mut [u8]) {
    let (width, height) = (canvas.width, canvas.height);
    canvas.fill(out, [0, 0, width, height], [96; 3]);
    for (i, bar) in BARS.into_iter().enumerate() {
        let (left, right) = (i * width / 8, (i + 1) * width / 8);
        canvas.fill(out, [left, 0, right - left, height / 2], bar);
    }
    for i in 0..32 {
        let (left, right) = (i * width / 32, (i + 1) * width / 32);
        canvas.fill(out, [left, height / 2 + height / 8, right - left, height / 16], [(i * 255 / 31) as u8; 3]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(width: u32, height: u32, format: &str, rate: f64) -> Card {
        Card::open(&CardSpec { width, height, format: format.to_owned(), rate }).unwrap()
    }

    #[test]
    fn the_number_can_be_read_in_every_format_and_size() {
        for (format, _) in FORMATS {
            for (width, height) in [(640, 480), (64, 48), (33, 37), (321, 241), (1280, 720)] {
                let card = card(width, height, format, 30.0);
                for sequence in [0, 1, 0x1234_5678_9abc_def0, u64::MAX, 41] {
                    let mut buffer = card.pool.take().unwrap();
                    card.draw(sequence, &mut buffer);
                    let payload = Payload::Pooled(buffer);
                    let picture = card.camera.format.picture(&payload).unwrap();
                    assert_eq!(read_sequence(&picture), Some(sequence), "{format} {width}×{height}");
                }
            }
        }
    }

    #[test]
    fn a_damaged_number_is_no_number() {
        let card = card(640, 480, "GREY", 30.0);
        let mut buffer = card.pool.take().unwrap();
        card.draw(77, &mut buffer);
        let block = block_side(640, 480);
        card.canvas.fill(&mut buffer, [3 * block, code_top(480, block) + 2 * block, block, block], WHITE);
        let payload = Payload::Pooled(buffer);
        assert_eq!(read_sequence(&card.camera.format.picture(&payload).unwrap()), None);
        let flat = Picture {
            format: PixelFormat::Grey,
            colour: Colour::FULL_DEFAULT,
            width: 640,
            height: 480,
            planes: [&[0; 640 * 480], &[], &[]],
            strides: [640, 0, 0],
        };
        assert_eq!(read_sequence(&flat), None);
        assert_eq!(read_sequence(&Picture { width: 3, height: 2, ..flat }), None);
    }

    #[test]
    fn frames_come_in_order_with_their_due_times_and_none_is_late_twice() {
        let (stop, mut card) = (Stop::new().unwrap(), card(64, 48, "YUYV", 500.0));
        let mut last = None;
        for _ in 0..20 {
            let Next::Frame(frame) = card.next(&stop).unwrap() else { panic!("no frame") };
            assert_eq!(frame.captured_ns, card.start_ns + frame.driver_sequence * 2_000_000);
            assert!(frame.captured_ns <= monotonic_ns());
            assert!(last.is_none_or(|last| frame.driver_sequence > last));
            last = Some(frame.driver_sequence);
            let picture = card.camera.format.picture(&frame.payload).unwrap();
            assert_eq!(read_sequence(&picture), last);
        }
    }

    #[test]
    fn stopping_ends_the_wait() {
        let (stop, mut card) = (Stop::new().unwrap(), card(64, 48, "YUYV", 0.001));
        assert!(matches!(card.next(&stop), Ok(Next::Frame(_))));
        stop.set();
        assert!(matches!(card.next(&stop), Ok(Next::Stopped)));
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        for (width, height, format, rate) in [
            (16, 480, "YUYV", 30.0),
            (640, 16, "YUYV", 30.0),
            (640, 480, "MJPG", 30.0),
            (640, 480, "YUYV", f64::NAN),
            (16384, 16384, "GREY", 1.0),
        ] {
            let spec = CardSpec { width, height, format: format.to_owned(), rate };
            assert!(matches!(Card::open(&spec), Err(SourceError::Unusable(_))), "{spec:?}");
        }
    }
}

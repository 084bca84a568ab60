//! A recording of `milad watch --record`: the results protocol as it came, of which the pictures are played again.
//!
//! A picture is what the networks saw, so playing it gives them the same bytes, at the times at which they were captured.
//! Nothing is made up: a recording that was cut off ends with its last whole frame, and says so.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;

use milad_client::{Dtype, IMAGE, MapInfo, Message, ResultMessage};
use milad_kernels::pixel::{Colour, PixelFormat};

use super::Camera;
use super::y4m::{MAX_FRAME_BYTES, MAX_SIDE, frame_bytes, raw_camera};

/// What a recording begins with.
const MAGIC: &[u8] = b"{\"type\":\"hello\"";
/// The longest line.
const LINE: u64 = 1 << 20;
/// A longer time without a picture (the camera was away, the daemon started anew) is played as this.
const PAUSE_NS: u64 = 2_000_000_000;

/// An open recording.
#[derive(Debug)]
pub struct Recording {
    input: BufReader<File>,
    interval_ns: u64,
    /// Width and height of every picture.
    size: Option<(usize, usize)>,
    /// When the last picture was captured.
    captured_ns: Option<u64>,
    /// From one picture to the next, until the last one; what the first picture of a lap waits for is the interval.
    elapsed_ns: u64,
    /// All maps of a frame.
    payload: Vec<u8>,
}

impl Recording {
    /// Opens a file if it is a recording, and tells what its pictures are and what room one needs.
    pub fn open(path: &Path, name: String) -> Result<Option<(Recording, Camera, usize)>, String> {
        let mut input = BufReader::new(File::open(path).map_err(|e| e.to_string())?);
        if !input.fill_buf().map_err(|e| e.to_string())?.starts_with(MAGIC) {
            return Ok(None);
        }
        let (interval_ns, payload) = (0, Vec::new());
        let mut recording = Recording { input, interval_ns, size: None, captured_ns: None, elapsed_ns: 0, payload };
        if let Some(Message::Hello(hello)) = recording.message()? {
            recording.interval_ns = hello.camera.map_or(0, |camera| camera.interval_ns);
        }
        recording.read(&mut Vec::new())?;
        let (width, height) = recording.size.ok_or("a recording without a whole picture")?;
        recording.rewind()?;
        let format = PixelFormat::Rgb24;
        let mut camera = raw_camera(name, "RECORDING", format, width, height, Colour::FULL_DEFAULT);
        camera.interval_ns = recording.interval_ns;
        Ok(Some((recording, camera, frame_bytes(format, width, height))))
    }

    /// The first picture comes next.
    pub fn rewind(&mut self) -> Result<(), String> {
        (self.captured_ns, self.elapsed_ns) = (None, 0);
        self.input.rewind().map_err(|e| format!("can't start again: {e}"))
    }

    /// Nanoseconds from the first picture of this lap to the one that was read last.
    pub fn elapsed_ns(&self) -> u64 {
        self.elapsed_ns
    }

    /// The next picture's bytes into an empty buffer. Returns whether there was one.
    pub fn read(&mut self, out: &mut Vec<u8>) -> Result<bool, String> {
        while let Some(message) = self.message()? {
            let Message::Result(result) = message else { continue };
            let sequence = result.sequence;
            if result.payload_bytes > MAX_FRAME_BYTES as u64 {
                return Err(format!("frame {sequence}: {} bytes of maps", result.payload_bytes));
            }
            self.payload.clear();
            let input = self.input.by_ref();
            let came = input.take(result.payload_bytes).read_to_end(&mut self.payload).map_err(|e| e.to_string())?;
            if came as u64 != result.payload_bytes {
                log::warn!("the recording is cut off in frame {sequence}: it ends before it");
                return Ok(false);
            }
            let Some(info) = result.maps.iter().find(|map| map.task == IMAGE) else { continue };
            let (size, place) =
                picture(info).ok_or_else(|| format!("frame {sequence}: a picture that can't be: {info:?}"))?;
            let pixels = self.payload.get(place).ok_or_else(|| format!("frame {sequence}: a picture out of bounds"))?;
            let (width, height) = *self.size.get_or_insert(size);
            if size != (width, height) {
                return Err(format!("frame {sequence}: {}×{}, but the first is {width}×{height}", size.0, size.1));
            }
            out.extend_from_slice(pixels);
            self.count(&result);
            return Ok(true);
        }
        Ok(false)
    }

    fn count(&mut self, result: &ResultMessage) {
        if let Some(before) = self.captured_ns {
            // Times of another boot may lie before.
            let step = result.captured_ns.checked_sub(before).filter(|step| *step > 0).unwrap_or(self.interval_ns);
            self.elapsed_ns = self.elapsed_ns.saturating_add(step.min(PAUSE_NS));
        }
        self.captured_ns = Some(result.captured_ns);
    }

    /// The next message; `None` at the end, and where the file was cut off.
    fn message(&mut self) -> Result<Option<Message>, String> {
        let mut line = Vec::new();
        self.input.by_ref().take(LINE).read_until(b'\n', &mut line).map_err(|e| e.to_string())?;
        match line.last() {
            None => Ok(None),
            Some(b'\n') => serde_json::from_slice(&line).map(Some).map_err(|e| format!("not a recording: {e}")),
            Some(_) if line.len() as u64 == LINE => Err("not a recording: a line of a MiB".to_owned()),
            Some(_) => {
                log::warn!("the recording is cut off: it ends with its last whole frame");
                Ok(None)
            }
        }
    }
}

/// The size of a picture, and where in the payload it is. `None`: it can't be one.
fn picture(info: &MapInfo) -> Option<((usize, usize), std::ops::Range<usize>)> {
    let &[height, width, 3] = info.shape.as_slice() else { return None };
    let (width, height) = (usize::try_from(width).ok()?, usize::try_from(height).ok()?);
    let sound = info.dtype == Dtype::U8 && (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height);
    let start = usize::try_from(info.offset).ok().filter(|_| sound)?;
    Some(((width, height), start..start.checked_add(width * height * 3)?))
}

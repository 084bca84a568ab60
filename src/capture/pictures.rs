//! A folder of numbered pictures: PNG becomes RGB, JPEG is handed on as it is and decoded where camera JPEGs are.
//!
//! Pictures are played in the order of their names and must all be of one kind and size; an error names the file.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use milad_kernels::pixel::{Colour, PixelFormat};
use png::{ColorType, Transformations};

use super::y4m::{MAX_FRAME_BYTES, MAX_SIDE, frame_bytes, raw_camera};
use super::{Camera, Encoding, StreamFormat};
use crate::prepare::jpeg_size;

/// The pictures of a folder.
#[derive(Debug)]
pub struct Pictures {
    files: Vec<PathBuf>,
    next: usize,
    kind: Kind,
    /// A PNG as the decoder gives it, before it becomes RGB.
    decoded: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Png,
    Jpeg,
}

impl Pictures {
    /// Lists `*.png`, `*.jpg` and `*.jpeg`, sorted by name. Where some are called `*.rgb.png` only those count: the
    /// others are a clip's truth.
    pub fn open(folder: &Path) -> Result<Pictures, String> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|e| e.to_string())? {
            let path = entry.map_err(|e| e.to_string())?.path();
            if kind(&path).is_some() {
                files.push(path);
            }
        }
        let is_rgb = |path: &PathBuf| path.to_string_lossy().ends_with(".rgb.png");
        if files.iter().any(is_rgb) {
            files.retain(is_rgb);
        }
        files.sort();
        let kind = files.first().and_then(|path| kind(path)).ok_or("no .png, .jpg or .jpeg in this folder")?;
        Ok(Pictures { files, next: 0, kind, decoded: Vec::new() })
    }

    /// The source that the first picture makes, and the room that a frame needs.
    pub fn describe(&self, name: String) -> Result<(Camera, usize), String> {
        let path = self.files.first().ok_or("no pictures")?;
        match self.kind {
            Kind::Png => {
                let reader = png_reader(path)?;
                let (width, height) =
                    checked_size(path, (reader.info().width as usize, reader.info().height as usize))?;
                let format = PixelFormat::Rgb24;
                let camera = raw_camera(name, "PNG", format, width, height, Colour::FULL_DEFAULT);
                Ok((camera, frame_bytes(format, width, height)))
            }
            Kind::Jpeg => {
                let bytes = read_jpeg(path)?;
                let (width, height) = checked_size(path, jpeg_size(&bytes).map_err(|problem| named(path, problem))?)?;
                let (encoding, colour) = (Encoding::Mjpeg, Colour::FULL_DEFAULT);
                let format = StreamFormat { encoding, width, height, strides: [0; 3], colour };
                let format_name = "JPEG".to_owned();
                let (interval_ns, live, counts, intrinsics) = (0, false, false, None);
                let camera = Camera { name, format_name, format, interval_ns, live, counts, intrinsics };
                // The others may be larger; their buffers grow to the largest.
                Ok((camera, bytes.len()))
            }
        }
    }

    /// Whether all were read.
    pub fn is_over(&self) -> bool {
        self.next >= self.files.len()
    }

    /// The first picture comes next.
    pub fn rewind(&mut self) {
        self.next = 0;
    }

    /// The next picture's bytes, into an empty buffer.
    pub fn read(&mut self, format: &StreamFormat, out: &mut Vec<u8>) -> Result<(), String> {
        let path = self.files.get(self.next).ok_or("no more pictures")?;
        self.next += 1;
        if kind(path) != Some(self.kind) {
            let first = self.files.first().map(|first| first.display().to_string()).unwrap_or_default();
            return Err(named(path, format!("PNG and JPEG in one folder; {first} is of the other kind")));
        }
        let size = match self.kind {
            Kind::Png => {
                let mut reader = png_reader(path)?;
                let size = (reader.info().width as usize, reader.info().height as usize);
                check_same(path, size, format)?;
                let bytes = reader.output_buffer_size().ok_or_else(|| named(path, "too large".to_owned()))?;
                self.decoded.resize(bytes, 0);
                reader.next_frame(&mut self.decoded).map_err(|e| named(path, e.to_string()))?;
                // Reads to the end, where a truncated file is found out.
                reader.finish().map_err(|e| named(path, e.to_string()))?;
                to_rgb(reader.output_color_type().0, &self.decoded, out).map_err(|problem| named(path, problem))?;
                size
            }
            Kind::Jpeg => {
                out.extend_from_slice(&read_jpeg(path)?);
                jpeg_size(out).map_err(|problem| named(path, problem))?
            }
        };
        check_same(path, size, format)
    }
}

fn check_same(path: &Path, (width, height): (usize, usize), format: &StreamFormat) -> Result<(), String> {
    if (width, height) == (format.width, format.height) {
        return Ok(());
    }
    Err(named(path, format!("{width}×{height}, but the first picture has {}×{}", format.width, format.height)))
}

fn checked_size(path: &Path, (width, height): (usize, usize)) -> Result<(usize, usize), String> {
    let fits = (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height);
    if fits && frame_bytes(PixelFormat::Rgb24, width, height) <= MAX_FRAME_BYTES {
        return Ok((width, height));
    }
    Err(named(path, format!("{width}×{height}: more than {} MiB of pixels", MAX_FRAME_BYTES >> 20)))
}

fn kind(path: &Path) -> Option<Kind> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "png" => Some(Kind::Png),
        "jpg" | "jpeg" => Some(Kind::Jpeg),
        _ => None,
    }
}

/// A decoder that gives 8 bits a sample and no palette.
fn png_reader(path: &Path) -> Result<png::Reader<BufReader<File>>, String> {
    let file = File::open(path).map_err(|e| named(path, e.to_string()))?;
    let limits = png::Limits { bytes: MAX_FRAME_BYTES * 2 };
    let mut decoder = png::Decoder::new_with_limits(BufReader::new(file), limits);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.read_info().map_err(|e| named(path, e.to_string()))
}

/// Grey and palettes become R, G, B; alpha is left out.
fn to_rgb(colour: ColorType, decoded: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    match colour {
        ColorType::Rgb => out.extend_from_slice(decoded),
        ColorType::Rgba => decoded.as_chunks::<4>().0.iter().for_each(|[r, g, b, _]| out.extend([r, g, b])),
        ColorType::Grayscale => decoded.iter().for_each(|v| out.extend([v, v, v])),
        ColorType::GrayscaleAlpha => decoded.as_chunks::<2>().0.iter().for_each(|[v, _]| out.extend([v, v, v])),
        ColorType::Indexed => return Err("a palette that the decoder did not expand".to_owned()),
    }
    Ok(())
}

/// A JPEG file, if it is no larger than a frame may be.
fn read_jpeg(path: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|e| named(path, e.to_string()))?.len();
    if size > MAX_FRAME_BYTES as u64 {
        return Err(named(path, format!("{size} bytes: more than {} MiB", MAX_FRAME_BYTES >> 20)));
    }
    std::fs::read(path).map_err(|e| named(path, e.to_string()))
}

fn named(path: &Path, problem: String) -> String {
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    format!("{name}: {problem}")
}

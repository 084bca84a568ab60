//! Pictures of an MJPEG stream: decoded strictly, to Y Cb Cr or grey, into one reused buffer.
//!
//! Stricter than a viewer: a picture that is cut off, ends early or does not decode cleanly is refused, because a viewer's
//! grey filling would be taken for the world. Two things that cameras do are allowed: no Huffman tables (the standard's
//! example tables are meant) and padding after the end of the picture.

use milad_kernels::pixel::PixelFormat;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

#[path = "huffman.rs"]
mod huffman;

/// From this width on, even a black picture's rows are longer than what the decoder looks ahead.
const NARROW: usize = 64;

/// Decodes pictures of one negotiated size.
#[derive(Debug)]
pub struct JpegDecoder {
    width: usize,
    height: usize,
    /// The last picture, `Y Cb Cr` or grey.
    pixels: Vec<u8>,
    /// A picture with what it came without.
    completed: Vec<u8>,
}

/// What the segments before the entropy-coded data say.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    /// Where the start-of-scan marker lies.
    scan: usize,
    /// Whether there is any Huffman table.
    tables: bool,
    /// Whether the picture comes in several passes over all of it.
    progressive: bool,
    /// Columns and rows.
    size: (usize, usize),
}

impl JpegDecoder {
    pub fn new(width: usize, height: usize) -> JpegDecoder {
        JpegDecoder { width, height, pixels: Vec::new(), completed: Vec::new() }
    }

    /// The picture as [`PixelFormat::Ycc`] or [`PixelFormat::Grey`], rows without padding.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<(PixelFormat, &[u8]), String> {
        let header = header(bytes)?;
        if header.size != (self.width, self.height) {
            let (width, height) = header.size;
            return Err(format!("JPEG of {width}×{height} where {}×{} was negotiated", self.width, self.height));
        }
        // The decoder makes up what is missing before an end-of-image marker, but not at the end of its input: so that a
        // picture that ends early is an error, it doesn't get to see the marker.
        let end = end(bytes, header.scan)?;
        let picture = &bytes[..if header.progressive { end } else { end - 2 }];
        // It looks up to 8 bytes ahead, further than a row of a very narrow picture may be long.
        let ahead: &[u8] = if header.progressive || self.width >= NARROW { &[] } else { &[0; 8] };
        let tables: &[u8] = if header.tables { &[] } else { &huffman::STANDARD_TABLES };
        let picture = if ahead.is_empty() && tables.is_empty() {
            picture
        } else {
            self.completed.clear();
            self.completed.extend_from_slice(&picture[..header.scan]);
            self.completed.extend_from_slice(tables);
            self.completed.extend_from_slice(&picture[header.scan..]);
            self.completed.extend_from_slice(ahead);
            &self.completed
        };
        let options = DecoderOptions::default()
            .set_strict_mode(true)
            .set_max_width(self.width)
            .set_max_height(self.height)
            .jpeg_set_out_colorspace(ColorSpace::YCbCr);
        let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(picture), options);
        let failed = |e: zune_jpeg::errors::DecodeErrors| format!("corrupt JPEG: {e:?}");
        decoder.decode_headers().map_err(failed)?;
        let (format, samples) = match decoder.input_colorspace() {
            Some(ColorSpace::YCbCr) => (PixelFormat::Ycc, 3),
            Some(ColorSpace::Luma) => {
                decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::Luma));
                (PixelFormat::Grey, 1)
            }
            other => return Err(format!("JPEG in {other:?}: expected Y Cb Cr or grey")),
        };
        // Checked against the negotiated size above, so that no picture can make this grow.
        self.pixels.resize(self.width * self.height * samples, 0);
        decoder.decode_into(&mut self.pixels).map_err(failed)?;
        Ok((format, &self.pixels))
    }
}

/// Columns and rows of a JPEG, from its header.
pub fn jpeg_size(bytes: &[u8]) -> Result<(usize, usize), String> {
    header(bytes).map(|header| header.size)
}

/// Walks the segments up to the first scan (ITU-T T.81, B.1.1 and B.2).
fn header(bytes: &[u8]) -> Result<Header, String> {
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return Err(format!("not a JPEG: expected ff d8 at the start of {} bytes", bytes.len()));
    }
    let cut = || format!("truncated JPEG: {} bytes end within the header", bytes.len());
    let (mut at, mut tables, mut frame) = (2, false, None);
    loop {
        let &[0xff, marker] = bytes.get(at..at + 2).and_then(|b| <&[u8; 2]>::try_from(b).ok()).ok_or_else(cut)? else {
            return Err(format!("corrupt JPEG: expected a marker at byte {at}"));
        };
        if marker == 0xff {
            // Fill byte.
            at += 1;
            continue;
        }
        let length = bytes.get(at + 2..at + 4).ok_or_else(cut)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        if length < 2 {
            return Err(format!("corrupt JPEG: a segment of {length} bytes at byte {at}"));
        }
        let segment = bytes.get(at + 4..at + 2 + length).ok_or_else(cut)?;
        match marker {
            0xc4 => tables = true,
            // Every start of frame; c8 and cc are others.
            0xc0..=0xcf if marker != 0xc8 && marker != 0xcc => {
                let [_, y1, y0, x1, x0, ..] = *segment else { return Err(cut()) };
                let size = [[x1, x0], [y1, y0]].map(|side| usize::from(u16::from_be_bytes(side)));
                frame = Some((marker == 0xc2, (size[0], size[1])));
            }
            0xda => {
                let (progressive, size) = frame.ok_or("corrupt JPEG: a scan before its frame header")?;
                return Ok(Header { scan: at, tables, progressive, size });
            }
            0xd8 | 0xd9 => return Err(format!("corrupt JPEG: marker {marker:02x} at byte {at}, before any picture")),
            _ => {}
        }
        at += 2 + length;
    }
}

/// Where the picture ends: after its last end-of-image marker. What follows is padding.
fn end(bytes: &[u8], scan: usize) -> Result<usize, String> {
    bytes[scan..]
        .windows(2)
        .rposition(|pair| pair == [0xff, 0xd9])
        .map(|at| scan + at + 2)
        .ok_or_else(|| format!("truncated JPEG: {} bytes without an end-of-image marker", bytes.len()))
}

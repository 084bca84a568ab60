//! YUV4MPEG2 ("Y4M"): raw frames behind one line of text, as mjpegtools defined it and ffmpeg and rpicam-vid write it.
//!
//! This file reads header lines and nothing else; it is given a whole line, and never more than [`MAX_LINE`] bytes.

use milad_kernels::pixel::{Colour, PixelFormat, Range, plane_sizes};

use super::{Camera, Encoding, StreamFormat};

/// The longest header that is read, with its newline. The known writers stay below 100 bytes.
pub const MAX_LINE: usize = 1024;

/// What a stream begins with.
pub const MAGIC: &[u8] = b"YUV4MPEG2";

/// What every frame begins with.
pub const FRAME: &[u8] = b"FRAME";

/// The largest frame that is accepted from any file or pipe: a header must not make the daemon take all memory.
pub const MAX_FRAME_BYTES: usize = 64 << 20;

/// The most pixels a side.
pub const MAX_SIDE: usize = 16_384;

/// A stream's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// From the C parameter; 4:2:0 where there is none.
    pub format: PixelFormat,
    /// The C parameter's own name, `C420jpeg`.
    pub format_name: String,
    /// BT.601 always (Y4M can't say), the range from XCOLORRANGE; limited where there is none.
    pub colour: Colour,
    /// From the F parameter; 0 where it is unknown.
    pub interval_ns: u64,
}

impl Header {
    /// Parses the line that starts with `YUV4MPEG2`, without its newline.
    ///
    /// Parameters that don't change how pixels are read (interlacing, aspect, other X parameters) are passed over.
    pub fn parse(line: &[u8]) -> Result<Header, String> {
        let text = std::str::from_utf8(line).map_err(|_| "Y4M header: not text".to_owned())?;
        let mut words = text.split(' ');
        if words.next().map(str::as_bytes) != Some(MAGIC) {
            return Err(format!("not Y4M: expected YUV4MPEG2 at the start, found {}", excerpt(line)));
        }
        let (mut width, mut height, mut interval_ns) = (None, None, 0);
        let (mut chroma, mut range) = ("420jpeg", Range::Limited);
        for word in words.filter(|word| !word.is_empty()) {
            // Any letter is one byte; a word that starts with something else has no meaning here.
            let (tag, value) = word.split_at_checked(1).unwrap_or(("", word));
            match tag {
                "W" => width = Some(side("width", value)?),
                "H" => height = Some(side("height", value)?),
                "F" => interval_ns = interval(value)?,
                "C" => chroma = value,
                "X" => match value {
                    "COLORRANGE=FULL" => range = Range::Full,
                    "COLORRANGE=LIMITED" => range = Range::Limited,
                    _ => {}
                },
                _ => {}
            }
        }
        let width = width.ok_or("Y4M header: no width (W)")?;
        let height = height.ok_or("Y4M header: no height (H)")?;
        let format = match chroma {
            "420" | "420jpeg" | "420mpeg2" | "420paldv" => PixelFormat::Yu12,
            "422" => PixelFormat::Yu16,
            "444" => PixelFormat::Yu24,
            "mono" => PixelFormat::Grey,
            _ => {
                return Err(format!(
                    "Y4M header: C{} is not supported; expected C420jpeg, C420mpeg2, C420paldv, C420, C422, C444 or Cmono, 8 bits",
                    excerpt(chroma.as_bytes())
                ));
            }
        };
        let colour = Colour { range, ..Colour::YUV_DEFAULT };
        let header = Header { width, height, format, format_name: format!("C{chroma}"), colour, interval_ns };
        if header.frame_bytes() > MAX_FRAME_BYTES {
            let mib = MAX_FRAME_BYTES >> 20;
            return Err(format!(
                "Y4M header: frames of {width}×{height} are larger than the {mib} MiB that are accepted"
            ));
        }
        Ok(header)
    }

    /// Bytes of a frame, without its `FRAME` line.
    pub fn frame_bytes(&self) -> usize {
        frame_bytes(self.format, self.width, self.height)
    }

    /// A source with this header.
    pub fn camera(&self, name: String, live: bool) -> Camera {
        let mut camera = raw_camera(name, &self.format_name, self.format, self.width, self.height, self.colour);
        (camera.interval_ns, camera.live) = (self.interval_ns, live);
        camera
    }
}

/// Bytes of a frame whose planes lie one after the other without padding.
pub fn frame_bytes(format: PixelFormat, width: usize, height: usize) -> usize {
    plane_sizes(format, width, height).0.iter().map(|(row, rows)| row * rows).sum()
}

/// A source of such frames; not live, of unknown rate, and without a count of its own.
pub fn raw_camera(
    name: String,
    format_name: &str,
    format: PixelFormat,
    width: usize,
    height: usize,
    colour: Colour,
) -> Camera {
    let strides = plane_sizes(format, width, height).0.map(|(row, _)| row);
    let format = StreamFormat { encoding: Encoding::Raw(format), width, height, strides, colour };
    let format_name = format_name.to_owned();
    Camera { name, format_name, format, interval_ns: 0, live: false, counts: false, intrinsics: None }
}

/// The first bytes of something unexpected, fit for a log line.
pub fn excerpt(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes[..bytes.len().min(24)].escape_ascii())
}

fn side(what: &str, value: &str) -> Result<usize, String> {
    match value.parse::<usize>() {
        Ok(side) if (1..=MAX_SIDE).contains(&side) => Ok(side),
        _ => Err(format!("Y4M header: {what} {}: expected 1 to {MAX_SIDE}", excerpt(value.as_bytes()))),
    }
}

/// `30000:1001` → nanoseconds; `0:0` is unknown.
fn interval(value: &str) -> Result<u64, String> {
    let wrong = || format!("Y4M header: rate F{}: expected a fraction like F30:1", excerpt(value.as_bytes()));
    let (numerator, denominator) = value.split_once(':').ok_or_else(wrong)?;
    let numerator: u32 = numerator.parse().map_err(|_| wrong())?;
    let denominator: u32 = denominator.parse().map_err(|_| wrong())?;
    match (numerator, denominator) {
        (0, 0) => Ok(0),
        (0, _) | (_, 0) => Err(wrong()),
        (n, d) => Ok(u64::from(d) * 1_000_000_000 / u64::from(n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use milad_kernels::pixel::Matrix;

    fn parse(line: &str) -> Result<Header, String> {
        Header::parse(line.as_bytes())
    }

    #[test]
    fn what_ffmpeg_and_rpicam_write_is_understood() {
        let header = parse("YUV4MPEG2 W640 H480 F30:1 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=LIMITED").unwrap();
        assert_eq!((header.width, header.height, header.format), (640, 480, PixelFormat::Yu12));
        assert_eq!((header.interval_ns, header.frame_bytes()), (33_333_333, 460_800));
        assert_eq!(header.colour, Colour { matrix: Matrix::Bt601, range: Range::Limited });
        let header = parse("YUV4MPEG2 W3 H5 F30000:1001 Cmono XCOLORRANGE=FULL").unwrap();
        assert_eq!((header.format, header.frame_bytes(), header.interval_ns), (PixelFormat::Grey, 15, 33_366_666));
        assert_eq!(header.colour.range, Range::Full);
        assert_eq!(parse("YUV4MPEG2 W3 H5 C422").unwrap().frame_bytes(), 3 * 5 + 2 * 2 * 5);
        assert_eq!(parse("YUV4MPEG2 W3 H5 C444").unwrap().frame_bytes(), 45);
        assert_eq!(parse("YUV4MPEG2  W3 H5 F0:0").unwrap().frame_bytes(), 15 + 2 * 6);
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_reason() {
        for (line, reason) in [
            ("", "expected YUV4MPEG2"),
            ("RIFF W3 H5", "found \"RIFF W3 H5\""),
            ("YUV4MPEG2 H5", "no width"),
            ("YUV4MPEG2 W5", "no height"),
            ("YUV4MPEG2 W0 H5", "expected 1 to"),
            ("YUV4MPEG2 W-3 H5", "expected 1 to"),
            ("YUV4MPEG2 W99999999999999999999 H5", "expected 1 to"),
            ("YUV4MPEG2 W16384 H16384", "64 MiB"),
            ("YUV4MPEG2 W4 H4 C420p10", "C\"420p10\" is not supported"),
            ("YUV4MPEG2 W4 H4 F30", "expected a fraction"),
            ("YUV4MPEG2 W4 H4 F30:0", "expected a fraction"),
            ("YUV4MPEG2 W4 H4 Cé", "not supported"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(reason), "{line:?}: {error}");
        }
        assert!(Header::parse(b"YUV4MPEG2 \xff").is_err());
    }
}

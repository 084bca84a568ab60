//! The V4L2 pixel formats that milad reads, in order of what they cost.

use milad_kernels::pixel::PixelFormat;

use super::super::Encoding;

/// A V4L2 format that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The four letters.
    pub fourcc: [u8; 4],
    /// What they mean here.
    pub encoding: Encoding,
    /// How many buffers of the driver hold one frame: more than 1 for the `M` formats of the multi-planar API only.
    pub memory_planes: usize,
}

const fn raw(fourcc: &[u8; 4], format: PixelFormat, memory_planes: usize) -> Format {
    Format { fourcc: *fourcc, encoding: Encoding::Raw(format), memory_planes }
}

const fn jpeg(fourcc: &[u8; 4]) -> Format {
    Format { fourcc: *fourcc, encoding: Encoding::Mjpeg, memory_planes: 1 }
}

/// The cheapest first, by bytes to read and work to decode. Grey comes last: the networks want colour.
pub const FORMATS: [Format; 11] = [
    raw(b"NV12", PixelFormat::Nv12, 1),
    raw(b"NM12", PixelFormat::Nv12, 2),
    raw(b"YU12", PixelFormat::Yu12, 1),
    raw(b"YM12", PixelFormat::Yu12, 3),
    raw(b"YUYV", PixelFormat::Yuyv, 1),
    raw(b"UYVY", PixelFormat::Uyvy, 1),
    raw(b"RGB3", PixelFormat::Rgb24, 1),
    jpeg(b"MJPG"),
    jpeg(b"JPEG"),
    raw(b"GREY", PixelFormat::Grey, 1),
    // Some drivers write it so.
    raw(b"Y800", PixelFormat::Grey, 1),
];

impl Format {
    /// The entry for the driver's number.
    pub fn of(pixelformat: u32) -> Option<Format> {
        FORMATS.into_iter().find(|format| format.pixelformat() == pixelformat)
    }

    /// The driver's number.
    pub fn pixelformat(&self) -> u32 {
        u32::from_le_bytes(self.fourcc)
    }

    /// The four letters as text.
    pub fn name(&self) -> String {
        fourcc(self.pixelformat())
    }

    /// Its place in the order of cost.
    pub fn rank(&self) -> usize {
        FORMATS.iter().position(|format| format == self).unwrap_or(FORMATS.len())
    }

    /// Whether a user who wrote `name` means this format: the four letters or the usual name, in any case. A name
    /// stands for both the layout in one buffer and that in several.
    pub fn is_called(&self, name: &str) -> bool {
        let name = name.trim().to_ascii_uppercase();
        let usual: &[&str] = match self.encoding {
            Encoding::Raw(PixelFormat::Nv12) => &["NV12"],
            Encoding::Raw(PixelFormat::Yu12) => &["YU12", "I420", "YUV420"],
            Encoding::Raw(PixelFormat::Yuyv) => &["YUY2"],
            Encoding::Raw(PixelFormat::Rgb24) => &["RGB24", "RGB"],
            Encoding::Raw(PixelFormat::Grey) => &["GRAY", "GREY", "Y8"],
            Encoding::Mjpeg => &["MJPEG", "MJPG"],
            _ => &[],
        };
        name == self.name() || usual.contains(&name.as_str())
    }
}

/// A driver's format number as its four letters; what cannot be printed becomes `.`.
pub fn fourcc(pixelformat: u32) -> String {
    let letters = pixelformat.to_le_bytes();
    // The highest bit of the last letter says big-endian.
    let big_endian = if letters[3] & 0x80 != 0 { "-BE" } else { "" };
    let text: String =
        letters.iter().map(|b| (b & 0x7f) as char).map(|c| if c.is_ascii_graphic() { c } else { '.' }).collect();
    text.trim_end_matches('.').to_owned() + big_endian
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_find_the_driver_s_formats() {
        let called = |name: &str| -> Vec<String> {
            FORMATS.iter().filter(|format| format.is_called(name)).map(Format::name).collect()
        };
        assert_eq!(called("nv12"), ["NV12", "NM12"]);
        assert_eq!(called("NM12"), ["NM12"]);
        assert_eq!(called("mjpeg"), ["MJPG", "JPEG"]);
        assert_eq!(called("rgb24"), ["RGB3"]);
        assert!(called("H264").is_empty());
    }

    #[test]
    fn numbers_print_as_letters() {
        assert_eq!(fourcc(u32::from_le_bytes(*b"MJPG")), "MJPG");
        assert_eq!(fourcc(u32::from_le_bytes(*b"Y16 ")), "Y16");
        assert_eq!(fourcc(u32::from_le_bytes([b'Y', b'1', b'6', b' ' | 0x80])), "Y16-BE");
    }
}

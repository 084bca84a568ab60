//! Asking the driver for a mode, and reading back what it granted: nothing is assumed to be as asked.

use v4l::v4l_sys as sys;

use milad_kernels::pixel::plane_sizes;

use super::super::source_spec::Request;
use super::super::{Encoding, SourceError, StreamFormat};
use super::choose::{self, Mode, NoMode};
use super::colour::Colorimetry;
use super::device::Device;
use super::formats::{Format, fourcc};
use super::menu::{DriverMenu, Interval};
use super::{errors, ioctl};

/// What the driver granted.
#[derive(Debug, Clone, PartialEq)]
pub struct Granted {
    /// The V4L2 format.
    pub format: Format,
    /// The same for the rest of the program.
    pub stream: StreamFormat,
    /// 0 where the driver does not say.
    pub interval_ns: u64,
    /// The least bytes that a whole frame has in each buffer of the driver; 1 for JPEG.
    pub needed: [usize; 3],
}

impl Granted {
    /// Bytes of each plane of the picture with its full last row.
    pub fn whole_planes(&self) -> [usize; 3] {
        let Encoding::Raw(pixels) = self.stream.encoding else { return [0; 3] };
        let (sizes, _) = plane_sizes(pixels, self.stream.width, self.stream.height);
        std::array::from_fn(|i| self.stream.strides[i] * sizes[i].1)
    }
}

/// Negotiates from zero.
pub fn negotiate(device: &Device, request: &Request) -> Result<Granted, SourceError> {
    let buffer_type = device.buffer_type()?;
    let menu = DriverMenu::read(device, buffer_type)?;
    let modes = choose::modes(&menu, request).map_err(|refusal| match refusal {
        NoMode::SensorData => errors::needs_libcamera(&device.path, &device.driver),
        NoMode::NoCommonFormat(words) => SourceError::Unusable(format!("{}: {words}", device.path.display())),
    })?;
    let mut refusals = Vec::new();
    for mode in modes {
        match set_format(device, buffer_type, &mode) {
            Ok((format, stream, needed)) => {
                let interval = set_interval(device, buffer_type, &mode);
                let interval_ns = interval.or(mode.interval).map_or(0, Interval::ns);
                return Ok(Granted { format, stream, interval_ns, needed });
            }
            Err(Refusal::This(words)) => refusals.push(words),
            Err(Refusal::All(error)) => return Err(error),
        }
        // The cheapest few tell what is wrong as well as all of them would.
        if refusals.len() == 8 {
            break;
        }
    }
    Err(SourceError::Unusable(format!("{} grants none of its modes: {}", device.path.display(), refusals.join("; "))))
}

enum Refusal {
    /// Of this mode: another may do.
    This(String),
    /// Of anything.
    All(SourceError),
}

fn set_format(device: &Device, buffer_type: u32, mode: &Mode) -> Result<(Format, StreamFormat, [usize; 3]), Refusal> {
    let mut asked = ioctl::format(buffer_type);
    if buffer_type == sys::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE {
        // SAFETY: the buffer type says that this is the field in use, and the union was zeroed as a whole.
        let pix = unsafe { &mut asked.fmt.pix_mp };
        pix.width = mode.size.0;
        pix.height = mode.size.1;
        pix.pixelformat = mode.format.pixelformat();
        pix.field = sys::v4l2_field_V4L2_FIELD_NONE;
    } else {
        asked.fmt.pix = sys::v4l2_pix_format {
            width: mode.size.0,
            height: mode.size.1,
            pixelformat: mode.format.pixelformat(),
            field: sys::v4l2_field_V4L2_FIELD_NONE,
            priv_: sys::V4L2_PIX_FMT_PRIV_MAGIC,
            // SAFETY: the union was zeroed as a whole.
            ..unsafe { asked.fmt.pix }
        };
    }
    ioctl::set_format(device.fd(), &mut asked).map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => Refusal::This(format!("{}: {error}", mode.format.name())),
        _ => Refusal::All(errors::refused(&device.path, "VIDIOC_S_FMT", &error)),
    })?;
    read_back(&asked).map_err(Refusal::This)
}

/// The numbers of a granted format, whichever API it came through.
struct Answer {
    pixelformat: u32,
    width: u32,
    height: u32,
    field: u32,
    colorimetry: Colorimetry,
    /// Bytes a row by buffer of the driver; how many buffers there are.
    bytes_per_line: [u32; 3],
    memory_planes: usize,
}

fn read_back(answer: &sys::v4l2_format) -> Result<(Format, StreamFormat, [usize; 3]), String> {
    let answer = numbers(answer);
    let format = Format::of(answer.pixelformat)
        .ok_or_else(|| format!("answered with format {}, which milad does not read", fourcc(answer.pixelformat)))?;
    let name = format.name();
    if answer.memory_planes != format.memory_planes {
        let (expected, found) = (format.memory_planes, answer.memory_planes);
        return Err(format!("{name} comes in {expected} memory planes, the driver says {found}"));
    }
    let progressive = [
        sys::v4l2_field_V4L2_FIELD_ANY,
        sys::v4l2_field_V4L2_FIELD_NONE,
        sys::v4l2_field_V4L2_FIELD_INTERLACED,
        sys::v4l2_field_V4L2_FIELD_INTERLACED_TB,
        sys::v4l2_field_V4L2_FIELD_INTERLACED_BT,
    ];
    if !progressive.contains(&answer.field) {
        return Err(format!("{name} comes as separate fields (v4l2_field {}), expected whole frames", answer.field));
    }
    let (width, height) = (answer.width as usize, answer.height as usize);
    if width == 0 || height == 0 || width > 16384 || height > 16384 {
        return Err(format!("{name} has {width}×{height} pixels, expected 1 to 16384 a side"));
    }
    let (strides, needed) = layout(&format, width, height, &answer.bytes_per_line)?;
    let colour = answer.colorimetry.colour(format.encoding);
    Ok((format, StreamFormat { encoding: format.encoding, width, height, strides, colour }, needed))
}

fn numbers(answer: &sys::v4l2_format) -> Answer {
    if answer.type_ == sys::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE {
        // SAFETY: the field that the buffer type names; every bit pattern is valid. Copied: the struct is packed.
        let pix = unsafe { answer.fmt.pix_mp };
        let plane_fmt = pix.plane_fmt;
        Answer {
            pixelformat: pix.pixelformat,
            width: pix.width,
            height: pix.height,
            field: pix.field,
            colorimetry: Colorimetry {
                colorspace: pix.colorspace,
                // SAFETY: both fields of the union are the same byte.
                ycbcr_enc: unsafe { pix.__bindgen_anon_1.ycbcr_enc }.into(),
                quantization: pix.quantization.into(),
            },
            bytes_per_line: std::array::from_fn(|i| plane_fmt[i].bytesperline),
            memory_planes: pix.num_planes.into(),
        }
    } else {
        // SAFETY: as above.
        let pix = unsafe { answer.fmt.pix };
        // Without the magic number the driver does not know the fields behind it.
        let extended = pix.priv_ == sys::V4L2_PIX_FMT_PRIV_MAGIC;
        Answer {
            pixelformat: pix.pixelformat,
            width: pix.width,
            height: pix.height,
            field: pix.field,
            colorimetry: Colorimetry {
                colorspace: pix.colorspace,
                // SAFETY: both fields of the union are the same number.
                ycbcr_enc: if extended { unsafe { pix.__bindgen_anon_1.ycbcr_enc } } else { 0 },
                quantization: if extended { pix.quantization } else { 0 },
            },
            bytes_per_line: [pix.bytesperline, 0, 0],
            memory_planes: 1,
        }
    }
}

/// Strides of the picture's planes, and the least bytes of a whole frame in each buffer of the driver.
///
/// Where several planes lie in one buffer, `bytesperline` is that of the first, and those of the others follow from
/// it by the ratio of their widths; where it is 0 rows follow each other directly.
fn layout(
    format: &Format,
    width: usize,
    height: usize,
    bytes_per_line: &[u32; 3],
) -> Result<([usize; 3], [usize; 3]), String> {
    let Encoding::Raw(pixels) = format.encoding else { return Ok(([0; 3], [1, 0, 0])) };
    let (sizes, count) = plane_sizes(pixels, width, height);
    let mut strides = [0; 3];
    let mut needed = [0; 3];
    for i in 0..count {
        let (row, rows) = sizes[i];
        let given = if format.memory_planes > 1 { bytes_per_line[i] as usize } else { bytes_per_line[0] as usize };
        let shared = format.memory_planes == 1 && i > 0;
        strides[i] = match given {
            0 => row,
            // NV12's second plane has half the samples of twice the size; YU12's has half a row.
            _ if shared && count == 3 => given / 2,
            _ => given,
        };
        if strides[i] < row {
            return Err(format!("{}: {} bytes a row, but a row takes {row}", format.name(), strides[i]));
        }
        let memory = if format.memory_planes > 1 { i } else { 0 };
        let last = if format.memory_planes > 1 || i + 1 == count { row } else { strides[i] };
        needed[memory] += strides[i] * (rows - 1) + last;
    }
    Ok((strides, needed))
}

/// Asks for the interval where the driver takes such wishes; what it then says is in force.
fn set_interval(device: &Device, buffer_type: u32, mode: &Mode) -> Option<Interval> {
    let mut parm = ioctl::parm(buffer_type);
    ioctl::get_parm(device.fd(), &mut parm).ok()?;
    // SAFETY: the capture field is the one for both capture buffer types; every bit pattern is valid.
    let can = unsafe { parm.parm.capture.capability } & sys::V4L2_CAP_TIMEPERFRAME != 0;
    if let (true, Some(wanted)) = (can, mode.interval) {
        parm = ioctl::parm(buffer_type);
        parm.parm.capture.timeperframe =
            sys::v4l2_fract { numerator: wanted.numerator, denominator: wanted.denominator };
        if let Err(error) = ioctl::set_parm(device.fd(), &mut parm) {
            log::warn!("{} keeps its frame rate: VIDIOC_S_PARM: {error}", device.path.display());
        }
        parm = ioctl::parm(buffer_type);
        ioctl::get_parm(device.fd(), &mut parm).ok()?;
    }
    // SAFETY: as above.
    let fraction = unsafe { parm.parm.capture.timeperframe };
    let granted = Interval { numerator: fraction.numerator, denominator: fraction.denominator };
    granted.rate().map(|_| granted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(fourcc: &[u8; 4], size: (usize, usize), lines: [u32; 3]) -> Result<([usize; 3], [usize; 3]), String> {
        layout(&Format::of(u32::from_le_bytes(*fourcc)).unwrap(), size.0, size.1, &lines)
    }

    #[test]
    fn strides_of_planes_that_share_a_buffer_follow_from_the_first() {
        assert_eq!(laid_out(b"YUYV", (4, 2), [16, 0, 0]), Ok(([16, 0, 0], [16 + 8, 0, 0])));
        assert_eq!(laid_out(b"NV12", (4, 4), [8, 0, 0]), Ok(([8, 8, 0], [8 * 4 + 8 + 4, 0, 0])));
        assert_eq!(laid_out(b"YU12", (4, 4), [8, 0, 0]), Ok(([8, 4, 4], [8 * 4 + 4 * 2 + 4 + 2, 0, 0])));
    }

    #[test]
    fn planes_in_buffers_of_their_own_have_strides_of_their_own() {
        assert_eq!(laid_out(b"NM12", (4, 4), [8, 16, 0]), Ok(([8, 16, 0], [8 * 3 + 4, 16 + 4, 0])));
        assert_eq!(laid_out(b"YM12", (4, 4), [4, 4, 2]), Ok(([4, 4, 2], [16, 6, 4])));
    }

    #[test]
    fn rows_without_a_stride_follow_each_other_and_short_ones_are_refused() {
        assert_eq!(laid_out(b"RGB3", (3, 2), [0, 0, 0]), Ok(([9, 0, 0], [18, 0, 0])));
        assert!(laid_out(b"YUYV", (4, 2), [7, 0, 0]).unwrap_err().contains("a row takes 8"));
        assert_eq!(laid_out(b"MJPG", (4, 2), [0, 0, 0]), Ok(([0; 3], [1, 0, 0])));
    }
}

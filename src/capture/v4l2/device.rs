//! One open device node: what it is, and whether milad can take pictures from it.

use std::os::fd::{BorrowedFd, RawFd};
use std::path::{Path, PathBuf};

use v4l::v4l_sys as sys;

use super::super::SourceError;
use super::formats::fourcc;
use super::{errors, ioctl};

/// An open V4L2 node.
pub struct Device {
    device: v4l::Device,
    fd: RawFd,
    /// The path that it was opened by.
    pub path: PathBuf,
    /// The driver's name for the hardware.
    pub card: String,
    /// The driver.
    pub driver: String,
    /// Where it is plugged in.
    pub bus: String,
    /// What it can be used for.
    pub kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A video camera; the buffer type says whether through the single- or the multi-planar API.
    Capture {
        /// `enum v4l2_buf_type`.
        buffer_type: u32,
    },
    /// A part of a media-controller pipeline, to be driven by libcamera.
    NeedsLibcamera,
    /// Something else, in words.
    Other(&'static str),
}

/// Drivers of CSI receivers and image processors that libcamera drives, also where they do not say so by `IO_MC`.
const LIBCAMERA_DRIVERS: [&str; 5] = ["unicam", "rp1-cfe", "bcm2835-isp", "pispbe", "rkisp1"];

impl Device {
    /// Opens a node of any kind.
    pub fn open(path: &Path) -> Result<Device, SourceError> {
        if path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(SourceError::Unusable(format!("{} holds a NUL byte", path.display())));
        }
        let device = v4l::Device::with_path(path).map_err(|e| errors::opening(path, &e))?;
        let fd = device.handle().fd();
        // SAFETY: `device` keeps the descriptor open for longer than this call.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        // v4l opens without O_CLOEXEC. Only a closed descriptor can make this fail.
        let _ = rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC);
        let caps = ioctl::capabilities(fd).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOTTY | libc::EINVAL) => errors::not_a_camera(path, "a file that is no V4L2 device"),
            _ => errors::refused(path, "VIDIOC_QUERYCAP", &error),
        })?;
        let has_own_caps = caps.capabilities & sys::V4L2_CAP_DEVICE_CAPS != 0;
        let flags = if has_own_caps { caps.device_caps } else { caps.capabilities };
        let driver = ioctl::text(&caps.driver);
        Ok(Device {
            path: path.to_owned(),
            card: ioctl::text(&caps.card),
            bus: ioctl::text(&caps.bus_info),
            kind: kind(flags, &driver),
            driver,
            device,
            fd,
        })
    }

    /// The buffer type, where this is a camera.
    pub fn buffer_type(&self) -> Result<u32, SourceError> {
        match &self.kind {
            Kind::Capture { buffer_type } => Ok(*buffer_type),
            Kind::NeedsLibcamera => Err(errors::needs_libcamera(&self.path, &self.driver)),
            Kind::Other(what) => Err(errors::not_a_camera(&self.path, what)),
        }
    }

    /// The descriptor, open as long as `self`.
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// Sets a control to a number.
    pub fn set_control(&self, id: u32, value: i64) -> std::io::Result<()> {
        self.device.set_control(v4l::Control { id, value: v4l::control::Value::Integer(value) })
    }

    /// Whether every format offered is raw sensor data (Bayer): such a node needs libcamera as well.
    pub fn gives_sensor_data_only(formats: &[u32]) -> bool {
        let bayer = |format: &u32| {
            let name = fourcc(*format);
            ["BA", "GB", "GR", "RG", "BG", "pB", "pG", "pR", "BY", "PC"].iter().any(|start| name.starts_with(start))
                && !name.starts_with("GREY")
                && !name.starts_with("RGB")
                && !name.starts_with("BGR")
        };
        !formats.is_empty() && formats.iter().all(bayer)
    }
}

fn kind(flags: u32, driver: &str) -> Kind {
    let has = |flag: u32| flags & flag != 0;
    if has(sys::V4L2_CAP_VIDEO_M2M | sys::V4L2_CAP_VIDEO_M2M_MPLANE) {
        return Kind::Other("a converter or codec (memory to memory)");
    }
    if !has(sys::V4L2_CAP_VIDEO_CAPTURE | sys::V4L2_CAP_VIDEO_CAPTURE_MPLANE) {
        return Kind::Other(match flags {
            _ if has(sys::V4L2_CAP_META_CAPTURE) => "a metadata node (the camera itself is usually the node before it)",
            _ if has(sys::V4L2_CAP_VIDEO_OUTPUT | sys::V4L2_CAP_VIDEO_OUTPUT_MPLANE) => "a video output",
            _ => "a node that captures no video",
        });
    }
    if has(sys::V4L2_CAP_IO_MC) || LIBCAMERA_DRIVERS.iter().any(|name| driver.starts_with(name)) {
        return Kind::NeedsLibcamera;
    }
    if !has(sys::V4L2_CAP_STREAMING) {
        return Kind::Other("a camera that can't stream into memory (no V4L2_CAP_STREAMING)");
    }
    // A driver with both gets the plain one.
    Kind::Capture {
        buffer_type: if has(sys::V4L2_CAP_VIDEO_CAPTURE) {
            sys::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE
        } else {
            sys::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAMING: u32 = sys::V4L2_CAP_STREAMING;

    #[test]
    fn nodes_are_told_apart() {
        assert_eq!(kind(sys::V4L2_CAP_VIDEO_CAPTURE | STREAMING, "uvcvideo"), Kind::Capture { buffer_type: 1 });
        assert_eq!(kind(sys::V4L2_CAP_VIDEO_CAPTURE_MPLANE | STREAMING, "vivid"), Kind::Capture { buffer_type: 9 });
        let mc = sys::V4L2_CAP_VIDEO_CAPTURE | STREAMING | sys::V4L2_CAP_IO_MC;
        assert_eq!(kind(mc, "anything"), Kind::NeedsLibcamera);
        assert_eq!(kind(sys::V4L2_CAP_VIDEO_CAPTURE | STREAMING, "rp1-cfe"), Kind::NeedsLibcamera);
        for flags in [sys::V4L2_CAP_META_CAPTURE, sys::V4L2_CAP_VIDEO_OUTPUT, sys::V4L2_CAP_VIDEO_M2M, 0] {
            assert!(matches!(kind(flags | STREAMING, "x"), Kind::Other(_)), "{flags:x}");
        }
        assert!(matches!(kind(sys::V4L2_CAP_VIDEO_CAPTURE, "x"), Kind::Other(_)), "no streaming");
    }

    #[test]
    fn bayer_is_known_by_its_letters() {
        let all = |names: &[&[u8; 4]]| {
            let formats: Vec<u32> = names.iter().map(|name| u32::from_le_bytes(**name)).collect();
            Device::gives_sensor_data_only(&formats)
        };
        assert!(all(&[b"pBAA", b"BA81", b"RG10"]));
        assert!(!all(&[b"BA81", b"YUYV"]));
        assert!(!all(&[b"GREY"]));
        assert!(!all(&[b"BGR3", b"RGB3"]));
        assert!(!all(&[]));
    }
}

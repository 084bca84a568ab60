//! The V4L2 calls that milad makes, each as a safe function over v4l's `ioctl` and its C structs.
//!
//! v4l's own wrappers for capabilities, formats and controls panic on what a driver may well answer (a card name cut
//! inside a UTF-8 character, a colour space or control type newer than the crate), so answers are read here as they come.
//! Everything goes through libc, as v4l does, and not through rustix's raw system calls: a camera can then be
//! replayed by preloading a library, which is how the tests bring formats and faults that no driver at hand has.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::RawFd;
use std::os::raw::{c_int, c_void};

use v4l::v4l_sys as sys;
use v4l::v4l2::vidioc;

/// Structs that are valid with every byte zero and whose bytes the kernel may overwrite at will.
///
/// # Safety
/// Only for C structs of integers, arrays and unions of them; pointers inside are set by the caller before each call.
unsafe trait Plain: Sized {
    fn zero() -> Self {
        // SAFETY: the implementor vouches that zero is a valid value of each field.
        unsafe { zeroed() }
    }
}

macro_rules! plain {
    ($($name:ident)*) => { $(
        // SAFETY: a struct of the kernel's user API: integers, arrays and unions of them (see the trait).
        unsafe impl Plain for sys::$name {}
    )* };
}
plain! { v4l2_capability v4l2_fmtdesc v4l2_frmsizeenum v4l2_frmivalenum v4l2_format v4l2_streamparm
v4l2_requestbuffers v4l2_buffer v4l2_plane v4l2_query_ext_ctrl }

/// Issues `request`, again when a signal interrupted it.
///
/// # Safety
/// `T` must be the struct that `request` encodes, and pointers inside it must be valid for what the kernel does there.
unsafe fn call<T>(fd: RawFd, request: vidioc::_IOC_TYPE, argument: &mut T) -> io::Result<()> {
    // The size is encoded in the request: a mismatch is a mistake in this file.
    if (request as usize >> 16) & 0x3fff != size_of::<T>() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a video request with another request's struct"));
    }
    loop {
        // SAFETY: the caller's promise.
        match unsafe { v4l::v4l2::ioctl(fd, request, (argument as *mut T).cast::<c_void>()) } {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

macro_rules! plain_call {
    ($(#[$doc:meta])* $name:ident, $request:ident, $type:ident) => {
        $(#[$doc])*
        pub fn $name(fd: RawFd, argument: &mut sys::$type) -> io::Result<()> {
            // SAFETY: the request's own struct, which holds no pointer that the kernel follows for it.
            unsafe { call(fd, vidioc::$request, argument) }
        }
    };
}

plain_call!(/// Asks for a format; what the driver makes of it is written back.
    set_format, VIDIOC_S_FMT, v4l2_format);
plain_call!(/// Reads the frame interval in force.
    get_parm, VIDIOC_G_PARM, v4l2_streamparm);
plain_call!(/// Asks for a frame interval.
    set_parm, VIDIOC_S_PARM, v4l2_streamparm);
plain_call!(/// Asks for buffers; the count granted is written back.
    request_buffers, VIDIOC_REQBUFS, v4l2_requestbuffers);

/// What the device is and can do.
pub fn capabilities(fd: RawFd) -> io::Result<sys::v4l2_capability> {
    let mut caps = sys::v4l2_capability::zero();
    // SAFETY: QUERYCAP fills a v4l2_capability.
    unsafe { call(fd, vidioc::VIDIOC_QUERYCAP, &mut caps)? };
    Ok(caps)
}

/// More formats, sizes, intervals or controls than any camera has: a driver that never ends its list is cut off here.
const LIST_LIMIT: u32 = 512;

/// The formats of a buffer type.
pub fn formats(fd: RawFd, buffer_type: u32) -> io::Result<Vec<sys::v4l2_fmtdesc>> {
    list(|index| {
        let mut item = sys::v4l2_fmtdesc { index, type_: buffer_type, ..Plain::zero() };
        // SAFETY: ENUM_FMT fills a v4l2_fmtdesc.
        unsafe { call(fd, vidioc::VIDIOC_ENUM_FMT, &mut item) }.map(|()| item)
    })
}

/// The sizes of a format; empty where the driver does not tell. A camera that fails here shows it when it is asked for one.
pub fn frame_sizes(fd: RawFd, pixel_format: u32) -> Vec<sys::v4l2_frmsizeenum> {
    hints(|index| {
        let mut item = sys::v4l2_frmsizeenum { index, pixel_format, ..Plain::zero() };
        // SAFETY: ENUM_FRAMESIZES fills a v4l2_frmsizeenum.
        unsafe { call(fd, vidioc::VIDIOC_ENUM_FRAMESIZES, &mut item) }.map(|()| item)
    })
}

/// The frame intervals of a format at a size; empty as above.
pub fn frame_intervals(fd: RawFd, pixel_format: u32, width: u32, height: u32) -> Vec<sys::v4l2_frmivalenum> {
    hints(|index| {
        let mut item = sys::v4l2_frmivalenum { index, pixel_format, width, height, ..Plain::zero() };
        // SAFETY: ENUM_FRAMEINTERVALS fills a v4l2_frmivalenum.
        unsafe { call(fd, vidioc::VIDIOC_ENUM_FRAMEINTERVALS, &mut item) }.map(|()| item)
    })
}

/// The device's controls, and what ended their list before the driver did: some cameras have one that can't be told, and all before it can be set.
pub fn controls(fd: RawFd) -> (Vec<sys::v4l2_query_ext_ctrl>, Option<io::Error>) {
    let mut id = 0;
    walk(|_| {
        let mut item = sys::v4l2_query_ext_ctrl { id: id | sys::V4L2_CTRL_FLAG_NEXT_CTRL, ..Plain::zero() };
        // SAFETY: QUERY_EXT_CTRL fills a v4l2_query_ext_ctrl.
        unsafe { call(fd, vidioc::VIDIOC_QUERY_EXT_CTRL, &mut item) }?;
        id = item.id;
        Ok(item)
    })
}

/// A list that is whole, or the camera's error, which may be gone: what was heard until then says nothing of what it can do.
fn list<T>(get: impl FnMut(u32) -> io::Result<T>) -> io::Result<Vec<T>> {
    match walk(get) {
        (items, None) => Ok(items),
        (_, Some(error)) => Err(error),
    }
}

/// What can be done without: whatever ends it.
fn hints<T>(get: impl FnMut(u32) -> io::Result<T>) -> Vec<T> {
    walk(get).0
}

/// A list ends where the driver says that there is no such item (EINVAL), or no such list (ENOTTY). Any other error is the camera's.
fn walk<T>(mut get: impl FnMut(u32) -> io::Result<T>) -> (Vec<T>, Option<io::Error>) {
    let mut items = Vec::new();
    for index in 0..LIST_LIMIT {
        match get(index) {
            Ok(item) => items.push(item),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTTY)) => break,
            Err(error) => return (items, Some(error)),
        }
    }
    (items, None)
}

/// An empty format, to be filled in or read into.
pub fn format(buffer_type: u32) -> sys::v4l2_format {
    sys::v4l2_format { type_: buffer_type, ..zero_format() }
}

fn zero_format() -> sys::v4l2_format {
    Plain::zero()
}

/// An empty request for the frame interval.
pub fn parm(buffer_type: u32) -> sys::v4l2_streamparm {
    sys::v4l2_streamparm { type_: buffer_type, ..Plain::zero() }
}

/// An empty request for buffers in driver memory.
pub fn buffer_request(buffer_type: u32, count: u32) -> sys::v4l2_requestbuffers {
    sys::v4l2_requestbuffers { count, type_: buffer_type, memory: sys::v4l2_memory_V4L2_MEMORY_MMAP, ..Plain::zero() }
}

/// What the kernel calls VIDEO_MAX_PLANES.
pub const MAX_PLANES: usize = 8;

/// A buffer as the three calls below exchange it: the struct and the planes that it points to.
pub struct Buffer {
    /// The struct itself; its `m.planes` is set by the calls.
    pub raw: sys::v4l2_buffer,
    /// The planes, for multi-planar buffer types.
    pub planes: [sys::v4l2_plane; MAX_PLANES],
    multi_planar: bool,
}

impl Buffer {
    /// Buffer `index` of a buffer type, in driver memory.
    pub fn new(buffer_type: u32, index: u32) -> Buffer {
        let memory = sys::v4l2_memory_V4L2_MEMORY_MMAP;
        Buffer {
            raw: sys::v4l2_buffer { index, type_: buffer_type, memory, ..Plain::zero() },
            planes: std::array::from_fn(|_| Plain::zero()),
            multi_planar: buffer_type == sys::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE,
        }
    }

    /// Whether its bytes are described by `planes`.
    pub fn is_multi_planar(&self) -> bool {
        self.multi_planar
    }

    /// Where the buffer lies.
    pub fn query(&mut self, fd: RawFd) -> io::Result<()> {
        self.call(fd, vidioc::VIDIOC_QUERYBUF)
    }

    /// Gives the buffer to the driver.
    pub fn queue(&mut self, fd: RawFd) -> io::Result<()> {
        self.call(fd, vidioc::VIDIOC_QBUF)
    }

    /// Takes a filled buffer from the driver: which one is written into the struct.
    pub fn dequeue(&mut self, fd: RawFd) -> io::Result<()> {
        self.call(fd, vidioc::VIDIOC_DQBUF)
    }

    fn call(&mut self, fd: RawFd, request: vidioc::_IOC_TYPE) -> io::Result<()> {
        if self.multi_planar {
            self.raw.m.planes = self.planes.as_mut_ptr();
            self.raw.length = MAX_PLANES as u32;
        }
        // SAFETY: the three requests take a v4l2_buffer; for multi-planar types `m.planes` points to `length` planes of
        // our own, which live as long as the call.
        unsafe { call(fd, request, &mut self.raw) }
    }
}

/// Starts the stream.
pub fn stream_on(fd: RawFd, buffer_type: u32) -> io::Result<()> {
    let mut buffer_type = buffer_type as c_int;
    // SAFETY: STREAMON reads an int.
    unsafe { call(fd, vidioc::VIDIOC_STREAMON, &mut buffer_type) }
}

/// Stops the stream; the driver gives up every buffer.
pub fn stream_off(fd: RawFd, buffer_type: u32) -> io::Result<()> {
    let mut buffer_type = buffer_type as c_int;
    // SAFETY: STREAMOFF reads an int.
    unsafe { call(fd, vidioc::VIDIOC_STREAMOFF, &mut buffer_type) }
}

/// The text before the first NUL, with what is no UTF-8 replaced: names are cut at fixed lengths by drivers.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requests_are_the_kernels_for_this_word_size() {
        // From <linux/videodev2.h> by the C compiler, 64-bit and armv7 with a 32-bit time_t (which the kernel serves as
        // VIDIOC_DQBUF_TIME32): size in bits 16 to 29.
        let (format, buffer) = if cfg!(target_pointer_width = "64") { (208, 88) } else { (204, 68) };
        assert_eq!(vidioc::VIDIOC_S_FMT as u32, 0xc000_5605 | format << 16);
        assert_eq!(vidioc::VIDIOC_DQBUF as u32, 0xc000_5611 | buffer << 16);
    }

    #[test]
    fn a_list_ends_where_the_driver_says_so_and_fails_where_the_camera_does() {
        let ending = |code: i32| {
            list(|index| if index < 2 { Ok(index) } else { Err(io::Error::from_raw_os_error(code)) })
                .map_err(|error| error.raw_os_error())
        };
        assert_eq!(ending(libc::EINVAL), Ok(vec![0, 1]));
        assert_eq!(ending(libc::ENOTTY), Ok(vec![0, 1]));
        for code in [libc::ENODEV, libc::EIO, libc::ENXIO, libc::EPROTO] {
            assert_eq!(ending(code), Err(Some(code)));
        }
        assert_eq!(list(Ok).unwrap().len(), LIST_LIMIT as usize);
    }

    #[test]
    fn a_name_cut_inside_a_character_is_text_all_the_same() {
        assert_eq!(text(b"Cam\xc3"), "Cam\u{fffd}");
        assert_eq!(text(b"Cam\0garbage"), "Cam");
    }
}

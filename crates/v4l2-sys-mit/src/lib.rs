//! The kernel's V4L2 user API (`<linux/videodev2.h>`), generated beforehand: the v4l crate's own `v4l2-sys-mit` runs
//! bindgen when it is built, which wants libclang. Where the bindings come from, and how to make them anew: README.md.
//!
//! One file serves 64 and 32 bits, because what differs is spelled `c_long` and `c_ulong`. That includes the seconds in
//! `v4l2_buffer`: on 32-bit ARM they are 32 bits here, whatever the C library's `time_t` is. The kernel knows by the size
//! inside the ioctl number which layout it is given (68 bytes: `VIDIOC_DQBUF_TIME32`, 80: the one with 64-bit time), and
//! `CLOCK_MONOTONIC` counts from boot, so 32 bits last for 68 years of uptime.
//!
//! The sizes and offsets below are a C compiler's, not bindgen's: a build on which they do not hold does not compile.

#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals, missing_docs, clippy::all)]

include!("bindings.rs");

/// Size on 64 bits, size on 32 bits (`sizeof`, gcc 12, x86-64, aarch64, armv7 with a 32-bit `time_t`).
macro_rules! size {
    ($($name:ident $bits64:literal $bits32:literal;)*) => { $(
        const _: () = assert!(std::mem::size_of::<$name>() == word($bits64, $bits32));
    )* };
}

/// Offset on 64 bits, offset on 32 bits (`offsetof`, as above).
macro_rules! offset {
    ($($name:ident.$field:ident $bits64:literal $bits32:literal;)*) => { $(
        const _: () = assert!(std::mem::offset_of!($name, $field) == word($bits64, $bits32));
    )* };
}

const fn word(bits64: usize, bits32: usize) -> usize {
    if cfg!(target_pointer_width = "64") {
        bits64
    } else {
        bits32
    }
}

size! {
    v4l2_buffer 88 68;
    v4l2_capability 104 104;
    v4l2_ext_control 20 20;
    v4l2_fmtdesc 64 64;
    v4l2_format 208 204;
    v4l2_frmivalenum 52 52;
    v4l2_frmsizeenum 44 44;
    v4l2_pix_format 48 48;
    v4l2_pix_format_mplane 192 192;
    v4l2_plane 64 60;
    v4l2_plane_pix_format 20 20;
    v4l2_query_ext_ctrl 232 232;
    v4l2_querymenu 44 44;
    v4l2_requestbuffers 20 20;
    v4l2_streamparm 204 204;
    v4l2_timecode 16 16;
}

offset! {
    v4l2_buffer.timestamp 24 20;
    v4l2_buffer.sequence 56 44;
    v4l2_buffer.m 64 52;
    v4l2_buffer.length 72 56;
    v4l2_format.fmt 8 4;
    v4l2_plane.m 8 8;
    v4l2_plane.data_offset 16 12;
    v4l2_streamparm.parm 4 4;
}

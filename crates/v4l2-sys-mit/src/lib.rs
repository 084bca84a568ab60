//! Generated bindings of `<linux/videodev2.h>`.
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals, missing_docs, clippy::all)]

#[cfg(target_pointer_width = "64")]
include!("bits64.rs");
#[cfg(target_pointer_width = "32")]
include!("bits32.rs");

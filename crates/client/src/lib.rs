//! The results protocol of milad: its messages as types, and a small blocking client.
//!
//! The daemon writes with the same types, so there is one definition of every message; `docs/PROTOCOL.md` explains it.
//! Fields are only ever added: readers ignore fields and message types that they do not know. Nothing here panics on
//! what comes from a socket, and no peer makes it allocate beyond [`Limits`].
//!
//! [`Results`] is for programs that act on results: it connects again and keeps old ones away. [`Client`] below it gives
//! every message as it comes.
//!
//! ```no_run
//! use milad_client::{MapsMode, Options, Results, Subscribe};
//! let subscribe = Subscribe { tasks: Some(vec!["depth".into()]), maps: MapsMode::Shared, ..Subscribe::default() };
//! let mut results = Results::open(Options { subscribe, ..Options::default() })?;
//! loop {
//!     let answer = results.next()?;
//!     let depth = answer.map("depth")?.to_f32()?;
//!     println!("{} {}", answer.result.sequence, depth[0]);
//! }
//! # #[allow(unreachable_code)]
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![forbid(unsafe_code)]

mod connection;
mod map;
mod maps;
mod message;
mod named;
mod number;
mod request;
mod result;
mod results;
mod stream;

pub use map::{Map, MapError};
pub use maps::{IMAGE, LinesInfo, MapsMessage, PlaneInfo, SharedSlot};
pub use message::{
    AccountMessage, BundleInfo, CameraInfo, CameraMessage, CameraState, ClassInfo, Dropped, Hello, Message,
    ModelMessage, PROTOCOL, TaskInfo, TaskKind,
};
pub use named::Named;
pub use request::{LinesMode, MapsMode, Request, Subscribe};
pub use result::{Dtype, Keyframe, Latency, MapInfo, ResultHead, ResultMessage, Share, Statistics};
pub use results::{Answer, Options, Results};
pub use stream::{Client, ClientError, Limits, Received, default_socket};

//! The results protocol of milad: its messages as types, and a small blocking client.
//!
//! The daemon writes with the same types, so there is one definition of every message; `docs/PROTOCOL.md` explains it.
//! Fields are only ever added: readers ignore fields and message types that they do not know. Nothing here panics on
//! what comes from a socket, and no peer makes it allocate beyond [`Limits`].
//!
//! ```no_run
//! use milad_client::{Client, Message, Subscribe};
//! let mut client = Client::connect(milad_client::default_socket())?;
//! client.subscribe(&Subscribe { tasks: Some(vec!["depth".into()]), ..Subscribe::default() })?;
//! for received in client {
//!     if let Message::Result(result) = received?.message {
//!         println!("{} {:?}", result.sequence, result.tasks.get("depth"));
//!     }
//! }
//! # Ok::<(), milad_client::ClientError>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![forbid(unsafe_code)]

mod message;
mod named;
mod number;
mod request;
mod result;
mod stream;

pub use message::{
    BundleInfo, CameraInfo, CameraMessage, CameraState, ClassInfo, Hello, Message, ModelMessage, PROTOCOL, TaskInfo,
    TaskKind,
};
pub use named::Named;
pub use request::{MapsMode, Request, Subscribe};
pub use result::{Dtype, Keyframe, Latency, MapInfo, ResultHead, ResultMessage, Share, Statistics};
pub use stream::{Client, ClientError, Limits, Received, default_socket};

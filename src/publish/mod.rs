//! Results out: the socket, its clients, and what they are sent.
//!
//! | file | subject |
//! |---|---|
//! | [`socket`] | where the socket lies and how it gets there |
//! | `lock` | one daemon a socket |
//! | [`server`] | the poll loop over all clients |
//! | [`client`] | one connection: its queue, its requests, its limits |
//! | `limits` | what clients may take |
//! | `ready` | which sockets have something for it |
//! | `unread` | whether one has taken the descriptors that it was sent |
//! | `request` | what a client asks for, checked |
//! | `allowance` | how often it may ask |
//! | [`block`] | one result, encoded once for all clients |
//! | [`digest`] | predictions → maps and statistics |
//! | [`plane`] | one map: its numbers, and where they are made |
//! | [`shared`] | maps in shared memory |
//! | [`picture`] | the picture that the networks saw |
//! | [`greeting`] | the hello line |
//!
//! Nothing here waits for a client, and nothing a client does delays another one or the pipeline.

mod allowance;
pub mod block;
pub mod client;
pub mod digest;
pub mod greeting;
mod limits;
mod lock;
pub mod picture;
pub mod plane;
mod ready;
mod request;
pub mod server;
pub mod shared;
pub mod socket;
mod unread;

pub use digest::{Digest, DigestError};
pub use greeting::{bundle_info, camera_info, greeting, task_infos};
pub use limits::Limits;
pub use plane::{Plane, Values};
pub use server::{Server, Wants};
pub use socket::{ListeningSocket, SocketError};

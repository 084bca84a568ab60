//! Where frames come from: V4L2 cameras, a pipe, clips, rendered scenes, the test card.
//!
//! A [`Source`] knows one device and nothing of retries; [`supervisor`] keeps a source alive: it tells of a lost camera,
//! waits with back-off, finds it again by its stable name and negotiates from zero.

mod canvas;
pub mod card;
pub mod clip;
pub mod devices;
pub mod frame;
mod pictures;
pub mod pipe;
pub mod pool;
mod recording;
pub mod scene;
pub mod source_spec;
pub mod supervisor;
pub mod v4l2;
pub mod y4m;
mod y4m_reader;

use std::sync::Arc;

pub use frame::{Camera, Encoding, Frame, Payload, RawFrame, StreamFormat};
pub use source_spec::{Request, SourceSpec};

use crate::stop::Stop;

/// What a source gives when asked for the next frame.
#[derive(Debug)]
pub enum Next {
    /// A frame.
    Frame(RawFrame),
    /// A frame that the driver flagged, or that came incomplete: captured, counted, not used.
    Bad {
        /// Its place in the driver's count.
        driver_sequence: u64,
        /// For the log: what is wrong with it.
        reason: String,
    },
    /// The stream is over, as it should be (a clip's last frame, a pipe closed at a frame boundary).
    End,
    /// [`Stop`] was set.
    Stopped,
}

/// Why a source can't be opened or can't go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// May be there again later: unplugged, busy, silent beyond its deadline, restarted with another size.
    #[error("{0}")]
    Lost(String),
    /// Won't heal by waiting: not a capture device, no common format, an unreadable clip, a wrong option.
    #[error("{0}")]
    Unusable(String),
    /// [`Stop`] was set while it was being opened: nothing is wrong with it.
    #[error("stopped while the source was being opened")]
    Stopped,
}

/// One open source of frames. Dropping it stops the stream; frames still lent out stay readable.
pub trait Source: Send {
    /// What was negotiated.
    fn camera(&self) -> Arc<Camera>;

    /// Waits for the next frame, for the source's own deadline, or for `stop`.
    fn next(&mut self, stop: &Stop) -> Result<Next, SourceError>;
}

/// Opens a source and negotiates with it. A camera is looked for by its name anew each time.
pub fn open(spec: &SourceSpec, request: &Request, stop: &Stop) -> Result<Box<dyn Source>, SourceError> {
    match spec {
        SourceSpec::Camera(name) => {
            let path = v4l2::find::Places::system().locate(name)?;
            Ok(Box::new(v4l2::V4l2Source::open(&path, request)?))
        }
        SourceSpec::Pipe => Ok(Box::new(pipe::Pipe::open(stop)?)),
        SourceSpec::Clip(clip) => Ok(Box::new(clip::Clip::open(clip, stop)?)),
        SourceSpec::Scene(scene) => Ok(Box::new(scene::Scene::open(&scene.with(request))?)),
        SourceSpec::Card(card) => Ok(Box::new(card::Card::open(&card.with(request))?)),
    }
}

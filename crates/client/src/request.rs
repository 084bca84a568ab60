//! What a client may ask for.

use serde::{Deserialize, Serialize};

/// A line from a client. Answered by `ok` or `error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The protocol that the client speaks; left out: whichever the daemon's hello names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u32>,
    /// Replaces whatever this client had subscribed to.
    pub subscribe: Subscribe,
}

/// What a client wants to get. What is left out has its default: all tasks, every result, no maps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subscribe {
    /// The tasks by name, whose statistics and maps are sent; `None`: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<String>>,
    /// 1: every result, 2: every second one …; 0 is refused.
    pub every: u32,
    /// Whether and how maps come along.
    pub maps: MapsMode,
    /// How results' lines reach the client, where it has maps in shared memory.
    #[serde(skip_serializing_if = "is_default")]
    pub lines: LinesMode,
    /// Whether the picture that the networks saw comes along with the maps, as a map called `image`.
    #[serde(skip_serializing_if = "is_false")]
    pub image: bool,
    /// Whether a line comes once a second that tells where frames went.
    #[serde(skip_serializing_if = "is_false")]
    pub account: bool,
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn is_default(lines: &LinesMode) -> bool {
    *lines == LinesMode::default()
}

impl Default for Subscribe {
    fn default() -> Self {
        let (maps, lines) = (MapsMode::default(), LinesMode::default());
        Subscribe { tasks: None, every: 1, maps, lines, image: false, account: false }
    }
}

/// How maps reach a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MapsMode {
    /// Not at all.
    #[default]
    None,
    /// As raw bytes behind each result's line.
    Inline,
    /// In shared memory.
    Shared,
}

/// How results' lines reach a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinesMode {
    /// Each on its own, by the socket.
    #[default]
    Socket,
    /// In shared memory like the maps, and all such clients are woken at once: the cheapest way for many. A daemon that does not
    /// know it goes on by the socket.
    Shared,
}

//! The live view: one page, and the stream that it reads. Who may have them is decided here, before anything is given.
//!
//! The stream is the results socket itself, passed on: the view is an ordinary client of it, with the same limits, so it
//! can't slow the daemon down, and costs nothing while nobody looks. The page is public, what it shows is not.

use std::io::{self, Write};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

/// The page, whole.
const PAGE: &str = include_str!("page.html");
/// What it asks the results socket for.
const REQUEST: &[u8] = b"{\"subscribe\":{\"maps\":\"inline\",\"image\":true,\"account\":true}}\n";
/// The shortest token that keeps anybody out.
pub const TOKEN_BYTES: usize = 16;

/// The view as it was configured.
#[derive(Debug)]
pub struct View {
    socket: PathBuf,
    allow_remote: bool,
    token: Option<String>,
    policy: String,
}

/// What a request gets.
#[derive(Debug)]
pub enum Reply {
    /// The page, with this content security policy.
    Page(&'static str, String),
    /// What comes from this connection.
    Stream(OwnedFd),
    /// Nothing, and why.
    Refused(u16, &'static str),
}

impl View {
    /// A view of the daemon behind `socket`. `token`: who looks must know it; needed where others than this machine may.
    pub fn new(socket: PathBuf, allow_remote: bool, token: Option<String>) -> View {
        let script = PAGE.split_once("<script>").and_then(|(_, rest)| rest.split_once("</script>"));
        let hash = base64(&Sha256::digest(script.map_or("", |(script, _)| script)));
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{hash}'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        View { socket, allow_remote, token, policy }
    }

    /// Whether the page or its stream is at this path.
    pub fn serves(path: &str) -> bool {
        matches!(path, "/" | "/stream")
    }

    /// Answers a request for one of the two. `header` gives a field that is there exactly once; `local`: the peer is this machine.
    pub fn answer(&self, path: &str, header: impl Fn(&str) -> Option<String>, local: bool) -> Reply {
        if !local && !self.allow_remote {
            return Reply::Refused(403, "the view is for this machine alone; see [view] allow_remote");
        }
        // A page of somebody else's, under a name of its own that leads here, must not read it (DNS rebinding).
        let Some(host) = header("host").filter(|host| is_ours(host, self.allow_remote)) else {
            return Reply::Refused(403, "the Host is not a name of this machine");
        };
        if header("origin").is_some_and(|origin| origin != format!("http://{host}")) {
            return Reply::Refused(403, "another site asks");
        }
        if header("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
            return Reply::Refused(403, "another site asks");
        }
        if path == "/" {
            return Reply::Page(PAGE, self.policy.clone());
        }
        if let Some(token) = &self.token {
            let given = header("authorization");
            let given = given.as_deref().and_then(|given| given.strip_prefix("Bearer ")).unwrap_or("");
            if !same(given.as_bytes(), token.as_bytes()) {
                return Reply::Refused(401, "a token is needed: open the page as /#token=…");
            }
        }
        match self.connect() {
            Ok(upstream) => Reply::Stream(upstream),
            Err(error) => {
                log::warn!("the view can't reach the results socket: {error}");
                Reply::Refused(503, "the results socket does not answer")
            }
        }
    }

    fn connect(&self) -> io::Result<OwnedFd> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_nonblocking(true)?;
        // An empty socket has room for a line.
        stream.write_all(REQUEST)?;
        Ok(stream.into())
    }
}

/// Whether a Host header names this machine in a way that no stranger can lay claim to.
fn is_ours(host: &str, remote: bool) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) if rest.is_empty() || rest.starts_with(':') => address,
        Some(_) => return false,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    match name.parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || remote,
        Err(_) if remote => {
            let node = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
            let name = name.to_lowercase();
            !node.is_empty() && (name == node || name.strip_suffix(".local") == Some(&*node))
        }
        Err(_) => false,
    }
}

/// Compares in a time that does not tell where they differ.
fn same(given: &[u8], expected: &[u8]) -> bool {
    let difference = given.iter().zip(expected).fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == expected.len() && difference == 0
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4usize {
            let letter = LETTERS.get((number >> (18 - 6 * place)) as usize & 63).copied().unwrap_or(b'=');
            out.push(char::from(if place <= chunk.len() { letter } else { b'=' }));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(view: &View, path: &str, headers: &[(&str, &str)], local: bool) -> u16 {
        let header = |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        match view.answer(path, header, local) {
            Reply::Page(..) => 200,
            // Nobody listens in these tests.
            Reply::Stream(_) => 200,
            Reply::Refused(status, _) => status,
        }
    }

    #[test]
    fn only_this_machine_under_its_own_name_gets_the_page() {
        let view = View::new("/nonexistent".into(), false, None);
        for (host, expected) in [
            ("127.0.0.1:9464", 200),
            ("localhost:9464", 200),
            ("LOCALHOST", 200),
            ("[::1]:9464", 200),
            ("evil.example:9464", 403),
            ("127.0.0.1.evil.example", 403),
            ("192.168.1.7:9464", 403),
            ("[::1]evil.example", 403),
            ("", 403),
        ] {
            assert_eq!(ask(&view, "/", &[("host", host)], true), expected, "{host}");
        }
        assert_eq!(ask(&view, "/", &[("host", "127.0.0.1")], false), 403, "from another machine");
        assert_eq!(ask(&view, "/", &[], true), 403, "without a Host");
    }

    #[test]
    fn other_sites_are_refused() {
        let view = View::new("/nonexistent".into(), false, None);
        let host = ("host", "localhost:1");
        assert_eq!(ask(&view, "/stream", &[host, ("origin", "http://localhost:1")], true), 503);
        assert_eq!(ask(&view, "/stream", &[host, ("origin", "http://evil.example")], true), 403);
        assert_eq!(ask(&view, "/stream", &[host, ("origin", "null")], true), 403);
        assert_eq!(ask(&view, "/stream", &[host, ("sec-fetch-site", "cross-site")], true), 403);
        assert_eq!(ask(&view, "/", &[host, ("sec-fetch-site", "none")], true), 200);
    }

    #[test]
    fn the_stream_wants_the_token_where_there_is_one() {
        let view = View::new("/nonexistent".into(), true, Some("0123456789abcdef".into()));
        let host = ("host", "192.168.1.7:9464");
        assert_eq!(ask(&view, "/", &[host], false), 200, "the page itself is no secret");
        assert_eq!(ask(&view, "/stream", &[host], false), 401);
        assert_eq!(ask(&view, "/stream", &[host, ("authorization", "Bearer 0123456789abcdeX")], false), 401);
        assert_eq!(ask(&view, "/stream", &[host, ("authorization", "Bearer 0123456789abcdef")], false), 503);
        assert_eq!(ask(&view, "/", &[("host", "evil.example")], false), 403);
    }

    #[test]
    fn the_page_is_self_contained() {
        // Nothing is loaded from anywhere, and there is one script, whose hash the policy names.
        assert!(!PAGE.contains("http://") && !PAGE.contains("https://") && !PAGE.contains("src="));
        assert_eq!(PAGE.matches("<script").count(), 1);
        assert!(!PAGE.contains("innerHTML"), "what the daemon says is only shown as text");
        assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
        assert_eq!(base64(b"abc"), "YWJj");
    }
}

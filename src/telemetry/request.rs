//! What an HTTP request gets: a pure function from the bytes so far to an answer.

use std::fmt::Write;
use std::os::fd::OwnedFd;

use super::health::Health;
use super::http::HEAD_BYTES;
use crate::clock;
use crate::view::{Reply, View};

/// More than any scraper sends.
const HEADERS: usize = 64;

/// What to do with the bytes so far.
#[derive(Debug)]
pub(super) enum Progress {
    /// Wait for more.
    Incomplete,
    /// Send this and close.
    Answer(Vec<u8>),
    /// The same, for a request that should not have come.
    Refuse(Vec<u8>),
    /// Send this, and then what comes from there, to its end.
    Stream(Vec<u8>, OwnedFd),
}

/// Whose request it is, and what there is to see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visitor<'a> {
    pub view: Option<&'a View>,
    /// It comes from this machine.
    pub local: bool,
    /// There is room for another stream.
    pub room: bool,
}

/// Answers a request as soon as its head is complete. Bodies are not read: no request that is served has one.
pub(super) fn answer(head: &[u8], render: &impl Fn(&mut String), health: &Health, visitor: Visitor<'_>) -> Progress {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let (method, path) = match request.parse(head) {
        // Whether it is complete or not: what does not fit is not served, however it ends.
        _ if head.len() > HEAD_BYTES => return refuse(431, "the request's head is longer than 8192 bytes"),
        Ok(httparse::Status::Partial) => return Progress::Incomplete,
        Ok(httparse::Status::Complete(_)) => match (request.method, request.path) {
            (Some(method), Some(path)) => (method, path),
            _ => return refuse(400, "not an HTTP request"),
        },
        Err(httparse::Error::TooManyHeaders) => return refuse(431, "more than 64 header fields"),
        Err(httparse::Error::Version) => return refuse(505, "expected HTTP/1.1 or HTTP/1.0"),
        Err(_) => return refuse(400, "not an HTTP request"),
    };
    let body = matches!(method, "GET");
    if !body && method != "HEAD" {
        return refuse(405, "only GET and HEAD are served");
    }
    let path = path.split('?').next().unwrap_or(path);
    if let Some(view) = visitor.view.filter(|_| View::serves(path)) {
        return look(view, path, body, request.headers, visitor);
    }
    let (status, kind, text) = match path {
        "/metrics" => {
            let mut text = String::with_capacity(16 << 10);
            render(&mut text);
            (200, "text/plain; version=0.0.4; charset=utf-8", text)
        }
        "/healthz" if health.alive(clock::monotonic_ns()) => (200, PLAIN, "ok\n".into()),
        "/healthz" => (503, PLAIN, "the pipeline does not run\n".into()),
        "/readyz" => match health.ready(clock::monotonic_ns()) {
            Ok(()) => (200, PLAIN, "ok\n".into()),
            Err(why) => (503, PLAIN, format!("{why}\n")),
        },
        _ => {
            let text = "not here; try /metrics, /healthz or /readyz\n";
            return Progress::Refuse(response(404, PLAIN, text, body));
        }
    };
    Progress::Answer(response(status, kind, &text, body))
}

/// Answers a request for the live view.
fn look(view: &View, path: &str, body: bool, headers: &[httparse::Header<'_>], visitor: Visitor<'_>) -> Progress {
    let header = |name: &str| {
        let mut found = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        let value = found.next().map(|header| String::from_utf8_lossy(header.value).into_owned());
        // Twice the same field says two things: then it says nothing that is accepted.
        if found.next().is_some() { Some(String::new()) } else { value }
    };
    if path == "/stream" && !visitor.room {
        return refuse(503, "enough people look already: try again later");
    }
    match view.answer(path, header, visitor.local) {
        Reply::Page(page, policy) => {
            let more = format!(
                "Content-Security-Policy: {policy}\r\nReferrer-Policy: no-referrer\r\nX-Frame-Options: DENY\r\n\
                 Cross-Origin-Resource-Policy: same-origin\r\n"
            );
            Progress::Answer(response_with(200, "text/html; charset=utf-8", page, body, &more))
        }
        Reply::Stream(_) if !body => refuse(405, "the stream is for GET"),
        Reply::Stream(upstream) => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nCache-Control: no-store\r\n\
                        X-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: same-origin\r\n\
                        Connection: close\r\n\r\n";
            Progress::Stream(head.as_bytes().to_vec(), upstream)
        }
        Reply::Refused(status, why) => refuse(status, why),
    }
}

/// For a request whose head does not come.
pub(super) fn timed_out() -> Vec<u8> {
    response(408, PLAIN, "the request did not come in time\n", true)
}

fn refuse(status: u16, why: &str) -> Progress {
    Progress::Refuse(response(status, PLAIN, &format!("{why}\n"), true))
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn response(status: u16, kind: &str, text: &str, body: bool) -> Vec<u8> {
    response_with(status, kind, text, body, "")
}

/// `more`: further header fields, each with its line's end.
fn response_with(status: u16, kind: &str, text: &str, body: bool, more: &str) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    };
    let mut out = String::with_capacity(256 + text.len());
    let allow = if status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n{allow}{more}Connection: close\r\n\r\n",
        text.len()
    );
    if body {
        out.push_str(text);
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ask(head: &[u8]) -> Option<String> {
        let health = Health::new(Duration::from_secs(1), Duration::from_secs(1));
        let visitor = Visitor { view: None, local: true, room: true };
        match answer(head, &|out: &mut String| out.push_str("m 1\n"), &health, visitor) {
            Progress::Incomplete | Progress::Stream(..) => None,
            Progress::Answer(bytes) | Progress::Refuse(bytes) => Some(String::from_utf8(bytes).unwrap()),
        }
    }

    fn status(head: &[u8]) -> u16 {
        ask(head).unwrap().split(' ').nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn known_paths_answer_and_others_do_not() {
        assert!(ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap().ends_with("\r\n\r\nm 1\n"));
        assert!(ask(b"GET /metrics?x=1 HTTP/1.0\r\n\r\n").unwrap().ends_with("\r\n\r\nm 1\n"));
        assert_eq!(status(b"GET /healthz HTTP/1.1\r\n\r\n"), 200);
        let ready = ask(b"GET /readyz HTTP/1.1\r\n\r\n").unwrap();
        assert!(ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("no frame published yet\n"), "{ready}");
        for path in ["/", "/metrics/", "/../metrics", "//metrics", "*", "http://x/metrics"] {
            assert_eq!(status(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()), 404, "{path}");
        }
    }

    #[test]
    fn head_gets_the_length_and_no_body() {
        let head = ask(b"HEAD /metrics HTTP/1.1\r\n\r\n").unwrap();
        assert!(head.contains("Content-Length: 4\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[test]
    fn other_methods_are_refused_and_told_what_is_allowed() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "BREW"] {
            let text = ask(format!("{method} /metrics HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
            assert!(text.starts_with("HTTP/1.1 405 ") && text.contains("\r\nAllow: GET, HEAD\r\n"), "{method}: {text}");
        }
    }

    #[test]
    fn what_is_no_request_or_too_long_is_refused() {
        assert_eq!(status(b"\x16\x03\x01\x02\x00\x01\x00"), 400);
        assert_eq!(status(b"GET /metrics\r\n\r\n"), 400);
        assert_eq!(status(b"GET /metrics HTTP/2.0\r\n\r\n"), 505);
        let long = [b"GET /metrics HTTP/1.1\r\nX: ".as_slice(), &[b'a'; HEAD_BYTES]].concat();
        assert_eq!(status(&long), 431);
        let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS + 1));
        assert_eq!(status(many.as_bytes()), 431);
    }

    #[test]
    fn half_a_head_waits() {
        let head = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        for end in 0..head.len() {
            assert_eq!(ask(&head[..end]), None, "{end}");
        }
    }
}

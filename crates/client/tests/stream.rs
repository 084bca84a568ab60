//! The client against a daemon that says strange things.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::os::unix::net::UnixStream;

use milad_client::{Client, ClientError, Limits, Message, Received, Subscribe};

const LIMITS: Limits = Limits { line: 1000, payload: 64 };

/// What a client makes of these bytes, followed by the end of the stream.
fn heard(bytes: &[u8]) -> Vec<Result<Received, ClientError>> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let bytes = bytes.to_vec();
    let daemon = std::thread::spawn(move || drop((&theirs).write_all(&bytes)));
    let heard = Client::from_stream(ours, LIMITS).collect();
    daemon.join().unwrap();
    heard
}

fn only_error(bytes: &[u8]) -> String {
    let mut heard = heard(bytes);
    assert_eq!(heard.len(), 1, "{heard:?}");
    heard.remove(0).unwrap_err().to_string()
}

fn result(more: &str) -> String {
    format!(
        "{{\"type\":\"result\",\"sequence\":1,\"driver_sequence\":1,\"epoch\":1,\"captured_ns\":1,\"published_ns\":2,\
         \"latency_ms\":{{\"total\":1,\"prepare\":0,\"fast\":1,\"publish\":0}},\"keyframe\":null,\"confidence\":null,\
         \"dropped\":0,\"tasks\":{{}}{more}}}\n"
    )
}

#[test]
fn payloads_are_taken_whole_and_maps_are_found_in_them() {
    let map = r#"{"task":"a","dtype":"u8","shape":[1,3],"byte_order":"little","offset":2,"bytes":3}"#;
    let line = result(&format!(r#","maps":[{map}],"payload_bytes":5"#));
    let heard = heard(&[line.as_bytes(), b"\n{xyz", b"{\"type\":\"ok\"}\n"].concat());
    let first = heard[0].as_ref().unwrap();
    let Message::Result(message) = &first.message else { panic!() };
    assert_eq!(first.payload, b"\n{xyz");
    assert_eq!(first.map(&message.maps[0]), Some(b"xyz".as_slice()));
    let mut outside = message.maps[0].clone();
    outside.offset = u64::MAX;
    assert_eq!(first.map(&outside), None);
    outside.offset = 3;
    assert_eq!(first.map(&outside), None);
    assert_eq!(heard[1].as_ref().unwrap().message, Message::Ok);
    assert_eq!(heard.len(), 2);
}

#[test]
fn an_end_between_messages_is_an_end_and_one_within_a_message_is_an_error() {
    assert!(heard(b"").is_empty());
    assert_eq!(heard(b"{\"type\":\"ok\"}\n").len(), 1);
    assert_eq!(only_error(b"{\"type\":\"o"), "the stream ended in the middle of a message");
    let torn = result(r#","payload_bytes":5"#) + "1234";
    assert_eq!(only_error(torn.as_bytes()), "the stream ended in the middle of a message");
}

#[test]
fn garbage_is_an_error_and_never_a_panic() {
    for garbage in ["\n", "hello\n", "{}\n", "[1]\n", "{\"type\":3}\n", "{\"type\":\"result\"}\n", "\u{feff}{}\n"] {
        assert!(only_error(garbage.as_bytes()).starts_with("not a message of milad"), "{garbage:?}");
    }
    assert!(only_error(b"\xff\xfe\n").starts_with("not a message of milad"));
    let deep = [b"[".repeat(500), b"\n".to_vec()].concat();
    assert!(only_error(&deep).starts_with("not a message of milad"));
}

#[test]
fn a_line_or_a_payload_beyond_the_limits_is_refused_without_taking_it() {
    assert!(only_error(&[b'x'; 100_000]).starts_with("a line of more than 1000 bytes"));
    for bytes in ["65", "18446744073709551615"] {
        let line = result(&format!(",\"payload_bytes\":{bytes}"));
        assert!(only_error(line.as_bytes()).starts_with("a payload of more than 64 bytes"), "{bytes}");
    }
}

#[test]
fn a_subscription_is_one_line() {
    use std::io::Read;
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut client = Client::from_stream(ours, LIMITS);
    client.subscribe(&Subscribe { tasks: Some(vec!["a\nb".into()]), ..Subscribe::default() }).unwrap();
    drop(client);
    let mut line = String::new();
    theirs.read_to_string(&mut line).unwrap();
    assert_eq!(line, "{\"subscribe\":{\"tasks\":[\"a\\nb\"],\"every\":1,\"maps\":\"none\"}}\n");
}

#[test]
fn nobody_there_is_told_with_the_path() {
    let error = Client::connect("/nonexistent/milad.sock").unwrap_err().to_string();
    assert!(error.starts_with("can't connect to /nonexistent/milad.sock: No such file"), "{error}");
}

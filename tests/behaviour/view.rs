//! The live view: who gets the page and its stream, and what comes through.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Daemon, bundle, line_of, milad};

fn daemon(more: &[&str]) -> Daemon {
    let bundle = bundle("plain").display().to_string();
    let arguments = [&["--source", "card:", "--bundle", &bundle][..], more].concat();
    Daemon::start(&arguments)
}

fn address(daemon: &Daemon) -> String {
    let stdout = daemon.stdout();
    stdout.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned()
}

/// Sends a request with these header lines, and gives the connection.
fn ask(daemon: &Daemon, path: &str, headers: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address(daemon)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\n{headers}\r\n").unwrap();
    BufReader::new(stream)
}

fn status(daemon: &Daemon, path: &str, headers: &str) -> u16 {
    let mut line = String::new();
    ask(daemon, path, headers).read_line(&mut line).unwrap();
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

fn skip_head(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "{head}");
    }
    head
}

#[test]
fn there_is_no_view_unless_it_is_asked_for() {
    let daemon = daemon(&[]);
    let host = format!("Host: {}\r\n", address(&daemon));
    assert_eq!((status(&daemon, "/", &host), status(&daemon, "/stream", &host)), (404, 404));
}

#[test]
fn the_page_comes_whole_and_its_stream_brings_every_map_of_a_frame() {
    let daemon = daemon(&["--view"]);
    let host = format!("Host: {}\r\n", address(&daemon));
    let mut page = ask(&daemon, "/", &host);
    let head = skip_head(&mut page);
    assert!(head.contains("script-src 'sha256-") && head.contains("default-src 'none'"), "{head}");
    let mut text = String::new();
    page.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("<!doctype html>") && text.trim_end().ends_with("</html>"));

    let mut stream = ask(&daemon, "/stream", &host);
    skip_head(&mut stream);
    let hello = line_of(&mut stream, "hello");
    assert_eq!(hello["protocol"], 1);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let message: serde_json::Value = serde_json::from_str(&line).unwrap();
        let mut payload = vec![0; message["payload_bytes"].as_u64().unwrap_or(0) as usize];
        stream.read_exact(&mut payload).unwrap();
        if let Some(maps) = message["maps"].as_array() {
            let names: Vec<_> = maps.iter().map(|map| map["task"].as_str().unwrap()).collect();
            assert_eq!(names, ["segmentation", "depth", "normals", "image"]);
            break;
        }
    }
    // Who looks is a client like others, and gone with the browser.
    assert!(daemon.get("/metrics", 200).contains("milad_clients 1\n"));
    drop(stream);
    let mut daemon = daemon;
    daemon
        .wait_until("the stream's client is gone", |daemon| daemon.get("/metrics", 200).contains("milad_clients 0\n"));
}

#[test]
fn strangers_are_refused() {
    let daemon = daemon(&["--view"]);
    let host = format!("Host: {}\r\n", address(&daemon));
    for path in ["/", "/stream"] {
        for headers in [
            "Host: evil.example\r\n".to_owned(),
            String::new(),
            format!("{host}{host}"),
            format!("{host}Origin: http://evil.example\r\n"),
            format!("{host}Sec-Fetch-Site: cross-site\r\n"),
        ] {
            assert_eq!(status(&daemon, path, &headers), 403, "{path} {headers}");
        }
    }
    assert_eq!(status(&daemon, "/../stream", &host), 404);
}

#[test]
fn more_streams_than_there_is_room_for_are_refused_and_metrics_go_on() {
    let daemon = daemon(&["--view"]);
    let host = format!("Host: {}\r\n", address(&daemon));
    // None of them reads.
    let deaf: Vec<_> = (0..6).map(|_| ask(&daemon, "/stream", &host)).collect();
    let mut daemon = daemon;
    daemon.wait_until("six look", |daemon| daemon.get("/metrics", 200).contains("milad_clients 6\n"));
    assert_eq!(status(&daemon, "/stream", &host), 503);
    assert_eq!(status(&daemon, "/", &host), 200);
    drop(deaf);
}

#[test]
fn a_view_for_others_without_a_token_is_refused_at_start() {
    let folder = crate::support::folder();
    let file = folder.join("milad.toml");
    std::fs::write(&file, "[view]\nenabled = true\nallow_remote = true\n").unwrap();
    let done = milad().args(["run", "--config", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(done.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&done.stderr).contains("`view.allow_remote` is true without a token"));
    std::fs::remove_dir_all(folder).unwrap();
}

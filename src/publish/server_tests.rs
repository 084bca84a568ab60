//! What of the poll loop can't be brought about from outside.

use std::io::{BufRead, BufReader};
use std::os::unix::net::{UnixListener, UnixStream};

use milad_client::{BundleInfo, PROTOCOL};
use rustix::event::epoll;

use super::*;
use crate::stop::Stop;

fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL,
        milad: String::new(),
        bundle: BundleInfo::default(),
        clock: String::new(),
        realtime_offset_ns: 0,
        boot_id: String::new(),
        camera: None,
        tasks: vec![],
    }
}

#[test]
fn a_client_that_can_not_be_waited_for_is_closed_and_no_other() {
    let path = std::env::temp_dir().join(format!("milad-server-{}", std::process::id()));
    let metrics = Metrics::new();
    let listener = UnixListener::bind(&path).unwrap();
    let mut server = Server::new(listener, Limits::default()).unwrap().with_metrics(metrics.clone());
    let never = Stop::new().unwrap();
    server.hello(hello());
    let serve = |server: &mut Server| server.wait(never.fd(), never.fd(), Some(Duration::ZERO)).unwrap();
    let mut streams = [(); 2].map(|()| BufReader::new(UnixStream::connect(&path).unwrap()));
    std::fs::remove_file(path).unwrap();
    serve(&mut server);
    assert_eq!(server.clients(), 2);
    // The system has forgotten it, and something else is to be waited for.
    epoll::delete(server.ready.fd(), server.clients[0].fd()).unwrap();
    server.clients[0].watched = EventFlags::empty();
    serve(&mut server);
    let mut text = String::new();
    metrics.render(&mut text);
    assert!(server.clients() == 1 && text.contains("milad_clients 1\n"), "{text}");
    server.announce(&Message::Ok);
    let lines = streams.each_mut().map(|stream| stream.lines().map_while(Result::ok).take(2).count());
    assert_eq!(lines, [1, 2], "the greeting, and what came after it");
}

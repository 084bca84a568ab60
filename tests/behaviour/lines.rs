//! Results' lines in shared memory: the same as by the socket, in order, each once, and what was overlooked is told.

use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use milad::publish::{Limits, Plane, Values};
use milad_client::*;
use milad_ring::LinesReader;
use rustix::event::epoll;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::clients::rig::{Rig, hello};
use crate::shared::{SHARED, client, next, slot};
use crate::support::{Daemon, bundle};

const LINES: &str = "{\"subscribe\":{\"maps\":\"shared\",\"lines\":\"shared\"}}\n";

fn result(received: &Received) -> &ResultMessage {
    match &received.message {
        Message::Result(result) => result,
        other => panic!("expected a result, got {other:?}"),
    }
}

fn is_empty(client: &Client) -> bool {
    !client.wait(Some(Duration::ZERO)).unwrap()
}

#[test]
fn lines_in_shared_memory_are_those_of_the_socket() {
    let mut rig = Rig::new("lines", Limits::default());
    let (mut by_socket, mut by_memory) = (client(&mut rig, SHARED), client(&mut rig, LINES));
    for round in 0..20 {
        rig.publish_maps(6);
        if round == 0 {
            let Message::Maps(maps) = next(&mut by_socket).message else { panic!("the memory comes first") };
            assert!(maps.lines.is_none() && maps.planes.len() == 2);
            let Message::Maps(maps) = next(&mut by_memory).message else { panic!("the memory comes first") };
            assert_eq!(maps.lines, Some(LinesInfo { slot_bytes: 2112, data_offset: 64, bytes: 2048 }));
        }
        let (one, other) = (next(&mut by_socket), next(&mut by_memory));
        assert_eq!(one, other);
        assert_eq!(by_memory.map_of(&other, "flow").unwrap().to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert!(is_empty(&by_socket) && is_empty(&by_memory));
    }
}

#[test]
fn who_looks_too_late_is_told_how_many_are_gone_and_nobody_is_expelled() {
    let mut rig = Rig::new("late", Limits::default());
    let mut late = client(&mut rig, LINES);
    rig.publish();
    assert!(matches!(next(&mut late).message, Message::Maps(_)));
    assert_eq!(result(&next(&mut late)).sequence, 0);
    for _ in 0..11 {
        rig.publish();
        rig.serve();
        rig.pass(2);
    }
    // Eight slots are there: 4 to 11.
    let found: Vec<_> = (0..8).map(|_| (result(&next(&mut late)).sequence, 0)).collect();
    assert_eq!(found.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), (4..12).collect::<Vec<_>>());
    assert!(is_empty(&late));
    (0..10).for_each(|_| rig.publish());
    let first = next(&mut late);
    assert_eq!((result(&first).sequence, result(&first).dropped), (14, 2));
    assert_eq!(result(&next(&mut late)).dropped, 0);
}

#[test]
fn all_who_share_a_line_find_the_tasks_of_each_of_them() {
    let mut rig = Rig::new("line-tasks", Limits::default());
    let mut depth =
        client(&mut rig, "{\"subscribe\":{\"tasks\":[\"depth\"],\"maps\":\"shared\",\"lines\":\"shared\"}}\n");
    let mut flow =
        client(&mut rig, "{\"subscribe\":{\"tasks\":[\"flow\"],\"maps\":\"shared\",\"lines\":\"shared\"}}\n");
    rig.publish();
    for (client, has, has_not) in [(&mut depth, "depth", "flow"), (&mut flow, "flow", "depth")] {
        assert!(matches!(next(client).message, Message::Maps(maps) if maps.planes.len() == 1));
        let received = next(client);
        assert!(result(&received).tasks.get("depth").is_some() && result(&received).tasks.get("flow").is_some());
        assert!(client.map_of(&received, has).is_ok() && client.map_of(&received, has_not).is_err());
    }
}

#[test]
fn a_line_without_room_comes_by_the_socket_and_is_not_missed() {
    let mut rig = Rig::new("long-line", Limits::default());
    let mut client = client(&mut rig, LINES);
    rig.publish();
    assert!(matches!(next(&mut client).message, Message::Maps(_)));
    next(&mut client);
    let share = (0..300).map(|class| (format!("class{class}"), Share(0.5))).collect();
    let tasks = Named(vec![("depth".into(), Statistics::Segmentation { share }), ("flow".into(), Statistics::Raw {})]);
    rig.publish_result(&ResultMessage { sequence: 1, tasks, ..rig.result() }, 8);
    rig.sequence = 2;
    rig.publish();
    let long = next(&mut client);
    assert!(long.line.len() > 2048 && slot(&long).generation.get() == 2 && result(&long).dropped == 0);
    assert!(client.map_of(&long, "depth").unwrap().still_valid());
    let after = next(&mut client);
    assert_eq!((result(&after).sequence, result(&after).dropped), (2, 0));
}

/// Whoever comes first, and however little it wants.
#[test]
fn there_is_room_for_lines_of_readers_of_more_tasks_that_come_later() {
    let mut rig = Rig::new("more-tasks", Limits::default());
    let share = (0..300).map(|class| (format!("class{class}"), Share(0.5))).collect();
    let tasks = Named(vec![("depth".into(), Statistics::Segmentation { share }), ("flow".into(), Statistics::Raw {})]);
    let result = ResultMessage { tasks, ..rig.result() };
    let mut flow =
        client(&mut rig, "{\"subscribe\":{\"tasks\":[\"flow\"],\"maps\":\"shared\",\"lines\":\"shared\"}}\n");
    rig.publish_result(&result, 8);
    assert!(matches!(next(&mut flow).message, Message::Maps(maps) if maps.lines.is_some()));
    next(&mut flow);
    let mut all = client(&mut rig, LINES);
    rig.publish_result(&result, 8);
    assert!(matches!(next(&mut all).message, Message::Maps(maps) if maps.lines.is_some()));
    for client in [&mut flow, &mut all] {
        assert_eq!(rustix::io::ioctl_fionread(client.stream()).unwrap(), 0, "nothing comes by the socket");
        assert!(next(client).line.len() > 2048);
    }
}

/// Whether others have memory made for a result, or not.
#[test]
fn a_reader_whose_tasks_are_gone_gets_all_results_in_order_beside_one_of_every_second() {
    let mut rig = Rig::new("no-tasks", Limits::default());
    let mut gone =
        client(&mut rig, "{\"subscribe\":{\"tasks\":[\"flow\"],\"maps\":\"shared\",\"lines\":\"shared\"}}\n");
    let _second = client(&mut rig, "{\"subscribe\":{\"tasks\":[\"depth\"],\"maps\":\"shared\",\"every\":2}}\n");
    rig.server.hello(hello(&["depth"]));
    (0..6).for_each(|_| rig.publish());
    for sequence in 0..6 {
        let received = next(&mut gone);
        assert_eq!((result(&received).sequence, result(&received).dropped), (sequence, 0));
    }
    assert!(is_empty(&gone));
}

/// The picture, say, can turn out to be none.
#[test]
fn a_result_without_one_of_its_maps_overtakes_no_line() {
    let mut rig = Rig::new("map-missing", Limits::default());
    let mut client = client(&mut rig, LINES);
    let values = || Values::U8(vec![7; 4].into());
    let mut planes = [0, 1].map(|task| Plane { task, channels: 1, height: 1, width: 4, values: values() });
    for (sequence, made) in [2, 2, 1, 2].into_iter().enumerate() {
        rig.server.lend(0, &mut planes);
        let result = ResultMessage { sequence: sequence as u64, ..rig.result() };
        rig.server.publish(&result, &mut planes[..made]);
        if sequence == 0 {
            assert!(matches!(next(&mut client).message, Message::Maps(_)));
            next(&mut client);
        }
    }
    for (sequence, there) in [(1, true), (2, false), (3, true)] {
        let received = next(&mut client);
        assert_eq!((result(&received).sequence, result(&received).dropped), (sequence, 0));
        assert!(client.map_of(&received, "depth").unwrap().still_valid());
        assert_eq!(client.map_of(&received, "flow").unwrap().still_valid(), there);
    }
    assert!(is_empty(&client));
}

#[test]
fn lines_that_a_longer_one_passed_by_are_counted() {
    let mut rig = Rig::new("passed-by", Limits::default());
    let mut client = client(&mut rig, LINES);
    rig.publish();
    assert!(matches!(next(&mut client).message, Message::Maps(_)));
    next(&mut client);
    (0..2).for_each(|_| rig.publish());
    let share = (0..300).map(|class| (format!("class{class}"), Share(0.5))).collect();
    let tasks = Named(vec![("depth".into(), Statistics::Segmentation { share }), ("flow".into(), Statistics::Raw {})]);
    rig.publish_result(&ResultMessage { sequence: 3, tasks, ..rig.result() }, 8);
    let long = next(&mut client);
    assert_eq!((result(&long).sequence, result(&long).dropped), (3, 2));
    assert!(is_empty(&client));
}

#[test]
fn another_request_ends_the_lines_and_memory_begins_them_again() {
    let mut rig = Rig::new("lines-again", Limits::default());
    let mut client = client(&mut rig, LINES);
    rig.publish();
    assert!(matches!(next(&mut client).message, Message::Maps(_)));
    assert_eq!(result(&next(&mut client)).sequence, 0);
    let lines = Subscribe { maps: MapsMode::Shared, lines: LinesMode::Shared, ..Subscribe::default() };
    // The same once more: what lies there unread is given, nothing twice.
    rig.publish();
    client.subscribe(&lines).unwrap();
    rig.serve();
    assert_eq!(next(&mut client).message, Message::Ok);
    assert!(is_empty(&client));
    rig.publish();
    assert!(matches!(next(&mut client).message, Message::Maps(maps) if maps.lines.is_some()));
    for sequence in 1..3 {
        let received = next(&mut client);
        assert_eq!((result(&received).sequence, result(&received).dropped), (sequence, 0));
    }
    // By the socket, and back: what came there was not missed.
    client.subscribe(&Subscribe { lines: LinesMode::Socket, ..lines.clone() }).unwrap();
    rig.serve();
    assert_eq!(next(&mut client).message, Message::Ok);
    rig.publish();
    assert!(matches!(next(&mut client).message, Message::Maps(maps) if maps.lines.is_none()));
    assert_eq!(result(&next(&mut client)).sequence, 3);
    client.subscribe(&lines).unwrap();
    rig.serve();
    assert_eq!(next(&mut client).message, Message::Ok);
    rig.publish();
    assert!(matches!(next(&mut client).message, Message::Maps(maps) if maps.lines.is_some()));
    let received = next(&mut client);
    assert_eq!((result(&received).sequence, result(&received).dropped), (4, 0));
}

/// As after one: what lies there unread is neither lost nor given twice.
#[test]
fn two_requests_in_a_row_pass_by_no_line() {
    let mut rig = Rig::new("lines-twice", Limits::default());
    let mut client = client(&mut rig, LINES);
    rig.publish();
    assert!(matches!(next(&mut client).message, Message::Maps(_)));
    assert_eq!(result(&next(&mut client)).sequence, 0);
    rig.publish();
    let lines = Subscribe { maps: MapsMode::Shared, lines: LinesMode::Shared, ..Subscribe::default() };
    (0..2).for_each(|_| client.subscribe(&lines).unwrap());
    rig.serve();
    assert_eq!([(); 2].map(|()| next(&mut client).message), [Message::Ok, Message::Ok]);
    rig.publish();
    assert!(matches!(next(&mut client).message, Message::Maps(maps) if maps.lines.is_some()));
    for sequence in 1..3 {
        let received = next(&mut client);
        assert_eq!((result(&received).sequence, result(&received).dropped), (sequence, 0));
    }
}

/// What was written before the end is given before it.
#[test]
fn lines_that_lie_there_are_given_before_the_goodbye() {
    let mut rig = Rig::new("goodbye", Limits::default());
    let mut client = client(&mut rig, LINES);
    rig.publish();
    assert!(matches!(next(&mut client).message, Message::Maps(_)));
    next(&mut client);
    (0..2).for_each(|_| rig.publish());
    rig.server.close("enough");
    assert_eq!([1, 2].map(|_| result(&next(&mut client)).sequence), [1, 2]);
    assert!(matches!(next(&mut client).message, Message::Bye { .. }));
    assert!(client.receive().unwrap().is_none());
}

/// None of an epoch's results comes after the next camera is told of, though it lies there unread.
#[test]
fn lines_of_an_epoch_that_is_over_are_given_no_more() {
    let mut rig = Rig::new("line-epochs", Limits::default());
    let mut client = client(&mut rig, LINES);
    rig.publish();
    assert!(matches!(next(&mut client).message, Message::Maps(_)));
    next(&mut client);
    rig.publish();
    let up = CameraMessage { state: CameraState::Up, epoch: 1, reason: None, camera: None };
    rig.server.announce(&Message::Camera(up.clone()));
    assert_eq!(next(&mut client).message, Message::Camera(up));
    assert!(is_empty(&client));
    rig.publish_result(&ResultMessage { sequence: 5, epoch: 1, ..rig.result() }, 8);
    assert!(matches!(next(&mut client).message, Message::Maps(maps) if maps.epoch == 1));
    let first = next(&mut client);
    assert_eq!((result(&first).sequence, result(&first).dropped), (5, 1), "what was too late is counted");
    // Another request's answer, and back to the socket.
    client.subscribe(&Subscribe::default()).unwrap();
    rig.serve();
    rig.server.hello(hello(&["depth", "flow"]));
    rig.publish();
    assert_eq!(next(&mut client).message, Message::Ok);
    assert!(result(&next(&mut client)).shared.is_none());
}

/// The bell of a reader that has been given memory, in which nothing lies unread.
fn bell_of(rig: &mut Rig) -> (UnixStream, LinesReader) {
    let mut stream = UnixStream::connect(rig.folder.path("s")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(LINES.as_bytes()).unwrap();
    rig.serve();
    rig.publish();
    let (mut text, mut descriptors) = (String::new(), vec![]);
    while descriptors.is_empty() {
        let (mut bytes, mut space) = ([0; 8192], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))]);
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [IoSliceMut::new(&mut bytes)];
        let count = recvmsg(&stream, slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap().bytes;
        assert!(count > 0);
        text += std::str::from_utf8(&bytes[..count]).unwrap();
        descriptors.extend(control.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
            _ => vec![],
        }));
    }
    let Message::Maps(maps) = serde_json::from_str(text.lines().last().unwrap()).unwrap() else { panic!("{text}") };
    let layout = maps.lines.unwrap().layout(maps.slots).unwrap();
    (stream, LinesReader::new(descriptors.last().unwrap(), layout).unwrap())
}

/// In memory, by the socket, for whatever reason: the word that readers wait on is another one afterwards.
#[test]
fn the_bell_rings_for_all_that_a_reader_is_sent() {
    let mut rig = Rig::new("bell", Limits::default());
    let (mut stream, reader) = bell_of(&mut rig);
    let mut last = reader.bell();
    let mut rings = || reader.bell().wrapping_sub(std::mem::replace(&mut last, reader.bell()));
    rig.publish();
    assert_ne!(rings(), 0, "a result");
    let share = (0..300).map(|class| (format!("class{class}"), Share(0.5))).collect();
    let tasks = Named(vec![("depth".into(), Statistics::Segmentation { share }), ("flow".into(), Statistics::Raw {})]);
    rig.publish_result(&ResultMessage { sequence: 2, tasks, ..rig.result() }, 8);
    assert_ne!(rings(), 0, "one by the socket");
    rig.server.announce(&Message::Ok);
    assert_ne!(rings(), 0, "a notice");
    stream.write_all(b"?\n").unwrap();
    rig.serve();
    assert_ne!(rings(), 0, "an answer");
    rig.serve();
    assert_eq!(rings(), 0);
    rig.server.close("enough");
    assert!(rings() >= 2, "with the goodbye, and when nothing more comes");
}

/// Who is woken first may take the processor that others wait for.
#[test]
fn the_bell_rings_before_any_line_is_sent() {
    let mut rig = Rig::new("bell-first", Limits::default());
    let mut plain = rig.connect();
    let _others = [(); 8].map(|()| rig.connect());
    let (_stream, reader) = bell_of(&mut rig);
    plain.result();
    let start = reader.bell();
    let (told, heard) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let (reader, plain) = (&reader, &mut plain);
        scope.spawn(move || {
            // Whatever the processors do meanwhile: there is no result that comes before its bell.
            for round in 1..=300 {
                plain.result();
                told.send(reader.bell() - start >= round).unwrap();
            }
        });
        for round in 1..=300 {
            rig.publish();
            rig.serve();
            assert!(heard.recv().unwrap(), "result {round} came before its bell");
        }
    });
}

/// In a daemon that runs: a reader sleeps until it is rung for, also for the goodbye.
#[test]
fn a_reader_that_sleeps_is_woken_for_results_and_for_the_end() {
    let daemon = Daemon::start(&["--source", "card:?rate=30", "--bundle", bundle("plain").to_str().unwrap()]);
    let subscribe = Subscribe { maps: MapsMode::Shared, lines: LinesMode::Shared, ..Subscribe::default() };
    let timeout = Some(Duration::from_secs(60));
    let options = Options { socket: Some(daemon.socket()), subscribe, timeout, reconnect: false, ..Options::default() };
    let mut results = Results::open(options).unwrap();
    let mut last = 0;
    for _ in 0..20 {
        let answer = results.next().unwrap();
        assert!(answer.result.sequence > last || last == 0);
        last = answer.result.sequence;
        assert!(answer.result.shared.is_some() && answer.map("depth").is_ok());
    }
    daemon.stop();
    let end = std::iter::repeat_with(|| results.next().map(|_| ())).find_map(Result::err);
    assert!(matches!(end, Some(ClientError::Closed)), "{end:?}");
}

/// Whoever connected first: lines go out before payloads are put together.
#[test]
fn lines_go_out_before_payloads() {
    let mut rig = Rig::new("lines-first", Limits::default());
    let mut inline = client(&mut rig, "{\"subscribe\":{\"maps\":\"inline\"}}\n");
    let mut plain = client(&mut rig, "{\"subscribe\":{}}\n");
    // The kernel lists descriptors in the order in which they became readable.
    let order = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    for (number, client) in [(0, &inline), (1, &plain)] {
        epoll::add(&order, client.stream(), epoll::EventData::new_u64(number), epoll::EventFlags::IN).unwrap();
    }
    for _ in 0..5 {
        rig.publish_maps(1000);
        let mut events = Vec::with_capacity(2);
        epoll::wait(&order, rustix::buffer::spare_capacity(&mut events), None).unwrap();
        let data: Vec<u64> = events.iter().map(|event: &epoll::Event| { event.data }.u64()).collect();
        assert_eq!(data, [1, 0]);
        assert_eq!((result(&next(&mut inline)).maps.len(), result(&next(&mut plain)).maps.len()), (2, 0));
    }
}

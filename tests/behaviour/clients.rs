//! What clients of the results socket get, and what they can't do to others.

pub mod rig;

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use milad::publish::{Limits, Plane, Server, Values, socket};
use milad::stop::Stop;
use milad_client::*;
use rig::{Folder, Peer, Rig, hello};

/// What the daemon writes, made the plain way: the definition of the format.
fn reference(result: &ResultMessage, planes: &[Plane]) -> (ResultMessage, Vec<u8>) {
    let (mut result, mut payload) = (result.clone(), Vec::new());
    for plane in planes {
        let Some((name, _)) = result.tasks.0.get(plane.task) else { continue };
        let offset = payload.len() as u64;
        plane.values.append_to(&mut payload);
        let shape = [plane.channels, plane.height, plane.width];
        result.maps.push(MapInfo {
            task: name.clone(),
            dtype: plane.values.dtype(),
            shape: shape.iter().skip(usize::from(plane.channels == 1)).map(|n| *n as u32).collect(),
            byte_order: "little".into(),
            offset,
            bytes: payload.len() as u64 - offset,
        });
    }
    result.payload_bytes = payload.len() as u64;
    (result, payload)
}

#[test]
fn a_client_that_says_nothing_gets_hello_and_every_result() {
    let mut rig = Rig::new("plain", Limits::default());
    let mut peer = rig.connect();
    for sequence in 0..3 {
        rig.publish();
        let received = peer.next();
        let Message::Result(result) = &received.message else { panic!() };
        assert_eq!((result.sequence, result.dropped, result.payload_bytes), (sequence, 0, 0));
        // What is put together from pieces is what the types write.
        let plain = Message::Result(ResultMessage { sequence, ..rig.result() });
        assert_eq!(received.line, serde_json::to_string(&plain).unwrap());
    }
    assert!(peer.is_empty());
}

#[test]
fn inline_maps_come_behind_the_line_for_the_tasks_asked_for() {
    let mut rig = Rig::new("inline", Limits::default());
    let (mut all, mut one, mut none) = (rig.connect(), rig.connect(), rig.connect());
    assert!(!rig.server.wants().any());
    all.write("{\"subscribe\":{\"maps\":\"inline\"}}\n");
    one.write("{\"subscribe\":{\"tasks\":[\"flow\"],\"maps\":\"inline\"}}\n");
    rig.serve();
    assert!(rig.server.wants().task(0) && rig.server.wants().task(1) && !rig.server.wants().task(2));
    assert_eq!((all.next().message, one.next().message), (Message::Ok, Message::Ok));
    rig.publish_maps(3);
    let received = all.next();
    let planes: Vec<_> = [[0.0f32, 1.0, 2.0], [1.0, 2.0, 3.0]]
        .into_iter()
        .enumerate()
        .map(|(task, v)| Plane { task, channels: 1, height: 1, width: 3, values: Values::F32(v.to_vec().into()) })
        .collect();
    rig.sequence = 0;
    let (result, payload) = reference(&rig.result(), &planes);
    assert_eq!(received.line, serde_json::to_string(&Message::Result(result)).unwrap());
    assert_eq!(received.payload, payload);
    let Received { message: Message::Result(result), payload, .. } = one.next() else { panic!() };
    assert_eq!(payload, [1.0f32, 2.0, 3.0].map(f32::to_le_bytes).concat());
    assert_eq!((result.maps.len(), &*result.maps[0].task, &*result.maps[0].shape), (1, "flow", &[1, 3][..]));
    assert_eq!(result.tasks.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["flow"]);
    assert_eq!(none.result().payload_bytes, 0);
}

#[test]
fn every_nth_result_is_not_a_loss() {
    let mut rig = Rig::new("every", Limits::default());
    let mut peer = rig.connect();
    peer.write("{\"subscribe\":{\"every\":3}}\n");
    rig.serve();
    assert_eq!(peer.next().message, Message::Ok);
    (0..7).for_each(|_| rig.publish());
    let got: Vec<_> = (0..3).map(|_| peer.result()).map(|r| (r.sequence, r.dropped)).collect();
    assert_eq!(got, [(0, 0), (3, 0), (6, 0)]);
    assert!(peer.is_empty());
}

/// More than a Unix socket's buffer takes.
const BIG: usize = 100_000;

#[test]
fn a_slow_client_loses_whole_results_of_its_own_and_is_told_how_many() {
    let mut rig = Rig::new("slow", Limits::default());
    let (mut slow, mut quick) = (rig.connect(), rig.connect());
    slow.write("{\"subscribe\":{\"maps\":\"inline\"}}\n");
    rig.serve();
    assert_eq!(slow.next().message, Message::Ok);
    for sequence in 0..20 {
        rig.publish_maps(BIG);
        let result = quick.result();
        assert_eq!((result.sequence, result.dropped), (sequence, 0));
    }
    let lost = rig.metric("milad_client_messages_lost_total");
    assert!(lost > 0);
    // It reads again: whole messages, in order, and what is missing is what it is told.
    let stop = Stop::new().unwrap();
    let (stopped, never) = (stop.clone(), rig.never.clone());
    let server = std::thread::spawn(move || rig.server.wait(never.fd(), stopped.fd(), None));
    let mut expected = 0;
    let mut told = 0;
    while expected < 20 {
        let received = slow.next();
        let Message::Result(result) = received.message else { panic!() };
        assert_eq!(result.sequence, expected + result.dropped);
        assert_eq!(received.payload.len(), 2 * 4 * BIG);
        assert!(received.payload.chunks_exact(4).take(3).eq([0.0f32, 1.0, 2.0].map(f32::to_le_bytes)));
        told += result.dropped;
        expected = result.sequence + 1;
    }
    assert_eq!(told, lost);
    stop.set();
    server.join().unwrap().unwrap();
}

#[test]
fn a_client_that_never_reads_gets_bye_after_five_seconds_and_is_closed() {
    let mut rig = Rig::new("never", Limits::default());
    let (mut deaf, mut quick) = (rig.connect(), rig.connect());
    deaf.write("{\"subscribe\":{\"maps\":\"inline\"}}\n");
    rig.serve();
    // One is in the socket, four wait.
    for _ in 0..8 {
        rig.publish_maps(BIG);
        quick.result();
    }
    rig.pass(4);
    rig.serve();
    rig.publish_maps(BIG);
    assert_eq!((rig.server.clients(), rig.metric("milad_client_expulsions_total")), (2, 0));
    rig.pass(1);
    rig.serve();
    assert_eq!(rig.metric("milad_client_expulsions_total"), 1);
    // What was begun is finished, what waited is gone, then comes the goodbye.
    let reader = std::thread::spawn(move || {
        let mut messages = vec![];
        while let Some(received) = deaf.try_next() {
            messages.push(received.message);
        }
        messages
    });
    while !reader.is_finished() {
        rig.server.wait(rig.never.fd(), rig.never.fd(), Some(Duration::from_millis(1))).unwrap();
    }
    let messages = reader.join().unwrap();
    let bye = Message::Bye { reason: "too slow: messages waited for too long".into() };
    assert_eq!(messages.last(), Some(&bye));
    assert_eq!(messages.iter().filter(|m| matches!(m, Message::Result(_))).count(), 1);
    rig.serve();
    assert_eq!((rig.server.clients(), rig.metric("milad_clients")), (1, 1));
    rig.publish();
    assert!(matches!(quick.next().message, Message::Result(_)));
}

#[test]
fn one_that_does_not_even_take_the_goodbye_is_cut_off() {
    let mut rig = Rig::new("cut", Limits::default());
    let mut deaf = rig.connect();
    deaf.write("{\"subscribe\":{\"maps\":\"inline\"}}\n");
    rig.serve();
    (0..8).for_each(|_| rig.publish_maps(BIG));
    rig.pass(5);
    rig.serve();
    assert_eq!(rig.server.clients(), 1);
    rig.pass(1);
    rig.serve();
    assert_eq!(rig.server.clients(), 0);
}

#[test]
fn garbage_is_answered_a_few_times_and_costs_nobody_anything() {
    let mut rig = Rig::new("garbage", Limits::default());
    let mut peer = rig.connect();
    let lines = [
        "hello\n",
        "{}\n",
        "[]\n",
        "\u{0}\u{1}\n",
        "{\"subscribe\":3}\n",
        "{\"subscribe\":{\"every\":0}}\n",
        "{\"subscribe\":{\"every\":-1}}\n",
        "{\"subscribe\":{\"tasks\":[\"nothing\"]}}\n",
        "{\"protocol\":2,\"subscribe\":{}}\n",
        "{\"subscribe\":{\"maps\":\"carrier pigeon\"}}\n",
    ];
    for line in lines {
        peer.write(line);
        rig.serve();
        let error = peer.error();
        assert!(error.len() < 5000, "{error}");
        if line.contains("nothing") {
            assert_eq!(error, "no task \"nothing\"; there are: depth, flow");
        } else if line.contains("protocol") {
            assert!(error.contains("this daemon speaks 1"), "{error}");
        }
    }
    // Ten at once, then one a second.
    (0..50).for_each(|_| peer.write("hello\n"));
    let read = |rig: &mut Rig, lines: u64| {
        (0..lines).for_each(|_| {
            rig.serve();
            rig.pass_ms(10);
        })
    };
    read(&mut rig, 50);
    assert!(peer.is_empty());
    rig.pass(2);
    (0..50).for_each(|_| peer.write("hello\n"));
    read(&mut rig, 48);
    peer.error();
    peer.error();
    assert!(peer.is_empty());
    // A refused request changes nothing, and a good one still works.
    rig.publish();
    assert_eq!(peer.result().sequence, 0);
    peer.write("\n  \n{\"subscribe\":{\"later\":1}}\r\n");
    rig.serve();
    assert_eq!(peer.next().message, Message::Ok);
}

#[test]
fn a_result_that_waits_comes_before_what_clients_ask_for_and_they_are_heard_behind_it() {
    let mut rig = Rig::new("first", Limits::default());
    let mut peer = rig.connect();
    let waits = Stop::new().unwrap();
    waits.set();
    peer.write("{\"subscribe\":{}}\n");
    let _newcomer = UnixStream::connect(rig.folder.path("s")).unwrap();
    rig.server.wait(waits.fd(), rig.never.fd(), Some(Duration::ZERO)).unwrap();
    assert!(peer.is_empty());
    assert_eq!(rig.server.clients(), 1);
    rig.publish();
    // The next result waits already.
    rig.server.wait(waits.fd(), rig.never.fd(), Some(Duration::ZERO)).unwrap();
    assert_eq!(peer.result().sequence, 0);
    assert_eq!(peer.next().message, Message::Ok);
    assert_eq!(rig.server.clients(), 2);
}

#[test]
fn what_clients_ask_for_waits_for_the_frame_that_is_on_its_way_but_not_for_long() {
    let mut rig = Rig::new("courtesy", Limits::default());
    let mut peer = rig.connect();
    // Its result comes while it is waited for.
    let comes = Stop::new().unwrap();
    let result = comes.clone();
    rig.server.courteous(move || {
        result.set();
        true
    });
    peer.write("{\"subscribe\":{}}\n");
    rig.server.wait(comes.fd(), rig.never.fd(), Some(Duration::from_secs(60))).unwrap();
    assert!(peer.is_empty());
    rig.publish();
    // Behind it, also when the next one is on its way by then.
    rig.server.wait(rig.never.fd(), rig.never.fd(), Some(Duration::ZERO)).unwrap();
    assert_eq!(peer.result().sequence, 0);
    assert_eq!(peer.next().message, Message::Ok);
    // And one that takes long holds nobody up: this wait has no other end.
    rig.server.courteous(|| true);
    let stopped = Stop::new().unwrap();
    peer.write("{\"subscribe\":{}}\n");
    let (stop, mut server) = (stopped.clone(), rig.server);
    let serving = std::thread::spawn(move || server.wait(rig.never.fd(), stop.fd(), None));
    assert_eq!(peer.next().message, Message::Ok);
    stopped.set();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_flood_of_requests_is_read_a_few_at_a_time() {
    let mut rig = Rig::new("flood", Limits::default());
    let (mut flood, mut other) = (rig.connect(), rig.connect());
    flood.write("x\n".repeat(2048));
    other.write("{\"subscribe\":{}}\n");
    rig.server.wait(rig.never.fd(), rig.never.fd(), Some(Duration::ZERO)).unwrap();
    assert_eq!(other.next().message, Message::Ok);
    rig.serve();
    // As many as it may get; the rest waits until it was quiet for a moment, however often it is looked at.
    (0..10).for_each(|_| drop(flood.error()));
    flood.write("{\"subscribe\":{}}\n");
    (0..100).for_each(|_| rig.serve());
    assert!(flood.is_empty());
    for _ in 0..2048 {
        rig.pass_ms(10);
        rig.serve();
    }
    let answers: Vec<_> = std::iter::from_fn(|| (!flood.is_empty()).then(|| flood.next().message)).collect();
    let (last, errors) = answers.split_last().unwrap();
    assert_eq!(*last, Message::Ok);
    // 20 seconds went by.
    assert_eq!(errors.len(), 20);
    assert!(errors.iter().all(|message| matches!(message, Message::Error { .. })), "{errors:?}");
}

#[test]
fn a_megabyte_without_a_newline_is_an_error_and_the_end() {
    let mut rig = Rig::new("megabyte", Limits::default());
    let (mut peer, mut other) = (rig.connect(), rig.connect());
    let stream = peer.stream().try_clone().unwrap();
    let writer = std::thread::spawn(move || (&stream).write_all(&vec![b'x'; 1 << 20]));
    while !writer.is_finished() {
        rig.server.wait(rig.never.fd(), rig.never.fd(), Some(Duration::from_millis(1))).unwrap();
    }
    let _ = writer.join().unwrap();
    assert_eq!(peer.error(), "a request has at most 4096 bytes and a newline: closing");
    assert!(peer.try_next().is_none());
    drop(peer);
    rig.serve();
    assert_eq!(rig.server.clients(), 1);
    rig.publish();
    assert_eq!(other.result().sequence, 0);
}

#[test]
fn a_request_of_4096_bytes_is_read_and_one_more_is_too_much() {
    let mut rig = Rig::new("longest", Limits::default());
    let line = |length: usize| format!("{:<length$}\n", "{\"subscribe\":{}}");
    let mut peer = rig.connect();
    peer.write(line(4096));
    rig.serve();
    assert_eq!(peer.next().message, Message::Ok);
    peer.write(line(4097));
    rig.serve();
    assert!(peer.error().starts_with("a request has at most 4096 bytes"));
}

#[test]
fn half_a_line_costs_nothing_and_the_other_half_completes_it() {
    let mut rig = Rig::new("half", Limits::default());
    let mut peer = rig.connect();
    peer.write("{\"subscribe\":");
    rig.serve();
    rig.pass(3600);
    for sequence in 0..3 {
        rig.publish();
        rig.serve();
        assert_eq!(peer.result().sequence, sequence);
    }
    peer.write("{\"every\":2}}\n");
    rig.serve();
    assert_eq!(peer.next().message, Message::Ok);
}

#[test]
fn no_more_requests_is_not_goodbye() {
    let mut rig = Rig::new("eof", Limits::default());
    let mut peer = rig.connect();
    peer.write("{\"subscribe\":{\"tasks\":[]}}\n{\"subscr");
    peer.stream().shutdown(Shutdown::Write).unwrap();
    rig.serve();
    assert_eq!(peer.next().message, Message::Ok);
    for sequence in 0..3 {
        rig.publish();
        rig.serve();
        let result = peer.result();
        assert_eq!((result.sequence, result.tasks.len()), (sequence, 0));
    }
    drop(peer);
    rig.serve();
    assert_eq!(rig.server.clients(), 0);
}

#[test]
fn every_request_before_the_end_of_file_is_answered() {
    let mut rig = Rig::new("last", Limits::default());
    let mut peer = rig.connect();
    peer.write("{\"subscribe\":{}}\n".repeat(50) + "{\"subscribe\":");
    peer.stream().shutdown(Shutdown::Write).unwrap();
    (0..2).for_each(|_| rig.serve());
    (0..50).for_each(|_| assert_eq!(peer.next().message, Message::Ok));
    assert!(peer.is_empty());
}

#[test]
fn requests_wait_while_answers_are_not_read() {
    let mut rig = Rig::new("flood", Limits::default());
    let peer = rig.connect();
    peer.stream().set_nonblocking(true).unwrap();
    let line = "{\"subscribe\":{}}\n".repeat(64);
    // It takes what it must and then stops reading: the peer's own writes get stuck, not the server.
    let mut stuck = false;
    for _ in 0..10_000 {
        rig.server.wait(rig.never.fd(), rig.never.fd(), Some(Duration::ZERO)).unwrap();
        stuck |= peer.stream().write(line.as_bytes()).is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
        rig.pass_ms(10);
        if rig.metric("milad_client_expulsions_total") == 1 {
            break;
        }
    }
    assert!(stuck);
    assert_eq!(rig.metric("milad_client_expulsions_total"), 1);
}

#[test]
fn a_client_that_reads_every_third_result_stays() {
    let mut rig = Rig::new("third", Limits::default());
    let mut peer = rig.connect();
    while rig.metric("milad_client_messages_lost_total") == 0 {
        rig.publish();
    }
    // Ten seconds at 30 results a second.
    let mut told = 0;
    for frame in 0..300 {
        rig.pass_ms(33);
        rig.publish();
        rig.serve();
        if frame % 3 == 0 {
            told += peer.result().dropped;
        }
    }
    assert_eq!((rig.server.clients(), rig.metric("milad_client_expulsions_total")), (1, 0));
    // What was in the socket when the loss began is read by now.
    while !peer.is_empty() {
        told += peer.result().dropped;
        rig.serve();
    }
    assert!(told > 100, "{told}");
}

#[test]
fn requests_beyond_a_hundred_wait_for_their_time() {
    let mut rig = Rig::new("allowance", Limits::default());
    let mut peer = rig.connect();
    peer.write("{\"subscribe\":{}}\n".repeat(230));
    let mut answers = |rig: &mut Rig| {
        (0..10).for_each(|_| rig.serve());
        std::iter::from_fn(|| (!peer.is_empty()).then(|| assert_eq!(peer.next().message, Message::Ok))).count()
    };
    assert_eq!(answers(&mut rig), 100);
    assert_eq!(answers(&mut rig), 0);
    rig.pass_ms(100);
    assert_eq!(answers(&mut rig), 10);
    rig.pass(60);
    assert_eq!(answers(&mut rig), 100);
    rig.pass(60);
    assert_eq!(answers(&mut rig), 20);
}

#[test]
fn a_flood_of_blank_lines_gets_stuck() {
    let mut rig = Rig::new("blank", Limits::default());
    let mut peer = rig.connect();
    peer.stream().set_nonblocking(true).unwrap();
    let blank = [b'\n'; 4096];
    let mut stuck = false;
    for _ in 0..4096 {
        rig.serve();
        stuck = peer.stream().write(&blank).is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
        if stuck {
            break;
        }
    }
    assert!(stuck);
    // It is heard again when its time has come.
    peer.stream().set_nonblocking(false).unwrap();
    rig.pass(10);
    (0..20).for_each(|_| rig.serve());
    peer.write("{\"subscribe\":{}}\n");
    (0..20).for_each(|_| rig.serve());
    assert_eq!(peer.next().message, Message::Ok);
}

#[test]
fn a_turn_ends_though_every_client_has_requests_waiting_and_the_others_are_next() {
    let mut rig = Rig::new("turn", Limits::default());
    let mut peers: Vec<_> = (0..10).map(|_| rig.connect()).collect();
    peers.iter_mut().for_each(|peer| peer.write("{\"subscribe\":{}}\n".repeat(16)));
    // Whatever happens takes 0.2 ms: one client's part is what a turn has time for.
    rig.tick.store(200_000, std::sync::atomic::Ordering::SeqCst);
    let mut answers = vec![0; peers.len()];
    for turn in 0..20 {
        rig.server.wait(rig.never.fd(), rig.never.fd(), Some(Duration::ZERO)).unwrap();
        for (peer, answers) in peers.iter_mut().zip(&mut answers) {
            while !peer.is_empty() {
                assert_eq!(peer.next().message, Message::Ok);
                *answers += 1;
            }
        }
        assert_eq!(answers.iter().sum::<u32>(), 8 * (turn + 1));
        if turn == 9 {
            assert_eq!(answers, [8; 10]);
        }
    }
    assert_eq!(answers, [16; 10]);
}

#[test]
fn the_sixty_fifth_client_is_told_and_closed_and_a_place_can_be_had_again() {
    let mut rig = Rig::new("many", Limits::default());
    let mut peers: Vec<_> = (0..64).map(|_| rig.connect()).collect();
    let mut late = Peer::new(UnixStream::connect(rig.folder.path("s")).unwrap());
    rig.serve();
    assert_eq!(late.error(), "64 clients are connected, no room for more: try again later");
    assert!(late.try_next().is_none());
    assert_eq!((rig.server.clients(), rig.metric("milad_client_refusals_total")), (64, 1));
    rig.publish();
    for peer in &mut peers {
        assert_eq!(peer.result().sequence, 0);
    }
    peers.pop();
    rig.serve();
    rig.connect();
    assert_eq!(rig.metric("milad_client_connections_total"), 66);
}

#[test]
fn announcements_reach_all_and_subscriptions_survive_another_model() {
    let mut rig = Rig::new("announce", Limits::default());
    let mut peer = rig.connect();
    peer.write("{\"subscribe\":{\"tasks\":[\"flow\"],\"maps\":\"inline\"}}\n");
    rig.serve();
    assert_eq!(peer.next().message, Message::Ok);
    rig.server.hello(hello(&["flow"]));
    let model = ModelMessage { epoch: 2, bundle: BundleInfo::default(), tasks: vec![] };
    rig.server.announce(&Message::Model(model.clone()));
    assert_eq!(peer.next().message, Message::Model(model));
    assert!(rig.server.wants().task(0) && !rig.server.wants().task(1));
    let mut newcomer = Peer::new(UnixStream::connect(rig.folder.path("s")).unwrap());
    rig.serve();
    let Message::Hello(greeting) = newcomer.next().message else { panic!() };
    assert_eq!(greeting.tasks.len(), 1);
}

#[test]
fn nobody_is_greeted_before_there_is_something_to_say() {
    let folder = Folder::new("early");
    let listener = socket::bind(&folder.path("s"), 0o660, None).unwrap();
    let mut server = Server::new(listener, Limits::default()).unwrap();
    let never = Stop::new().unwrap();
    let mut peer = Peer::new(UnixStream::connect(folder.path("s")).unwrap());
    server.wait(never.fd(), never.fd(), Some(Duration::ZERO)).unwrap();
    assert!(peer.is_empty());
    server.hello(hello(&["depth"]));
    server.wait(never.fd(), never.fd(), Some(Duration::ZERO)).unwrap();
    assert!(matches!(peer.next().message, Message::Hello(_)));
}

#[test]
fn waiting_ends_when_woken_or_stopped() {
    let mut rig = Rig::new("wake", Limits::default());
    let (wake, stop) = (Stop::new().unwrap(), Stop::new().unwrap());
    wake.set();
    rig.server.wait(wake.fd(), stop.fd(), None).unwrap();
    let wake = Stop::new().unwrap();
    stop.set();
    rig.server.wait(wake.fd(), stop.fd(), None).unwrap();
}

#[test]
fn the_end_is_told_and_the_socket_is_gone() {
    let mut rig = Rig::new("end", Limits::default());
    let mut peer = rig.connect();
    rig.publish();
    let Rig { server, folder, .. } = rig;
    server.close("stopped");
    assert!(matches!(peer.next().message, Message::Result(_)));
    assert_eq!(peer.next().message, Message::Bye { reason: "stopped".into() });
    assert!(peer.try_next().is_none());
    assert!(!folder.path("s").exists());
}

#[test]
fn a_client_that_is_gone_or_deaf_does_not_hold_up_the_end() {
    let mut rig = Rig::new("farewell", Limits::default());
    let (gone, mut deaf, mut quick) = (rig.connect(), rig.connect(), rig.connect());
    deaf.write("{\"subscribe\":{\"maps\":\"inline\"}}\n");
    rig.serve();
    (0..8).for_each(|_| {
        rig.publish_maps(BIG);
        quick.result();
    });
    drop(gone);
    rig.server.close("stopped");
    assert_eq!(quick.next().message, Message::Bye { reason: "stopped".into() });
}

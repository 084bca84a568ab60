//! Maps in shared memory: what clients read there, and what they can't do to others.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use milad::publish::{Limits, Plane, Values};
use milad_client::*;

use crate::clients::rig::{Rig, hello};
use crate::support::{Daemon, bundle};

pub const SHARED: &str = "{\"subscribe\":{\"maps\":\"shared\"}}\n";

/// A client of the crate on the rig's socket, which has asked for something.
pub fn client(rig: &mut Rig, request: &str) -> Client {
    let mut stream = UnixStream::connect(rig.folder.path("s")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    rig.serve();
    let mut client = Client::from_stream(stream, milad_client::Limits::default());
    assert!(matches!(client.receive().unwrap().unwrap().message, Message::Hello(_)));
    assert_eq!(client.receive().unwrap().unwrap().message, Message::Ok);
    client
}

pub fn next(client: &mut Client) -> Received {
    client.receive().unwrap().expect("a message")
}

pub fn slot(received: &Received) -> SharedSlot {
    match &received.message {
        Message::Result(result) => result.shared.expect("shared maps"),
        other => panic!("expected a result, got {other:?}"),
    }
}

#[test]
fn the_memory_comes_once_and_every_result_names_its_slot() {
    let mut rig = Rig::new("shared", Limits::default());
    let mut client = client(&mut rig, SHARED);
    for round in 0..20u32 {
        rig.publish_maps(6);
        if round == 0 {
            let Message::Maps(maps) = next(&mut client).message else { panic!("the memory comes before the result") };
            assert_eq!((maps.epoch, maps.slots, maps.planes.len()), (0, 8, 2));
            let depth = &maps.planes[0];
            assert_eq!((&*depth.task, &*depth.shape, depth.bytes, depth.slot_bytes), ("depth", &[1, 6][..], 24, 128));
        }
        let received = next(&mut client);
        assert_eq!((slot(&received).slot, slot(&received).generation.get()), (round % 8, round + 1));
        let map = client.map_of(&received, "flow").unwrap();
        assert_eq!(map.to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!((map.f32_at(5), map.f32_at(6), map.u8_at(0), map.still_valid()), (Some(6.0), None, None, true));
        assert!(matches!(client.map_of(&received, "colour"), Err(MapError::Missing { .. })));
    }
}

#[test]
fn a_reader_that_pauses_learns_that_it_was_overtaken() {
    let mut rig = Rig::new("paused", Limits::default());
    let mut client = client(&mut rig, SHARED);
    rig.publish_maps(1000);
    next(&mut client);
    let received = next(&mut client);
    assert_eq!(client.map_of(&received, "depth").unwrap().f32_at(7), Some(7.0));
    for _ in 0..7 {
        rig.publish_maps(1000);
        assert!(client.map_of(&received, "depth").unwrap().still_valid());
    }
    rig.publish_maps(1000);
    let map = client.map_of(&received, "depth").unwrap();
    assert!(!map.still_valid());
    assert_eq!(map.to_f32(), Err(MapError::Overtaken));
}

#[test]
fn only_the_tasks_asked_for_are_given_and_more_come_when_asked_for() {
    let mut rig = Rig::new("some", Limits::default());
    let mut client = client(&mut rig, "{\"subscribe\":{\"maps\":\"shared\",\"tasks\":[\"flow\"]}}\n");
    let names = |received: &Received| match &received.message {
        Message::Maps(maps) => maps.planes.iter().map(|plane| plane.task.clone()).collect::<Vec<_>>(),
        other => panic!("expected maps, got {other:?}"),
    };
    rig.publish();
    assert_eq!(names(&next(&mut client)), ["flow"]);
    let received = next(&mut client);
    assert!(client.map_of(&received, "depth").is_err() && client.map_of(&received, "flow").is_ok());
    client.subscribe(&Subscribe { maps: MapsMode::Shared, ..Subscribe::default() }).unwrap();
    rig.serve();
    assert_eq!(next(&mut client).message, Message::Ok);
    rig.publish();
    assert_eq!(names(&next(&mut client)), ["depth", "flow"]);
    let received = next(&mut client);
    assert!(client.map_of(&received, "depth").unwrap().to_f32().is_ok());
    // Back to less: nothing new is needed for that.
    client.subscribe(&Subscribe { maps: MapsMode::None, ..Subscribe::default() }).unwrap();
    rig.serve();
    assert_eq!(next(&mut client).message, Message::Ok);
    rig.publish();
    assert!(matches!(next(&mut client).message, Message::Result(result) if result.shared.is_none()));
}

#[test]
fn maps_of_another_size_come_in_new_memory() {
    let mut rig = Rig::new("sizes", Limits::default());
    let mut client = client(&mut rig, SHARED);
    for pixels in [8, 16] {
        rig.publish_maps(pixels);
        assert!(matches!(next(&mut client).message, Message::Maps(_)));
        let received = next(&mut client);
        assert_eq!(client.map_of(&received, "depth").unwrap().to_f32().unwrap().len(), pixels);
    }
}

/// One task's maps are larger than a reader would map: who wants those gets results without maps, the others don't notice.
#[test]
fn memory_that_can_not_be_had_costs_only_those_who_asked_for_it() {
    let mut rig = Rig::new("refused-memory", Limits::default());
    let (mut both, mut one) =
        (client(&mut rig, SHARED), client(&mut rig, "{\"subscribe\":{\"maps\":\"shared\",\"tasks\":[\"depth\"]}}\n"));
    let mut lines = client(&mut rig, "{\"subscribe\":{\"maps\":\"shared\",\"lines\":\"shared\"}}\n");
    let plane = |task, values: Vec<u8>| Plane {
        task,
        channels: 1,
        height: 1,
        width: values.len(),
        values: Values::U8(values.into()),
    };
    let mut planes = [plane(0, vec![0; 4]), plane(1, vec![0; 135_000_000])];
    for round in 0..3 {
        rig.server.lend(0, &mut planes);
        if let Values::U8(values) = &mut planes[0].values {
            values.fill(round);
        }
        rig.server.publish(&ResultMessage { sequence: u64::from(round), ..rig.result() }, &mut planes);
        if round == 0 {
            assert!(matches!(next(&mut one).message, Message::Maps(maps) if maps.planes.len() == 1));
        }
        let received = next(&mut one);
        assert_eq!(one.map_of(&received, "depth").unwrap().to_u8(), Ok(vec![round; 4]));
        for without in [&mut both, &mut lines] {
            let Message::Result(result) = next(without).message else { panic!("a result without maps") };
            assert_eq!((result.sequence, result.shared, result.dropped), (u64::from(round), None, 0));
        }
    }
}

/// A set of descriptors belongs to each line that brings memory: without any there is no such line.
#[test]
fn who_wants_no_map_is_given_no_memory_while_others_are() {
    let mut rig = Rig::new("no-map", Limits::default());
    let mut other = client(&mut rig, SHARED);
    let mut without = client(&mut rig, "{\"subscribe\":{\"maps\":\"shared\",\"tasks\":[]}}\n");
    rig.publish();
    assert!(matches!(next(&mut other).message, Message::Maps(_)));
    assert!(matches!(next(&mut without).message, Message::Result(result) if result.shared.is_none()));
}

/// The picture, say, can turn out to be none.
#[test]
fn a_result_names_no_slot_in_which_a_map_is_missing() {
    let mut rig = Rig::new("missing", Limits::default());
    let (mut both, mut one) =
        (client(&mut rig, SHARED), client(&mut rig, "{\"subscribe\":{\"maps\":\"shared\",\"tasks\":[\"depth\"]}}\n"));
    let values = || Values::U8(vec![7; 4].into());
    let mut planes = [0, 1].map(|task| Plane { task, channels: 1, height: 1, width: 4, values: values() });
    let result = rig.result();
    for made in [1, 2] {
        rig.server.lend(0, &mut planes);
        rig.server.publish(&result, &mut planes[..made]);
    }
    let first = next(&mut both);
    assert!(matches!(&first.message, Message::Result(result) if result.shared.is_none()), "{first:?}");
    for client in [&mut both, &mut one] {
        assert!(matches!(next(client).message, Message::Maps(_)));
        let received = next(client);
        assert!(client.map_of(&received, "depth").unwrap().still_valid());
    }
    let last = next(&mut one);
    assert_eq!(slot(&last).generation.get(), 2);
}

/// How many memories of this task this process has mapped: what the daemon made, and what readers keep.
fn memories(task: &str) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let ours = maps.lines().filter(|line| line.contains(&format!("memfd:milad-{task} ")));
    ours.map(|line| line.split_whitespace().nth(4).unwrap()).collect::<std::collections::HashSet<_>>().len()
}

/// It would be the daemon's memory, for as long as the reader keeps it.
#[test]
fn a_reader_that_comes_and_goes_and_keeps_what_it_got_has_no_more_memory_made() {
    let mut rig = Rig::new("coming", Limits::default());
    rig.server.hello(hello(&["coming", "going"]));
    let mut kept = vec![];
    for _ in 0..5 {
        let mut client = client(&mut rig, SHARED);
        rig.publish();
        assert!(matches!(next(&mut client).message, Message::Maps(_)));
        client.subscribe(&Subscribe { maps: MapsMode::None, ..Subscribe::default() }).unwrap();
        rig.serve();
        rig.publish();
        kept.push(client);
    }
    assert_eq!(memories("coming"), 1);
    // That of the epoch before goes, also when nobody asks.
    drop(kept);
    rig.publish_result(&ResultMessage { epoch: 1, ..rig.result() }, 8);
    assert_eq!(memories("coming"), 0);
}

/// Descriptors in sockets count against the daemon's limit of open files, and so against everybody's.
#[test]
fn memory_comes_again_only_to_those_who_took_what_came_before() {
    let mut rig = Rig::new("in-flight", Limits::default());
    let mut peer = rig.connect();
    for _ in 0..20 {
        peer.write(SHARED);
        rig.serve();
        rig.publish();
    }
    let messages: Vec<_> = std::iter::repeat_with(|| peer.next().message).take(41).collect();
    assert!(peer.is_empty());
    let count = |is: fn(&Message) -> bool| messages.iter().filter(|message| is(message)).count();
    let (oks, maps) = (count(|it| *it == Message::Ok), count(|it| matches!(it, Message::Maps(_))));
    let named = count(|it| matches!(it, Message::Result(result) if result.shared.is_some()));
    assert_eq!((oks, maps, named), (20, 1, 1));
    rig.publish();
    assert!(matches!(peer.next().message, Message::Maps(_)));
    assert!(peer.result().shared.is_some());
}

/// One that stops reading, one that dies, one that closes what it was given, one that writes garbage.
#[test]
fn bad_neighbours_change_nothing() {
    let mut rig = Rig::new("neighbours", Limits::default());
    let mut good = client(&mut rig, SHARED);
    let deaf = client(&mut rig, SHARED);
    let mut dies = client(&mut rig, SHARED);
    let mut garbage = client(&mut rig, SHARED);
    rig.publish_maps(1000);
    for client in [&mut good, &mut dies] {
        assert!(matches!(next(client).message, Message::Maps(_)));
        next(client);
    }
    // A plain read throws the descriptors away.
    let mut bytes = [0; 65536];
    assert!(garbage.stream().read(&mut bytes).unwrap() > 0);
    garbage.stream().write_all(b"\xff\xfe{{{\n\0\0\n").unwrap();
    drop(dies);
    rig.serve();
    for round in 1..200u32 {
        rig.publish_maps(1000);
        let received = next(&mut good);
        assert_eq!(slot(&received).generation.get(), round + 1);
        assert_eq!(client_sum(&good, &received), 999.0 * 500.0);
    }
    let answers = std::iter::repeat_with(|| next(&mut garbage).message);
    assert!(answers.take(300).any(|message| matches!(message, Message::Error { .. })));
    drop(deaf);
}

fn client_sum(client: &Client, received: &Received) -> f32 {
    client.map_of(received, "depth").unwrap().to_f32().unwrap().iter().sum()
}

#[test]
fn what_can_not_be_had_is_refused_with_a_reason() {
    let mut rig = Rig::new("refused", Limits::default());
    let mut peer = rig.connect();
    for (request, reason) in [
        (
            "{\"subscribe\":{\"maps\":\"shared\",\"tasks\":[\"colour\"]}}\n",
            "no task \"colour\"; there are: depth, flow",
        ),
        ("{\"subscribe\":{\"every\":-1}}\n", "invalid value: integer `-1`"),
        ("{\"protocol\":2,\"subscribe\":{}}\n", "this daemon speaks 1"),
        ("{\"subscribe\":{\"image\":true}}\n", "ask for \"inline\" or \"shared\" ones"),
        ("{\"subscribe\":{\"maps\":\"telepathy\"}}\n", "unknown variant `telepathy`"),
        ("{\"subscribe\":{\"lines\":\"shared\"}}\n", "come with \"maps\" there"),
        ("{\"subscribe\":{\"maps\":\"shared\",\"lines\":\"shared\",\"every\":2}}\n", "leave out \"every\""),
        ("{\"subscribe\":{\"maps\":\"shared\",\"lines\":\"shared\",\"tasks\":[]}}\n", "name a task"),
    ] {
        peer.write(request);
        rig.serve();
        let message = peer.error();
        assert!(message.contains(reason), "{request}: {message}");
    }
}

fn results(daemon: &Daemon, maps: MapsMode) -> Results {
    let subscribe = Subscribe { maps, image: true, ..Subscribe::default() };
    let timeout = Some(Duration::from_secs(60));
    Results::open(Options { socket: Some(daemon.socket()), subscribe, timeout, ..Options::default() }).unwrap()
}

/// The same frame, read behind the line and in shared memory.
#[test]
fn shared_and_inline_maps_of_a_frame_are_the_same_bytes() {
    let daemon = Daemon::start(&["--source", "card:?rate=10", "--bundle", bundle("plain").to_str().unwrap()]);
    let (mut inline, mut shared) = (results(&daemon, MapsMode::Inline), results(&daemon, MapsMode::Shared));
    let mut compared = 0;
    let mut left = inline.next().unwrap().result.sequence;
    while compared < 5 {
        let names = ["segmentation", "depth", "normals", "image"];
        let take = |answer: Answer<'_>| -> (u64, Vec<Vec<u8>>) {
            let maps = names.map(|name| answer.map(name).unwrap().to_bytes().unwrap());
            (answer.result.sequence, maps.into())
        };
        let right = take(shared.next().unwrap());
        let mut other = (left, Vec::new());
        while other.0 < right.0 {
            other = take(inline.next().unwrap());
        }
        left = other.0;
        if other.0 == right.0 && !other.1.is_empty() {
            assert_eq!(other, right);
            compared += 1;
        }
    }
}

#[test]
fn the_picture_is_what_the_networks_saw() {
    let daemon = Daemon::start(&["--source", "card:?rate=10", "--bundle", bundle("plain").to_str().unwrap()]);
    let mut shared = results(&daemon, MapsMode::Shared);
    let answer = shared.next().unwrap();
    let (image, depth) = (answer.map("image").unwrap(), answer.map("depth").unwrap());
    assert_eq!((image.shape()[2], image.dtype()), (3, Dtype::U8));
    assert_eq!(image.to_u8().unwrap().len(), 3 * (image.shape()[0] * image.shape()[1]) as usize);
    let picture = image.to_u8().unwrap();
    assert!(picture.iter().any(|v| *v > 200) && picture.iter().any(|v| *v < 50), "the card has bright and dark parts");
    assert!(depth.still_valid());
}

/// A daemon that went and came back is found again, and its memory is the new one's.
#[test]
fn a_client_connects_again_and_reads_on() {
    let arguments =
        ["--source", "card:?rate=30", "--bundle", &bundle("plain").display().to_string()].map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let folder = crate::support::folder();
    let daemon = Daemon::start_in(folder.clone(), &arguments);
    let mut shared = results(&daemon, MapsMode::Shared);
    assert!(shared.next().unwrap().map("depth").unwrap().to_f32().is_ok());
    daemon.stop();
    std::fs::create_dir_all(&folder).unwrap();
    let _daemon = Daemon::start_in(folder, &arguments);
    let first = shared.next().unwrap();
    assert!(first.map("depth").unwrap().to_f32().is_ok());
}

/// A daemon made by hand, whose frames are as old as it says.
#[test]
fn an_old_result_is_refused_unless_the_program_says_otherwise() {
    let folder = crate::support::folder();
    let path = folder.join("s");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let serve = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let hello = Message::Hello(crate::clients::rig::hello(&["depth"]));
            let mut lines = vec![hello, Message::Ok];
            for (sequence, age_s) in [(1, 3600), (2, 2), (3, 0)] {
                let captured_ns = milad::clock::monotonic_ns().saturating_sub(age_s * 1_000_000_000);
                lines.push(Message::Result(ResultMessage { sequence, captured_ns, ..ResultMessage::default() }));
            }
            for line in lines {
                // The careless one may have gone already.
                let _ = writeln!(stream, "{}", serde_json::to_string(&line).unwrap());
            }
            // Until the client is done.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let options = Options { socket: Some(path), ..Options::default() };
    let mut careful = Results::open(options.clone()).unwrap();
    assert_eq!(careful.next().unwrap().result.sequence, 3);
    assert_eq!(careful.refused(), 2);
    drop(careful);
    let mut careless = Results::open(Options { max_age: None, newest: false, ..options.clone() }).unwrap();
    assert_eq!(careless.next().unwrap().result.sequence, 1);
    drop(careless);
    serve.join().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn nothing_fresh_in_time_is_an_error_and_not_silence() {
    let folder = crate::support::folder();
    let path = folder.join("s");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let timeout = Some(Duration::from_millis(50));
    let mut results = Results::open(Options { socket: Some(path), timeout, ..Options::default() }).unwrap();
    let begin = Instant::now();
    assert!(matches!(results.next(), Err(ClientError::Timeout)));
    assert!(begin.elapsed() >= Duration::from_millis(50));
    std::fs::remove_dir_all(folder).unwrap();
}

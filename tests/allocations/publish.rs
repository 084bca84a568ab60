//! Digest, sockets and metrics.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use milad::model::{Class, DepthEncoding, InputSpec, Prediction, Spec, TaskKind, TaskSpec};
use milad::publish::{Digest, Limits, Server, greeting, socket};
use milad::stop::Stop;
use milad::telemetry::{Cause, Metrics, Stage};
use milad_client::{Client, Keyframe, LinesMode, MapsMode, ResultMessage, Subscribe};
use milad_kernels::pixel::Resize;
use tract_onnx::prelude::{IntoTValue, Tensor};

use crate::{by_this_thread, settles};

pub fn spec() -> Spec {
    let class = |name: &str| Class { name: name.into(), color: [1, 2, 3] };
    let task = |name: &str, kind| TaskSpec { name: name.into(), kind, width: 64, height: 32 };
    Spec {
        name: "test".into(),
        sha256: String::new(),
        trained_on: String::new(),
        frame_interval_s: 0.033,
        keyframe_interval: 5,
        intrinsics: None,
        input: InputSpec { width: 64, height: 32, mean: [0.0; 3], std: [1.0; 3], resize: Resize::Stretch },
        tasks: vec![
            task("seg", TaskKind::Segmentation { classes: vec![class("a"), class("b"), class("c")] }),
            task("depth", TaskKind::Depth { encoding: DepthEncoding::Log }),
            task("normals", TaskKind::Normals),
            task("features", TaskKind::Raw { channels: 5 }),
        ],
    }
}

pub fn prediction() -> Prediction {
    let tensors = [3usize, 1, 3, 5].map(|channels| {
        let values: Vec<f32> = (0..channels * 8 * 16).map(|i| (i as f32 * 0.7).sin()).collect();
        Tensor::from_shape(&[1, channels, 8, 16], &values).unwrap().into_tvalue()
    });
    Prediction { tasks: tensors.into_iter().collect() }
}

/// Reads whatever comes, for ever.
fn reader(path: &std::path::Path, request: &str) {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
    });
}

/// Takes the memory that it is given, and waits there for lines.
fn lines_reader(path: &std::path::Path) {
    let mut client = Client::connect(path).unwrap();
    let (maps, lines) = (MapsMode::Shared, LinesMode::Shared);
    client.subscribe(&Subscribe { maps, lines, ..Subscribe::default() }).unwrap();
    std::thread::spawn(move || client.for_each(drop));
}

#[test]
fn publishing_to_quick_slow_and_deaf_clients_allocates_nothing_per_frame() {
    let path = std::env::temp_dir().join(format!("milad-test-{}-allocations", std::process::id()));
    let (spec, metrics, never) = (spec(), Metrics::new(), Stop::new().unwrap());
    let listener = socket::bind(&path, 0o600, None).unwrap();
    let mut server = Server::new(listener, Limits::default()).unwrap().with_metrics(metrics.clone()).with_clock(|| 1);
    server.hello(greeting(&spec, None, None));
    reader(&path, "");
    reader(&path, "{\"subscribe\":{\"maps\":\"inline\"}}\n");
    reader(&path, "{\"subscribe\":{\"maps\":\"inline\",\"tasks\":[\"depth\",\"seg\"],\"every\":3}}\n");
    reader(&path, "{\"subscribe\":{\"maps\":\"shared\",\"image\":true}}\n");
    lines_reader(&path);
    let mut deaf = UnixStream::connect(&path).unwrap();
    deaf.write_all(b"{\"subscribe\":{\"maps\":\"inline\"}}\n").unwrap();

    let image = std::sync::Arc::new(Tensor::zero::<u8>(&[32, 64, 4]).unwrap());
    let (mut digest, mut message, prediction) = (Digest::new(&spec), ResultMessage::default(), prediction());
    let mut frame = |sequence: u64| {
        digest.with_picture(server.wants().image());
        server.lend(0, digest.planes_mut());
        digest.run(&prediction, &mut message.tasks).unwrap();
        digest.picture(&image);
        message.sequence = sequence;
        message.keyframe = Some(Keyframe { sequence, age_frames: 1, age_ms: 33.3 });
        message.confidence = Some(0.25);
        server.publish(&message, digest.planes_mut());
        server.wait(never.fd(), never.fd(), Some(Duration::ZERO)).unwrap();
        metrics.captured();
        metrics.driver_gap(1);
        metrics.bad_frame();
        metrics.dropped(Stage::Fast, Cause::Replaced);
        metrics.stage(Stage::Publish, 0.001);
        metrics.latency(0.02);
        metrics.keyframe_age(0.1);
        metrics.published(sequence);
    };
    // Long enough that every queue was full once, and every buffer has its size.
    let mut next = 0..;
    let mut window = || next.by_ref().take(300).for_each(&mut frame);
    window();
    settles(by_this_thread, window);
    let mut text = String::new();
    metrics.render(&mut text);
    assert!(text.contains("milad_clients 6\n"), "{text}");
    let lost = text.lines().find_map(|line| line.strip_prefix("milad_client_messages_lost_total ")).unwrap();
    assert!(lost.parse::<u64>().unwrap() > 0, "the deaf client lost nothing: the test is too short");
    let memory = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(memory.contains("memfd:milad-lines"), "no line was written to memory");
}

//! The golden messages of `tests/golden`: what the types write must stay the same, byte for byte, and read back the same.
//!
//! `tests/python/test_protocol.py` reads the same files with another JSON reader. A new field means a new line in the
//! files; a line that is there never changes, because programs out there read it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::num::NonZeroU32;

use milad_client::*;

fn golden(name: &str) -> String {
    let path = format!("{}/../../tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn bundle() -> BundleInfo {
    BundleInfo { name: "street".into(), sha256: "0".repeat(64), trained_on: "rendered scenes".into() }
}

fn camera() -> CameraInfo {
    CameraInfo {
        name: "Integrated \"Camera\"".into(),
        width: 640,
        height: 480,
        format: "YUYV".into(),
        interval_ns: 33_333_333,
        intrinsics: Some([500.0, 500.0, 319.5, 239.5]),
    }
}

fn task(name: &str, kind: TaskKind, dtype: Dtype) -> TaskInfo {
    TaskInfo {
        name: name.into(),
        kind,
        width: 256,
        height: 128,
        dtype,
        channels: None,
        scale: None,
        unit: None,
        classes: vec![],
    }
}

fn tasks() -> Vec<TaskInfo> {
    let class = |name: &str, color: &str| ClassInfo { name: name.into(), color: color.into() };
    vec![
        TaskInfo {
            classes: vec![class("road", "#804080"), class("sky", "#4682b4")],
            ..task("segmentation", TaskKind::Segmentation, Dtype::U8)
        },
        TaskInfo { unit: Some("m".into()), ..task("depth", TaskKind::Depth, Dtype::F32) },
        TaskInfo { channels: Some(3), scale: Some(127), ..task("normals", TaskKind::Normals, Dtype::I8) },
        TaskInfo { channels: Some(5), ..task("features", TaskKind::Raw, Dtype::F32) },
    ]
}

fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL,
        milad: "0.1.0".into(),
        bundle: bundle(),
        clock: "monotonic".into(),
        realtime_offset_ns: 1_700_000_000_000_000_000,
        boot_id: "6f0e5b0e-6a43-4a4e-9d5c-0a5a3f1f2b3c".into(),
        camera: Some(camera()),
        tasks: tasks(),
    }
}

fn result() -> ResultMessage {
    ResultMessage {
        sequence: 1041,
        driver_sequence: 1043,
        epoch: 3,
        captured_ns: 81_234_567_890_123,
        published_ns: 81_234_589_290_123,
        latency_ms: Latency { total: 21.4, prepare: 1.2, fast: 18.9, publish: 0.3 },
        keyframe: Some(Keyframe { sequence: 1036, age_frames: 5, age_ms: 166.667 }),
        confidence: Some(0.93),
        slow_running: false,
        dropped: 0,
        tasks: statistics(),
        maps: vec![],
        payload_bytes: 0,
        shared: None,
    }
}

fn statistics() -> Named<Statistics> {
    let share = [("road".into(), Share(0.31)), ("sky".into(), Share(0.69))].into_iter().collect();
    Named(vec![
        ("segmentation".into(), Statistics::Segmentation { share }),
        ("depth".into(), Statistics::Depth { p5: Some(2.1), p50: Some(9.7), p95: Some(61.0), nearest: Some(1.8) }),
        ("normals".into(), Statistics::Normals { up: 0.42 }),
        ("features".into(), Statistics::Raw {}),
    ])
}

fn map(task: &str, dtype: Dtype, shape: &[u32], offset: u64, bytes: u64) -> MapInfo {
    MapInfo { task: task.into(), dtype, shape: shape.into(), byte_order: "little".into(), offset, bytes }
}

fn plane(task: &str, dtype: Dtype, shape: &[u32], slot_bytes: u64, bytes: u64) -> PlaneInfo {
    let (task, shape, byte_order) = (task.into(), shape.into(), "little".into());
    PlaneInfo { task, dtype, shape, byte_order, slot_bytes, data_offset: 64, bytes }
}

/// The messages of `messages.jsonl`, in its order.
fn messages() -> Vec<Message> {
    let lost = Some("no frame for 2 s: unplugged?".into());
    vec![
        Message::Hello(hello()),
        Message::Hello(Hello { camera: None, ..hello() }),
        Message::Hello(Hello { camera: Some(CameraInfo { intrinsics: None, ..camera() }), ..hello() }),
        Message::Result(result()),
        Message::Result(ResultMessage { keyframe: None, confidence: None, slow_running: true, dropped: 7, ..result() }),
        Message::Result(ResultMessage {
            tasks: Named(vec![("depth".into(), Statistics::Depth { p5: None, p50: None, p95: None, nearest: None })]),
            ..result()
        }),
        Message::Result(ResultMessage {
            maps: vec![
                map("segmentation", Dtype::U8, &[128, 256], 0, 32_768),
                map("depth", Dtype::F32, &[128, 256], 32_768, 131_072),
                map("normals", Dtype::I8, &[3, 128, 256], 163_840, 98_304),
            ],
            payload_bytes: 262_144,
            ..result()
        }),
        Message::Camera(CameraMessage { state: CameraState::Lost, epoch: 3, reason: lost, camera: None }),
        Message::Camera(CameraMessage { state: CameraState::Up, epoch: 4, reason: None, camera: Some(camera()) }),
        Message::Model(ModelMessage { epoch: 4, bundle: bundle(), tasks: tasks() }),
        Message::Ok,
        Message::Error { message: "no task \"x\"".into() },
        Message::Bye { reason: "stopped".into() },
        Message::Maps(MapsMessage {
            epoch: 3,
            slots: 8,
            planes: vec![
                plane("segmentation", Dtype::U8, &[128, 256], 32_832, 32_768),
                plane("depth", Dtype::F32, &[128, 256], 131_136, 131_072),
                plane("normals", Dtype::I8, &[3, 128, 256], 98_368, 98_304),
                plane("image", Dtype::U8, &[128, 256, 3], 98_368, 98_304),
            ],
            lines: None,
        }),
        Message::Result(ResultMessage {
            shared: Some(SharedSlot { slot: 2, generation: NonZeroU32::new(19).unwrap() }),
            ..result()
        }),
        Message::Account(AccountMessage {
            captured: 1044,
            published: 1030,
            in_flight: 2,
            driver_gaps: 3,
            dropped: vec![Dropped { stage: "fast".into(), cause: "replaced".into(), frames: 12 }],
        }),
        Message::Maps(MapsMessage {
            epoch: 4,
            slots: 8,
            planes: vec![plane("depth", Dtype::F32, &[128, 256], 131_136, 131_072)],
            lines: Some(LinesInfo { slot_bytes: 2112, data_offset: 64, bytes: 2048 }),
        }),
    ]
}

#[test]
fn the_types_write_the_golden_messages_byte_for_byte() {
    let written: String = messages().iter().map(|m| serde_json::to_string(m).unwrap() + "\n").collect();
    let golden = golden("messages.jsonl");
    for (written, golden) in written.lines().zip(golden.lines()) {
        assert_eq!(written, golden);
    }
    assert_eq!(written, golden);
}

#[test]
fn the_golden_messages_read_back_as_what_was_written() {
    let read: Vec<Message> = golden("messages.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, messages());
}

#[test]
fn requests_are_read_as_documented_and_what_is_left_out_has_its_default() {
    let read = |line: &str| serde_json::from_str::<Request>(line).unwrap().subscribe;
    let lines = golden("requests.jsonl");
    let mut lines = lines.lines().map(read);
    assert_eq!(lines.next(), Some(Subscribe { tasks: Some(vec!["depth".into()]), every: 1, ..Subscribe::default() }));
    assert_eq!(lines.next(), Some(Subscribe { every: 5, maps: MapsMode::Inline, ..Subscribe::default() }));
    assert_eq!(lines.next(), Some(Subscribe::default()));
    assert_eq!(lines.next(), Some(Subscribe { maps: MapsMode::Shared, ..Subscribe::default() }));
    // A request of a later version: what this one does not know is ignored.
    assert_eq!(lines.next(), Some(Subscribe::default()));
    let all = Subscribe { maps: MapsMode::Shared, image: true, account: true, ..Subscribe::default() };
    assert_eq!(lines.next(), Some(all));
    let lines_there = Subscribe { maps: MapsMode::Shared, lines: LinesMode::Shared, ..Subscribe::default() };
    assert_eq!(lines.next(), Some(lines_there));
    assert_eq!(lines.next(), None);
}

#[test]
fn a_client_of_today_reads_the_messages_of_tomorrow() {
    let tomorrow = |line: &str| serde_json::from_str::<Message>(line).unwrap();
    assert_eq!(tomorrow(r#"{"type":"weather","sunny":true}"#), Message::Unknown);
    assert_eq!(tomorrow(r#"{"type":"ok","since":3}"#), Message::Ok);
    let line = serde_json::to_string(&Message::Result(result())).unwrap();
    let more = line.replace(r#""dropped":0,"#, r#""dropped":0,"mood":["good"],"#).replace(
        r#""features":{}"#,
        r#""features":{},"flow":{"mean":1.0},"depth2":{"p5":1,"p50":2,"p95":3,"nearest":0.5,"p99":4}"#,
    );
    let Message::Result(read) = tomorrow(&more) else { panic!() };
    assert_eq!(read.tasks.get("flow"), Some(&Statistics::Raw {}));
    let depth = Statistics::Depth { p5: Some(1.0), p50: Some(2.0), p95: Some(3.0), nearest: Some(0.5) };
    assert_eq!(read.tasks.get("depth2"), Some(&depth));
    let kind = serde_json::from_str::<TaskInfo>(
        r#"{"name":"f","kind":"flow","width":1,"height":1,"dtype":"f16","unit":null,"scale":null}"#,
    );
    assert_eq!(kind.unwrap(), TaskInfo { width: 1, height: 1, ..task("f", TaskKind::Unknown, Dtype::Unknown) });
}

#[test]
fn fractions_are_rounded_and_what_is_no_number_is_null() {
    let share = [("a".into(), Share(1.0 / 3.0)), ("b".into(), Share(f32::NAN))].into_iter().collect();
    let written = serde_json::to_string(&Statistics::Segmentation { share }).unwrap();
    assert_eq!(written, r#"{"share":{"a":0.3333,"b":null}}"#);
    assert!(matches!(serde_json::from_str(&written).unwrap(), Statistics::Segmentation { share }
        if share.get("a") == Some(&Share(0.3333)) && share.get("b").unwrap().0.is_nan()));
    let latency = Latency { total: 21.400_499, prepare: 0.0, fast: -0.000_1, publish: 1e-9 };
    let written = serde_json::to_string(&latency).unwrap();
    assert_eq!(written, r#"{"total":21.4,"prepare":0.0,"fast":0.0,"publish":0.0}"#);
}

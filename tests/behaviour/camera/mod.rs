//! What a camera's user sees, on replayed cameras: each format, each fault, each refusal.

mod replay;

use replay::{Replay, story};
use serde_json::Value;

use crate::support::{account, bundle};

/// `length` bytes that differ from their neighbours.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 37 % 251) as u8).collect()
}

fn reason(event: &Value) -> &str {
    event["reason"].as_str().unwrap_or_else(|| panic!("no reason in {event}"))
}

fn planes(event: &Value) -> Vec<Vec<u8>> {
    serde_json::from_value(event["planes"].clone()).unwrap()
}

/// A camera with 4×2 YUYV frames that differ.
fn webcam() -> Replay {
    Replay::of("mode YUYV 4 2 1 30", &bytes(16)).frame(&[7; 16]).frame(&[9; 16])
}

#[test]
fn every_format_comes_as_the_driver_laid_it_out() {
    let mplane = "caps 04001000";
    // Format, strides, bytes of each memory plane (the last row of the last plane is not padded), multi-planar or not.
    type Layout = (&'static str, &'static str, [usize; 3], [usize; 3], Option<&'static str>);
    let layouts: [Layout; 10] = [
        ("YUYV", "strides 12", [28, 0, 0], [12, 0, 0], None),
        ("UYVY", "strides 8", [16, 0, 0], [8, 0, 0], None),
        ("NV12", "strides 6", [22, 0, 0], [6, 6, 0], None),
        ("YU12", "strides 8", [24, 0, 0], [8, 4, 4], None),
        ("RGB3", "strides 16", [32, 0, 0], [16, 0, 0], None),
        ("GREY", "strides 4", [8, 0, 0], [4, 0, 0], None),
        ("NM12", "strides 6 8", [12, 8, 0], [6, 8, 0], Some(mplane)),
        ("YM12", "strides 8 4 4", [16, 4, 4], [8, 4, 4], Some(mplane)),
        ("NV12", "strides 4", [12, 0, 0], [4, 4, 0], Some(mplane)),
        ("YUYV", "strides 8", [16, 0, 0], [8, 0, 0], Some(mplane)),
    ];
    for (format, strides, sizes, expected_strides, caps) in layouts {
        let frame = bytes(sizes.iter().sum());
        let sizes: Vec<usize> = sizes.into_iter().filter(|size| *size > 0).collect();
        let plane_line = sizes.iter().fold("planes".to_owned(), |line, size| format!("{line} {size}"));
        let mut replay = Replay::new(&[&format!("mode {format} 4 2 1 25"), strides, &plane_line]).frame(&frame);
        if let Some(caps) = caps {
            replay = replay.line(caps);
        }
        let events = replay.events(2);
        assert_eq!(story(&events), [format!("up {format} 4x2"), "frame 0".into()], "{events:?}");
        assert_eq!(events[0]["strides"], serde_json::json!(expected_strides), "{format}");
        assert_eq!(events[0]["interval_ns"], 40_000_000);
        let mut rest = frame.as_slice();
        for (plane, size) in planes(&events[1]).iter().zip(&sizes) {
            let (expected, after) = rest.split_at(*size);
            assert_eq!(plane, expected, "{format}");
            rest = after;
        }
        assert_eq!(events[1]["picture"], true, "{format}");
        assert_eq!(events[1]["lent"], true, "{format}: copied without need");
    }
}

/// RGB of a colour in the range 0 to 1, by the defining equations (ITU-R BT.601-7, BT.709-6): nothing of milad's.
fn rgb(ycc: [f64; 3], full: bool, (kr, kb): (f64, f64)) -> [f64; 3] {
    let (black, luma, chroma) = if full { (0.0, 255.0, 255.0) } else { (16.0, 219.0, 224.0) };
    let y = (ycc[0] - black) / luma;
    let [pb, pr] = [ycc[1], ycc[2]].map(|c| (c - 128.0) / chroma);
    let (r, b) = (y + 2.0 * (1.0 - kr) * pr, y + 2.0 * (1.0 - kb) * pb);
    [r, (y - kr * r - kb * b) / (1.0 - kr - kb), b].map(|value| value.clamp(0.0, 1.0))
}

#[test]
fn the_same_bytes_are_other_colours_when_the_driver_says_another_range_or_matrix() {
    let [y, u, v] = [100_u8, 110, 150];
    let ycc = [y, u, v].map(f64::from);
    let planar = |parts: &[(u8, usize)]| -> Vec<u8> {
        parts.iter().flat_map(|(value, count)| std::iter::repeat_n(*value, *count)).collect()
    };
    let repeated = |pattern: &[u8], count: usize| pattern.iter().copied().cycle().take(count).collect::<Vec<u8>>();
    let frames = [
        ("YUYV", repeated(&[y, u, y, v], 16)),
        ("UYVY", repeated(&[u, y, v, y], 16)),
        ("NV12", [planar(&[(y, 8)]), repeated(&[u, v], 4)].concat()),
        ("YU12", planar(&[(y, 8), (u, 2), (v, 2)])),
        ("RGB3", repeated(&[y, u, v], 24)),
        ("GREY", planar(&[(y, 8)])),
    ];
    const BT601: (f64, f64) = (0.299, 0.114);
    const BT709: (f64, f64) = (0.2126, 0.0722);
    // colorspace, ycbcr_enc, quantization; SRGB is 8, REC709 is 3, full range 1, limited 2.
    for (numbers, full, matrix) in [
        ("color 8 0 2", false, BT601),
        ("color 8 0 1", true, BT601),
        ("color 3 0 1", true, BT709),
        ("color 8 2 2", false, BT709),
    ] {
        for (format, frame) in &frames {
            let events = Replay::of(&format!("mode {format} 4 2 1 30"), frame).line(numbers).events(2);
            let got: [f64; 3] = serde_json::from_value(events[1]["rgb"].clone()).unwrap();
            let straight = |value: f64| if full { value / 255.0 } else { (value - 16.0) / 219.0 };
            let expected = match *format {
                "RGB3" => ycc.map(straight),
                "GREY" => [straight(ycc[0]); 3],
                _ => rgb(ycc, full, matrix),
            };
            for (got, expected) in got.iter().zip(expected) {
                let off = (got - expected).abs() * 255.0;
                assert!(off <= 1.0, "{format}, {numbers}: {got} instead of {expected}, {off} levels off");
            }
        }
    }
}

#[test]
fn a_driver_without_the_extended_fields_is_not_asked_for_their_meaning() {
    let events = webcam().line("color_old 0").events(1);
    assert_eq!((&events[0]["matrix"], &events[0]["range"]), (&"Bt601".into(), &"Limited".into()), "{events:?}");
}

#[test]
fn mjpeg_pictures_are_decoded_and_a_torn_one_is_refused_alone() {
    let whole = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/frame-420.jpg")).unwrap();
    let (width, height) = milad::prepare::jpeg_size(&whole).unwrap();
    let replay = Replay::of(&format!("mode MJPG {width} {height} 1 30"), &whole)
        .frame(&whole[..whole.len() / 2])
        .frame(b"not a picture at all")
        .frame(&whole);
    let events = replay.events(5);
    assert_eq!(story(&events)[1..], ["frame 0", "frame 1", "frame 2", "frame 3"]);
    let refused: Vec<bool> = events[1..].iter().map(|event| !event["refused"].is_null()).collect();
    assert_eq!(refused, [false, true, true, false], "{events:?}");
    assert_eq!(events[1]["rgb"], events[4]["rgb"]);
    assert_eq!(events[0]["range"], "Full", "JPEG is full range where the driver says nothing");
}

#[test]
fn flagged_and_incomplete_frames_are_told_as_bad_and_the_stream_goes_on() {
    let events = webcam().line("at 1 error").line("at 2 short 15").line("at 3 short 4000000000").events(6);
    assert_eq!(story(&events)[1..], ["frame 0", "bad 1", "bad 2", "bad 3", "frame 4"]);
    assert!(reason(&events[2]).contains("damaged"), "{}", events[2]);
    assert!(reason(&events[3]).contains("15 bytes, expected 16"), "{}", events[3]);
    assert!(reason(&events[4]).contains("in a buffer of 16"), "{}", events[4]);
}

#[test]
fn the_drivers_count_shows_gaps_and_its_wrap_is_none() {
    let events = webcam().line("first 4294967294").line("at 4 skip 3").line("at 6 repeat").events(8);
    let base = 4_294_967_294_u64;
    let expected: Vec<String> = [0, 1, 2, 3, 7, 8, 9].iter().map(|ahead| format!("frame {}", base + ahead)).collect();
    assert_eq!(story(&events)[1..], expected);
}

#[test]
fn a_stamp_that_cannot_be_right_is_replaced_by_the_time_of_arrival() {
    let hour = 3600_i64 * 1_000_000_000;
    // Unknown clock (flags 0) with a stamp an hour off; the monotonic clock with one in the future, and before the start.
    let replay = webcam().line("at 1 clock 0").line("at 1 offset_s -3600");
    let events = replay.line("at 2 offset_s 3600").line("at 3 offset_s -3600").events(5);
    for event in &events[1..] {
        let behind = event["behind_ns"].as_i64().unwrap();
        assert!((0..hour / 2).contains(&behind), "{event}");
    }
}

#[test]
fn a_silent_camera_is_told_lost_and_opened_anew_without_touching_buffers_that_the_driver_has() {
    // The shim ends the program when a buffer is queued twice.
    let events = webcam().line("at 2 silence").events(5);
    assert_eq!(story(&events), ["up YUYV 4x2", "frame 0", "frame 1", "lost", "up YUYV 4x2"]);
    assert!(reason(&events[3]).contains("no frame for"), "{}", events[3]);
}

#[test]
fn an_unplugged_camera_comes_back_with_another_format() {
    let other = Replay::of("mode UYVY 8 2 1 15", &bytes(32));
    let events = webcam().line("at 2 hangup").line("hidden 2").then(other).events(6);
    let expected = ["up YUYV 4x2", "frame 0", "frame 1", "lost", "up UYVY 8x2", "frame 0"];
    assert_eq!(story(&events), expected);
    assert!(reason(&events[3]).contains("unplugged"), "{}", events[3]);
}

#[test]
fn a_camera_that_comes_back_as_something_else_is_waited_for() {
    let other = Replay::of("mode H264 8 2 1 15", &bytes(32)).line("at 0 hangup");
    let events = webcam().line("at 1 hangup").then(other).events(3);
    assert_eq!(story(&events), ["up YUYV 4x2", "frame 0", "lost"]);
}

#[test]
fn an_input_output_error_and_a_buffer_that_is_none_end_the_stream_but_not_the_program() {
    let events = webcam().line("at 1 eio").line("at 3 index 5000").events(8);
    let expected = ["up YUYV 4x2", "frame 0", "lost", "up YUYV 4x2", "frame 1", "lost", "up YUYV 4x2", "frame 3"];
    assert_eq!(story(&events), expected);
    assert!(reason(&events[2]).contains("input/output"), "{}", events[2]);
    assert!(reason(&events[5]).contains("buffer 5000"), "{}", events[5]);
}

#[test]
fn a_buffer_that_is_lent_out_is_not_taken_from_the_driver_again() {
    let events = webcam().with("MILAD_TEST_HOLD", "4").line("at 1 index 0").events(3);
    assert_eq!(story(&events), ["up YUYV 4x2", "frame 0", "lost"]);
    assert!(reason(&events[2]).contains("buffer 0, which it does not have"), "{}", events[2]);
}

#[test]
fn frames_are_lent_while_the_driver_has_enough_buffers_and_copied_then() {
    let events = webcam().with("MILAD_TEST_HOLD", "8").events(11);
    let lent =
        |events: &[Value]| -> Vec<bool> { events.iter().map(|event| event["lent"].as_bool().unwrap()).collect() };
    // Six buffers: four are lent, two stay with the driver, four more frames fit as copies.
    assert_eq!(lent(&events[1..9]), [true, true, true, true, false, false, false, false]);
    let sequences: Vec<_> = events[1..].iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (0..10).collect::<Vec<_>>());
}

#[test]
fn a_driver_with_one_buffer_only_gets_it_back_at_once() {
    let mplane = ["mode NM12 4 2 1 30", "caps 04001000", "strides 6 8", "planes 12 8", "buffers 1"];
    let frame = bytes(20);
    let events = Replay::new(&mplane).frame(&frame).with("MILAD_TEST_HOLD", "2").events(6);
    for event in &events[1..] {
        assert_eq!((&event["lent"], &event["picture"]), (&false.into(), &true.into()), "{event}");
        assert_eq!(planes(event)[0], frame, "a copy has all planes behind each other");
    }
}

#[test]
fn bytes_before_the_picture_are_skipped() {
    let mplane = ["mode YUYV 4 2 1 30", "caps 04001000", "planes 20", "at 0 data_offset 4"];
    let frame = bytes(20);
    let events = Replay::new(&mplane).frame(&frame).events(2);
    assert_eq!(planes(&events[1])[0], &frame[4..]);
}

#[test]
fn what_the_driver_answers_is_what_is_used() {
    let events = Replay::new(&["mode YUYV 4 2 1 30", "answer GREY", "planes 8"]).frame(&bytes(8)).events(2);
    assert_eq!(story(&events), ["up GREY 4x2", "frame 0"]);
    let events = Replay::new(&["mode YUYV 4 2 1 30", "answer H264", "planes 8"]).events(1);
    assert!(reason(&events[0]).contains("H264"), "{}", events[0]);
}

#[test]
fn a_driver_that_tells_neither_sizes_nor_rates_is_used_as_it_is() {
    let events = webcam().line("sparse").events(2);
    assert_eq!(story(&events), ["up YUYV 4x2", "frame 0"]);
    assert_eq!(events[0]["interval_ns"], 0);
}

#[test]
fn size_and_format_asked_for_are_taken() {
    let two = ["mode YUYV 4 2 1 30", "mode MJPG 8 4 1 30", "mode YUYV 8 4 1 5", "planes 64"];
    let replay = |size: &str| Replay::new(&two).frame(&bytes(64)).with("MILAD_TEST_SIZE", size);
    assert_eq!(story(&replay("4x2").events(1)), ["up YUYV 4x2"]);
    assert_eq!(story(&replay("8x4").events(1)), ["up MJPG 8x4"]);
    assert_eq!(story(&replay("8x4").with("MILAD_TEST_FORMAT", "yuyv").events(1)), ["up YUYV 8x4"]);
}

#[test]
fn each_refusal_says_what_is_wrong_and_what_to_do() {
    // Description, event, words.
    let cases: [(&[&str], &str, &[&str]); 15] = [
        (&["fail OPEN 2"], "lost", &["no such device", "milad devices"]),
        (&["fail OPEN 13"], "lost", &["no permission", "group `video`"]),
        (&["fail OPEN 16"], "lost", &["in use by another program"]),
        (&["fail OPEN 19"], "lost", &["plug"]),
        (&["fail QUERYCAP 25"], "unusable", &["not a capture device"]),
        (&["fail ENUM_FMT 19"], "lost", &["was unplugged", "VIDIOC_ENUM_FMT"]),
        (&["fail ENUM_FMT 5"], "lost", &["refused VIDIOC_ENUM_FMT"]),
        (&["fail ENUM_FMT 22"], "lost", &["no format at all", "plug"]),
        (&["fail S_FMT 16"], "lost", &["in use by another program"]),
        (&["fail REQBUFS 12"], "lost", &["no memory", "CMA"]),
        (&["fail STREAMON 28"], "lost", &["bandwidth"]),
        (&["caps 04800000"], "unusable", &["not a capture device", "metadata"]),
        (&["caps 24000001"], "unusable", &["CSI", "libcamera", "--source pipe:"]),
        (&["driver unicam"], "unusable", &["CSI", "libcamera", "rpicam-vid"]),
        (&["buffers 0"], "lost", &["no buffers"]),
    ];
    for (lines, event, words) in cases {
        let replay = lines.iter().fold(webcam(), |replay, line| replay.line(line));
        let events = replay.events(1);
        assert_eq!(events[0]["event"], event, "{lines:?}: {events:?}");
        for word in words {
            assert!(reason(&events[0]).contains(word), "{lines:?}: no {word:?} in {}", events[0]);
        }
    }
    for (format, words) in [("H264", ["H264", "YUYV"]), ("BA81", ["CSI", "libcamera"])] {
        let events = Replay::of(&format!("mode {format} 4 2 1 30"), &bytes(16)).events(1);
        assert_eq!(events[0]["event"], "unusable");
        for word in words {
            assert!(reason(&events[0]).contains(word), "no {word:?} in {}", events[0]);
        }
    }
    let events = webcam().with("MILAD_TEST_FORMAT", "NV12").events(1);
    assert!(reason(&events[0]).contains("YUYV"), "{}", events[0]);
}

#[test]
fn a_camera_that_cannot_tell_its_controls_is_lost_and_one_without_the_wanted_one_is_refused() {
    let events = webcam().with("MILAD_TEST_CONTROL", "gain").events(1);
    assert_eq!(events[0]["event"], "unusable", "{events:?}");
    assert!(reason(&events[0]).contains("no control \"gain\""), "{}", events[0]);
    let events = webcam().line("fail QUERY_EXT_CTRL 5").with("MILAD_TEST_CONTROL", "gain").events(1);
    assert_eq!(events[0]["event"], "lost", "{events:?}");
    assert!(reason(&events[0]).contains("VIDIOC_QUERY_EXT_CTRL"), "{}", events[0]);
    // One that was told before is set all the same: cameras are sold that fail at a single control, every time.
    let half = || webcam().line("control brightness").line("fail QUERY_EXT_CTRL 5");
    let events = half().with("MILAD_TEST_CONTROL", "brightness").events(1);
    assert_eq!(events[0]["event"], "up", "{events:?}");
    let events = half().with("MILAD_TEST_CONTROL", "gain").events(1);
    assert_eq!(events[0]["event"], "lost", "{events:?}");
    assert_eq!(half().listed()["node"]["controls"][0]["name"], "brightness");
    let listed = webcam().line("fail QUERY_EXT_CTRL 5").listed();
    assert_eq!(listed["node"]["state"], "camera", "its pictures do not depend on them: {listed}");
}

#[test]
fn a_file_that_is_no_device_is_refused_by_name() {
    let refusal = |path: &str| {
        let spec = format!("v4l2:{path}").parse().unwrap();
        let stop = milad::stop::Stop::new().unwrap();
        milad::capture::open(&spec, &milad::capture::Request::default(), &stop).err().unwrap().to_string()
    };
    assert!(refusal("/dev/null").contains("not a capture device"));
    assert!(refusal("/dev/no-such-camera").contains("no such device: /dev/no-such-camera"));
    assert!(refusal("/dev/").contains("is a folder"));
    assert!(refusal("no-such-name").contains("/dev/v4l/by-id"));
}

#[test]
fn devices_tells_formats_sizes_and_rates() {
    let listed = webcam().line("mode MJPG 8 4 1 60").line("mode MJPG 8 4 1 30").line("mode H264 8 4 1 30").listed();
    let node = &listed["node"];
    assert_eq!((&node["state"], &node["card"]), (&"camera".into(), &"Replayed camera".into()), "{listed}");
    assert_eq!(node["formats"][1]["modes"][0]["rates"], serde_json::json!([60.0, 30.0]));
    assert_eq!(node["formats"][2]["usable"], false);
    let text = listed["text"].as_str().unwrap();
    assert!(text.contains("MJPG  8x4         60, 30 frames/s") && text.contains("H264  not read"), "{text}");
    let csi = webcam().line("caps 24000001").listed();
    assert_eq!(csi["node"]["state"], "needs_libcamera");
    assert!(csi["text"].as_str().unwrap().contains("rpicam-vid"), "{csi}");
}

/// A JPEG camera of the picture's own size.
fn jpeg_camera() -> Replay {
    let whole = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/frame-420.jpg")).unwrap();
    let (width, height) = milad::prepare::jpeg_size(&whole).unwrap();
    Replay::of(&format!("mode MJPG {width} {height} 1 30"), &whole)
}

#[test]
fn check_and_devices_tell_what_is_there() {
    let bundle = bundle("plain").display().to_string();
    let source = format!("v4l2:{}", replay::DEVICE);
    let arguments = ["check", "--source", &source, "--bundle", &bundle];
    let (status, told, errors) = jpeg_camera().milad(&arguments);
    assert_eq!(status, Some(0), "{errors}");
    assert!(told.contains("Replayed camera") && told.contains("MJPG"), "{told}");
    let (status, _, errors) = jpeg_camera().line("fail OPEN 16").milad(&arguments);
    assert_eq!(status, Some(1), "it may be free later: {errors}");
    assert!(errors.contains("in use by another program"), "{errors}");
    let (status, told, errors) = jpeg_camera().milad(&["devices", replay::DEVICE, "--json"]);
    assert_eq!(status, Some(0), "{errors}");
    let listed: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(listed[0]["formats"][0]["format"], "MJPG");
}

#[test]
fn a_camera_that_no_waiting_heals_is_exit_status_78_for_run_and_check() {
    let bundle = bundle("plain").display().to_string();
    let source = format!("v4l2:{}", replay::DEVICE);
    let h264 = || Replay::of("mode H264 4 2 1 30", &bytes(16));
    for (replay, words) in [
        (jpeg_camera().line("caps 04800000"), "not a capture device"),
        (jpeg_camera().line("caps 24000001"), "libcamera"),
        (h264(), "H264"),
    ] {
        let socket = replay.path("socket");
        for command in ["run", "check"] {
            let flags = ["--source", &source, "--bundle", &bundle, "--socket", &socket, "--metrics", "off"];
            let (status, _, errors) = replay.milad(&[&[command], &flags[..]].concat());
            assert_eq!(status, Some(78), "{command}: {errors}");
            assert!(errors.contains(words), "{command}: no {words:?} in {errors}");
        }
    }
}

#[test]
fn the_daemon_accounts_for_every_frame_of_a_troubled_jpeg_camera() {
    // 30 frames are taken from the driver: one is flagged, one empty, two never came, and one loss lies between.
    let replay = jpeg_camera().line("at 3 error").line("at 5 short 0").line("at 8 skip 2").line("at 12 hangup");
    let (bundle, socket) = (bundle("plain").display().to_string(), replay.path("socket"));
    let source = format!("v4l2:{}", replay::DEVICE);
    let (status, _, errors) = replay.milad(&[
        "run",
        "--source",
        &source,
        "--bundle",
        &bundle,
        "--socket",
        &socket,
        "--metrics",
        "off",
        "--sync",
        "--frames",
        "30",
    ]);
    assert_eq!(status, Some(0), "{errors}");
    let count = |name| account(&errors, name);
    assert_eq!(count("captured"), 30, "{errors}");
    assert_eq!(count("dropped"), 2, "{errors}");
    assert_eq!(count("captured"), count("published") + count("dropped"), "{errors}");
    assert!(errors.contains("unplugged"), "{errors}");
}

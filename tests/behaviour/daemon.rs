//! `milad run` from its start to its end.

use std::io::{Read, Write};
use std::path::Path;

use rustix::process::{Resource, Rlimit, Signal};

use crate::support::{Daemon, account, bundle, folder, line, line_of, milad};

fn plain() -> String {
    bundle("plain").display().to_string()
}

#[test]
fn without_anything_it_plays_and_greets_and_answers() {
    // Where there is a camera, that is what would be played.
    let source: &[&str] = if Path::new("/dev/video0").exists() { &["--source", "scene:street"] } else { &[] };
    let daemon = Daemon::start(source);
    assert!(daemon.stdout().contains("playing  scene:street "), "{}", daemon.stdout());
    assert!(daemon.stdout().contains(&format!("nc -U {}", daemon.socket().display())));
    let mut client = daemon.connect();
    let hello = line(&mut client);
    assert_eq!((&hello["type"], &hello["protocol"]), (&"hello".into(), &1.into()));
    let first = line_of(&mut client, "result");
    let second = line_of(&mut client, "result");
    assert!(second["sequence"].as_u64() > first["sequence"].as_u64());
    assert!(second["captured_ns"].as_u64() < second["published_ns"].as_u64());
    for task in hello["tasks"].as_array().unwrap() {
        assert!(second["tasks"].get(task["name"].as_str().unwrap()).is_some(), "{second}");
    }
    assert!(daemon.stop().status.success());
}

#[test]
fn it_ends_after_as_many_frames_as_were_asked_for_and_accounts_for_each() {
    let ended = Daemon::start(&["--source", "card:?rate=200", "--bundle", &plain(), "--frames", "100"]).ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    let count = |name| account(&ended.stderr, name);
    assert_eq!(count("captured"), 100, "{}", ended.stderr);
    assert_eq!(count("captured"), count("published") + count("dropped"), "{}", ended.stderr);
    assert_eq!(count("in_flight"), 0);
}

#[test]
fn a_frame_that_comes_too_fast_is_replaced_and_counted() {
    // A clip that does not wait, answered asynchronously: more frames than the networks can look at.
    let folder = folder();
    let (clip, config) = (folder.join("clip.y4m"), folder.join("milad.toml"));
    let frames: Vec<u8> = (0..50).flat_map(y4m_frame).collect();
    std::fs::write(&clip, [Y4M_HEADER, &frames].concat()).unwrap();
    let text =
        format!("[keyframe]\nsynchronous = false\n[camera]\nsource = \"clip:{}?rate=max&loop=1\"\n", clip.display());
    std::fs::write(&config, text).unwrap();
    let ended = Daemon::start_in(folder, &["--config", config.to_str().unwrap(), "--frames", "3000"]).ended();
    assert!(ended.stderr.contains(",replaced}="), "{}", ended.stderr);
    let count = |name| account(&ended.stderr, name);
    assert_eq!(count("captured"), 3000);
    assert_eq!(count("captured"), count("published") + count("dropped"), "{}", ended.stderr);
}

#[test]
fn sigterm_ends_it_with_a_goodbye_and_nothing_in_flight() {
    let daemon = Daemon::start(&["--source", "card:"]);
    let mut client = daemon.connect();
    line_of(&mut client, "result");
    let socket = daemon.socket();
    daemon.signal(Signal::TERM);
    assert_eq!(line_of(&mut client, "bye")["reason"], "the daemon stops");
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "nothing comes after a goodbye");
    let ended = daemon.ended();
    assert!(ended.status.success());
    assert_eq!(account(&ended.stderr, "in_flight"), 0);
    assert!(!socket.exists(), "the socket is gone");
}

#[test]
fn sigterm_ends_it_while_it_waits_for_a_camera() {
    let mut daemon = Daemon::start(&["--source", "v4l2:/dev/video987"]);
    daemon.wait_until("the camera is missed", |daemon| daemon.stderr().contains("/dev/video987"));
    assert_eq!(line(&mut daemon.connect())["camera"], serde_json::Value::Null, "an honest greeting");
    assert!(daemon.get("/healthz", 200).contains("ok"));
    daemon.get("/readyz", 503);
    assert!(daemon.stop().status.success());
}

/// With a status of 0 the service manager would leave it down. The kernel polls no more descriptors than a process may have open.
#[test]
fn a_daemon_that_cannot_serve_its_clients_any_more_ends_with_1() {
    let daemon = Daemon::start(&["--source", "card:", "--bundle", &plain()]);
    let mut client = daemon.connect();
    line_of(&mut client, "result");
    let few = Rlimit { current: Some(1), maximum: Some(1) };
    rustix::process::prlimit(Some(daemon.pid()), Resource::Nofile, few).unwrap();
    assert_eq!(line_of(&mut client, "bye")["reason"], "the daemon can't serve its clients");
    let ended = daemon.ended();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("the results socket can't be waited for"), "{}", ended.stderr);
    assert_eq!(account(&ended.stderr, "in_flight"), 0, "{}", ended.stderr);
}

#[test]
fn metrics_and_health_tell_what_the_closing_account_tells() {
    let mut daemon = Daemon::start(&["--source", "card:?rate=100"]);
    daemon.wait_until("frames are published", |daemon| {
        let metrics = daemon.get("/metrics", 200);
        value(&metrics, "milad_frames_published_total") >= 5.0 && value(&metrics, "milad_keyframes_total") >= 1.0
    });
    daemon.get("/readyz", 200);
    let metrics = daemon.get("/metrics", 200);
    assert_eq!(value(&metrics, "milad_camera_up"), 1.0);
    let captured = value(&metrics, "milad_frames_captured_total");
    let ended = daemon.stop();
    assert!(account(&ended.stderr, "captured") as f64 >= captured);
}

/// Every frame in its place, in one scrape: nothing comes while the pipe is held open.
#[test]
fn a_scrape_accounts_for_every_frame() {
    let mut daemon = Daemon::start(&["--source", "pipe:", "--bundle", &plain()]);
    let mut input = daemon.stdin();
    input.write_all(Y4M_HEADER).unwrap();
    for number in 0..40 {
        input.write_all(&y4m_frame(number)).unwrap();
    }
    let settled = |daemon: &Daemon| {
        let metrics = daemon.get("/metrics", 200);
        value(&metrics, "milad_frames_captured_total") == 40.0 && value(&metrics, "milad_frames_in_flight") == 0.0
    };
    daemon.wait_until("all frames are answered", settled);
    let metrics = daemon.get("/metrics", 200);
    let published = value(&metrics, "milad_frames_published_total");
    let dropped = sum(&metrics, "milad_frames_dropped_total");
    assert_eq!(published + dropped, 40.0, "{metrics}");
    assert!(published >= 1.0);
    drop(input);
    let ended = daemon.ended();
    assert_eq!(account(&ended.stderr, "captured"), 40);
    assert_eq!(account(&ended.stderr, "published") as f64, published);
    assert_eq!(account(&ended.stderr, "dropped") as f64, dropped);
}

/// The sum over all series of a family.
fn sum(metrics: &str, name: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.split([' ', '{']).next() == Some(name));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

fn value(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find(|line| line.split([' ', '{']).next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name} in\n{metrics}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn sighup_applies_what_it_can_and_says_so_and_refuses_a_bad_file_whole() {
    let folder = folder();
    let file = folder.join("milad.toml");
    std::fs::write(&file, "[keyframe]\ninterval = 5\n[camera]\nsource = \"card:\"\n").unwrap();
    let mut daemon = Daemon::start_in(folder, &["--config", file.to_str().unwrap()]);
    let interval = |daemon: &Daemon| value(&daemon.get("/metrics", 200), "milad_keyframe_interval_frames");
    assert_eq!(interval(&daemon), 5.0);

    std::fs::write(&file, "[keyframe]\ninterval = 9\n[camera]\nsource = \"card:\"\nrate = 10\n").unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_until("the reload is told", |daemon| daemon.stderr().contains("reload: camera.rate needs a restart"));
    daemon.wait_until("it is applied", |daemon| daemon.stderr().contains("reload: keyframe.interval applied"));
    daemon.wait_until("it is in force", |daemon| interval(daemon) == 9.0);

    std::fs::write(&file, "[keyframe]\ninterval = 0\n").unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_until("the refusal is told", |daemon| daemon.stderr().contains("reload refused, nothing changed"));
    assert_eq!(interval(&daemon), 9.0);
    assert!(daemon.stop().status.success());
}

const Y4M_HEADER: &[u8] = b"YUV4MPEG2 W64 H32 F30:1 Ip C420jpeg\n";

/// 64×32 frames of a pattern that moves, as Y4M without its header.
fn y4m_frame(number: usize) -> Vec<u8> {
    let mut frame = b"FRAME\n".to_vec();
    frame.extend((0..64 * 32).map(|i| ((i * 7 + number * 13) % 220 + 16) as u8));
    frame.extend((0..2 * 32 * 16).map(|i| ((i * 3 + number * 5) % 224 + 16) as u8));
    frame
}

/// Every result's statistics, keyframe and maps of a synchronous run over 12 frames.
fn synchronous_run(name: &str, threads: usize) -> Vec<u8> {
    let folder = folder();
    let config = folder.join("milad.toml");
    std::fs::write(&config, format!("[threads]\nnetwork = {threads}\n[keyframe]\ninterval = 3\n")).unwrap();
    let bundle = bundle(name).display().to_string();
    let arguments = ["--config", config.to_str().unwrap(), "--source", "pipe:", "--sync", "--bundle", &bundle];
    let mut daemon = Daemon::start_in(folder, &arguments);
    let mut input = daemon.stdin();
    let mut client = daemon.connect();
    client.get_mut().write_all(b"{\"subscribe\":{\"maps\":\"inline\"}}\n").unwrap();
    line_of(&mut client, "ok");
    input.write_all(Y4M_HEADER).unwrap();
    let mut bytes = Vec::new();
    for number in 0..12 {
        input.write_all(&y4m_frame(number)).unwrap();
        let result = line_of(&mut client, "result");
        assert_eq!(result["sequence"], number as u64, "a frame is missing");
        assert_eq!(result["keyframe"]["sequence"], (number - number % 3) as u64);
        bytes.extend(result["tasks"].to_string().into_bytes());
        let mut payload = vec![0; result["payload_bytes"].as_u64().unwrap() as usize];
        client.read_exact(&mut payload).unwrap();
        bytes.extend(payload);
    }
    drop(input);
    assert_eq!(line_of(&mut client, "bye")["reason"], "the source ended");
    assert!(daemon.ended().status.success());
    bytes
}

#[test]
fn synchronous_output_is_the_same_for_every_run_and_any_number_of_threads() {
    // Not `multi-frame`: it looks at ages, and a pipe's frames are as old as they are. `infer` covers it.
    for name in ["plain", "task-specific", "fast-keys", "fast-keys-qdq"] {
        let once = synchronous_run(name, 1);
        assert!(once.len() > 12 * 64 * 32, "{name}: maps came along");
        assert!(once == synchronous_run(name, 1), "{name}: a second run differs");
        assert!(once == synchronous_run(name, 4), "{name}: four threads differ from one");
    }
}

/// Runs a program that must refuse to: its exit status and what it says.
fn refusal(arguments: &[&str]) -> (Option<i32>, String) {
    let folder = folder();
    let socket = folder.join("results.sock");
    let output = milad().args(arguments).args(["--socket", socket.to_str().unwrap()]).output().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_refused_configuration_is_exit_status_78_and_one_sentence() {
    let folder = folder();
    let file = folder.join("milad.toml");
    let path = file.to_str().unwrap();
    for (text, expected) in [
        ("[keyframe]\nintervall = 3", "unknown key `keyframe.intervall`; did you mean `keyframe.interval`?"),
        ("[keyframe]\ninterval = \"3\"", "invalid type: string \"3\", expected u32"),
        ("[keyframe]\ninterval = 0", "`keyframe.interval` is 0, expected 1 to 10000 frames"),
        ("[model]\nbundle = \"/nonexistent\"", "/nonexistent"),
        ("[camera]\nsource = \"film:\"", "\"film\" is not a kind of source"),
    ] {
        std::fs::write(&file, text).unwrap();
        for command in ["run", "check"] {
            let (status, stderr) = refusal(&[command, "--config", path, "--metrics", "off"]);
            assert_eq!(status, Some(78), "{command}: {text}: {stderr}");
            assert!(stderr.contains(expected), "{command}: {text}: {stderr}");
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_metrics_address_that_is_taken_is_named_with_a_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, stderr) = refusal(&["run", "--source", "card:", "--metrics", &address]);
    assert_eq!(status, Some(1));
    assert!(stderr.contains(&address) && stderr.contains("--metrics off"), "{stderr}");
}

#[test]
fn a_live_socket_is_refused_and_a_stale_one_replaced() {
    let daemon = Daemon::start(&["--source", "card:"]);
    let socket = daemon.socket();
    let output =
        milad().args(["run", "--source", "card:", "--metrics", "off", "--socket"]).arg(&socket).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains(socket.to_str().unwrap()));
    daemon.signal(Signal::KILL);
    let folder = folder();
    std::os::unix::net::UnixListener::bind(folder.join("results.sock")).unwrap();
    let second = Daemon::start_in(folder, &["--source", "card:"]);
    assert_eq!(line(&mut second.connect())["type"], "hello");
    assert!(second.stop().status.success());
}

#[test]
fn an_unknown_instruction_set_is_refused() {
    for command in ["run", "check"] {
        let output = milad().env("MILAD_KERNELS", "abacus").args([command, "--source", "card:"]).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{command}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("expected one of portable"), "{command}");
    }
}

#[test]
fn a_socket_path_that_cannot_be_is_exit_status_78_and_a_live_one_1_or_told_by_check() {
    let folder = folder();
    let file = folder.join("file");
    std::fs::write(&file, "mine").unwrap();
    let taken = folder.join("taken");
    let live = std::os::unix::net::UnixListener::bind(&taken).unwrap();
    let long = folder.join("x".repeat(108));
    for (path, expected, words) in [
        (&long, 78, "at most 107"),
        (&folder.join("missing/s"), 78, "does not exist"),
        (&file, 78, "exists and is not"),
        (&taken, 1, "in use by a running program"),
    ] {
        for command in ["run", "check"] {
            let bundle = plain();
            let flags = ["--source", "card:", "--frames", "1", "--metrics", "off", "--bundle", &bundle, "--socket"];
            let output = milad().arg(command).args(flags).arg(path).output().unwrap();
            let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            if (command, path) == ("check", &taken) {
                // Where a daemon runs is where its next configuration is checked.
                assert!(output.status.success() && stdout.contains(words), "{stdout}{stderr}");
                continue;
            }
            assert_eq!(output.status.code(), Some(expected), "{command} {}: {stderr}", path.display());
            assert!(stderr.contains(words), "{command}: no {words:?} in {stderr}");
        }
    }
    drop(live);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_clip_that_cannot_be_read_is_refused_by_check_as_by_run() {
    let folder = folder();
    let clip = folder.join("clip.y4m");
    std::fs::write(&clip, "no clip at all").unwrap();
    let source = format!("clip:{}", clip.display());
    for command in ["run", "check"] {
        let (status, stderr) = refusal(&[command, "--source", &source, "--bundle", &plain(), "--metrics", "off"]);
        assert_eq!(status, Some(78), "{command}: {stderr}");
        assert!(stderr.contains("clip.y4m"), "{command}: {stderr}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn check_tells_what_would_run_and_runs_nothing() {
    let output = milad().args(["check", "--source", "card:?width=320&height=240", "--interval", "4"]).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for expected in ["bundle", "320×240", "every 4 frames, asynchronous", "task           segmentation"] {
        assert!(stdout.contains(expected), "no {expected:?} in\n{stdout}");
    }
}

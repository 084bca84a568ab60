//! A camera without a kernel: this very test program runs again with `tests/shim` preloaded, drives the supervisor over
//! the replayed camera, and tells what happened as lines of JSON.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use milad::capture::supervisor::{Event, Supervisor};
use milad::capture::{Frame, Payload, Request, SourceSpec, devices};
use milad::clock::monotonic_ns;
use milad::model::InputSpec;
use milad::prepare::{Prepare, PrepareOptions};
use milad::stop::Stop;
use milad_kernels::pixel::Resize;
use serde_json::{Value, json};

/// The path that becomes a camera. No kernel gives this number.
pub const DEVICE: &str = "/dev/video4242";

/// The shim, built once per test run with the C compiler that building needs anyway.
fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("v4l2_shim-{}.so", std::process::id()));
        let compiler = std::env::var_os("CC").unwrap_or("cc".into());
        let status = Command::new(compiler)
            .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .args([sources.join("v4l2_shim.c"), sources.join("camera.c"), sources.join("script.c")])
            .arg("-ldl")
            .status()
            .expect("a C compiler");
        assert!(status.success(), "tests/shim does not build");
        library
    })
}

/// A camera to replay: the lines of its description (`tests/shim/script.h`) and the files that they name.
pub struct Replay {
    folder: PathBuf,
    lines: Vec<String>,
    files: u32,
    environment: Vec<(&'static str, String)>,
}

impl Replay {
    pub fn new(lines: &[&str]) -> Replay {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("milad-replay-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        Replay { folder, lines, files: 0, environment: Vec::new() }
    }

    /// A camera for frames of `frame`'s length in one plane, with one mode.
    pub fn of(mode: &str, frame: &[u8]) -> Replay {
        Replay::new(&[mode, &format!("planes {}", frame.len())]).frame(frame)
    }

    pub fn line(mut self, line: &str) -> Replay {
        self.lines.push(line.to_owned());
        self
    }

    pub fn frame(mut self, bytes: &[u8]) -> Replay {
        let path = self.file(bytes);
        self.line(&format!("frame {}", path.display()))
    }

    /// What it is after a hangup.
    pub fn then(mut self, mut next: Replay) -> Replay {
        let text = next.lines.join("\n");
        let path = self.file(text.as_bytes());
        // The files of `next` are to live as long as this one.
        let folder = self.folder.join("next");
        std::fs::rename(&next.folder, &folder).unwrap();
        let moved = text.replace(next.folder.to_str().unwrap(), folder.to_str().unwrap());
        std::fs::write(&path, moved).unwrap();
        next.folder = PathBuf::new();
        self.line(&format!("next {}", path.display()))
    }

    fn file(&mut self, bytes: &[u8]) -> PathBuf {
        self.files += 1;
        let path = self.folder.join(self.files.to_string());
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Replay {
        self.environment.push((name, value.to_owned()));
        self
    }

    fn run(&self, test: &str) -> Output {
        let mut command = Command::new(std::env::current_exe().unwrap());
        self.in_front_of(command.args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"]));
        command.output().unwrap()
    }

    fn in_front_of(&self, command: &mut Command) {
        let script = self.folder.join("script");
        std::fs::write(&script, self.lines.join("\n")).unwrap();
        command
            .env("LD_PRELOAD", shim())
            .env("MILAD_SHIM_DEVICE", DEVICE)
            .env("MILAD_SHIM_SCRIPT", script)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
    }

    /// `milad` itself with this camera: its exit status, standard output and standard error.
    pub fn milad(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = crate::support::milad();
        self.in_front_of(command.args(arguments));
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// A path in this replay's folder, for what the program makes.
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// The first `count` events.
    pub fn events(&self, count: usize) -> Vec<Value> {
        let events = self.with_count(count).told("camera::replay::tell");
        assert_eq!(events.len(), count, "{events:?}");
        events
    }

    fn with_count(&self, count: usize) -> Replay {
        let mut copy = Replay::new(&[]);
        copy.lines.clone_from(&self.lines);
        copy.environment.clone_from(&self.environment);
        copy.with("MILAD_TEST_EVENTS", &count.to_string())
    }

    /// What `milad devices` knows of it.
    pub fn listed(&self) -> Value {
        self.told("camera::replay::list").remove(0)
    }

    fn told(&self, test: &str) -> Vec<Value> {
        let output = self.run(test);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        text.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        if self.folder.is_absolute() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// The story in short: `up YUYV 4x2`, `frame 3`, `bad 4`, `lost`.
pub fn story(events: &[Value]) -> Vec<String> {
    let short = |event: &Value| match event["event"].as_str().unwrap() {
        "up" => format!("up {} {}x{}", event["format"].as_str().unwrap(), event["width"], event["height"]),
        name @ ("frame" | "bad") => format!("{name} {}", event["sequence"]),
        name => name.to_owned(),
    };
    events.iter().map(short).collect()
}

fn tell_line(value: &Value) {
    // The harness may have left something on this line.
    println!("\n{value}");
}

#[test]
#[ignore = "the inside of the replay tests"]
fn list() {
    let nodes = devices::list(&[DEVICE.into()]);
    let text = devices::report(&nodes, false).unwrap();
    tell_line(&json!({ "node": nodes[0], "text": text }));
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
#[ignore = "the inside of the replay tests"]
fn tell() {
    let count: usize = setting("MILAD_TEST_EVENTS").unwrap().parse().unwrap();
    let hold: usize = setting("MILAD_TEST_HOLD").map_or(0, |text| text.parse().unwrap());
    let spec: SourceSpec = format!("v4l2:{DEVICE}").parse().unwrap();
    let request = Request {
        format: setting("MILAD_TEST_FORMAT"),
        size: setting("MILAD_TEST_SIZE").map(|text| {
            let (width, height) = text.split_once('x').unwrap();
            (width.parse().unwrap(), height.parse().unwrap())
        }),
        controls: setting("MILAD_TEST_CONTROL").map(|name| (name, 1)).into_iter().collect(),
        ..Request::default()
    };
    let stop = Stop::new().unwrap();
    // A stream that waits for ever is to fail its test, not to hold up all of them.
    let late = stop.clone();
    std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(60));
        late.set();
    });
    let mut supervisor = Supervisor::new(spec, request);
    let mut prepare: Option<Prepare> = None;
    let mut camera = None;
    let mut held = std::collections::VecDeque::new();
    let mut told = 0;
    while told < count {
        let event = match supervisor.next(&stop) {
            Event::Waiting => continue,
            Event::Up(up) => {
                let input = InputSpec { width: 2, height: 2, mean: [0.0; 3], std: [1.0; 3], resize: Resize::Stretch };
                prepare = Prepare::new(&up, &input, &PrepareOptions::default()).ok();
                let format = &up.format;
                let told = json!({
                    "event": "up", "name": up.name, "format": up.format_name, "width": format.width,
                    "height": format.height, "strides": format.strides, "interval_ns": up.interval_ns,
                    "matrix": format!("{:?}", format.colour.matrix), "range": format!("{:?}", format.colour.range),
                });
                camera = Some(up);
                told
            }
            Event::Frame(raw) => {
                let frame = Frame { sequence: 0, epoch: 0, camera: camera.clone().unwrap(), raw };
                let mut image = [0u8; 16];
                let prepared = prepare.as_mut().map(|prepare| prepare.run(&frame, &mut image));
                let mean = |channel: usize| {
                    image.iter().skip(channel).step_by(4).map(|&byte| f32::from(byte)).sum::<f32>() / (4.0 * 255.0)
                };
                let planes = frame.raw.payload.memory_planes().map(|plane| plane.to_vec());
                let told = json!({
                    "event": "frame", "sequence": frame.raw.driver_sequence,
                    "behind_ns": monotonic_ns() as i64 - frame.raw.captured_ns as i64,
                    "lent": matches!(frame.raw.payload, Payload::Driver(_)),
                    "planes": planes, "picture": frame.camera.format.picture(&frame.raw.payload).is_some(),
                    "rgb": [mean(0), mean(1), mean(2)],
                    "refused": prepared.and_then(|result| result.err()).map(|bad| bad.to_string()),
                });
                held.push_back((frame, planes));
                if held.len() > hold {
                    held.pop_front();
                }
                told
            }
            Event::Bad { driver_sequence, reason } => {
                json!({ "event": "bad", "sequence": driver_sequence, "reason": reason })
            }
            Event::Lost { reason } => json!({ "event": "lost", "reason": reason }),
            Event::Unusable(reason) => json!({ "event": "unusable", "reason": reason }),
            Event::Ended => json!({ "event": "ended" }),
            Event::Stopped => json!({ "event": "stopped" }),
        };
        tell_line(&event);
        told += 1;
    }
    // Frames stay what they were, also without their camera.
    drop(supervisor);
    for (frame, planes) in held {
        assert_eq!(frame.raw.payload.memory_planes().map(|plane| plane.to_vec()), planes, "a held frame changed");
    }
}

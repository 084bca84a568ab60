//! A results server whose clock only moves when told, and a client that tells what it got.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use milad::publish::{Limits, Plane, Server, Values, socket};
use milad::stop::Stop;
use milad::telemetry::Metrics;
use milad_client::*;

const SECOND: u64 = 1_000_000_000;

/// A folder that is removed afterwards.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("milad-test-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server with a clock that only moves when told.
pub struct Rig {
    pub server: Server,
    clock: Arc<AtomicU64>,
    /// What the clock gains whenever it is read.
    pub tick: Arc<AtomicU64>,
    pub metrics: Metrics,
    pub never: Stop,
    pub folder: Folder,
    pub sequence: u64,
}

pub fn task(name: &str, width: u32, height: u32) -> TaskInfo {
    TaskInfo {
        name: name.into(),
        kind: TaskKind::Depth,
        width,
        height,
        dtype: Dtype::F32,
        channels: None,
        scale: None,
        unit: Some("m".into()),
        classes: vec![],
    }
}

pub fn hello(names: &[&str]) -> Hello {
    Hello {
        protocol: PROTOCOL,
        milad: "0.0.0".into(),
        bundle: BundleInfo::default(),
        clock: "monotonic".into(),
        realtime_offset_ns: 0,
        boot_id: String::new(),
        camera: None,
        tasks: names.iter().map(|name| task(name, 4, 2)).collect(),
    }
}

impl Rig {
    pub fn new(name: &str, limits: Limits) -> Rig {
        let folder = Folder::new(name);
        let listener = socket::bind(&folder.path("s"), 0o660, None).unwrap();
        let (clock, tick, metrics) = (Arc::new(AtomicU64::new(SECOND)), Arc::new(AtomicU64::new(0)), Metrics::new());
        let (read, ticks) = (clock.clone(), tick.clone());
        let mut server = Server::new(listener, limits)
            .unwrap()
            .with_clock(move || read.fetch_add(ticks.load(SeqCst), SeqCst))
            .with_metrics(metrics.clone());
        server.hello(hello(&["depth", "flow"]));
        Rig { server, clock, tick, metrics, never: Stop::new().unwrap(), folder, sequence: 0 }
    }

    /// Serves until nothing more happens.
    pub fn serve(&mut self) {
        for _ in 0..8 {
            self.server.wait(self.never.fd(), self.never.fd(), Some(Duration::ZERO)).unwrap();
        }
    }

    pub fn connect(&mut self) -> Peer {
        let stream = UnixStream::connect(self.folder.path("s")).unwrap();
        self.serve();
        let mut peer = Peer::new(stream);
        assert!(matches!(peer.next().message, Message::Hello(_)));
        peer
    }

    /// Publishes a result with a map of `pixels` for each task.
    pub fn publish_maps(&mut self, pixels: usize) {
        let mut result = self.result();
        result.sequence = self.sequence;
        self.publish_result(&result, pixels);
        self.sequence += 1;
    }

    pub fn publish_result(&mut self, result: &ResultMessage, pixels: usize) {
        let empty =
            |task| Plane { task, channels: 1, height: 1, width: pixels, values: Values::F32(vec![0.0; pixels].into()) };
        let mut planes = [0, 1].map(empty);
        self.server.lend(result.epoch, &mut planes);
        for (task, plane) in planes.iter_mut().enumerate() {
            let Values::F32(values) = &mut plane.values else { continue };
            values.iter_mut().enumerate().for_each(|(i, value)| *value = (i + task) as f32);
        }
        self.server.publish(result, &mut planes);
    }

    pub fn publish(&mut self) {
        self.publish_maps(8);
    }

    pub fn result(&self) -> ResultMessage {
        let depth = Statistics::Depth { p5: Some(1.0), p50: Some(2.0), p95: Some(3.0), nearest: None };
        ResultMessage {
            sequence: self.sequence,
            keyframe: Some(Keyframe::default()),
            confidence: Some(0.5),
            tasks: Named(vec![("depth".into(), depth), ("flow".into(), Statistics::Raw {})]),
            ..ResultMessage::default()
        }
    }

    pub fn pass(&mut self, seconds: u64) {
        self.clock.fetch_add(seconds * SECOND, SeqCst);
    }

    pub fn pass_ms(&mut self, milliseconds: u64) {
        self.clock.fetch_add(milliseconds * 1_000_000, SeqCst);
    }

    pub fn metric(&self, name: &str) -> u64 {
        let mut text = String::new();
        self.metrics.render(&mut text);
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap().to_owned();
        line.parse().unwrap()
    }
}

/// The other end: never waits.
pub struct Peer {
    reader: BufReader<UnixStream>,
}

impl Peer {
    pub fn new(stream: UnixStream) -> Peer {
        // Long enough that only a missing message can run into it.
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Peer { reader: BufReader::new(stream) }
    }

    pub fn stream(&self) -> &UnixStream {
        self.reader.get_ref()
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream().write_all(bytes.as_ref()).unwrap();
    }

    /// The next message that is already there.
    pub fn next(&mut self) -> Received {
        self.try_next().expect("a message")
    }

    pub fn try_next(&mut self) -> Option<Received> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error}"),
        }
        let message: Message = serde_json::from_str(&line).unwrap();
        let mut payload = vec![];
        if let Message::Result(result) = &message {
            payload.resize(result.payload_bytes as usize, 0);
            self.reader.read_exact(&mut payload).unwrap();
        }
        Some(Received { message, line: line.trim_end().into(), payload })
    }

    pub fn result(&mut self) -> ResultMessage {
        match self.next().message {
            Message::Result(result) => result,
            other => panic!("expected a result, got {other:?}"),
        }
    }

    pub fn error(&mut self) -> String {
        match self.next().message {
            Message::Error { message } => message,
            other => panic!("expected an error, got {other:?}"),
        }
    }

    pub fn is_empty(&mut self) -> bool {
        self.stream().set_nonblocking(true).unwrap();
        let nothing = matches!(self.reader.fill_buf(), Err(error) if error.kind() == ErrorKind::WouldBlock);
        self.stream().set_nonblocking(false).unwrap();
        nothing
    }
}

//! The publish stage with outcomes made by the test, and a real socket.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use tract_onnx::prelude::{IntoTValue, Tensor, tvec};

use super::account::Account;
use super::frame::{Meta, Outcome};
use super::link::{Event, LinkSender, Policy, link};
use super::publish::{Notice, PublishStage, Publisher};
use super::tests::camera;
use crate::model::{InputSpec, Prediction, Spec, TaskKind, TaskSpec};
use crate::publish::{Limits, Server, socket};
use crate::stop::Stop;
use crate::telemetry::{Cause, Health, Metrics, Stage};
use milad_kernels::pixel::Resize;

pub(super) fn spec() -> Arc<Spec> {
    Arc::new(Spec {
        name: "test".to_owned(),
        sha256: String::new(),
        trained_on: String::new(),
        frame_interval_s: 0.033,
        keyframe_interval: 5,
        intrinsics: None,
        input: InputSpec { width: 4, height: 4, mean: [0.0; 3], std: [1.0; 3], resize: Resize::Stretch },
        tasks: vec![TaskSpec { name: "raw".to_owned(), kind: TaskKind::Raw { channels: 1 }, width: 4, height: 4 }],
    })
}

fn outcome(sequence: u64, epoch: u64) -> Outcome {
    let map = Tensor::from_shape(&[1, 1, 2, 2], &[1f32, 2.0, 3.0, 4.0]).unwrap().into_tvalue();
    Outcome {
        meta: Meta {
            sequence,
            driver_sequence: sequence,
            epoch,
            captured_ns: 1,
            prepare_ns: 0,
            network_ns: 0,
            camera: camera(),
        },
        image: Arc::new(Tensor::zero::<u8>(&[4, 4, 4]).unwrap()),
        prediction: Prediction { tasks: tvec![map] },
        keyframe: None,
        confidence: None,
        slow_running: false,
    }
}

struct Rig {
    path: PathBuf,
    outcomes: Option<LinkSender<Outcome>>,
    notices: Sender<Notice>,
    event: Event,
    account: Arc<Account>,
    stop: Stop,
    thread: JoinHandle<std::io::Result<()>>,
}

impl Rig {
    fn start(name: &str) -> Rig {
        let path = std::env::temp_dir().join(format!("milad-test-{}-{name}", std::process::id()));
        let server = Server::new(socket::bind(&path, 0o600, None).unwrap(), Limits::default()).unwrap();
        let (event, stop) = (Event::new().unwrap(), Stop::new().unwrap());
        let (outcomes, received) = link(Policy::Lossless, Some(event.clone()));
        let (notices, told) = unbounded();
        let account = Arc::new(Account::new(Metrics::new()));
        let stage = PublishStage {
            spec: spec(),
            publisher: Publisher {
                server,
                health: Arc::new(Health::default()),
                intrinsics: None,
                interval: Arc::new(AtomicU32::new(5)),
            },
            outcomes: received,
            notices: told,
            event: event.clone(),
            account: account.clone(),
            stop: stop.clone(),
        };
        let thread = std::thread::spawn(|| stage.run());
        Rig { path, outcomes: Some(outcomes), notices, event, account, stop, thread }
    }

    fn connect(&self) -> impl Iterator<Item = serde_json::Value> + use<> {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        BufReader::new(stream).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
    }

    fn camera_up(&self, epoch: u64) {
        self.notices.send(Notice::CameraUp { camera: camera(), epoch }).unwrap();
        self.event.ring();
    }

    fn end(mut self) -> Arc<Account> {
        drop(self.outcomes.take());
        self.thread.join().unwrap().unwrap();
        self.account
    }
}

#[test]
fn a_client_is_greeted_and_served_however_fast_results_come() {
    let mut rig = Rig::start("flood");
    rig.camera_up(1);
    let (mut outcomes, enough) = (rig.outcomes.take().unwrap(), Arc::new(AtomicBool::new(false)));
    let told = enough.clone();
    let flood = std::thread::spawn(move || {
        // The next one waits in the link before the last one is published, always.
        let mut sequence = 0;
        while !told.load(Ordering::Relaxed) {
            outcomes.send(outcome(sequence, 1));
            sequence += 1;
        }
    });
    let mut client = rig.connect();
    assert_eq!(client.next().unwrap()["type"], "hello");
    assert!(client.any(|line| line["type"] == "result"));
    enough.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    rig.end();
}

#[test]
fn no_result_of_an_epoch_follows_the_next_ones_camera() {
    let mut rig = Rig::start("epochs");
    rig.camera_up(1);
    let mut client = rig.connect();
    assert_eq!(client.next().unwrap()["type"], "hello");
    let mut outcomes = rig.outcomes.take().unwrap();
    for (sequence, epoch) in [(0, 1), (1, 1)] {
        rig.account.captured(0);
        outcomes.send(outcome(sequence, epoch));
    }
    let mut sequence = |kind: &str| client.find(|line| line["type"] == kind).unwrap()["epoch"].clone();
    assert_eq!([sequence("result"), sequence("result")], [1, 1]);
    rig.camera_up(2);
    assert_eq!(sequence("camera"), 2);
    for (sequence, epoch) in [(2, 1), (3, 2)] {
        rig.account.captured(0);
        outcomes.send(outcome(sequence, epoch));
    }
    assert_eq!(sequence("result"), 2, "the late result of epoch 1 is held back");
    drop(outcomes);
    let summary = rig.end().summary();
    assert_eq!(summary.dropped, [(Stage::Publish, Cause::Stopped, 1)]);
    assert_eq!((summary.published, summary.in_flight()), (3, 0));
}

#[test]
fn a_stop_says_goodbye_before_the_networks_come_to_their_end() {
    let mut rig = Rig::start("goodbye");
    rig.camera_up(1);
    let mut client = rig.connect();
    assert_eq!(client.next().unwrap()["type"], "hello");
    // A network that is still at work: it holds its end of the link, and its last frame comes late.
    let mut outcomes = rig.outcomes.take().unwrap();
    rig.stop.set();
    assert_eq!(client.find(|line| line["type"] == "bye").unwrap()["reason"], "the daemon stops");
    rig.account.captured(0);
    outcomes.send(outcome(0, 1));
    drop(outcomes);
    assert_eq!(rig.end().summary().dropped, [(Stage::Publish, Cause::Stopped, 1)]);
}

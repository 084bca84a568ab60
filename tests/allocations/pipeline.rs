//! The five stages, from a live source to a socket. The networks are stand-ins: what the engine allocates inside a network
//! is its own affair.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use milad::capture::supervisor::Supervisor;
use milad::config::Threads;
use milad::model::engine::Image;
use milad::model::{Fast, FastRun, Keys, Memory, Model, Prediction, RunError, Slow, SlowRun};
use milad::pipeline::publish::Publisher;
use milad::pipeline::{self, Account, Options, Parts};
use milad::prepare::PrepareOptions;
use milad::publish::{Limits, Server, socket};
use milad::pulse::Pulses;
use milad::stop::Stop;
use milad::telemetry::{Health, Metrics};

use crate::publish::{prediction, spec};
use crate::{by_thread, settles};

struct StillFast(Prediction);

impl Fast for StillFast {
    fn run(&mut self, _: &Image, _: &Memory, _: u64) -> Result<FastRun, RunError> {
        Ok(FastRun { prediction: self.0.clone(), confidence: Some(0.5), ..FastRun::default() })
    }
}

struct StillSlow(Prediction);

impl Slow for StillSlow {
    fn run(&mut self, _: &Image, _: Keys, _: u64) -> Result<SlowRun, RunError> {
        Ok(SlowRun { prediction: self.0.clone(), memory: Memory::default() })
    }

    fn reset(&mut self) {}
}

/// Memory asked for so far by each thread of the daemon.
fn allocations_by_stage() -> BTreeMap<String, u64> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks
        .filter_map(|task| {
            let name = std::fs::read_to_string(task.path().join("comm")).ok()?.trim().to_owned();
            let thread = task.file_name().to_str()?.parse().ok()?;
            name.starts_with("milad-").then(|| (name, by_thread(thread)))
        })
        .collect()
}

#[test]
fn no_stage_allocates_per_frame_once_warm() {
    for (synchronous, stages) in [
        (false, &["milad-capture", "milad-prepare", "milad-fast", "milad-slow", "milad-publish"][..]),
        (true, &["milad-capture", "milad-prepare", "milad-fast", "milad-publish"][..]),
    ] {
        run(synchronous, stages);
    }
}

fn run(synchronous: bool, stages: &[&str]) {
    let path = std::env::temp_dir().join(format!("milad-test-{}-pipeline-{synchronous}", std::process::id()));
    let (spec, stop, metrics) = (Arc::new(spec()), Stop::new().unwrap(), Metrics::new());
    let server = Server::new(socket::bind(&path, 0o600, None).unwrap(), Limits::default()).unwrap();
    let health = Arc::new(Health::default());
    let account = Arc::new(Account::new(metrics.clone()));
    let interval = Arc::new(AtomicU32::new(3));
    let source = "card:?rate=500&width=320&height=240".parse().unwrap();
    let parts = Parts {
        model: Model {
            spec,
            fast: Box::new(StillFast(prediction())),
            slow: Box::new(StillSlow(prediction())),
            initial: Memory::default(),
            report: Default::default(),
        },
        supervisor: Supervisor::new(source, Default::default()),
        publisher: Publisher {
            server: server.with_metrics(metrics),
            health,
            intrinsics: None,
            interval: interval.clone(),
        },
        account: account.clone(),
        pulses: Pulses::default(),
        stop: stop.clone(),
    };
    let options = Options {
        synchronous,
        interval,
        frames: None,
        prepare: PrepareOptions::default(),
        threads: Threads::default(),
    };
    let pipeline = pipeline::start(parts, options).unwrap();
    let mut stream = UnixStream::connect(&path).unwrap();
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
    });

    let wait_for = |published: u64| {
        let limit = Instant::now() + Duration::from_secs(60);
        while account.summary().published < published {
            assert!(Instant::now() < limit, "{}", account.summary());
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    wait_for(300);
    let warm = allocations_by_stage();
    for stage in stages {
        assert!(warm.contains_key(*stage), "no thread {stage} in {warm:?}");
    }
    settles(allocations_by_stage, || wait_for(account.summary().published + 300));
    stop.set();
    pipeline.wait(&stop);
    assert_eq!(account.summary().in_flight(), 0);
    reader.join().unwrap();
}

//! Starts the stages, binds them to their cores, and waits for them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use milad_handover::mailbox;

use super::account::Account;
use super::capture::{CaptureStage, Ended};
use super::cores;
use super::fast::FastStage;
use super::link::{Event, Policy, link};
use super::prepare::PrepareStage;
use super::publish::{PublishStage, Publisher};
use super::pulse::Pulses;
use super::slow::SlowStage;
use super::synchronous::SynchronousStage;
use crate::capture::supervisor::Supervisor;
use crate::config::Threads;
use crate::model::Model;
use crate::prepare::PrepareOptions;
use crate::stop::Stop;
use crate::telemetry::Stage;

/// How the stages work together.
#[derive(Debug, Clone)]
pub struct Options {
    /// Wait for every frame, and run the slow network in step with them.
    pub synchronous: bool,
    /// Frames from keyframe to keyframe. May be changed while running.
    pub interval: Arc<AtomicU32>,
    /// End after so many frames.
    pub frames: Option<u64>,
    /// How the user wants the picture turned.
    pub prepare: PrepareOptions,
    /// Which thread runs where.
    pub threads: Threads,
}

/// What the stages are made of.
pub struct Parts {
    /// The networks.
    pub model: Model,
    /// The source of frames.
    pub supervisor: Supervisor,
    /// The way to the clients.
    pub publisher: Publisher,
    /// Where frames are counted.
    pub account: Arc<Account>,
    /// What each stage is doing, for the watchdog.
    pub pulses: Pulses,
    /// Ends everything.
    pub stop: Stop,
}

/// The thread that gives way to all others.
const SLOW: &str = "slow";
/// How long a network may take to come to its end once the daemon stops: together with the rest, within a second.
const PATIENCE: Duration = Duration::from_millis(600);

/// The running stages.
pub struct Pipeline {
    capture: JoinHandle<Ended>,
    others: Vec<JoinHandle<()>>,
}

impl Pipeline {
    /// Waits until all stages have ended. From then on every frame is accounted for.
    ///
    /// A network can't be interrupted. Once `stop` is set, a stage that is still at work after [`PATIENCE`] is left behind,
    /// with its frame in flight, for the end of the process.
    pub fn wait(self, stop: &Stop) -> Ended {
        let mut deadline = None;
        while !self.has_ended() {
            if stop.is_set() && Instant::now() >= *deadline.get_or_insert_with(|| Instant::now() + PATIENCE) {
                log::warn!("a network is still at work: not waiting for it");
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let panicked = || Ended::Unusable("a stage panicked; its message is above".to_owned());
        let mut ended = Ended::Stopped;
        if self.capture.is_finished() {
            ended = self.capture.join().unwrap_or_else(|_| panicked());
        }
        for thread in self.others {
            if thread.is_finished() && thread.join().is_err() {
                ended = panicked();
            }
        }
        ended
    }

    fn has_ended(&self) -> bool {
        self.capture.is_finished() && self.others.iter().all(JoinHandle::is_finished)
    }
}

/// Stops the daemon when a thread unwinds, so that a half-dead pipeline never looks alive.
struct StopOnPanic(Stop);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set();
        }
    }
}

fn spawn<T: Send + 'static>(
    name: &'static str,
    cores: Option<Vec<usize>>,
    stop: &Stop,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let guard = StopOnPanic(stop.clone());
    std::thread::Builder::new().name(format!("milad-{name}")).spawn(move || {
        let _guard = guard;
        cores::pin(name, cores.as_deref());
        if name != SLOW {
            cores::be_prompt(name);
        }
        body()
    })
}

/// Starts one thread a stage. Fails when the system has no more threads or descriptors to give.
pub fn start(parts: Parts, options: Options) -> io::Result<Pipeline> {
    let Parts { model, supervisor, publisher, account, pulses, stop } = parts;
    let Model { spec, fast, slow, initial, .. } = model;
    let policy = if options.synchronous { Policy::Lossless } else { Policy::NewestWins };
    let Threads { capture_cores, fast_cores, slow_cores, publish_cores, .. } = options.threads;

    let event = Event::new()?;
    let (frame_sender, frames) = link(policy, None);
    let (image_sender, images) = link(policy, None);
    let (outcome_sender, outcomes) = link(policy, Some(event.clone()));
    let (notice_sender, notices) = crossbeam_channel::unbounded();

    let capture = CaptureStage {
        supervisor,
        output: frame_sender,
        notices: notice_sender,
        event: event.clone(),
        account: account.clone(),
        pulse: pulses.of(Stage::Capture),
        stop: stop.clone(),
        frames: options.frames,
    };
    let prepare = PrepareStage {
        input: spec.input.clone(),
        options: options.prepare,
        frames: frames.keeping(pulses.of(Stage::Prepare)),
        output: image_sender,
        account: account.clone(),
        stop: stop.clone(),
    };
    let publish = PublishStage {
        spec: spec.clone(),
        publisher,
        outcomes,
        notices,
        event,
        pulse: pulses.of(Stage::Publish),
        account: account.clone(),
        stop: stop.clone(),
    };

    let mut others = vec![
        spawn("publish", publish_cores, &stop, move || publish.run())?,
        spawn("prepare", fast_cores.clone(), &stop, move || prepare.run())?,
    ];
    let images = images.keeping(pulses.of(Stage::Fast));
    if options.synchronous {
        let stage = SynchronousStage {
            fast,
            slow,
            initial,
            images,
            output: outcome_sender,
            interval: options.interval,
            account,
            stop: stop.clone(),
        };
        others.push(spawn("networks", fast_cores, &stop, move || stage.run())?);
    } else {
        let (nominate, nominations) = link(Policy::NewestWins, None);
        let nominations = nominations.keeping(pulses.of(Stage::Slow));
        let (memory_putter, memory_taker) = mailbox();
        let busy = Arc::new(AtomicBool::new(false));
        let fast = FastStage {
            network: fast,
            initial,
            images,
            output: outcome_sender,
            nominations: nominate,
            memories: memory_taker,
            slow_busy: busy.clone(),
            interval: options.interval,
            account: account.clone(),
            stop: stop.clone(),
        };
        let slow = SlowStage { network: slow, nominations, memories: memory_putter, busy, account, stop: stop.clone() };
        others.push(spawn("fast", fast_cores, &stop, move || fast.run())?);
        others.push(spawn(SLOW, slow_cores, &stop, move || {
            cores::give_way();
            slow.run();
        })?);
    }
    let capture = spawn("capture", capture_cores, &stop, move || capture.run())?;
    Ok(Pipeline { capture, others })
}

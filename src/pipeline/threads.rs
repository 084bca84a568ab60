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
use super::slow::SlowStage;
use super::synchronous::SynchronousStage;
use crate::capture::supervisor::Supervisor;
use crate::config::Threads;
use crate::model::Model;
use crate::prepare::PrepareOptions;
use crate::pulse::Pulses;
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

/// How long a network may take to come to its end once the daemon stops: together with the rest, within a second.
const PATIENCE: Duration = Duration::from_millis(600);

/// The running stages.
pub struct Pipeline {
    capture: JoinHandle<Ended>,
    publish: JoinHandle<io::Result<()>>,
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
        let mut ended = Ended::Stopped;
        if self.capture.is_finished() {
            ended = self.capture.join().unwrap_or(Ended::Failed);
        }
        if self.publish.is_finished() && !matches!(self.publish.join(), Ok(Ok(()))) {
            ended = Ended::Failed;
        }
        for thread in self.others {
            if thread.is_finished() && thread.join().is_err() {
                ended = Ended::Failed;
            }
        }
        ended
    }

    fn has_ended(&self) -> bool {
        self.capture.is_finished() && self.publish.is_finished() && self.others.iter().all(JoinHandle::is_finished)
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

/// Starts stages: each a thread of its own, on its cores, watched, and none left running without the others.
struct Stages {
    pulses: Pulses,
    stop: Stop,
}

impl Stages {
    fn spawn<T: Send + 'static>(
        &self,
        stage: Stage,
        cores: Option<Vec<usize>>,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let (guard, pulses, name) = (StopOnPanic(self.stop.clone()), self.pulses.clone(), stage.name());
        std::thread::Builder::new().name(format!("milad-{name}")).spawn(move || {
            let _guard = guard;
            pulses.keep(stage);
            cores::pin(name, cores.as_deref());
            match stage {
                Stage::Slow => cores::give_way(),
                _ => cores::be_prompt(name),
            }
            body()
        })
    }
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
        stop: stop.clone(),
        frames: options.frames,
    };
    let prepare = PrepareStage {
        input: spec.input.clone(),
        options: options.prepare,
        frames,
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
        account: account.clone(),
        stop: stop.clone(),
    };

    let stages = Stages { pulses, stop: stop.clone() };
    let publish = stages.spawn(Stage::Publish, publish_cores, move || publish.run())?;
    let mut others = vec![stages.spawn(Stage::Prepare, fast_cores.clone(), move || prepare.run())?];
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
        others.push(stages.spawn(Stage::Fast, fast_cores, move || stage.run())?);
    } else {
        let (nominate, nominations) = link(Policy::NewestWins, None);
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
        others.push(stages.spawn(Stage::Fast, fast_cores, move || fast.run())?);
        others.push(stages.spawn(Stage::Slow, slow_cores, move || slow.run())?);
    }
    let capture = stages.spawn(Stage::Capture, capture_cores, move || capture.run())?;
    Ok(Pipeline { capture, publish, others })
}

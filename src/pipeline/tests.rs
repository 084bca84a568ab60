//! The stages with networks that only tell what they saw: when a keyframe is nominated, when its memory comes into force,
//! and that every frame is accounted for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use milad_handover::mailbox;
use milad_kernels::pixel::{Colour, PixelFormat};
use tract_onnx::prelude::{TValue, Tensor, tvec};

use super::account::Account;
use super::capture::Ended;
use super::fast::FastStage;
use super::frame::{KeyframeMark, Meta, Outcome, Prepared};
use super::link::{LinkReceiver, LinkSender, Policy, Sent, link};
use super::publish::Publisher;
use super::slow::SlowStage;
use super::synchronous::SynchronousStage;
use super::{Options, Parts, Pipeline, start};
use crate::capture::supervisor::Supervisor;
use crate::capture::{Camera, Encoding, StreamFormat};
use crate::model::engine::Image;
use crate::model::{Fast, FastRun, Keys, Memory, Model, Prediction, RunError, Slow, SlowRun};
use crate::publish::{Limits, Server, socket};
use crate::pulse::Pulses;
use crate::stop::Stop;
use crate::telemetry::{Cause, Metrics, Stage};

fn value(number: u64) -> TValue {
    Tensor::from(number as f32).into()
}

fn number(values: &[TValue]) -> Option<u64> {
    let value = values.first()?.as_plain_ram()?.as_slice::<f32>().ok()?.first().copied()?;
    Some(value as u64)
}

/// Predicts the number of the keyframe in its memory; its keys are the frame's own capture time.
struct FakeFast;

impl Fast for FakeFast {
    fn run(&mut self, _: &Image, memory: &Memory, captured_ns: u64) -> Result<FastRun, RunError> {
        if captured_ns == BROKEN {
            return Err(RunError { network: "fast", reason: "broken on purpose".to_owned() });
        }
        let seen = number(&memory.values).map_or(0, |keyframe| keyframe);
        Ok(FastRun {
            prediction: Prediction { tasks: tvec![value(seen)] },
            keys: Keys(tvec![value(captured_ns)]),
            ..FastRun::default()
        })
    }
}

/// A capture time on which the fast network fails.
const BROKEN: u64 = 666;

/// Makes a memory of the keys it was given, once it is told whether to succeed. Predicts 1000 + the keys.
struct FakeSlow {
    verdicts: Receiver<bool>,
    resets: Sender<()>,
}

impl Slow for FakeSlow {
    fn run(&mut self, _: &Image, keys: Keys, captured_ns: u64) -> Result<SlowRun, RunError> {
        if !self.verdicts.recv().unwrap_or(true) {
            return Err(RunError { network: "slow", reason: "broken on purpose".to_owned() });
        }
        assert_eq!(number(&keys.0), Some(captured_ns), "the keys are those of another frame");
        Ok(SlowRun {
            prediction: Prediction { tasks: tvec![value(1000 + captured_ns)] },
            memory: Memory { values: keys.0, captured_ns: tvec![captured_ns] },
        })
    }

    fn reset(&mut self) {
        self.resets.send(()).unwrap();
    }
}

pub(super) fn camera() -> Arc<Camera> {
    Arc::new(Camera {
        name: "test".to_owned(),
        format_name: "GREY".to_owned(),
        format: StreamFormat {
            encoding: Encoding::Raw(PixelFormat::Grey),
            width: 1,
            height: 1,
            strides: [1, 0, 0],
            colour: Colour::FULL_DEFAULT,
        },
        interval_ns: 0,
        live: true,
        counts: false,
        intrinsics: None,
    })
}

/// Frame `sequence`, captured at `sequence + 1`.
fn prepared(sequence: u64, epoch: u64) -> Prepared {
    let captured_ns = sequence + 1;
    let meta = Meta {
        sequence,
        driver_sequence: sequence,
        epoch,
        captured_ns,
        prepare_ns: 0,
        network_ns: 0,
        camera: camera(),
    };
    Prepared { meta, image: Arc::new(Tensor::from(0f32)) }
}

/// The fast and the slow stage, with a test at both ends.
struct Bench {
    images: Option<LinkSender<Prepared>>,
    outcomes: LinkReceiver<Outcome>,
    verdicts: Sender<bool>,
    resets: Receiver<()>,
    busy: Arc<AtomicBool>,
    account: Arc<Account>,
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
    epoch: u64,
}

impl Bench {
    fn asynchronous(interval: u32) -> Bench {
        let account = Arc::new(Account::new(Metrics::new()));
        let stop = Stop::new().unwrap();
        let busy = Arc::new(AtomicBool::new(false));
        let (image_sender, images) = link(Policy::Lossless, None);
        let (output, outcomes) = link(Policy::Lossless, None);
        let (nominate, nominations) = link(Policy::NewestWins, None);
        let (put, memories) = mailbox();
        let (verdicts, verdict_receiver) = unbounded();
        let (reset_sender, resets) = unbounded();
        let fast = FastStage {
            network: Box::new(FakeFast),
            initial: Memory::default(),
            images,
            output,
            nominations: nominate,
            memories,
            slow_busy: busy.clone(),
            interval: Arc::new(AtomicU32::new(interval)),
            account: account.clone(),
            stop: stop.clone(),
        };
        let slow = SlowStage {
            network: Box::new(FakeSlow { verdicts: verdict_receiver, resets: reset_sender }),
            nominations,
            memories: put,
            busy: busy.clone(),
            account: account.clone(),
            stop: stop.clone(),
        };
        let threads = vec![std::thread::spawn(|| fast.run()), std::thread::spawn(|| slow.run())];
        Bench { images: Some(image_sender), outcomes, verdicts, resets, busy, account, stop, threads, epoch: 0 }
    }

    fn synchronous(interval: u32) -> Bench {
        let account = Arc::new(Account::new(Metrics::new()));
        let stop = Stop::new().unwrap();
        let (image_sender, images) = link(Policy::Lossless, None);
        let (output, outcomes) = link(Policy::Lossless, None);
        let (verdicts, verdict_receiver) = unbounded();
        let (reset_sender, resets) = unbounded();
        let stage = SynchronousStage {
            fast: Box::new(FakeFast),
            slow: Box::new(FakeSlow { verdicts: verdict_receiver, resets: reset_sender }),
            initial: Memory::default(),
            images,
            output,
            interval: Arc::new(AtomicU32::new(interval)),
            account: account.clone(),
            stop: stop.clone(),
        };
        let threads = vec![std::thread::spawn(|| stage.run())];
        let busy = Arc::new(AtomicBool::new(false));
        Bench { images: Some(image_sender), outcomes, verdicts, resets, busy, account, stop, threads, epoch: 0 }
    }

    /// Sends a frame and waits for its answer: what was predicted, and with which keyframe.
    fn answer(&mut self, sequence: u64, epoch: u64) -> (u64, Option<KeyframeMark>) {
        self.send(prepared(sequence, epoch));
        let outcome = self.outcomes.receive().unwrap();
        assert_eq!(outcome.meta.sequence, sequence);
        (number(&outcome.prediction.tasks).unwrap(), outcome.keyframe)
    }

    fn send(&mut self, prepared: Prepared) {
        self.epoch = prepared.meta.epoch;
        self.account.captured(0);
        assert!(matches!(self.images.as_mut().unwrap().send(prepared), Sent::Delivered));
    }

    /// Waits until the fast stage has come to the end of its last frame, nomination or none: a frame behind it fails, and that is counted.
    fn settle(&mut self) {
        let failed = |account: &Account| -> u64 {
            account
                .summary()
                .dropped
                .iter()
                .filter(|(_, cause, _)| *cause == Cause::Failed)
                .map(|(_, _, count)| count)
                .sum()
        };
        let before = failed(&self.account);
        let mut broken = prepared(0, self.epoch);
        broken.meta.captured_ns = BROKEN;
        self.send(broken);
        while failed(&self.account) == before {
            std::thread::yield_now();
        }
    }

    /// Lets the slow network finish its keyframe, well or badly, and waits until it is idle.
    fn finish_keyframe(&mut self, success: bool) {
        // Else a frame that was answered could be nominated as soon as this keyframe is done.
        self.settle();
        self.verdicts.send(success).unwrap();
        while self.busy.load(std::sync::atomic::Ordering::Acquire) {
            std::thread::yield_now();
        }
    }

    /// Waits until the fast stage has come to the end of its frame, where it nominates.
    fn wait_for_nomination(&self) {
        while !self.busy.load(std::sync::atomic::Ordering::Acquire) {
            std::thread::yield_now();
        }
    }

    fn end(mut self) -> Arc<Account> {
        drop(self.images.take());
        drop(self.verdicts);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        self.account
    }
}

fn mark(sequence: u64) -> Option<KeyframeMark> {
    Some(KeyframeMark { sequence, captured_ns: sequence + 1 })
}

#[test]
fn a_keyframe_comes_into_force_whole_and_only_when_it_is_finished() {
    let mut bench = Bench::asynchronous(2);
    assert_eq!(bench.answer(0, 1), (0, None), "before the first keyframe there is none");
    bench.wait_for_nomination();
    assert_eq!(bench.answer(1, 1), (0, None), "frame 0 is a keyframe, but not finished");
    assert_eq!(bench.answer(2, 1), (0, None), "frame 2 would be due, but the slow network is busy");
    bench.finish_keyframe(true);
    assert_eq!(bench.answer(3, 1), (1, mark(0)), "frame 0's own keys, captured at 1");
    bench.wait_for_nomination();
    bench.finish_keyframe(true);
    assert_eq!(bench.answer(4, 1), (4, mark(3)), "frame 3 was nominated: 2 frames after frame 0, and slow was idle");
    bench.end();
}

#[test]
fn a_failed_keyframe_changes_nothing() {
    let mut bench = Bench::asynchronous(1);
    bench.answer(0, 1);
    bench.wait_for_nomination();
    bench.finish_keyframe(true);
    assert_eq!(bench.answer(1, 1), (1, mark(0)));
    bench.wait_for_nomination();
    bench.finish_keyframe(false);
    assert_eq!(bench.answer(2, 1), (1, mark(0)), "keyframe 1 failed: keyframe 0 stays in force");
    bench.wait_for_nomination();
    bench.finish_keyframe(true);
    assert_eq!(bench.answer(3, 1), (3, mark(2)));
    bench.end();
}

#[test]
fn a_new_epoch_forgets_the_keyframes_of_the_old_one() {
    let mut bench = Bench::asynchronous(1);
    bench.answer(0, 1);
    bench.wait_for_nomination();
    // The camera is lost while keyframe 0 is still in work: it finishes too late, into another epoch.
    assert_eq!(bench.answer(1, 2), (0, None));
    bench.finish_keyframe(true);
    assert_eq!(bench.answer(2, 2), (0, None), "a keyframe of another epoch");
    bench.wait_for_nomination();
    bench.finish_keyframe(true);
    assert_eq!(bench.answer(3, 2), (3, mark(2)));
    assert_eq!(bench.resets.try_iter().count(), 2, "the slow network starts afresh with each epoch");
    bench.end();
}

#[test]
fn a_frame_that_the_fast_network_fails_on_is_lost_alone_and_counted() {
    let mut bench = Bench::asynchronous(100);
    bench.answer(0, 1);
    let mut broken = prepared(1, 1);
    broken.meta.captured_ns = BROKEN;
    bench.send(broken);
    bench.answer(2, 1);
    let summary = bench.end().summary();
    assert_eq!(summary.dropped, [(Stage::Fast, Cause::Failed, 1)]);
}

#[test]
fn frames_on_their_way_when_the_daemon_stops_are_counted() {
    let mut bench = Bench::asynchronous(100);
    bench.answer(0, 1);
    bench.account.published(1);
    bench.stop.set();
    bench.send(prepared(1, 1));
    let summary = bench.end().summary();
    assert_eq!(summary.dropped, [(Stage::Fast, Cause::Stopped, 1)]);
    assert_eq!(summary.in_flight(), 0);
}

#[test]
fn synchronous_keyframes_are_every_nth_frame_and_publish_the_slow_network() {
    let mut bench = Bench::synchronous(3);
    for _ in 0..3 {
        bench.verdicts.send(true).unwrap();
    }
    let answers: Vec<_> = (0..7).map(|sequence| bench.answer(sequence, 1)).collect();
    let expected =
        [(1001, mark(0)), (1, mark(0)), (1, mark(0)), (1004, mark(3)), (4, mark(3)), (4, mark(3)), (1007, mark(6))];
    assert_eq!(answers, expected);
    bench.end();
}

#[test]
fn a_failed_synchronous_keyframe_is_answered_by_the_fast_network_and_tried_again_an_interval_later() {
    let mut bench = Bench::synchronous(2);
    for verdict in [true, false, true] {
        bench.verdicts.send(verdict).unwrap();
    }
    let answers: Vec<_> = (0..6).map(|sequence| bench.answer(sequence, 1)).collect();
    let fast = (1, mark(0));
    assert_eq!(answers, [(1001, mark(0)), fast, fast, fast, (1005, mark(4)), (5, mark(4))]);
    bench.end();
}

/// A slow network that never comes to an end.
struct EndlessSlow;

impl Slow for EndlessSlow {
    fn run(&mut self, _: &Image, _: Keys, _: u64) -> Result<SlowRun, RunError> {
        loop {
            std::thread::park();
        }
    }

    fn reset(&mut self) {}
}

/// A slow network with a fault.
struct PanickingSlow;

impl Slow for PanickingSlow {
    fn run(&mut self, _: &Image, _: Keys, _: u64) -> Result<SlowRun, RunError> {
        panic!("on purpose, for a test")
    }

    fn reset(&mut self) {}
}

/// A whole pipeline on a test card, with `slow`; `name` is the test's.
fn pipeline(name: &str, slow: Box<dyn Slow>, account: &Arc<Account>, pulses: &Pulses, stop: &Stop) -> Pipeline {
    let path = std::env::temp_dir().join(format!("milad-test-{}-{name}", std::process::id()));
    let server = Server::new(socket::bind(&path, 0o600, None).unwrap(), Limits::default()).unwrap();
    let interval = Arc::new(AtomicU32::new(1));
    let parts = Parts {
        model: Model {
            spec: super::publish_tests::spec(),
            fast: Box::new(FakeFast),
            slow,
            initial: Memory::default(),
            report: Default::default(),
        },
        supervisor: Supervisor::new("card:?rate=200&width=32&height=32".parse().unwrap(), Default::default()),
        publisher: Publisher { server, health: Default::default(), intrinsics: None, interval: interval.clone() },
        account: account.clone(),
        pulses: pulses.clone(),
        stop: stop.clone(),
    };
    let options = Options {
        synchronous: false,
        interval,
        frames: None,
        prepare: Default::default(),
        threads: Default::default(),
    };
    start(parts, options).unwrap()
}

#[test]
fn a_panic_ends_all_stages_and_is_no_mistake_of_the_configuration() {
    let (account, stop) = (Arc::new(Account::new(Metrics::new())), Stop::new().unwrap());
    let pipeline = pipeline("panicking", Box::new(PanickingSlow), &account, &Pulses::default(), &stop);
    assert_eq!(pipeline.wait(&stop), Ended::Failed);
    assert!(stop.is_set());
}

#[test]
fn a_stop_does_not_wait_for_a_network_that_is_still_at_work() {
    let (account, stop) = (Arc::new(Account::new(Metrics::new())), Stop::new().unwrap());
    let pulses = Pulses::default();
    let pipeline = pipeline("endless", Box::new(EndlessSlow), &account, &pulses, &stop);
    while account.summary().captured < 10 {
        std::thread::yield_now();
    }
    while pulses.stuck(Duration::from_millis(50)).is_none() {
        std::thread::yield_now();
    }
    assert_eq!(pulses.stuck(Duration::from_millis(50)).unwrap().stage, Stage::Slow, "the frames' way is at work too");
    stop.set();
    assert_eq!(pipeline.wait(&stop), Ended::Stopped);
    assert_eq!(account.summary().in_flight(), 0, "the frames' way does not lead through the slow network");
}

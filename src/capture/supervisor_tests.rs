//! A source that is lost and found, on a script.

use std::collections::VecDeque;
use std::sync::Mutex;

use milad_kernels::pixel::{Colour, PixelFormat};

use super::super::pool::Pool;
use super::super::v4l2::find::machine::{CAM, Machine};
use super::super::{Encoding, Payload, StreamFormat};
use super::*;

/// What each attempt to open gives: an error, or the results of its `next`.
type Attempt = Result<Vec<Result<Next, SourceError>>, SourceError>;

struct Scripted {
    camera: Arc<Camera>,
    steps: VecDeque<Result<Next, SourceError>>,
}

impl Source for Scripted {
    fn camera(&self) -> Arc<Camera> {
        self.camera.clone()
    }

    fn next(&mut self, _: &Stop) -> Result<Next, SourceError> {
        self.steps.pop_front().unwrap_or(Ok(Next::End))
    }
}

fn camera(width: usize) -> Arc<Camera> {
    let format = StreamFormat {
        encoding: Encoding::Raw(PixelFormat::Yuyv),
        width,
        height: 2,
        strides: [width * 2, 0, 0],
        colour: Colour::YUV_DEFAULT,
    };
    Arc::new(Camera {
        name: "scripted".into(),
        format_name: "YUYV".into(),
        format,
        interval_ns: 1,
        live: true,
        counts: true,
        intrinsics: None,
    })
}

fn supervisor(script: Vec<Attempt>) -> Supervisor {
    let script = Mutex::new(script.into_iter().enumerate().collect::<VecDeque<_>>());
    let open: Opener = Box::new(move |_, _, _| {
        let (number, attempt) = script.lock().unwrap().pop_front().unwrap();
        let steps = attempt?.into();
        // Each stream has its own size: another format after a reconnect.
        Ok(Box::new(Scripted { camera: camera(2 + 2 * number), steps }))
    });
    let spec = SourceSpec::Camera(CameraName::ById("scripted".into()));
    Supervisor::with(spec, Request::default(), Places::system(), open)
}

fn frame(driver_sequence: u64) -> Result<Next, SourceError> {
    let payload = Payload::Pooled(Pool::new(1, 1).take().unwrap());
    Ok(Next::Frame(RawFrame { driver_sequence, captured_ns: 0, payload }))
}

fn lost(words: &str) -> SourceError {
    SourceError::Lost(words.into())
}

/// The events in short, without those of waiting.
fn story(supervisor: &mut Supervisor, count: usize) -> Vec<String> {
    let stop = Stop::new().unwrap();
    let mut story = Vec::new();
    while story.len() < count {
        story.push(match supervisor.next(&stop) {
            Event::Up(camera) => format!("up {}", camera.format.width),
            Event::Frame(frame) => format!("frame {}", frame.driver_sequence),
            Event::Bad { driver_sequence, .. } => format!("bad {driver_sequence}"),
            Event::Lost { reason } => format!("lost {reason}"),
            Event::Ended => "ended".into(),
            Event::Unusable(reason) => format!("unusable {reason}"),
            Event::Stopped => "stopped".into(),
            Event::Waiting => continue,
        });
    }
    story
}

#[test]
fn a_loss_is_told_once_and_the_camera_comes_back_with_another_format() {
    let mut supervisor = supervisor(vec![
        Ok(vec![frame(0), Err(lost("unplugged"))]),
        Err(lost("not there")),
        Err(lost("not there")),
        Ok(vec![frame(7)]),
    ]);
    let expected = ["up 2", "frame 0", "lost unplugged", "up 8", "frame 7", "ended", "ended"];
    assert_eq!(story(&mut supervisor, 7), expected);
}

#[test]
fn a_camera_that_is_not_there_at_the_start_is_waited_for() {
    let mut supervisor = supervisor(vec![Err(lost("no such device")), Err(lost("busy")), Ok(vec![])]);
    assert_eq!(story(&mut supervisor, 3), ["lost no such device", "up 6", "ended"]);
}

#[test]
fn a_mistake_of_the_configuration_is_final_at_the_start_but_not_once_it_has_worked() {
    let unusable = || SourceError::Unusable("no common format".into());
    let mut fresh = supervisor(vec![Err(unusable())]);
    assert_eq!(story(&mut fresh, 2), ["unusable no common format", "unusable no common format"]);
    let mut worked = supervisor(vec![Ok(vec![Err(lost("unplugged"))]), Err(unusable()), Ok(vec![])]);
    assert_eq!(story(&mut worked, 4), ["up 2", "lost unplugged", "up 6", "ended"]);
}

#[test]
fn waiting_is_told_between_attempts_and_ends_at_once_on_stop() {
    let mut supervisor = supervisor(vec![Err(lost("a")), Err(lost("a")), Err(lost("a"))]);
    let stop = Stop::new().unwrap();
    assert!(matches!(supervisor.next(&stop), Event::Lost { .. }));
    assert!(matches!(supervisor.next(&stop), Event::Waiting));
    stop.set();
    assert!(matches!(supervisor.next(&stop), Event::Stopped));
}

/// A source that fails with `error` just when the end is asked for.
struct FailsAtStop(SourceError);

impl Source for FailsAtStop {
    fn camera(&self) -> Arc<Camera> {
        camera(2)
    }

    fn next(&mut self, stop: &Stop) -> Result<Next, SourceError> {
        stop.set();
        Err(std::mem::replace(&mut self.0, SourceError::Stopped))
    }
}

#[test]
fn what_fails_while_the_end_is_asked_for_is_no_failure() {
    let spec = || SourceSpec::Camera(CameraName::ById("scripted".into()));
    let errors: [fn() -> SourceError; 3] =
        [|| SourceError::Stopped, || SourceError::Unusable("no header".into()), || lost("silent")];
    for error in errors {
        let opening: Opener = Box::new(move |_, _, stop| {
            stop.set();
            Err(error())
        });
        let playing: Opener = Box::new(move |_, _, _| Ok(Box::new(FailsAtStop(error()))));
        let stop = Stop::new().unwrap();
        let event = Supervisor::with(spec(), Request::default(), Places::system(), opening).next(&stop);
        assert!(matches!(event, Event::Stopped), "{event:?}");
        let stop = Stop::new().unwrap();
        let mut supervisor = Supervisor::with(spec(), Request::default(), Places::system(), playing);
        assert!(matches!(supervisor.next(&stop), Event::Up(_)));
        let event = supervisor.next(&stop);
        assert!(matches!(event, Event::Stopped), "{event:?}");
    }
}

/// The pause that comes next.
fn pause(supervisor: &Supervisor) -> Duration {
    match &supervisor.state {
        State::Waiting { pause, .. } => *pause,
        State::Up(stream) => stream.pause,
        _ => panic!("over"),
    }
}

#[test]
fn a_camera_that_opens_and_fails_at_once_is_waited_for_longer_each_time() {
    let fails = || Ok(vec![frame(0), Err(lost("input/output"))]);
    let mut supervisor = supervisor(vec![fails(), fails(), fails(), Ok(vec![])]);
    let mut pauses = vec![];
    for _ in 0..3 {
        assert_eq!(story(&mut supervisor, 3)[1..], ["frame 0", "lost input/output"]);
        pauses.push(pause(&supervisor));
    }
    assert_eq!(pauses, [FIRST_PAUSE * 2, FIRST_PAUSE * 4, FIRST_PAUSE * 8]);
}

#[test]
fn a_camera_that_worked_for_a_while_is_tried_soon_again() {
    let mut steps: Vec<_> = (0..u64::from(SETTLED_FRAMES)).map(frame).collect();
    steps.push(Err(lost("unplugged")));
    let mut supervisor = supervisor(vec![Ok(vec![Err(lost("unplugged"))]), Ok(steps), Ok(vec![])]);
    story(&mut supervisor, 3);
    assert_eq!(pause(&supervisor), FIRST_PAUSE * 2, "carried over");
    story(&mut supervisor, SETTLED_FRAMES as usize);
    assert_eq!(pause(&supervisor), FIRST_PAUSE, "settled");
}

type Opened = Arc<Mutex<Vec<PathBuf>>>;

/// Opens whatever is there, with `meanwhile` happening at each open; tells what was opened.
fn on(machine: &Machine, frames: usize, mut meanwhile: impl FnMut(usize) + Send + 'static) -> (Supervisor, Opened) {
    let opened = Opened::default();
    let paths = opened.clone();
    let open: Opener = Box::new(move |spec, _, _| {
        let SourceSpec::Camera(CameraName::Path(path)) = spec else { panic!("{spec:?}") };
        if !path.exists() {
            return Err(lost("no such device"));
        }
        paths.lock().unwrap().push(path.clone());
        meanwhile(paths.lock().unwrap().len());
        let mut steps: VecDeque<_> = (0..frames as u64).map(frame).collect();
        steps.push_back(Err(lost("unplugged")));
        Ok(Box::new(Scripted { camera: camera(2), steps }))
    });
    let spec = SourceSpec::Camera(CameraName::Path(machine.node(0)));
    (Supervisor::with(spec, Request::default(), machine.places.clone(), open), opened)
}

#[test]
fn a_camera_that_is_gone_again_when_it_is_looked_at_is_still_known() {
    let machine = Arc::new(Machine::new("supervisor-gone"));
    machine.plug(0, "1-1", CAM, Some("A"));
    let other = machine.clone();
    let (mut supervisor, opened) = on(&machine, 0, move |time| {
        if time == 2 {
            other.unplug(0);
        }
    });
    assert_eq!(story(&mut supervisor, 4), ["up 2", "lost unplugged", "up 2", "lost unplugged"]);
    machine.plug(0, "1-2", ("dead", "beef"), None);
    machine.plug(2, "1-1", CAM, Some("A"));
    assert_eq!(story(&mut supervisor, 1), ["up 2"]);
    assert_eq!(opened.lock().unwrap()[2], machine.node(2));
}

#[test]
fn a_camera_that_sysfs_tells_of_late_is_known_from_its_first_frame() {
    let machine = Machine::new("supervisor-late");
    std::fs::write(machine.node(0), "").unwrap();
    let (mut supervisor, opened) = on(&machine, 1, |_| ());
    assert_eq!(story(&mut supervisor, 1), ["up 2"]);
    machine.plug(0, "1-1", CAM, Some("A"));
    assert_eq!(story(&mut supervisor, 2), ["frame 0", "lost unplugged"]);
    machine.unplug(0);
    machine.plug(0, "1-2", ("dead", "beef"), None);
    machine.plug(2, "1-1", CAM, Some("A"));
    assert_eq!(story(&mut supervisor, 1), ["up 2"]);
    assert_eq!(opened.lock().unwrap()[1], machine.node(2));
}

#[test]
fn a_camera_that_comes_back_is_opened_without_waiting_out_the_pause() {
    let machine = Machine::new("supervisor-back");
    let (mut supervisor, _) = on(&machine, 0, |_| ());
    let stop = Stop::new().unwrap();
    let waiting = |absent| {
        let at = Instant::now() + Duration::from_secs(3600);
        State::Waiting { at, pause: LONGEST_PAUSE, told: None, absent }
    };
    supervisor.state = waiting(true);
    assert!(matches!(supervisor.next(&stop), Event::Waiting));
    std::fs::write(machine.node(0), "").unwrap();
    assert!(matches!(supervisor.next(&stop), Event::Up(_)));
    // One that was there all the time and can't be opened is waited for.
    supervisor.state = waiting(false);
    assert!(matches!(supervisor.next(&stop), Event::Waiting));
}

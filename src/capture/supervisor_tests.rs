//! A source that is lost and found, on a script.

use std::collections::VecDeque;
use std::sync::Mutex;

use milad_kernels::pixel::{Colour, PixelFormat};

use super::super::pool::Pool;
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

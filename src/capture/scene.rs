//! `scene:`: a rendered world at a camera's pace, for a daemon without a camera that should have something to see.
//!
//! Paced by `CLOCK_MONOTONIC` like a camera: frame n is the world at n frame intervals, stamped with the moment at which it is
//! due. It is rendered before that moment, so that rendering is not mistaken for the daemon's own latency; what could not
//! be rendered in time is left out, as a driver would.

use std::sync::Arc;
use std::time::{Duration, Instant};

use milad_kernels::pixel::{Colour, PixelFormat};
use milad_scene::{Clip, Options, Quality};

use super::pool::Pool;
use super::source_spec::SceneSpec;
use super::y4m::raw_camera;
use super::y4m_reader::take;
use super::{Camera, Next, Payload, RawFrame, Source, SourceError};
use crate::clock::monotonic_ns;
use crate::stop::Stop;

/// Frames that can be on their way at once.
const BUFFERS: usize = 4;
/// The most pixels of a frame: rendering one can't be interrupted, and the daemon must end within a second.
const MAX_PIXELS: u64 = 512 * 256;
/// The fewest pixels a side.
const MIN_SIDE: u32 = 8;

/// The source.
pub struct Scene {
    camera: Arc<Camera>,
    clip: Clip,
    pool: Pool,
    start_ns: u64,
    next: u64,
}

impl Scene {
    /// Fails when the size, the rate or the format can't be rendered.
    pub fn open(spec: &SceneSpec) -> Result<Scene, SourceError> {
        let unusable = |problem: String| Err(SourceError::Unusable(format!("scene: {problem}")));
        let (width, height) = (spec.width, spec.height);
        if !["RGB3", "RGB24"].iter().any(|name| name.eq_ignore_ascii_case(&spec.format)) {
            return unusable(format!(
                "format {:?}: expected RGB3, the only one that scenes are rendered in",
                spec.format
            ));
        }
        if width.min(height) < MIN_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
            return unusable(format!(
                "{width}×{height}: expected at least {MIN_SIDE} pixels a side and at most {MAX_PIXELS} (512×256) in all; \
                 for larger ones write a clip with `milad scene` and play that"
            ));
        }
        if !(spec.rate > 0.0 && spec.rate <= 1000.0) {
            return unusable(format!("rate {}: expected frames a second, above 0 and at most 1000", spec.rate));
        }
        let (width, height) = (width as usize, height as usize);
        let options = Options { width, height, quality: Quality::Live, cuts: spec.cuts };
        let clip = Clip::new(spec.world, spec.seed, &options);
        let name = format!("rendered {}, seed {}", spec.world, spec.seed);
        let mut camera = raw_camera(name, "RGB3", PixelFormat::Rgb24, width, height, Colour::FULL_DEFAULT);
        (camera.interval_ns, camera.live, camera.counts) = ((1e9 / spec.rate).round() as u64, true, true);
        // Behind a cut there may be another lens.
        camera.intrinsics = (!spec.cuts).then(|| {
            let lens = clip.camera();
            [lens.fx, lens.fy, lens.cx, lens.cy]
        });
        let pool = Pool::new(BUFFERS, width * height * 3);
        Ok(Scene { camera: Arc::new(camera), clip, pool, start_ns: monotonic_ns(), next: 0 })
    }

    fn interval(&self) -> u64 {
        self.camera.interval_ns.max(1)
    }

    fn due(&self, sequence: u64) -> u64 {
        self.start_ns.saturating_add(sequence.saturating_mul(self.interval()))
    }
}

impl Source for Scene {
    fn camera(&self) -> Arc<Camera> {
        self.camera.clone()
    }

    fn next(&mut self, stop: &Stop) -> Result<Next, SourceError> {
        // Frames that were due while the last one was rendered are left out.
        let newest_due = monotonic_ns().saturating_sub(self.start_ns) / self.interval();
        let sequence = if newest_due == 0 { self.next } else { self.next.max(newest_due + 1) };
        let Some(mut buffer) = take(&self.pool, stop, Instant::now() + Duration::from_secs(2)) else {
            return match stop.is_set() {
                true => Ok(Next::Stopped),
                false => Err(SourceError::Lost("scene: no buffer came back for 2 s".to_owned())),
            };
        };
        let format = &self.camera.format;
        buffer.resize(format.width * format.height * 3, 0);
        // After more than four years at 30 frames/s it starts again.
        self.clip.frame(sequence as u32, &mut buffer);
        let left = Duration::from_nanos(self.due(sequence).saturating_sub(monotonic_ns()));
        if stop.wait(left) || stop.is_set() {
            return Ok(Next::Stopped);
        }
        self.next = sequence + 1;
        let captured_ns = self.due(sequence);
        Ok(Next::Frame(RawFrame { driver_sequence: sequence, captured_ns, payload: Payload::Pooled(buffer) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use milad_scene::World;

    fn spec() -> SceneSpec {
        SceneSpec { width: 32, height: 16, rate: 200.0, seed: 3, ..SceneSpec::default() }
    }

    #[test]
    fn a_frame_is_the_world_at_its_number_and_stamped_with_its_time() {
        let (stop, mut scene) = (Stop::new().unwrap(), Scene::open(&spec()).unwrap());
        let options = Options { width: 32, height: 16, quality: Quality::Live, cuts: false };
        let clip = Clip::new(World::Street, 3, &options);
        let (mut last, mut expected) = (None, vec![0; 32 * 16 * 3]);
        for _ in 0..10 {
            let Next::Frame(frame) = scene.next(&stop).unwrap() else { panic!("no frame") };
            assert_eq!(frame.captured_ns, scene.start_ns + frame.driver_sequence * 5_000_000);
            assert!(frame.captured_ns <= monotonic_ns(), "no frame comes before its time");
            assert!(last.is_none_or(|last| frame.driver_sequence > last));
            last = Some(frame.driver_sequence);
            clip.frame(frame.driver_sequence as u32, &mut expected);
            assert_eq!(frame.payload.memory_planes()[0], expected);
        }
    }

    #[test]
    fn frames_that_are_late_are_left_out() {
        let (stop, mut scene) = (Stop::new().unwrap(), Scene::open(&spec()).unwrap());
        // As if 10 s had gone by.
        scene.start_ns -= 10_000_000_000;
        let Next::Frame(frame) = scene.next(&stop).unwrap() else { panic!("no frame") };
        assert!(frame.driver_sequence >= 2000, "{}", frame.driver_sequence);
    }

    #[test]
    fn stopping_ends_the_wait() {
        let (stop, mut scene) = (Stop::new().unwrap(), Scene::open(&SceneSpec { rate: 0.001, ..spec() }).unwrap());
        assert!(matches!(scene.next(&stop), Ok(Next::Frame(_))));
        stop.set();
        assert!(matches!(scene.next(&stop), Ok(Next::Stopped)));
    }

    #[test]
    fn its_lens_is_known_where_it_stays() {
        let lens = |cuts| Scene::open(&SceneSpec { cuts, ..spec() }).unwrap().camera().intrinsics;
        let [fx, fy, cx, cy] = lens(false).unwrap();
        assert!(fx > 8.0 && fy > 8.0);
        assert_eq!((cx, cy), (16.0, 8.0));
        assert_eq!(lens(true), None);
    }

    #[test]
    fn what_cannot_be_rendered_is_refused() {
        for spec in [
            SceneSpec { width: 4, ..spec() },
            SceneSpec { width: 640, height: 480, ..spec() },
            SceneSpec { format: "NV12".into(), ..spec() },
            SceneSpec { rate: f64::NAN, ..spec() },
        ] {
            assert!(matches!(Scene::open(&spec), Err(SourceError::Unusable(_))), "{spec:?}");
        }
    }
}

//! A clip: pictures and truth by frame number, in any order. Must never depend on which frame was asked for before.

use crate::description::Scene;
use crate::frame::{Intrinsics, Options, Pose, Truth};
use crate::random::hash3;
use crate::render::Renderer;
use crate::world::{Generator, World};
use std::sync::{Mutex, PoisonError};

/// One clip: world and seed. Frames are numbered from 0 without end.
pub struct Clip {
    world: World,
    seed: u64,
    options: Options,
    state: Mutex<State>,
}

struct State {
    segment: u32,
    /// The lens of the first segment: cuts change the place, not the camera.
    half_width: f32,
    generator: Box<dyn Generator>,
    scene: Scene,
    renderer: Renderer,
}

impl Clip {
    /// The clip of this world and seed.
    pub fn new(world: World, seed: u64, options: &Options) -> Clip {
        let options = Options { width: options.width.max(1), height: options.height.max(1), ..*options };
        let generator = world.generator(seed, 0);
        let renderer = Renderer::new(options.width, options.height, options.quality);
        let mut scene = Scene::default();
        generator.fill(0, &mut scene);
        let half_width = scene.camera.half_width;
        let state = Mutex::new(State { segment: 0, half_width, generator, scene, renderer });
        Clip { world, seed, options, state }
    }

    /// Its world.
    pub fn world(&self) -> World {
        self.world
    }

    /// Its seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The camera's intrinsics, the same for all frames of a clip.
    pub fn camera(&self) -> Intrinsics {
        self.with_scene(0, |scene, _| {
            let (width, height) = (self.options.width as f64, self.options.height as f64);
            let focal = width * 0.5 / f64::from(scene.camera.half_width);
            Intrinsics { fx: focal, fy: focal, cx: width * 0.5, cy: height * 0.5 }
        })
    }

    /// Renders frame `n` into `rgb`, H rows of W pixels of 3 bytes. A buffer of another size is filled as far as it goes.
    pub fn frame(&self, n: u32, rgb: &mut [u8]) {
        self.with_scene(n, |scene, renderer| {
            renderer.picture(scene, hash3(self.seed as u32, (self.seed >> 32) as u32, n), rgb)
        });
    }

    /// Computes the truth of frame `n`.
    pub fn truth(&self, n: u32, truth: &mut Truth) {
        self.with_scene(n, |scene, renderer| renderer.truth(scene, truth));
    }

    /// The camera's pose at frame `n`.
    pub fn pose(&self, n: u32) -> Pose {
        self.with_scene(n, |scene, _| {
            let at = scene.camera.now;
            let r = at.rotation;
            // Camera axes: right = local x, down = −local z, forward = local y.
            let row = |right: f32, up: f32, forward: f32, position: f64| {
                [f64::from(right), -f64::from(up), f64::from(forward), position]
            };
            Pose([
                row(r.x.x, r.z.x, r.y.x, at.position[0]),
                row(r.x.y, r.z.y, r.y.y, at.position[1]),
                row(r.x.z, r.z.z, r.y.z, at.position[2]),
            ])
        })
    }

    fn with_scene<T>(&self, n: u32, f: impl FnOnce(&Scene, &mut Renderer) -> T) -> T {
        // A panic elsewhere cannot leave the state wrong: every use fills the scene anew.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let segment = if self.options.cuts { segment(self.seed, n) } else { 0 };
        if segment != state.segment {
            state.generator = self.world.generator(self.seed, segment);
            state.segment = segment;
        }
        state.generator.fill(n, &mut state.scene);
        state.scene.camera.half_width = state.half_width;
        f(&state.scene, &mut state.renderer)
    }
}

/// Frames between cuts on average.
const CUT_EVERY: u32 = 100;

/// How many cuts lie at or before frame `n`: one at a random place within every `CUT_EVERY` frames.
fn segment(seed: u64, n: u32) -> u32 {
    let slot = n / CUT_EVERY;
    let cut = CUT_EVERY / 4 + hash3(seed as u32, 0xc07, slot) % (CUT_EVERY / 2);
    if n % CUT_EVERY >= cut { slot + 1 } else { slot }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_come_one_by_one_and_not_at_the_start() {
        assert_eq!(segment(5, 0), 0);
        let mut last = 0;
        for n in 0..2000 {
            let now = segment(5, n);
            assert!(now == last || now == last + 1);
            last = now;
        }
        assert_eq!(last, 20);
    }
}

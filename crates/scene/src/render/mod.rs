//! The ray-caster: from a [`Scene`] to a picture and to truth.

use crate::clip::{Quality, Truth};
use crate::description::Scene;

/// Renders frames of one size; keeps its buffers.
pub struct Renderer {
    width: usize,
    height: usize,
    _quality: Quality,
}

impl Renderer {
    /// For pictures of this size.
    pub fn new(width: usize, height: usize, quality: Quality) -> Renderer {
        Renderer { width, height, _quality: quality }
    }

    /// Renders the picture; `seed` picks its noise.
    pub fn picture(&mut self, _scene: &Scene, seed: u32, rgb: &mut [u8]) {
        rgb.fill(seed as u8);
    }

    /// Computes the truth.
    pub fn truth(&mut self, scene: &Scene, truth: &mut Truth) {
        let pixels = self.width * self.height;
        truth.class = vec![scene.background; pixels];
        truth.depth = vec![f32::INFINITY; pixels];
        truth.normals = vec![0.0; 3 * pixels];
        truth.flow = vec![0.0; 2 * pixels];
    }
}

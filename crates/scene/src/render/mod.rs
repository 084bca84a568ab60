//! The ray-caster: from a [`Scene`] to a picture and to truth. Truth is computed at pixel centres at the frame's own time
//! and depends on neither quality nor light.

mod facade;
mod film;
mod intersect;
mod noise;
mod pattern;
mod shade;
mod shadow;
mod view;

use crate::clip::{Quality, Truth};
use crate::description::Scene;
use crate::math::{Vec3, v3};
use film::Develop;
use shade::Lighting;
use shadow::Shadows;
use view::{Eye, Lens, View};

/// Where in the pixel and when in the shutter's time (−½ … ½) each of the four samples lies: a rotated grid, so that
/// upright and level edges get all four steps.
const SAMPLES: [([f32; 2], f32); 4] =
    [([0.375, 0.125], -0.375), ([0.875, 0.375], 0.125), ([0.125, 0.625], 0.375), ([0.625, 0.875], -0.125)];

/// Where in a wide sun's disc each sample lies.
const DISC: [[f32; 2]; 4] = [[-0.35, 0.55], [0.6, 0.3], [-0.6, -0.3], [0.35, -0.55]];

/// Renders frames of one size; keeps its buffers.
pub struct Renderer {
    width: usize,
    height: usize,
    quality: Quality,
    develop: Develop,
    view: View,
    shadows: Shadows,
    light: Vec<Vec3>,
}

impl Renderer {
    /// For pictures of this size.
    pub fn new(width: usize, height: usize, quality: Quality) -> Renderer {
        Renderer {
            width,
            height,
            quality,
            develop: Develop::new(),
            view: View::default(),
            shadows: Shadows::default(),
            light: Vec::new(),
        }
    }

    fn lens(&self, scene: &Scene) -> Lens {
        let (cx, cy) = (self.width as f32 * 0.5, self.height as f32 * 0.5);
        Lens { focal: cx / scene.camera.half_width, cx, cy }
    }

    /// Renders the picture; `seed` picks its noise.
    pub fn picture(&mut self, scene: &Scene, seed: u32, rgb: &mut [u8]) {
        let samples: &[([f32; 2], f32)] = match self.quality {
            Quality::Live => &[([0.5, 0.5], 0.0)],
            Quality::Training => &SAMPLES,
        };
        self.light.clear();
        self.light.resize(self.width * self.height, Vec3::ZERO);
        let share = 1.0 / samples.len() as f32;
        for (index, &(offset, time)) in samples.iter().enumerate() {
            let disc = if samples.len() > 1 { DISC[index] } else { [0.0, 0.0] };
            self.expose(scene, offset, time * scene.film.shutter, disc, share);
        }
        self.develop.write(&scene.film, &self.light, self.width, self.height, seed, rgb);
    }

    /// Adds one sample of every pixel, `share` of its light.
    fn expose(&mut self, scene: &Scene, offset: [f32; 2], time: f32, disc: [f32; 2], share: f32) {
        let lens = self.lens(scene);
        let eye = Eye::new(scene, time);
        let sun = scene.light.sun.map(|sun| {
            let helper = if sun.towards.x.abs() < 0.6 { v3(1.0, 0.0, 0.0) } else { v3(0.0, 1.0, 0.0) };
            let u = sun.towards.cross(helper).unit();
            let v = sun.towards.cross(u);
            eye.see((sun.towards + (u * disc[0] + v * disc[1]) * sun.spread).unit())
        });
        self.view.build(scene, &eye, time, &lens, self.width, self.height);
        self.shadows.build(scene, &eye, time, &lens, sun);
        let lighting = Lighting::new(scene, &eye, &self.shadows, sun, &lens);
        for (y, row) in self.light.chunks_exact_mut(self.width).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                let d = lens.ray(x as f32 + offset[0], y as f32 + offset[1]);
                let colour = match self.view.trace(self.view.tile(x, y), x, y, d) {
                    Some((index, t)) => lighting.surface(&self.view.primitives[index], d, t),
                    None => lighting.background(d),
                };
                *pixel = *pixel + colour * share;
            }
        }
    }

    /// Computes the truth.
    pub fn truth(&mut self, scene: &Scene, truth: &mut Truth) {
        let (width, pixels) = (self.width, self.width * self.height);
        truth.class.resize(pixels, 0);
        truth.depth.resize(pixels, 0.0);
        truth.normals.resize(3 * pixels, 0.0);
        truth.flow.resize(2 * pixels, 0.0);
        let lens = self.lens(scene);
        let (eye, later) = (Eye::new(scene, 0.0), Eye::new(scene, 1.0));
        self.view.build(scene, &eye, 0.0, &lens, width, self.height);
        // Where each seen body is one frame later.
        let moved: Vec<_> =
            self.view.primitives.iter().map(|p| later.place(&scene.bodies[p.body as usize].next)).collect();
        for i in 0..pixels {
            let (x, y) = (i % width, i / width);
            let d = lens.ray(x as f32 + 0.5, y as f32 + 0.5);
            let (class, depth, normal, next) = match self.view.trace(self.view.tile(x, y), x, y, d) {
                Some((index, t)) => {
                    let p = &self.view.primitives[index];
                    let local = p.eye + p.axes.undo(d) * t;
                    let normal = p.axes.apply(intersect::normal(&p.shape, local));
                    let normal = if normal.dot(d) > 0.0 { -normal } else { normal };
                    let (axes, centre) = &moved[index];
                    (scene.bodies[p.body as usize].class, t, normal, *centre + axes.apply(local))
                }
                None => (scene.background, f32::INFINITY, Vec3::ZERO, later.see(eye.unsee(d))),
            };
            truth.class[i] = class;
            truth.depth[i] = depth;
            for (axis, value) in [normal.x, normal.y, normal.z].into_iter().enumerate() {
                truth.normals[axis * pixels + i] = value;
            }
            // A point that passes the camera within the frame has no place in the next picture: its flow is cut short.
            let next = v3(next.x, next.y, next.z.max(view::NEAR));
            let (u, v) = lens.project(next);
            truth.flow[i] = u - (x as f32 + 0.5);
            truth.flow[pixels + i] = v - (y as f32 + 0.5);
        }
    }
}

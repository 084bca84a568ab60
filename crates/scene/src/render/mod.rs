//! The ray-caster: from a [`Scene`] to a picture and to truth. Truth is computed at pixel centres at the frame's own time
//! and depends on neither quality nor light.

mod facade;
mod film;
mod intersect;
mod noise;
mod pattern;
mod place;
mod shade;
mod shadow;
mod view;

use crate::description::Scene;
use crate::frame::{Quality, Truth};
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
    /// Class and depth by pixel.
    seen: Vec<(u8, f32)>,
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
            seen: Vec::new(),
        }
    }

    fn lens(&self, scene: &Scene) -> Lens {
        let (cx, cy) = (self.width as f32 * 0.5, self.height as f32 * 0.5);
        Lens { focal: cx / scene.camera.half_width, cx, cy }
    }

    /// Renders the picture; `seed` picks its noise.
    pub fn picture(&mut self, scene: &Scene, seed: u32, rgb: &mut [u8]) {
        self.light.clear();
        self.light.resize(self.width * self.height, Vec3::ZERO);
        match self.quality {
            Quality::Live => self.expose_live(scene),
            Quality::Training => {
                for (&(offset, time), disc) in SAMPLES.iter().zip(DISC) {
                    self.expose(scene, offset, time * scene.film.shutter, disc);
                }
            }
        }
        self.develop.write(&scene.film, &self.light, self.width, self.height, seed, rgb);
    }

    /// Prepares view and shadows for an instant; gives the camera and the direction to the sun in its axes.
    fn prepare(&mut self, scene: &Scene, lens: &Lens, time: f32, disc: [f32; 2]) -> (Eye, Option<Vec3>) {
        let eye = Eye::new(scene, time);
        let sun = scene.light.sun.map(|sun| {
            let helper = if sun.towards.x.abs() < 0.6 { v3(1.0, 0.0, 0.0) } else { v3(0.0, 1.0, 0.0) };
            let u = sun.towards.cross(helper).unit();
            let v = sun.towards.cross(u);
            eye.see((sun.towards + (u * disc[0] + v * disc[1]) * sun.spread).unit())
        });
        self.view.build(scene, &eye, time, lens, self.width, self.height);
        self.shadows.build(scene, &eye, time, lens, sun);
        (eye, sun)
    }

    /// Adds one sample of every pixel, a quarter of its light.
    fn expose(&mut self, scene: &Scene, offset: [f32; 2], time: f32, disc: [f32; 2]) {
        let lens = self.lens(scene);
        let (eye, sun) = self.prepare(scene, &lens, time, disc);
        let lighting = Lighting::new(scene, &eye, &self.shadows, sun, &lens);
        for (y, row) in self.light.chunks_exact_mut(self.width).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                let d = lens.ray(x as f32 + offset[0], y as f32 + offset[1]);
                let colour = match self.view.trace(self.view.tile(x, y), x, y, d) {
                    Some((index, t)) => lighting.surface(&self.view.primitives[index], d, t),
                    None => lighting.background(d),
                };
                *pixel = *pixel + colour * 0.25;
            }
        }
    }

    /// One sample of every pixel, and four where an outline runs through.
    fn expose_live(&mut self, scene: &Scene) {
        let (width, height, lens) = (self.width, self.height, self.lens(scene));
        let (eye, sun) = self.prepare(scene, &lens, 0.0, [0.0, 0.0]);
        let lighting = Lighting::new(scene, &eye, &self.shadows, sun, &lens);
        self.seen.clear();
        for (i, pixel) in self.light.iter_mut().enumerate() {
            let (x, y) = (i % width, i / width);
            let d = lens.ray(x as f32 + 0.5, y as f32 + 0.5);
            match self.view.trace(self.view.tile(x, y), x, y, d) {
                Some((index, t)) => {
                    let primitive = &self.view.primitives[index];
                    *pixel = lighting.surface(primitive, d, t);
                    self.seen.push((scene.bodies[primitive.body as usize].class, t));
                }
                None => {
                    *pixel = lighting.background(d);
                    self.seen.push((scene.background, 1e9));
                }
            }
        }
        // Another class beside, or a step in depth.
        let differ = |a: (u8, f32), b: (u8, f32)| a.0 != b.0 || a.1.max(b.1) > 1.2 * a.1.min(b.1);
        for i in 0..width * height {
            let (x, y) = (i % width, i / width);
            let own = self.seen[i];
            let outline = (x > 0 && differ(own, self.seen[i - 1]))
                || (x + 1 < width && differ(own, self.seen[i + 1]))
                || (y > 0 && differ(own, self.seen[i - width]))
                || (y + 1 < height && differ(own, self.seen[i + width]));
            if outline {
                let list = self.view.tile(x, y);
                let mut sum = Vec3::ZERO;
                for (offset, _) in SAMPLES {
                    let d = lens.ray(x as f32 + offset[0], y as f32 + offset[1]);
                    sum = sum
                        + match self.view.trace(list, x, y, d) {
                            Some((index, t)) => lighting.surface(&self.view.primitives[index], d, t),
                            None => lighting.background(d),
                        };
                }
                self.light[i] = sum * 0.25;
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

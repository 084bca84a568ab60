//! A scene at one instant, seen from the camera: every body in camera axes, and for each tile of the picture the bodies
//! that may be seen in it, nearest first.

use super::intersect;
use crate::description::{Body, Placement, Scene, Shape};
use crate::math::{Rotation, Vec3, v3};

/// Pixels along a tile's side.
pub const TILE: usize = 8;

/// What lies nearer along the camera's axis is not seen, metres.
pub const NEAR: f32 = 0.05;

/// A body in camera axes (x right, y down, z forward).
#[derive(Clone, Copy, Debug)]
pub struct Primitive {
    /// Its geometry.
    pub shape: Shape,
    /// Its axes.
    pub axes: Rotation,
    /// The camera's position in its axes.
    pub eye: Vec3,
    /// Index into the scene's bodies.
    pub body: u32,
    /// Least depth of its bounds.
    near: f32,
    /// Pixels it may cover: first and last column, first and last row.
    window: [i32; 4],
}

/// The camera at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Eye {
    position: [f64; 3],
    rotation: Rotation,
}

impl Eye {
    /// At the share `time` of the way to the next frame.
    pub fn new(scene: &Scene, time: f32) -> Eye {
        let at = scene.camera.now.towards(&scene.camera.next, time);
        Eye { position: at.position, rotation: at.rotation }
    }
    /// A world direction in camera axes.
    #[inline]
    pub fn see(&self, v: Vec3) -> Vec3 {
        v3(self.rotation.x.dot(v), -self.rotation.z.dot(v), self.rotation.y.dot(v))
    }
    /// A camera direction in world axes.
    #[inline]
    pub fn unsee(&self, v: Vec3) -> Vec3 {
        self.rotation.x * v.x + self.rotation.y * v.z - self.rotation.z * v.y
    }
    /// A body's axes and origin in camera axes.
    pub fn place(&self, at: &Placement) -> (Rotation, Vec3) {
        let axes = Rotation { x: self.see(at.rotation.x), y: self.see(at.rotation.y), z: self.see(at.rotation.z) };
        (axes, self.see(at.offset_from(self.position)))
    }
    /// A world position in camera axes.
    pub fn point(&self, position: [f64; 3]) -> Vec3 {
        self.place(&Placement { position, rotation: Rotation::IDENTITY }).1
    }
}

/// A pinhole: pixels per unit of x/z, and the centre.
#[derive(Clone, Copy, Debug)]
pub struct Lens {
    /// Focal length in pixels.
    pub focal: f32,
    /// Centre across.
    pub cx: f32,
    /// Centre down.
    pub cy: f32,
}

impl Lens {
    /// The camera direction (z = 1) of a place in the picture.
    #[inline]
    pub fn ray(&self, x: f32, y: f32) -> Vec3 {
        v3((x - self.cx) / self.focal, (y - self.cy) / self.focal, 1.0)
    }
    /// Where a point in front of the camera is seen.
    #[inline]
    pub fn project(&self, p: Vec3) -> (f32, f32) {
        (self.cx + self.focal * p.x / p.z, self.cy + self.focal * p.y / p.z)
    }
}

/// The scene at one instant. Reused.
#[derive(Default)]
pub struct View {
    /// Bodies that may be seen, nearest bounds first.
    pub primitives: Vec<Primitive>,
    starts: Vec<u32>,
    items: Vec<u32>,
    across: usize,
}

impl View {
    /// Prepares the bodies of `scene` at the share `time` of the frame interval for a picture of this size.
    pub fn build(&mut self, scene: &Scene, eye: &Eye, time: f32, lens: &Lens, width: usize, height: usize) {
        self.primitives.clear();
        for (index, body) in scene.bodies.iter().enumerate() {
            self.primitives.extend(primitive(body, index as u32, eye, time, lens, width as f32, height as f32));
        }
        // No two are equal: a stable sort would give the same, but takes memory for it.
        self.primitives.sort_unstable_by(|a, b| a.near.total_cmp(&b.near).then(a.body.cmp(&b.body)));

        // Lists by counting: starts[t] .. starts[t + 1] of items, in the order of the primitives.
        self.across = width.div_ceil(TILE);
        let tiles = self.across * height.div_ceil(TILE);
        self.starts.clear();
        self.starts.resize(tiles + 1, 0);
        for p in &self.primitives {
            for tile in tiles_of(p, self.across) {
                self.starts[tile + 1] += 1;
            }
        }
        for tile in 0..tiles {
            self.starts[tile + 1] += self.starts[tile];
        }
        self.items.clear();
        self.items.resize(self.starts[tiles] as usize, 0);
        for (index, p) in self.primitives.iter().enumerate() {
            for tile in tiles_of(p, self.across) {
                self.items[self.starts[tile] as usize] = index as u32;
                self.starts[tile] += 1;
            }
        }
        // Filling moved every start to its end: shift back.
        for tile in (1..=tiles).rev() {
            self.starts[tile] = self.starts[tile - 1];
        }
        self.starts[0] = 0;
    }

    /// The primitives of the tile that holds this pixel, nearest bounds first.
    #[inline]
    pub fn tile(&self, x: usize, y: usize) -> &[u32] {
        let tile = y / TILE * self.across + x / TILE;
        &self.items[self.starts[tile] as usize..self.starts[tile + 1] as usize]
    }

    /// The nearest primitive of `list` along the ray `d` (z = 1) through pixel (x, y), and its depth.
    #[inline]
    pub fn trace(&self, list: &[u32], x: usize, y: usize, d: Vec3) -> Option<(usize, f32)> {
        let (x, y) = (x as i32, y as i32);
        let (mut best, mut found) = (f32::INFINITY, None);
        for &index in list {
            let p = &self.primitives[index as usize];
            if p.near > best {
                break;
            }
            let [x0, x1, y0, y1] = p.window;
            if x < x0 || x > x1 || y < y0 || y > y1 {
                continue;
            }
            match intersect::hit(&p.shape, p.eye, p.axes.undo(d), NEAR) {
                Some(t) if t < best => (best, found) = (t, Some((index as usize, t))),
                _ => {}
            }
        }
        found
    }
}

fn tiles_of(p: &Primitive, across: usize) -> impl Iterator<Item = usize> + use<> {
    let [x0, x1, y0, y1] = p.window.map(|v| v.max(0) as usize / TILE);
    (y0..=y1).flat_map(move |y| (x0..=x1).map(move |x| y * across + x))
}

/// The corners of the box around a shape, in camera axes.
pub fn corners(half: Vec3, axes: &Rotation, centre: Vec3) -> [Vec3; 8] {
    let (x, y, z) = (axes.x * half.x, axes.y * half.y, axes.z * half.z);
    let corner = |i: usize| {
        let pick = |bit: usize, v: Vec3| if i & bit != 0 { v } else { -v };
        centre + pick(1, x) + pick(2, y) + pick(4, z)
    };
    std::array::from_fn(corner)
}

/// The body in camera axes, or nothing when it cannot be in the picture.
fn primitive(body: &Body, index: u32, eye: &Eye, time: f32, lens: &Lens, width: f32, height: f32) -> Option<Primitive> {
    let at = if body.now == body.next { body.now } else { body.now.towards(&body.next, time) };
    let (axes, centre) = eye.place(&at);
    let half = body.shape.half_extent();
    let mut near = NEAR;
    let mut window = [0.0, width - 1.0, 0.0, height - 1.0];
    if body.shape != Shape::Plane {
        let corners = corners(half, &axes, centre);
        let least = corners.iter().fold(f32::INFINITY, |m, c| m.min(c.z));
        let most = corners.iter().fold(f32::NEG_INFINITY, |m, c| m.max(c.z));
        if most < NEAR {
            return None;
        }
        near = least.max(NEAR);
        let mut bounds = [f32::INFINITY, f32::NEG_INFINITY, f32::INFINITY, f32::NEG_INFINITY];
        let mut see = |p: Vec3| {
            let (x, y) = lens.project(p);
            bounds = [bounds[0].min(x), bounds[1].max(x), bounds[2].min(y), bounds[3].max(y)];
        };
        corners.iter().filter(|c| c.z >= NEAR).for_each(|&c| see(c));
        if least < NEAR {
            // Edges that leave through the near plane are seen up to there.
            for i in 0..8usize {
                for bit in [1usize, 2, 4] {
                    let (a, b) = (corners[i], corners[i | bit]);
                    if i & bit == 0 && (a.z < NEAR) != (b.z < NEAR) {
                        let p = a.mix(b, (NEAR - a.z) / (b.z - a.z));
                        see(v3(p.x, p.y, NEAR));
                    }
                }
            }
        }
        // A pixel's samples lie within half a pixel of its centre; one more against rounding.
        window = [bounds[0] - 1.0, bounds[1] + 1.0, bounds[2] - 1.0, bounds[3] + 1.0];
        if window[1] < 0.0 || window[3] < 0.0 || window[0] > width - 1.0 || window[2] > height - 1.0 {
            return None;
        }
        window = [window[0].max(0.0), window[1].min(width - 1.0), window[2].max(0.0), window[3].min(height - 1.0)];
    }
    // In world axes first: a level ground keeps its exact height however far its origin is.
    let eye = at.rotation.undo(-at.offset_from(eye.position));
    Some(Primitive { shape: body.shape, axes, eye, body: index, near, window: window.map(|v| v as i32) })
}

//! Which points the sun and the lamps reach: for each light, lists of the bodies that may stand between it and a place,
//! by cells of a grid across the sun's rays, or of a cube around a lamp. Must never be needed for truth.

use super::intersect;
use super::view::{Eye, Lens, corners};
use crate::description::{Scene, Shape};
use crate::math::{Rotation, Vec3, v3};

/// Cells along each side of the sun's grid.
const GRID: usize = 96;
/// Points further than this along the camera's axis are lit, metres.
const FAR: f32 = 75.0;
/// Cells along each side of a face of a lamp's cube.
const FACE: usize = 16;

/// A body that throws shadows, in camera axes.
#[derive(Clone, Copy)]
struct Caster {
    shape: Shape,
    axes: Rotation,
    centre: Vec3,
    half: Vec3,
}

/// Lists of small numbers by cell, built in two passes.
#[derive(Default)]
struct Lists {
    starts: Vec<u32>,
    items: Vec<u32>,
}

impl Lists {
    /// `cells(item)` gives the cells that an item is listed in.
    fn build<I: Iterator<Item = usize>>(&mut self, count: usize, items: usize, cells: impl Fn(usize) -> I) {
        self.starts.clear();
        self.starts.resize(count + 1, 0);
        for item in 0..items {
            cells(item).for_each(|cell| self.starts[cell + 1] += 1);
        }
        for cell in 0..count {
            self.starts[cell + 1] += self.starts[cell];
        }
        self.items.clear();
        self.items.resize(self.starts[count] as usize, 0);
        for item in 0..items {
            for cell in cells(item) {
                self.items[self.starts[cell] as usize] = item as u32;
                self.starts[cell] += 1;
            }
        }
        for cell in (1..=count).rev() {
            self.starts[cell] = self.starts[cell - 1];
        }
        self.starts[0] = 0;
    }

    #[inline]
    fn of(&self, cell: usize) -> &[u32] {
        &self.items[self.starts[cell] as usize..self.starts[cell + 1] as usize]
    }
}

/// A caster as the sun sees it.
#[derive(Clone, Copy)]
struct Silhouette {
    caster: u32,
    /// The sun's direction in the caster's axes.
    towards: Vec3,
    /// Bounds across the sun's rays, and how far towards the sun it reaches.
    low: [f32; 2],
    high: [f32; 2],
    reach: f32,
}

/// Shadows of the sun at one instant.
#[derive(Default)]
struct SunGrid {
    across: [Vec3; 2],
    towards: Vec3,
    low: [f32; 2],
    per_metre: [f32; 2],
    silhouettes: Vec<Silhouette>,
    lists: Lists,
}

/// Shadows of one lamp at one instant.
#[derive(Default)]
struct LampCube {
    centre: Vec3,
    /// Squared least distance of each caster from the lamp.
    nearest: Vec<f32>,
    lists: Lists,
}

/// All shadows at one instant. Reused.
#[derive(Default)]
pub struct Shadows {
    casters: Vec<Caster>,
    sun: SunGrid,
    lit: bool,
    lamps: Vec<LampCube>,
}

impl Shadows {
    /// Prepares for the instant `time`; `sun` is the direction to the sun in camera axes, if there is one.
    pub fn build(&mut self, scene: &Scene, eye: &Eye, time: f32, lens: &Lens, sun: Option<Vec3>) {
        self.casters.clear();
        for body in scene.bodies.iter().filter(|body| body.shadow && body.shape != Shape::Plane) {
            let at = if body.now == body.next { body.now } else { body.now.towards(&body.next, time) };
            let (axes, centre) = eye.place(&at);
            self.casters.push(Caster { shape: body.shape, axes, centre, half: body.shape.half_extent() });
        }
        self.lit = sun.is_some();
        if let Some(towards) = sun {
            self.sun.build(&self.casters, towards, lens);
        }
        self.lamps.resize_with(scene.light.lamps.len(), LampCube::default);
        for (cube, lamp) in self.lamps.iter_mut().zip(&scene.light.lamps) {
            cube.build(if lamp.shadows { &self.casters } else { &[] }, eye.point(lamp.position), lamp.reach);
        }
    }

    /// Whether the sun reaches this point (camera axes).
    #[inline]
    pub fn sun_reaches(&self, p: Vec3) -> bool {
        !self.lit || !self.sun.blocked(&self.casters, p)
    }

    /// The way from this point to lamp `index` (camera axes), if nothing stands in it.
    #[inline]
    pub fn lamp_reaches(&self, index: usize, p: Vec3) -> Option<Vec3> {
        let cube = &self.lamps[index];
        (!cube.blocked(&self.casters, p)).then(|| cube.centre - p)
    }

    /// The way from this point to lamp `index` (camera axes).
    #[inline]
    pub fn to_lamp(&self, index: usize, p: Vec3) -> Vec3 {
        self.lamps[index].centre - p
    }
}

impl SunGrid {
    fn build(&mut self, casters: &[Caster], towards: Vec3, lens: &Lens) {
        let helper = if towards.x.abs() < 0.6 { v3(1.0, 0.0, 0.0) } else { v3(0.0, 1.0, 0.0) };
        let u = towards.cross(helper).unit();
        self.across = [u, towards.cross(u)];
        self.towards = towards;
        // The grid covers what the camera sees up to FAR.
        let (mut low, mut high) = ([0.0f32; 2], [0.0f32; 2]);
        for (x, y) in [(0.0, 0.0), (2.0 * lens.cx, 0.0), (0.0, 2.0 * lens.cy), (2.0 * lens.cx, 2.0 * lens.cy)] {
            let p = lens.ray(x, y) * FAR;
            for axis in 0..2 {
                let value = self.across[axis].dot(p);
                low[axis] = low[axis].min(value);
                high[axis] = high[axis].max(value);
            }
        }
        self.low = low;
        for axis in 0..2 {
            self.per_metre[axis] = GRID as f32 / (high[axis] - low[axis]).max(1e-3);
        }
        self.silhouettes.clear();
        for (index, caster) in casters.iter().enumerate() {
            let mut s = Silhouette {
                caster: index as u32,
                towards: caster.axes.undo(towards),
                low: [f32::INFINITY; 2],
                high: [f32::NEG_INFINITY; 2],
                reach: f32::NEG_INFINITY,
            };
            for corner in corners(caster.half, &caster.axes, caster.centre) {
                for axis in 0..2 {
                    let value = self.across[axis].dot(corner);
                    s.low[axis] = s.low[axis].min(value);
                    s.high[axis] = s.high[axis].max(value);
                }
                s.reach = s.reach.max(towards.dot(corner));
            }
            if (0..2).all(|axis| s.high[axis] >= low[axis] && s.low[axis] <= high[axis]) {
                self.silhouettes.push(s);
            }
        }
        let (silhouettes, per_metre) = (&self.silhouettes, self.per_metre);
        let cell = move |value: f32, axis: usize| {
            (((value - low[axis]) * per_metre[axis]).clamp(0.0, GRID as f32 - 1.0)) as usize
        };
        self.lists.build(GRID * GRID, silhouettes.len(), |item| {
            let s = silhouettes[item];
            let (x0, x1) = (cell(s.low[0], 0), cell(s.high[0], 0));
            let (y0, y1) = (cell(s.low[1], 1), cell(s.high[1], 1));
            (y0..=y1).flat_map(move |y| (x0..=x1).map(move |x| y * GRID + x))
        });
    }

    #[inline]
    fn blocked(&self, casters: &[Caster], p: Vec3) -> bool {
        if p.z > FAR {
            return false;
        }
        let place = [self.across[0].dot(p), self.across[1].dot(p)];
        let x = (place[0] - self.low[0]) * self.per_metre[0];
        let y = (place[1] - self.low[1]) * self.per_metre[1];
        if x < 0.0 || y < 0.0 || x >= GRID as f32 || y >= GRID as f32 {
            return false;
        }
        let height = self.towards.dot(p);
        self.lists.of(y as usize * GRID + x as usize).iter().any(|&index| {
            let s = &self.silhouettes[index as usize];
            if s.reach < height
                || place[0] < s.low[0]
                || place[0] > s.high[0]
                || place[1] < s.low[1]
                || place[1] > s.high[1]
            {
                return false;
            }
            let caster = &casters[s.caster as usize];
            intersect::hit(&caster.shape, caster.axes.undo(p - caster.centre), s.towards, 0.0).is_some()
        })
    }
}

impl LampCube {
    fn build(&mut self, casters: &[Caster], centre: Vec3, reach: f32) {
        self.centre = centre;
        self.nearest.clear();
        self.nearest.extend(casters.iter().map(|caster| {
            let local = caster.axes.undo(centre - caster.centre);
            let out = |at: f32, half: f32| (at.abs() - half).max(0.0);
            let (x, y, z) = (out(local.x, caster.half.x), out(local.y, caster.half.y), out(local.z, caster.half.z));
            x * x + y * y + z * z
        }));
        let nearest = &self.nearest;
        self.lists.build(6 * FACE * FACE, casters.len(), |item| {
            let caster = &casters[item];
            let seen = nearest[item] < reach * reach;
            let corners = corners(caster.half, &caster.axes, caster.centre - centre);
            (0..if seen { 6 } else { 0 }).flat_map(move |face| {
                let [x0, x1, y0, y1] = cells_on_face(&corners, face);
                (y0..y1).flat_map(move |y| (x0..x1).map(move |x| (face * FACE + y) * FACE + x))
            })
        });
    }

    #[inline]
    fn blocked(&self, casters: &[Caster], p: Vec3) -> bool {
        let d = p - self.centre;
        let distance = d.dot(d);
        self.lists.of(cell_of(d)).iter().any(|&index| {
            if self.nearest[index as usize] > distance {
                return false;
            }
            let caster = &casters[index as usize];
            // From the point towards the lamp; the lamp's own body, around it, does not count.
            let t = intersect::hit(&caster.shape, caster.axes.undo(p - caster.centre), caster.axes.undo(-d), 0.0);
            t.is_some_and(|t| t < 0.97)
        })
    }
}

/// A point as a face of the cube sees it: along the face's axis, and across.
#[inline]
fn on_face(p: Vec3, face: usize) -> (f32, f32, f32) {
    let sign = if face.is_multiple_of(2) { 1.0 } else { -1.0 };
    match face / 2 {
        0 => (p.x * sign, p.y, p.z),
        1 => (p.y * sign, p.x, p.z),
        _ => (p.z * sign, p.x, p.y),
    }
}

/// The cells of a face that a box with these corners may cover: columns from and to, rows from and to (without the last).
fn cells_on_face(corners: &[Vec3; 8], face: usize) -> [usize; 4] {
    // Nearer along the axis than this the bounds are clipped.
    const LEAST: f32 = 0.01;
    let seen = corners.map(|corner| on_face(corner, face));
    let mut bounds = [f32::INFINITY, f32::NEG_INFINITY, f32::INFINITY, f32::NEG_INFINITY];
    let mut add = |m: f32, u: f32, v: f32| {
        let (u, v) = (u / m, v / m);
        bounds = [bounds[0].min(u), bounds[1].max(u), bounds[2].min(v), bounds[3].max(v)];
    };
    for i in 0..8usize {
        let a = seen[i];
        if a.0 >= LEAST {
            add(a.0, a.1, a.2);
        }
        for bit in [1usize, 2, 4] {
            let b = seen[i | bit];
            if i & bit == 0 && (a.0 < LEAST) != (b.0 < LEAST) {
                let t = (LEAST - a.0) / (b.0 - a.0);
                add(LEAST, a.1 + (b.1 - a.1) * t, a.2 + (b.2 - a.2) * t);
            }
        }
    }
    if bounds[0] > 1.0 || bounds[1] < -1.0 || bounds[2] > 1.0 || bounds[3] < -1.0 {
        return [0; 4];
    }
    let cell = |w: f32| ((w * 0.5 + 0.5) * FACE as f32).clamp(0.0, FACE as f32 - 1.0) as usize;
    // A little wider, against rounding.
    let wide = 1e-4;
    [cell(bounds[0] - wide), cell(bounds[1] + wide) + 1, cell(bounds[2] - wide), cell(bounds[3] + wide) + 1]
}

/// The cell of a lamp's cube that a direction falls into.
#[inline]
fn cell_of(d: Vec3) -> usize {
    let (x, y, z) = (d.x.abs(), d.y.abs(), d.z.abs());
    let face = if x >= y && x >= z {
        usize::from(d.x < 0.0)
    } else if y >= z {
        2 + usize::from(d.y < 0.0)
    } else {
        4 + usize::from(d.z < 0.0)
    };
    let (major, u, v) = on_face(d, face);
    let scale = FACE as f32 * 0.5;
    let at = |w: f32| (((w / major.max(1e-9)) * scale + scale).clamp(0.0, FACE as f32 - 1.0)) as usize;
    (face * FACE + at(v)) * FACE + at(u)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn lists_hold_every_body_that_a_plain_search_finds() {
        let mut random = Random::of(&[7]);
        let casters: Vec<Caster> = (0..40)
            .map(|_| {
                let half = v3(random.range(0.1, 1.0), random.range(0.1, 1.0), random.range(0.1, 1.0));
                let axes = Rotation::yaw(random.range64(0.0, 6.0)).after(&Rotation::pitch(random.range64(0.0, 6.0)));
                let centre = v3(random.range(-6.0, 6.0), random.range(-3.0, 3.0), random.range(1.0, 12.0));
                Caster { shape: Shape::Cuboid { half }, axes, centre, half }
            })
            .collect();
        let lens = Lens { focal: 100.0, cx: 100.0, cy: 60.0 };
        let towards = v3(0.3, -0.8, -0.2).unit();
        let mut sun = SunGrid::default();
        sun.build(&casters, towards, &lens);
        let mut cube = LampCube::default();
        cube.build(&casters, v3(0.5, -2.0, 6.0), 30.0);
        let (mut dark, mut shaded) = (0, 0);
        for _ in 0..20_000 {
            let z = random.range(1.0, 12.0);
            let p = v3(random.range(-0.9, 0.9) * z, random.range(-0.5, 0.5) * z, z);
            let hits = |d: Vec3, most: f32| {
                casters.iter().any(|c| {
                    intersect::hit(&c.shape, c.axes.undo(p - c.centre), c.axes.undo(d), 0.0).is_some_and(|t| t < most)
                })
            };
            let expected = hits(towards, f32::INFINITY);
            dark += u32::from(expected);
            assert_eq!(sun.blocked(&casters, p), expected, "sun at {p:?}");
            let expected = hits(cube.centre - p, 0.97);
            shaded += u32::from(expected);
            assert_eq!(cube.blocked(&casters, p), expected, "lamp at {p:?}");
        }
        assert!(dark > 1000 && shaded > 1000);
    }
}

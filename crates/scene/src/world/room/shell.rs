//! The shell of a room: floor, walls with doors and windows, a dividing wall, ceiling and its lamps. Must never stand in
//! the camera's way: openings lie where its path goes through.

use super::look::Look;
use super::path::Path;
use super::piece::{Piece, Spot, class};
use super::solid::Solid;
use crate::description::{Body, Lamp, Placement, Shape};
use crate::material::{Material, Pattern, srgb};
use crate::math::{Vec3, v3};
use crate::random::Random;

/// How near anything may come to the middle of the camera's path, metres: the camera sways by a few centimetres and
/// keeps 0.4 from everything; people who walk the path take up [`super::person::SIDE`].
pub(super) const CLEAR: f64 = 0.5;
const THICK: f32 = 0.16;
/// Top of doors and openings, metres.
const LINTEL: f32 = 2.08;

/// A stretch of wall that furniture may stand against: `spot` is its middle, its front towards +y.
#[derive(Clone, Debug)]
pub(super) struct Face {
    pub(super) spot: Spot,
    /// Half its length.
    pub(super) half: f64,
    /// Doors and windows along it: from, to, and the height below which furniture may stand before it.
    pub(super) taken: Vec<[f64; 3]>,
}

/// What there is before furniture.
pub(super) struct Shell {
    pub(super) half: [f64; 2],
    pub(super) height: f64,
    pub(super) path: Path,
    pub(super) faces: Vec<Face>,
    pub(super) bodies: Vec<Body>,
    pub(super) solids: Vec<Solid>,
    pub(super) lamps: Vec<Lamp>,
    /// Outward direction of a wall with a window, where there is one.
    pub(super) window: Option<[f64; 2]>,
}

/// Materials of the shell.
struct Finish {
    wall: [Material; 4],
    trim: Material,
    pane: Material,
    curtain: Option<Material>,
    door: Material,
    handle: Material,
}

impl Shell {
    /// A shell of random size.
    pub(super) fn new(look: Look, r: &mut Random) -> Shell {
        let two = r.chance(0.4);
        let half = match two {
            true => [r.range64(3.9, 4.8), r.range64(2.6, 3.3)],
            false => [r.range64(2.9, 3.9), r.range64(2.6, 3.4)],
        };
        let height = r.range64(2.4, if look.shifted { 3.3 } else { 2.85 });
        let margin = [r.range64(1.05, 1.4), r.range64(1.05, 1.35)];
        let path = walk([half[0] - margin[0], half[1] - margin[1]], r);
        let mut shell = Shell {
            half,
            height,
            path,
            faces: Vec::new(),
            bodies: Vec::new(),
            solids: Vec::new(),
            lamps: Vec::new(),
            window: None,
        };
        let papers = [look.wall(r), look.wall(r)];
        let second = if r.chance(0.35) { papers[1] } else { papers[0] };
        let finish = Finish {
            wall: [papers[0], papers[0], second, papers[0]],
            trim: look.trim(r),
            pane: pane(look, r),
            curtain: r.chance(0.55).then(|| look.textile(r)),
            door: look.trim(r),
            handle: look.device(r),
        };
        let first = r.below(4);
        for side in 0..4 {
            shell.side(r, side, &finish, (side + first) % 4);
        }
        let divider = two.then(|| r.range64(-0.7, 0.7));
        if let Some(x) = divider {
            shell.divide(x, &finish);
        }
        shell.floor(look, r, divider);
        shell.lights(look, r, divider);
        shell
    }

    /// One outer wall: side 0 is south, then east, north, west. `rank` 0 has windows for sure, 1 the door.
    fn side(&mut self, r: &mut Random, side: u32, finish: &Finish, rank: u32) {
        let long = self.half[side as usize % 2];
        let out = self.half[1 - side as usize % 2];
        let middle = Spot { at: [0.0, 0.0], axis: [1.0, 0.0], height: 0.0 }.beside(0.0, 0.0, side);
        let spot = middle.beside(0.0, -out, 0);
        let l = long as f32 + if side.is_multiple_of(2) { THICK } else { 0.0 };
        let high = self.height as f32;
        let paper = finish.wall[side as usize % 4];
        let mut wall = Piece::new(class::WALL, l * 2.0, THICK * 2.0, high);
        let mut extras = Piece::new(class::WALL, l * 2.0, 0.3, high);
        let mut taken = Vec::new();
        let mut holes: Vec<[f32; 4]> = Vec::new();
        if rank == 0 || (rank > 1 && r.chance(0.4)) {
            let count = 1 + r.below(if long > 3.0 { 2 } else { 1 });
            let cell = 2.0 * long as f32 / count as f32;
            for i in 0..count {
                let half = (r.range(0.45, 0.95)).min(cell * 0.5 - 0.45);
                let x = -(long as f32) + cell * (i as f32 + 0.5) + r.range(-0.2, 0.2);
                let (low, top) = (r.range(0.8, 1.0), r.range(1.95, 2.2));
                holes.push([x - half, x + half, low, top]);
                taken.push([f64::from(x - half) - 0.3, f64::from(x + half) + 0.3, f64::from(low) - 0.05]);
            }
            self.window = Some([-middle.beside(0.0, 0.0, 1).axis[0], -middle.beside(0.0, 0.0, 1).axis[1]]);
        }
        let mut from = -l;
        for &[x0, x1, low, top] in &holes {
            wall.cuboid([from, x0], [-THICK, 0.0], [0.0, high], paper);
            wall.cuboid([x0, x1], [-THICK, 0.0], [0.0, low], paper);
            wall.cuboid([x0, x1], [-THICK, 0.0], [top, high], paper);
            window(&mut extras, [x0, x1, low, top], finish);
            from = x1;
        }
        wall.cuboid([from, l], [-THICK, 0.0], [0.0, high], paper);
        if rank == 1 || (rank > 1 && holes.is_empty() && r.chance(0.3)) {
            let x = r.range(-0.6, 0.6) * (long as f32 - 0.8);
            door(&mut extras, x, finish);
            taken.push([f64::from(x) - 0.56, f64::from(x) + 0.56, 0.0]);
        }
        let plain = long as f32;
        extras.cuboid([-plain, plain], [0.0, 0.014], [0.0, 0.08], finish.trim);
        wall.put(&spot, &mut self.bodies);
        extras.put(&spot, &mut self.bodies);
        // Panes and the sun's way: light comes in through the glass.
        for body in &mut self.bodies {
            if body.material == finish.pane {
                body.shadow = false;
            }
        }
        self.faces.push(Face { spot, half: long, taken });
    }

    /// A wall across at x, open where the path passes.
    fn divide(&mut self, x: f64, finish: &Finish) {
        let mut open: [Option<[f64; 2]>; 2] = [None, None];
        let near = f64::from(THICK) * 0.5 + CLEAR;
        for p in self.path.points().iter().filter(|p| (p[0] - x).abs() < near) {
            let side = &mut open[usize::from(p[1] > 0.0)];
            let [low, high] = side.unwrap_or([p[1], p[1]]);
            *side = Some([low.min(p[1]), high.max(p[1])]);
        }
        let spot = Spot { at: [x, 0.0], axis: [0.0, 1.0], height: 0.0 };
        let mut wall = Piece::new(class::WALL, 2.0 * self.half[1] as f32, THICK, self.height as f32);
        let high = self.height as f32;
        let y = [-THICK * 0.5, THICK * 0.5];
        let mut from = -self.half[1];
        let mut stretches = Vec::new();
        for [low, top] in open.into_iter().flatten() {
            let (low, top) = (low - CLEAR - 0.08, (top + CLEAR + 0.08).min(self.half[1]));
            let low = if low - from < 0.25 { from } else { low };
            let top = if self.half[1] - top < 0.25 { self.half[1] } else { top };
            if low > from {
                stretches.push([from, low]);
            }
            wall.cuboid([low as f32, top as f32], y, [LINTEL, high], finish.wall[1]);
            for edge in [low, top] {
                let e = edge as f32;
                let inner = if edge == low { [e, e + 0.03] } else { [e - 0.03, e] };
                wall.cuboid(inner, [y[0] - 0.015, y[1] + 0.015], [0.0, LINTEL], finish.trim);
            }
            from = top;
        }
        if self.half[1] > from {
            stretches.push([from, self.half[1]]);
        }
        for [a, b] in stretches {
            wall.cuboid([a as f32, b as f32], y, [0.0, high], finish.wall[1]);
            let (middle, half) = ((a + b) * 0.5, (b - a) * 0.5);
            let centre = spot.point(middle, 0.0);
            let thick = f64::from(THICK) * 0.5;
            self.solids.push(Solid { centre, axis: spot.axis, half: [half, thick], bottom: 0.0, top: self.height });
            if half > 0.3 {
                for (quarters, out) in [(0, thick), (2, -thick)] {
                    self.faces.push(Face { spot: spot.beside(middle, out, quarters), half, taken: Vec::new() });
                }
            }
        }
        wall.put(&spot, &mut self.bodies);
    }

    /// Floors and carpets, and the ceiling.
    fn floor(&mut self, look: Look, r: &mut Random, divider: Option<f64>) {
        let [hx, hy] = self.half;
        let split = divider.filter(|_| r.chance(0.6)).unwrap_or(hx);
        for [a, b] in [[-hx, split], [split, hx]] {
            if b - a < 0.1 {
                continue;
            }
            let half = [(b - a) as f32 * 0.5, hy as f32];
            let turned = r.below(2);
            let half = if turned == 1 { [half[1], half[0]] } else { half };
            let at = Spot { at: [(a + b) * 0.5, 0.0], axis: [1.0, 0.0], height: 0.0 }.beside(0.0, 0.0, turned);
            self.flat(half, &at, look.floor(r), false);
            if r.chance(0.6) {
                let (w, d) = (r.range(0.7, 1.3), r.range(0.5, 0.9));
                let x = (a + b) * 0.5 + r.range64(-0.3, 0.3);
                let rug = Spot { at: [x, r.range64(-0.3, 0.3)], axis: [1.0, 0.0], height: 0.005 };
                self.flat([w, d], &rug, look.textile(r), false);
            }
        }
        let top = Shape::Cuboid { half: v3(hx as f32 + THICK, hy as f32 + THICK, 0.1) };
        let at = Placement::upright([0.0, 0.0, self.height + 0.1], 0.0);
        self.bodies.push(Body::still(top, at, class::CEILING, look.ceiling(r)));
    }

    /// A flat rectangle of floor.
    fn flat(&mut self, half: [f32; 2], at: &Spot, material: Material, shadow: bool) {
        let mut body = Body::still(Shape::Rectangle { half }, at.placement(), class::FLOOR, material);
        body.shadow = shadow;
        self.bodies.push(body);
    }

    /// A lamp at the ceiling of each room.
    fn lights(&mut self, look: Look, r: &mut Random, divider: Option<f64>) {
        let [hx, _] = self.half;
        let spans = match divider {
            Some(x) => vec![[-hx, x], [x, hx]],
            None => vec![[-hx, hx]],
        };
        let warm = if look.shifted { v3(0.75, 0.9, 1.1) } else { v3(1.1, 1.0, r.range(0.7, 0.95)) };
        let power = r.range(1.4, 3.2);
        let round = r.chance(0.5);
        for [a, b] in spans {
            let at = [(a + b) * 0.5, r.range64(-0.3, 0.3)];
            let thick = 0.09;
            let shape = match round {
                true => Shape::Cylinder { radius: r.range(0.18, 0.3), half: thick * 0.5 },
                false => Shape::Cuboid { half: v3(r.range(0.2, 0.5), 0.16, thick * 0.5) },
            };
            let z = self.height - f64::from(thick) * 0.5;
            let glass = Material::plain(srgb(0xfff6e8)).glowing(1.0);
            let body =
                Body::still(shape, Placement::upright([at[0], at[1], z], 0.0), class::CEILING, glass).shadowless();
            self.bodies.push(body);
            self.lamps.push(Lamp {
                position: [at[0], at[1], self.height - 0.25],
                colour: warm * power,
                reach: 9.0,
                shadows: true,
            });
        }
    }
}

/// The camera's round: a rounded, uneven ring.
fn walk(half: [f64; 2], r: &mut Random) -> Path {
    // A spline stays inside its corners; these are set a little further out.
    let [x, y] = [half[0] * 1.08, half[1] * 1.08];
    let ring = [
        [x, 0.0],
        [x, 0.62 * y],
        [0.7 * x, y],
        [0.0, y],
        [-0.7 * x, y],
        [-x, 0.62 * y],
        [-x, 0.0],
        [-x, -0.62 * y],
        [-0.7 * x, -y],
        [0.0, -y],
        [0.7 * x, -y],
        [x, -0.62 * y],
    ];
    let mut corners: Vec<[f64; 2]> = ring.into_iter().map(|c| c.map(|v| v * r.range64(0.9, 1.0))).collect();
    if r.chance(0.5) {
        corners.reverse();
    }
    Path::through(&corners)
}

/// What is seen through the windows: bright and blurred.
fn pane(look: Look, r: &mut Random) -> Material {
    let base = srgb(if look.shifted { r.pick(&[0x29405f, 0xf0b27a]) } else { r.pick(&[0xdcecff, 0xf4f8ff, 0xcfe4ff]) });
    let second = srgb(r.pick(&[0xa8c8a0, 0xb8d0e8, 0xc8d8c0]));
    let bright = if look.shifted { r.range(0.5, 1.2) } else { r.range(1.0, 1.6) };
    Material::patterned(base, second, Pattern::Noise { size: r.range(0.3, 0.6) }, r.bits()).glowing(bright)
}

/// Glass, frame and curtains of a hole `x0, x1, low, top` in a wall.
fn window(extras: &mut Piece, [x0, x1, low, top]: [f32; 4], finish: &Finish) {
    extras.cuboid([x0, x1], [-0.12, -0.11], [low, top], finish.pane);
    let bar = 0.05;
    let y = [-0.11, -0.05];
    extras.cuboid([x0, x1], y, [low, low + bar], finish.trim);
    extras.cuboid([x0, x1], y, [top - bar, top], finish.trim);
    extras.cuboid([x0, x0 + bar], y, [low + bar, top - bar], finish.trim);
    extras.cuboid([x1 - bar, x1], y, [low + bar, top - bar], finish.trim);
    let middle = (x0 + x1) * 0.5;
    extras.cuboid([middle - bar * 0.5, middle + bar * 0.5], y, [low + bar, top - bar], finish.trim);
    extras.cuboid([x0 - 0.04, x1 + 0.04], [-0.05, 0.03], [low - 0.03, low], finish.trim);
    if let Some(cloth) = finish.curtain {
        for (from, to) in [(x0 - 0.28, x0 + 0.04), (x1 - 0.04, x1 + 0.28)] {
            extras.cuboid([from, to], [0.015, 0.09], [low - 0.15, top + 0.12], cloth);
        }
        extras.cuboid([x0 - 0.33, x1 + 0.33], [0.02, 0.06], [top + 0.12, top + 0.16], finish.handle);
    }
}

/// A closed door about x.
fn door(extras: &mut Piece, x: f32, finish: &Finish) {
    let (half, top) = (0.43, 2.02);
    extras.cuboid([x - half, x + half], [0.0, 0.02], [0.0, top], finish.door);
    for (a, b) in [(0.12, 0.9), (1.05, 1.9)] {
        extras.cuboid([x - half + 0.1, x + half - 0.1], [0.02, 0.03], [a, b], finish.door);
    }
    extras.cuboid([x + half - 0.12, x + half - 0.02], [0.03, 0.07], [1.0, 1.03], finish.handle);
    extras.cuboid([x - half - 0.09, x - half], [0.0, 0.035], [0.0, top], finish.trim);
    extras.cuboid([x + half, x + half + 0.09], [0.0, 0.035], [0.0, top], finish.trim);
    extras.cuboid([x - half - 0.09, x + half + 0.09], [0.0, 0.035], [top, top + 0.09], finish.trim);
}

/// Light that comes from all sides, up and down.
pub(super) fn ambient(look: Look, r: &mut Random) -> [Vec3; 2] {
    let level = if look.shifted { r.range(0.16, 0.3) } else { r.range(0.34, 0.55) };
    let tint = if look.shifted { v3(1.1, 0.98, 0.85) } else { v3(r.range(0.95, 1.05), 1.0, r.range(0.92, 1.05)) };
    [tint * level, tint * (level * r.range(0.65, 0.8))]
}

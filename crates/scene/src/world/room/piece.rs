//! A thing in its own axes: parts around a spot on the floor, its front towards +y. Must never reach out of the box that
//! it says it takes up.

use super::solid::Solid;
use crate::description::{Body, Placement, Shape};
use crate::material::Material;
use crate::math::{Rotation, Vec3, v3};

/// Classes of rooms by name; values are places in [`super::CLASSES`].
pub(super) mod class {
    pub(in super::super) const FLOOR: u8 = 0;
    pub(in super::super) const WALL: u8 = 1;
    pub(in super::super) const CEILING: u8 = 2;
    pub(in super::super) const SEAT: u8 = 3;
    pub(in super::super) const TABLE: u8 = 4;
    pub(in super::super) const STORAGE: u8 = 5;
    pub(in super::super) const OBJECT: u8 = 6;
    pub(in super::super) const PERSON: u8 = 7;
}

/// One shape of a piece.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) shape: Shape,
    pub(super) offset: Vec3,
    pub(super) rotation: Rotation,
    pub(super) material: Material,
}

/// A surface where things may stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Top {
    /// Centre on the piece's own plan.
    pub(super) centre: [f32; 2],
    /// Half sizes along x and y.
    pub(super) half: [f32; 2],
    /// Height of the surface.
    pub(super) height: f32,
    /// Free height above it.
    pub(super) room: f32,
}

/// A piece of furniture or a thing.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) class: u8,
    pub(super) half: [f32; 2],
    pub(super) height: f32,
    pub(super) parts: Vec<Part>,
    pub(super) tops: Vec<Top>,
}

/// Where a piece stands: a spot, the direction of its own x axis, and the height of what it stands on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) at: [f64; 2],
    pub(super) axis: [f64; 2],
    pub(super) height: f64,
}

impl Spot {
    /// The spot's placement in the world.
    pub(super) fn placement(&self) -> Placement {
        let (c, s) = (self.axis[0] as f32, self.axis[1] as f32);
        Placement {
            position: [self.at[0], self.at[1], self.height],
            rotation: Rotation { x: v3(c, s, 0.0), y: v3(-s, c, 0.0), z: v3(0.0, 0.0, 1.0) },
        }
    }
    /// A point given in the spot's own axes.
    pub(super) fn point(&self, x: f64, y: f64) -> [f64; 2] {
        let [c, s] = self.axis;
        [self.at[0] + c * x - s * y, self.at[1] + s * x + c * y]
    }
    /// The spot there, turned by quarter turns counter-clockwise.
    pub(super) fn beside(&self, x: f64, y: f64, quarters: u32) -> Spot {
        let mut axis = self.axis;
        for _ in 0..quarters % 4 {
            axis = [-axis[1], axis[0]];
        }
        Spot { at: self.point(x, y), axis, height: self.height }
    }
}

impl Piece {
    /// Nothing yet, in a box of this width, depth and height.
    pub(super) fn new(class: u8, width: f32, depth: f32, height: f32) -> Piece {
        Piece { class, half: [width * 0.5, depth * 0.5], height, parts: Vec::new(), tops: Vec::new() }
    }

    /// A box from corner to corner.
    pub(super) fn cuboid(&mut self, x: [f32; 2], y: [f32; 2], z: [f32; 2], material: Material) {
        let (middle, half) = (|p: [f32; 2]| (p[0] + p[1]) * 0.5, |p: [f32; 2]| (p[1] - p[0]) * 0.5);
        self.part(Shape::Cuboid { half: v3(half(x), half(y), half(z)) }, v3(middle(x), middle(y), middle(z)), material);
    }

    /// An upright cylinder over a point of the plan.
    pub(super) fn cylinder(&mut self, at: [f32; 2], radius: f32, z: [f32; 2], material: Material) {
        let shape = Shape::Cylinder { radius, half: (z[1] - z[0]) * 0.5 };
        self.part(shape, v3(at[0], at[1], (z[0] + z[1]) * 0.5), material);
    }

    /// Any shape, not turned.
    pub(super) fn part(&mut self, shape: Shape, offset: Vec3, material: Material) {
        self.parts.push(Part { shape, offset, rotation: Rotation::IDENTITY, material });
    }

    /// Four legs at the corners of a rectangle.
    pub(super) fn legs(&mut self, half: [f32; 2], thick: f32, height: f32, material: Material) {
        for (sx, sy) in [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)] {
            let (x, y) = (sx * (half[0] - thick * 0.5), sy * (half[1] - thick * 0.5));
            let h = thick * 0.5;
            self.cuboid([x - h, x + h], [y - h, y + h], [0.0, height], material);
        }
    }

    /// A surface where things may stand.
    pub(super) fn top(&mut self, half: [f32; 2], height: f32, room: f32) {
        self.tops.push(Top { centre: [0.0, 0.0], half, height, room });
    }

    /// The space that it takes up at a spot.
    pub(super) fn solid(&self, spot: &Spot) -> Solid {
        Solid {
            centre: spot.at,
            axis: spot.axis,
            half: self.half.map(f64::from),
            bottom: spot.height,
            top: spot.height + f64::from(self.height),
        }
    }

    /// Adds its parts at a spot.
    pub(super) fn put(&self, spot: &Spot, bodies: &mut Vec<Body>) {
        let at = spot.placement();
        bodies.extend(
            self.parts
                .iter()
                .map(|part| Body::still(part.shape, at.carry(part.offset, &part.rotation), self.class, part.material)),
        );
    }
}

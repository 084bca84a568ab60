//! Things that stand on floors and tables or hang on walls: lamps, plants, boxes, vases, screens, pictures. Must never be
//! thinner than 5 cm where they stand alone.

use super::look::Look;
use super::piece::{Piece, class};
use crate::description::Shape;
use crate::material::{Material, Pattern, srgb};
use crate::math::v3;
use crate::random::Random;

/// Something for a table top that fits into a square of this side and under this height.
pub(super) fn small(look: Look, r: &mut Random, side: f32, room: f32) -> Piece {
    let side = side.min(0.42);
    let tall = room.min(0.5);
    match r.below(8) {
        0 if tall > 0.3 => table_lamp(look, r, side, tall),
        1 => vase(look, r, side, tall),
        2 if side > 0.3 && tall > 0.28 => screen(look, r, side, tall.min(0.42)),
        3 if tall > 0.25 => {
            let (w, h) = (side * r.range(0.7, 1.0), tall * r.range(0.7, 1.0));
            plant(look, r, w, h)
        }
        4 => pile(look, r, side, tall),
        5 => {
            let radius = (side * 0.5).min(tall * 0.5) * r.range(0.6, 0.95);
            ball(look, r, radius)
        }
        6 => pot(look, r, side, tall),
        _ => {
            let (w, d, h) = (side * r.range(0.5, 0.95), side * r.range(0.5, 0.95), tall * r.range(0.35, 0.8));
            carton(look, r, w, d, h)
        }
    }
}

/// Something that stands on the floor.
pub(super) fn large(look: Look, r: &mut Random) -> Piece {
    match r.below(6) {
        0 => floor_lamp(look, r),
        1 | 2 => {
            let (side, tall) = (r.range(0.45, 0.75), r.range(0.8, 1.7));
            plant(look, r, side, tall)
        }
        3 => stack(look, r),
        4 => {
            let (radius, tall) = (r.range(0.14, 0.2), r.range(0.35, 0.5));
            bin(look, r, radius, tall)
        }
        _ => {
            let radius = r.range(0.15, 0.32);
            ball(look, r, radius)
        }
    }
}

/// A box.
fn carton(look: Look, r: &mut Random, width: f32, depth: f32, height: f32) -> Piece {
    let mut piece = Piece::new(class::OBJECT, width, depth, height);
    piece.cuboid([-width * 0.5, width * 0.5], [-depth * 0.5, depth * 0.5], [0.0, height], look.thing(r));
    piece
}

/// Two or three boxes on each other.
fn stack(look: Look, r: &mut Random) -> Piece {
    let side = r.range(0.35, 0.55);
    let mut piece = Piece::new(class::OBJECT, side, side, 0.0);
    let mut z = 0.0;
    for _ in 0..2 + r.below(2) {
        let (w, d, h) = (side * r.range(0.7, 1.0), side * r.range(0.7, 1.0), r.range(0.2, 0.34));
        let material = if r.chance(0.5) { Material::plain(srgb(0xb08a5a)) } else { look.thing(r) };
        piece.cuboid([-w * 0.5, w * 0.5], [-d * 0.5, d * 0.5], [z, z + h], material);
        z += h;
    }
    piece.height = z;
    piece
}

/// Books that lie on each other.
fn pile(look: Look, r: &mut Random, side: f32, room: f32) -> Piece {
    let mut piece = Piece::new(class::OBJECT, side, side, 0.0);
    let mut z = 0.0;
    for _ in 0..2 + r.below(4) {
        let (w, d, h) = (side * r.range(0.6, 0.95), side * r.range(0.5, 0.8), r.range(0.03, 0.055));
        if z + h > room {
            break;
        }
        piece.cuboid([-w * 0.5, w * 0.5], [-d * 0.5, d * 0.5], [z, z + h], look.thing(r));
        z += h;
    }
    piece.height = z.max(0.01);
    piece
}

/// A ball.
fn ball(look: Look, r: &mut Random, radius: f32) -> Piece {
    let mut piece = Piece::new(class::OBJECT, radius * 2.0, radius * 2.0, radius * 2.0);
    piece.part(Shape::Ellipsoid { radii: v3(radius, radius, radius) }, v3(0.0, 0.0, radius), look.thing(r));
    piece
}

/// A bellied vase with a neck.
fn vase(look: Look, r: &mut Random, side: f32, room: f32) -> Piece {
    let (radius, height) = (side * r.range(0.25, 0.42), room * r.range(0.5, 0.9));
    let material = look.thing(r);
    let mut piece = Piece::new(class::OBJECT, radius * 2.0, radius * 2.0, height);
    piece.part(Shape::Ellipsoid { radii: v3(radius, radius, height * 0.38) }, v3(0.0, 0.0, height * 0.38), material);
    piece.cylinder([0.0, 0.0], radius * 0.55, [height * 0.6, height], material);
    piece
}

/// A pot with a lid.
fn pot(look: Look, r: &mut Random, side: f32, room: f32) -> Piece {
    let (radius, height) = (side * r.range(0.3, 0.45), (room * 0.6).min(side * r.range(0.5, 0.9)));
    let mut piece = Piece::new(class::OBJECT, radius * 2.0, radius * 2.0, height);
    piece.cylinder([0.0, 0.0], radius, [0.0, height * 0.75], look.thing(r));
    piece.cylinder([0.0, 0.0], radius * 0.9, [height * 0.75, height * 0.85], look.device(r));
    piece.cylinder([0.0, 0.0], radius * 0.25, [height * 0.85, height], look.thing(r));
    piece
}

/// A waste bin or basket.
fn bin(look: Look, r: &mut Random, radius: f32, height: f32) -> Piece {
    let mut piece = Piece::new(class::OBJECT, radius * 2.0, radius * 2.0, height);
    let material = look.thing(r);
    piece.cylinder([0.0, 0.0], radius * 0.9, [0.0, height - 0.05], material);
    piece.cylinder([0.0, 0.0], radius, [height - 0.05, height], look.device(r));
    piece
}

/// A plant in a pot.
fn plant(look: Look, r: &mut Random, side: f32, height: f32) -> Piece {
    let mut piece = Piece::new(class::OBJECT, side, side, height);
    let (pot, leaves) = (look.thing(r), look.leaves(r));
    let (radius, low) = (side * r.range(0.25, 0.34), height * r.range(0.22, 0.3));
    piece.cylinder([0.0, 0.0], radius, [0.0, low], pot);
    let crown = height - low;
    let clumps = 3 + r.below(2);
    for i in 0..clumps {
        // A stack of blobs, wide in the middle.
        let share = (i as f32 + 0.5) / clumps as f32;
        let reach = side * 0.5 * (1.0 - (share - 0.45) * (share - 0.45) * 1.6);
        let size = reach * r.range(0.7, 0.85);
        let off = reach - size;
        let tall = (crown / clumps as f32 * 0.8).min(crown * share).min(crown * (1.0 - share));
        let at = v3(off * r.range(-1.0, 1.0), off * r.range(-1.0, 1.0), low + crown * share);
        piece.part(Shape::Ellipsoid { radii: v3(size, size, tall) }, at, leaves);
    }
    piece.cylinder([0.0, 0.0], 0.025 + 0.02 * height, [low, low + crown * 0.5], Material::plain(srgb(0x5b4630)));
    piece
}

/// A shade's own light.
fn shade(r: &mut Random) -> Material {
    Material::plain(srgb(r.pick(&[0xfff0cc, 0xffe2b0, 0xfdf6e6, 0xf6d9a8]))).glowing(0.9)
}

/// A lamp for a table.
fn table_lamp(look: Look, r: &mut Random, side: f32, room: f32) -> Piece {
    let (radius, height) = ((side * 0.5).min(0.17), room.min(r.range(0.36, 0.5)));
    let mut piece = Piece::new(class::OBJECT, radius * 2.0, radius * 2.0, height);
    let foot = look.thing(r);
    piece.cylinder([0.0, 0.0], radius * 0.6, [0.0, 0.03], foot);
    piece.cylinder([0.0, 0.0], 0.035, [0.03, height * 0.55], foot);
    piece.cylinder([0.0, 0.0], radius, [height * 0.55, height], shade(r));
    piece
}

/// A lamp on the floor.
fn floor_lamp(look: Look, r: &mut Random) -> Piece {
    let (radius, height) = (r.range(0.18, 0.25), r.range(1.45, 1.75));
    let mut piece = Piece::new(class::OBJECT, radius * 2.0, radius * 2.0, height);
    let foot = look.device(r);
    piece.cylinder([0.0, 0.0], radius * 0.75, [0.0, 0.04], foot);
    piece.cylinder([0.0, 0.0], 0.03, [0.04, height - 0.3], foot);
    piece.cylinder([0.0, 0.0], radius, [height - 0.3, height], shade(r));
    piece
}

/// What a screen shows.
fn content(r: &mut Random) -> Material {
    let base = srgb(r.pick(&[0x2f5f9f, 0x1f3f5f, 0x3f7f6f, 0x6f4f8f, 0x202830]));
    let second = srgb(r.pick(&[0xe8eef4, 0x88c0e8, 0xf0c070]));
    Material::patterned(base, second, Pattern::Noise { size: r.range(0.05, 0.15) }, r.bits()).glowing(0.6)
}

/// A screen on a foot.
fn screen(look: Look, r: &mut Random, side: f32, height: f32) -> Piece {
    let mut piece = Piece::new(class::OBJECT, side, 0.2, height);
    let (x, case) = (side * 0.5, look.device(r));
    piece.cuboid([-x * 0.5, x * 0.5], [-0.1, 0.1], [0.0, 0.02], case);
    piece.cuboid([-0.03, 0.03], [-0.05, -0.01], [0.02, height * 0.5], case);
    piece.cuboid([-x, x], [-0.02, 0.03], [height * 0.28, height], case);
    piece.cuboid([-x + 0.015, x - 0.015], [0.03, 0.034], [height * 0.28 + 0.015, height - 0.015], content(r));
    piece
}

/// A television for a sideboard of this width.
pub(super) fn television(look: Look, r: &mut Random, width: f32) -> Piece {
    let (w, h) = (width, width * 0.58);
    let mut piece = Piece::new(class::OBJECT, w, 0.24, h + 0.06);
    let (x, case) = (w * 0.5, look.device(r));
    piece.cuboid([-x * 0.5, x * 0.5], [-0.12, 0.12], [0.0, 0.06], case);
    piece.cuboid([-x, x], [-0.03, 0.03], [0.06, h + 0.06], case);
    piece.cuboid([-x + 0.02, x - 0.02], [0.03, 0.034], [0.08, h + 0.04], content(r));
    piece
}

/// A framed picture of this size: hangs with its back at y = −depth/2.
pub(super) fn picture(look: Look, r: &mut Random, width: f32, height: f32) -> Piece {
    let mut piece = Piece::new(class::OBJECT, width, 0.04, height);
    let (x, frame) = (width * 0.5, look.wood(r));
    let (a, b) = (look.thing(r), look.thing(r));
    let pattern = match r.below(3) {
        0 => Pattern::Noise { size: r.range(0.08, 0.25) },
        1 => Pattern::Stripes { size: r.range(0.1, 0.3), upright: r.chance(0.5) },
        _ => Pattern::Foliage { size: r.range(0.1, 0.2) },
    };
    piece.cuboid([-x, x], [-0.02, 0.015], [0.0, height], frame);
    let art = Material::patterned(a.base, b.base, pattern, r.bits());
    piece.cuboid([-x + 0.05, x - 0.05], [0.015, 0.02], [0.05, height - 0.05], art);
    piece
}

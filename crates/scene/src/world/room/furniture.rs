//! Seats, tables and storage. Legs are 5 cm or more: thinner ones cannot be learnt at 256×128. Must never place anything.

use super::look::Look;
use super::piece::{Piece, class};
use crate::description::Shape;
use crate::material::{Material, Pattern};
use crate::math::v3;
use crate::random::Random;

/// A chair for a table: seat, back, four legs.
pub(super) fn chair(look: Look, r: &mut Random) -> Piece {
    let (w, d, seat, top) = (r.range(0.42, 0.5), r.range(0.42, 0.5), r.range(0.43, 0.48), r.range(0.82, 1.0));
    let fabric = look.fabric(r);
    let frame = if r.chance(0.5) { look.wood(r) } else { fabric };
    let mut piece = Piece::new(class::SEAT, w, d, top);
    let (x, y) = (w * 0.5, d * 0.5);
    piece.cuboid([-x, x], [-y, y], [seat - 0.07, seat], fabric);
    piece.legs([x, y], 0.055, seat - 0.07, frame);
    if r.chance(0.6) {
        piece.cuboid([-x, x], [-y, -y + 0.06], [seat, top], fabric);
    } else {
        piece.cuboid([-x, -x + 0.055], [-y, -y + 0.055], [seat, top], frame);
        piece.cuboid([x - 0.055, x], [-y, -y + 0.055], [seat, top], frame);
        piece.cuboid([-x + 0.055, x - 0.055], [-y + 0.01, -y + 0.045], [top - 0.28, top - 0.02], fabric);
    }
    piece
}

/// An office chair: foot, column, seat, back.
pub(super) fn swivel(look: Look, r: &mut Random) -> Piece {
    let (w, seat, top) = (r.range(0.48, 0.54), r.range(0.46, 0.52), r.range(0.95, 1.12));
    let (fabric, foot) = (look.fabric(r), look.device(r));
    let mut piece = Piece::new(class::SEAT, w, w, top);
    let h = w * 0.5;
    piece.cylinder([0.0, 0.0], h * 0.9, [0.02, 0.08], foot);
    piece.cylinder([0.0, 0.0], 0.04, [0.08, seat - 0.08], foot);
    piece.cuboid([-h, h], [-h, h], [seat - 0.08, seat], fabric);
    piece.cuboid([-h + 0.03, h - 0.03], [-h, -h + 0.08], [seat + 0.06, top], fabric);
    piece.cuboid([-0.04, 0.04], [-h + 0.02, -h + 0.06], [seat, seat + 0.06], foot);
    piece
}

/// A sofa for `places` people, or an armchair for one.
pub(super) fn sofa(look: Look, r: &mut Random, places: u32) -> Piece {
    let (arm, place, d) = (r.range(0.13, 0.22), r.range(0.55, 0.66), r.range(0.78, 0.9));
    let (seat, top, arms) = (r.range(0.38, 0.45), r.range(0.75, 0.9), r.range(0.55, 0.65));
    let w = place * places as f32 + 2.0 * arm;
    let fabric = look.fabric(r);
    let darker = Material { base: fabric.base * 0.85, second: fabric.second * 0.85, ..fabric };
    let mut piece = Piece::new(class::SEAT, w, d, top);
    let (x, y) = (w * 0.5, d * 0.5);
    piece.cuboid([-x, -x + arm], [-y, y], [0.04, arms], darker);
    piece.cuboid([x - arm, x], [-y, y], [0.04, arms], darker);
    piece.cuboid([-x + arm, x - arm], [-y, y - 0.03], [0.08, seat - 0.14], darker);
    piece.cuboid([-x + arm, x - arm], [-y, -y + 0.2], [seat - 0.14, top], fabric);
    for i in 0..places {
        let left = -x + arm + place * i as f32;
        let cushion = [left + 0.006, left + place - 0.006];
        piece.cuboid(cushion, [-y + 0.2, y], [seat - 0.14, seat], fabric);
        if r.chance(0.4) {
            let pillow = look.fabric(r);
            let half = v3(0.19, 0.06, ((top - seat) * 0.5).min(0.17));
            let at = v3(left + place * 0.5, -y + 0.27, seat + half.z);
            piece.part(Shape::Ellipsoid { radii: half }, at, pillow);
        }
    }
    piece
}

/// A stool or an ottoman.
pub(super) fn stool(look: Look, r: &mut Random) -> Piece {
    let (radius, height) = (r.range(0.18, 0.27), r.range(0.42, 0.5));
    let fabric = look.fabric(r);
    let mut piece = Piece::new(class::SEAT, radius * 2.0, radius * 2.0, height);
    if r.chance(0.5) {
        piece.cylinder([0.0, 0.0], radius, [0.02, height], fabric);
    } else {
        piece.cylinder([0.0, 0.0], radius, [height - 0.09, height], fabric);
        piece.legs([radius * 0.75, radius * 0.75], 0.06, height - 0.09, look.wood(r));
    }
    piece
}

/// A table on four legs, a column or two side panels.
pub(super) fn table(look: Look, r: &mut Random, width: f32, depth: f32, height: f32) -> Piece {
    let wood = look.wood(r);
    let thick = r.range(0.035, 0.06);
    let (x, y) = (width * 0.5, depth * 0.5);
    let mut piece = Piece::new(class::TABLE, width, depth, height);
    let kind = r.below(4);
    if kind == 0 && (width - depth).abs() < 0.4 {
        // A round one: as large as the smaller side lets it be.
        let radius = x.min(y);
        piece.half = [radius, radius];
        piece.cylinder([0.0, 0.0], radius, [height - thick, height], wood);
        piece.cylinder([0.0, 0.0], 0.06, [0.04, height - thick], wood);
        piece.cylinder([0.0, 0.0], radius * 0.55, [0.0, 0.04], wood);
        piece.top([radius * 0.62, radius * 0.62], height, 0.6);
        return piece;
    }
    piece.cuboid([-x, x], [-y, y], [height - thick, height], wood);
    if kind == 1 && height > 0.6 {
        piece.cuboid([-x + 0.04, -x + 0.1], [-y + 0.05, y - 0.05], [0.0, height - thick], wood);
        piece.cuboid([x - 0.1, x - 0.04], [-y + 0.05, y - 0.05], [0.0, height - thick], wood);
        piece.cuboid([-x + 0.1, x - 0.1], [-y + 0.06, -y + 0.09], [height * 0.5, height - thick], wood);
    } else {
        let leg = r.range(0.055, 0.08);
        piece.cuboid([-x + leg, x - leg], [-y + 0.03, -y + 0.055], [height - thick - 0.09, height - thick], wood);
        piece.cuboid([-x + leg, x - leg], [y - 0.055, y - 0.03], [height - thick - 0.09, height - thick], wood);
        piece.legs([x - 0.01, y - 0.01], leg, height - thick, wood);
    }
    piece.top([x - 0.04, y - 0.04], height, 0.6);
    piece
}

/// Cupboards from a sideboard to a wardrobe: doors and drawers on the front.
pub(super) fn cupboard(look: Look, r: &mut Random, width: f32, depth: f32, height: f32) -> Piece {
    const DOOR: f32 = 0.018;
    let (front, body) = (look.front(r), look.front(r));
    let body = if r.chance(0.7) { front } else { body };
    let handle = look.device(r);
    let mut piece = Piece::new(class::STORAGE, width, depth, height);
    let (x, y) = (width * 0.5, depth * 0.5 - DOOR - 0.02);
    piece.cuboid([-x + 0.03, x - 0.03], [-depth * 0.5, y - 0.04], [0.0, 0.08], body);
    piece.cuboid([-x, x], [-depth * 0.5, y], [0.08, height], body);
    let columns = ((width / r.range(0.4, 0.6)) as u32).max(1);
    let rows = ((height / r.range(0.28, 0.95)) as u32).clamp(1, 5);
    let (cw, rh) = ((width - 0.02) / columns as f32, (height - 0.12) / rows as f32);
    for c in 0..columns {
        for row in 0..rows {
            let (left, low) = (-x + 0.01 + cw * c as f32, 0.1 + rh * row as f32);
            let gap = 0.012;
            piece.cuboid([left + gap, left + cw - gap], [y, y + DOOR], [low + gap, low + rh - gap], front);
            // Drawers have a bar across, doors one upright at the side.
            let (cx, cz) = (left + cw * 0.5, low + rh * 0.5);
            let bar = y + DOOR;
            if rh < cw {
                piece.cuboid([cx - 0.07, cx + 0.07], [bar, bar + 0.02], [cz - 0.014, cz + 0.014], handle);
            } else {
                let side = if c % 2 == 0 { left + cw - 0.07 } else { left + 0.07 };
                piece.cuboid([side - 0.014, side + 0.014], [bar, bar + 0.02], [cz - 0.08, cz + 0.08], handle);
            }
        }
    }
    if height < 1.3 {
        piece.top([x - 0.03, depth * 0.5 - 0.05], height, 0.7);
    }
    piece
}

/// Open shelves with boards; rows of books belong to them, other things may stand on the boards.
pub(super) fn shelf(look: Look, r: &mut Random, width: f32, depth: f32, height: f32) -> Piece {
    let body = look.front(r);
    let back = Material { base: body.base * 0.75, second: body.second * 0.75, ..body };
    let mut piece = Piece::new(class::STORAGE, width, depth, height);
    let (x, y, board) = (width * 0.5, depth * 0.5, 0.035);
    piece.cuboid([-x, -x + board], [-y, y], [0.0, height], body);
    piece.cuboid([x - board, x], [-y, y], [0.0, height], body);
    piece.cuboid([-x + board, x - board], [-y, -y + 0.02], [0.0, height], back);
    let rows = ((height / r.range(0.32, 0.42)) as u32).max(2);
    let step = (height - board) / rows as f32;
    for row in 0..=rows {
        let z = step * row as f32;
        piece.cuboid([-x + board, x - board], [-y + 0.02, y], [z, z + board], body);
        if row == rows {
            break;
        }
        let inner = step - board;
        let (low, left, right) = (z + board, -x + board, x - board);
        if r.chance(0.75) {
            let end = left + (right - left) * r.range(0.55, 1.0);
            let high = low + inner * r.range(0.7, 0.9);
            books(look, r, &mut piece, [left, end], [-y + 0.03, y - 0.06], [low, high]);
        } else {
            let centre = [0.0, 0.01];
            piece.tops.push(super::piece::Top {
                centre,
                half: [right - 0.04, y - 0.04],
                height: low,
                room: inner - 0.02,
            });
        }
    }
    if height < 1.4 {
        piece.top([x - 0.03, y - 0.04], height, 0.6);
    }
    piece
}

/// A row of books: blocks of upright stripes.
fn books(look: Look, r: &mut Random, piece: &mut Piece, x: [f32; 2], y: [f32; 2], z: [f32; 2]) {
    let mut left = x[0] + 0.005;
    while left + 0.1 < x[1] {
        let right = (left + r.range(0.12, 0.3)).min(x[1]);
        let (a, b) = (look.thing(r), look.thing(r));
        let pattern = Pattern::Stripes { size: r.range(0.06, 0.1), upright: true };
        let material = Material::patterned(a.base * 0.6, b.base * 0.45, pattern, r.bits());
        piece.cuboid(
            [left, right - 0.004],
            [y[0], y[1] - r.range(0.0, 0.03)],
            [z[0], z[1] - r.range(0.0, 0.05)],
            material,
        );
        left = right;
    }
}

//! Furnishing: puts pieces along the walls, groups into the middle, things on tops and on the floor, pictures on walls,
//! people where there is room. Must never put anything where it meets something or stands in the camera's way.

use super::look::Look;
use super::path::Path;
use super::person::{Doing, Person, REACH, SIDE};
use super::piece::{Piece, Spot};
use super::shell::{CLEAR, Face, Shell};
use super::solid::Solid;
use super::{furniture, objects};
use crate::description::Body;
use crate::random::Random;

/// A room that is being filled.
pub(super) struct Furnisher<'a> {
    look: Look,
    r: &'a mut Random,
    half: [f64; 2],
    path: &'a Path,
    pub(super) bodies: Vec<Body>,
    pub(super) solids: Vec<Solid>,
    /// Where people stand or pace: nothing else may.
    places: Vec<Solid>,
    pub(super) people: Vec<Person>,
}

impl<'a> Furnisher<'a> {
    /// Fills the shell.
    pub(super) fn fill(look: Look, r: &'a mut Random, shell: &'a Shell) -> Furnisher<'a> {
        let mut f = Furnisher {
            look,
            r,
            half: shell.half,
            path: &shell.path,
            bodies: Vec::new(),
            solids: shell.solids.clone(),
            places: Vec::new(),
            people: Vec::new(),
        };
        f.walkers();
        f.middle();
        for face in &shell.faces {
            f.along(face);
        }
        f.standing();
        f.floor_things();
        for face in &shell.faces {
            f.pictures(face);
        }
        f
    }

    /// Whether this space is free: in the room, off the path, `gap` from everything.
    fn free(&self, solid: &Solid, gap: f64) -> bool {
        let [c, s] = solid.axis.map(f64::abs);
        let reach = [solid.half[0] * c + solid.half[1] * s, solid.half[0] * s + solid.half[1] * c];
        (0..2).all(|k| solid.centre[k].abs() + reach[k] < self.half[k] - 0.004)
            && self.solids.iter().chain(&self.places).all(|other| !solid.meets(other, gap))
            && self.path.points().iter().step_by(4).all(|&p| solid.distance(p) >= CLEAR + 0.01)
    }

    /// Puts a piece there if the space is free, and things on its tops.
    fn put(&mut self, piece: &Piece, spot: &Spot, gap: f64) -> bool {
        let solid = piece.solid(spot);
        if !self.free(&solid, gap) {
            return false;
        }
        self.solids.push(solid);
        piece.put(spot, &mut self.bodies);
        true
    }

    /// Things on the tops of a piece.
    fn dress(&mut self, piece: &Piece, spot: &Spot, share: f32) {
        for top in &piece.tops {
            let columns = ((top.half[0] * 2.0 / self.r.range(0.3, 0.45)) as u32).max(1);
            let rows = if top.half[1] > 0.3 { 2 } else { 1 };
            let cell = [top.half[0] * 2.0 / columns as f32, top.half[1] * 2.0 / rows as f32];
            for i in 0..columns * rows {
                if !self.r.chance(share) {
                    continue;
                }
                let side = cell[0].min(cell[1]) * 0.96;
                let thing = objects::small(self.look, self.r, side, top.room);
                let slack = [0, 1].map(|k| (cell[k] * 0.5 - thing.half[k]).max(0.0) * 0.9);
                let x = top.centre[0] - top.half[0] + cell[0] * ((i % columns) as f32 + 0.5);
                let y = top.centre[1] - top.half[1] + cell[1] * ((i / columns) as f32 + 0.5);
                let x = x + slack[0] * self.r.range(-1.0, 1.0);
                let y = y + slack[1] * self.r.range(-1.0, 1.0);
                let mut at = spot.beside(f64::from(x), f64::from(y), 0);
                at.height += f64::from(top.height);
                self.set_down(&thing, &at, piece, spot);
            }
        }
    }

    /// Puts a thing on a piece, or between its boards, where it has room.
    fn set_down(&mut self, thing: &Piece, at: &Spot, piece: &Piece, spot: &Spot) {
        thing.put(at, &mut self.bodies);
        let solid = thing.solid(at);
        if solid.bottom >= spot.height + f64::from(piece.height) - 1e-3 {
            self.solids.push(solid);
        }
    }

    /// Furniture along a wall.
    fn along(&mut self, face: &Face) {
        let mut x = -face.half + self.r.range64(0.03, 0.4);
        let mut misses = 0;
        while x < face.half - 0.25 && misses < 60 {
            let piece = self.for_wall();
            let (w, d) = (f64::from(piece.half[0]), f64::from(piece.half[1]));
            let middle = x + w;
            let tall = f64::from(piece.height);
            let taken = face.taken.iter().any(|t| middle + w > t[0] && middle - w < t[1] && tall > t[2]);
            let spot = face.spot.beside(middle, d + 0.03, 0);
            if middle + w > face.half - 0.01 || taken || !self.put(&piece, &spot, 0.02) {
                misses += 1;
                if misses % 6 == 0 {
                    x += 0.25;
                }
                continue;
            }
            self.finish(&piece, &spot);
            x += 2.0 * w + if self.r.chance(0.4) { 0.03 } else { self.r.range64(0.1, 0.7) };
        }
    }

    /// A piece for a wall.
    fn for_wall(&mut self) -> Piece {
        let (look, r) = (self.look, &mut *self.r);
        match r.below(22) {
            0..=1 => {
                let (w, d, h) = (r.range(0.6, 1.4), r.range(0.28, 0.38), r.range(1.0, 2.1));
                furniture::shelf(look, r, w, d, h)
            }
            2 => {
                let (w, d, h) = (r.range(0.7, 1.6), r.range(0.45, 0.6), r.range(1.6, 2.15));
                furniture::cupboard(look, r, w, d, h)
            }
            3..=6 => {
                let (w, d, h) = (r.range(0.6, 1.7), r.range(0.36, 0.5), r.range(0.55, 0.95));
                furniture::cupboard(look, r, w, d, h)
            }
            7..=10 => {
                let (w, d) = (r.range(0.9, 1.5), r.range(0.4, 0.6));
                furniture::table(look, r, w, d, 0.74)
            }
            11..=15 => {
                let places = 1 + r.below(3);
                furniture::sofa(look, r, places)
            }
            16..=18 => furniture::chair(look, r),
            19 => furniture::stool(look, r),
            _ => objects::large(look, r),
        }
    }

    /// What belongs to a piece that has just been put: things on it, a chair before a desk.
    fn finish(&mut self, piece: &Piece, spot: &Spot) {
        use super::piece::class;
        let wide = f64::from(piece.half[0]) * 2.0;
        if piece.class == class::STORAGE && piece.height < 0.8 && wide > 0.95 && self.r.chance(0.35) {
            let width = (wide as f32 * 0.85).min(1.25);
            let screen = objects::television(self.look, self.r, width);
            let mut at = *spot;
            at.height += f64::from(piece.height);
            self.set_down(&screen, &at, piece, spot);
            return;
        }
        self.dress(piece, spot, 0.62);
        if piece.class == class::TABLE && self.r.chance(0.6) {
            let chair = if self.r.chance(0.5) {
                furniture::swivel(self.look, self.r)
            } else {
                furniture::chair(self.look, self.r)
            };
            let y = f64::from(piece.half[1] + chair.half[1]) + 0.03;
            let at = spot.beside(self.r.range64(-0.2, 0.2), y, 2);
            self.put(&chair, &at, 0.02);
        }
    }

    /// Tries to put a piece somewhere inside, turned by quarters.
    fn somewhere(&mut self, piece: &Piece, tries: u32, gap: f64) -> Option<Spot> {
        for _ in 0..tries {
            let at = [0, 1].map(|k| self.half[k] * self.r.range64(-0.95, 0.95));
            let quarters = self.r.below(4);
            let spot = Spot { at, axis: [1.0, 0.0], height: 0.0 }.beside(0.0, 0.0, quarters);
            if self.put(piece, &spot, gap) {
                return Some(spot);
            }
        }
        None
    }

    /// Groups in the middle: dining, sitting, a desk.
    fn middle(&mut self) {
        for _ in 0..3 {
            let (look, r) = (self.look, &mut *self.r);
            match r.below(3) {
                0 => {
                    let (w, d, h) = (r.range(1.1, 1.7), r.range(0.75, 0.95), r.range(0.72, 0.78));
                    let table = furniture::table(look, r, w, d, h);
                    if let Some(spot) = self.somewhere(&table, 30, 0.3) {
                        self.dress(&table, &spot, 0.4);
                        self.chairs(&table, &spot);
                    }
                }
                1 => {
                    let (w, d, h) = (r.range(0.7, 1.1), r.range(0.5, 0.65), r.range(0.36, 0.5));
                    let table = furniture::table(look, r, w, d, h);
                    if let Some(spot) = self.somewhere(&table, 30, 0.3) {
                        self.dress(&table, &spot, 0.5);
                        for (y, quarters) in [(1.0, 2), (-1.0, 0)] {
                            let places = 1 + self.r.below(2);
                            let sofa = furniture::sofa(look, self.r, places);
                            let far = f64::from(table.half[1] + sofa.half[1]) + 0.3;
                            self.put(&sofa, &spot.beside(0.0, y * far, quarters), 0.05);
                        }
                    }
                }
                _ => {
                    let seat = match r.below(3) {
                        0 => furniture::stool(look, r),
                        _ => furniture::sofa(look, r, 1),
                    };
                    self.somewhere(&seat, 20, 0.25);
                }
            }
        }
    }

    /// Chairs about a table.
    fn chairs(&mut self, table: &Piece, spot: &Spot) {
        let model = self.r.clone();
        let [hx, hy] = table.half.map(f64::from);
        let count = ((hx * 2.0 / 0.62) as u32).max(1);
        for (sign, quarters) in [(1.0, 2), (-1.0, 0)] {
            for i in 0..count {
                // All chairs of a table are alike.
                let chair = furniture::chair(self.look, &mut model.clone());
                let x = hx * (2.0 * (f64::from(i) + 0.5) / f64::from(count) - 1.0);
                let y = hy + f64::from(chair.half[1]) + self.r.range64(0.03, 0.15);
                if self.r.chance(0.85) {
                    self.put(&chair, &spot.beside(x, sign * y, quarters), 0.02);
                }
            }
        }
        for (sign, quarters) in [(1.0, 1), (-1.0, 3)] {
            let chair = furniture::chair(self.look, &mut model.clone());
            let x = hx + f64::from(chair.half[1]) + self.r.range64(0.03, 0.15);
            if self.r.chance(0.5) {
                self.put(&chair, &spot.beside(sign * x, 0.0, quarters), 0.02);
            }
        }
    }

    /// People who walk the camera's round, where it nowhere comes near itself.
    fn walkers(&mut self) {
        let length = self.path.length();
        let mut taken: Vec<f64> = vec![0.0];
        for _ in 0..3 {
            let ahead = match self.r.below(3) {
                0 | 1 => self.r.range64(1.7, 3.6),
                _ => self.r.range64(1.7, length - 1.7),
            };
            // Two on one path keep their distance along it, and must keep it on the plan too.
            let clear = taken.iter().all(|&other| {
                let steps = self.path.points().len();
                (0..steps).step_by(8).all(|i| {
                    let s = length * i as f64 / steps as f64;
                    super::path::distance(self.path.at(s + ahead), self.path.at(s + other)) > 1.4
                })
            });
            if clear {
                taken.push(ahead);
                let person = Person::new(self.look, self.r, Doing::Walk { ahead });
                self.people.push(person);
            }
        }
    }

    /// People who stand or pace in free spaces.
    fn standing(&mut self) {
        for _ in 0..3 + self.r.below(3) {
            let pace = self.r.chance(0.4);
            for _ in 0..60 {
                let at = [0, 1].map(|k| self.half[k] * self.r.range64(-0.9, 0.9));
                let quarters = self.r.below(4);
                let spot = Spot { at, axis: [1.0, 0.0], height: 0.0 }.beside(0.0, 0.0, quarters);
                let round = [self.r.range64(0.3, 0.6), self.r.range64(0.2, 0.3)];
                // Whichever way somebody turns on their round, they stay within its corners and their own reach.
                let about = (SIDE * SIDE + REACH * REACH).sqrt();
                let half = if pace { round.map(|v| v + about) } else { [REACH, REACH] };
                let solid = Solid { centre: at, axis: spot.axis, half, bottom: 0.0, top: 2.05 };
                if !self.free(&solid, 0.03) {
                    continue;
                }
                self.places.push(solid);
                let doing = if pace {
                    let [a, b] = round;
                    let corners = [[a, 0.0], [a, b], [0.0, b], [-a, b], [-a, 0.0], [-a, -b], [0.0, -b], [a, -b]];
                    let corners = corners.map(|c| spot.point(c[0], c[1]));
                    let (speed, start) = (self.r.range64(0.3, 0.6), self.r.range64(0.0, 3.0));
                    Doing::Pace { round: Path::through(&corners), speed, start }
                } else {
                    Doing::Stand { spot }
                };
                let person = Person::new(self.look, self.r, doing);
                self.people.push(person);
                break;
            }
        }
    }

    /// Plants, lamps, boxes on the floor.
    fn floor_things(&mut self) {
        for _ in 0..3 + self.r.below(3) {
            let thing = objects::large(self.look, self.r);
            self.somewhere(&thing, 25, 0.05);
        }
    }

    /// Pictures where a wall is free.
    fn pictures(&mut self, face: &Face) {
        for _ in 0..3 {
            let (w, h) = (self.r.range(0.4, 1.1), self.r.range(0.35, 0.8));
            let half = f64::from(w) * 0.5;
            if face.half < half + 0.1 {
                continue;
            }
            let x = (face.half - half - 0.05) * self.r.range64(-1.0, 1.0);
            if face.taken.iter().any(|t| x + half > t[0] && x - half < t[1]) {
                continue;
            }
            let picture = objects::picture(self.look, self.r, w, h);
            let mut spot = face.spot.beside(x, 0.026, 0);
            spot.height = self.r.range64(1.05, 1.95 - f64::from(h));
            self.put(&picture, &spot, 0.06);
        }
    }
}

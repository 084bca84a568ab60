//! World `room`: a camera held by hand in a furnished room.

use super::{Class, Generator};
use crate::description::Scene;

/// Classes of the worlds `room` and `room-shifted`.
pub const CLASSES: [Class; 8] = [
    Class { name: "floor", color: [140, 100, 70] },
    Class { name: "wall", color: [190, 190, 200] },
    Class { name: "ceiling", color: [240, 235, 220] },
    Class { name: "seat", color: [60, 120, 200] },
    Class { name: "table", color: [200, 130, 40] },
    Class { name: "storage", color: [120, 70, 150] },
    Class { name: "object", color: [70, 170, 90] },
    Class { name: "person", color: [220, 20, 60] },
];

/// One room.
pub struct Room;

impl Room {
    /// The room of this seed.
    pub fn new(_seed: u64, _segment: u32, _shifted: bool) -> Room {
        Room
    }
}

impl Generator for Room {
    fn fill(&self, _n: u32, scene: &mut Scene) {
        scene.bodies.clear();
    }
}

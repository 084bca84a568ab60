//! World `street`: a camera in a car that drives along an endless street.

use super::{Class, Generator};
use crate::description::Scene;

/// Classes of the worlds `street` and `street-shifted`; colours in the manner of Cityscapes.
pub const CLASSES: [Class; 8] = [
    Class { name: "road", color: [128, 64, 128] },
    Class { name: "sidewalk", color: [244, 35, 232] },
    Class { name: "building", color: [70, 70, 70] },
    Class { name: "vegetation", color: [107, 142, 35] },
    Class { name: "pole", color: [153, 153, 153] },
    Class { name: "person", color: [220, 20, 60] },
    Class { name: "vehicle", color: [0, 0, 142] },
    Class { name: "sky", color: [70, 130, 180] },
];

/// One street.
pub struct Street;

impl Street {
    /// The street of this seed.
    pub fn new(_seed: u64, _segment: u32, _shifted: bool) -> Street {
        Street
    }
}

impl Generator for Street {
    fn fill(&self, _n: u32, scene: &mut Scene) {
        scene.bodies.clear();
        scene.background = 7;
    }
}

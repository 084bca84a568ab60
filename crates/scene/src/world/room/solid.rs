//! The space that a thing takes up: an upright box, turned about the vertical. Everything in a room is placed by these, so
//! that nothing passes through anything. Must never be smaller than what is drawn.

/// An upright box on the floor plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Solid {
    /// Centre on the plan, metres.
    pub(super) centre: [f64; 2],
    /// Where its own x axis points on the plan.
    pub(super) axis: [f64; 2],
    /// Half sizes along its own x and y, metres.
    pub(super) half: [f64; 2],
    /// From this height, metres.
    pub(super) bottom: f64,
    /// To this height, metres.
    pub(super) top: f64,
}

impl Solid {
    /// A point of the plan in the box's own axes.
    fn own(&self, point: [f64; 2]) -> [f64; 2] {
        let d = [point[0] - self.centre[0], point[1] - self.centre[1]];
        [d[0] * self.axis[0] + d[1] * self.axis[1], d[1] * self.axis[0] - d[0] * self.axis[1]]
    }

    /// Metres from a point of the plan to the box, 0 inside.
    pub(super) fn distance(&self, point: [f64; 2]) -> f64 {
        let p = self.own(point);
        let [dx, dy] = [0, 1].map(|k| (p[k].abs() - self.half[k]).max(0.0));
        (dx * dx + dy * dy).sqrt()
    }

    /// Whether the two come nearer than `gap` on the plan and overlap in height (separating axes; a gap at corners is
    /// taken a little too large).
    pub(super) fn meets(&self, other: &Solid, gap: f64) -> bool {
        const TOUCH: f64 = 1e-6;
        if self.bottom >= other.top - TOUCH || other.bottom >= self.top - TOUCH {
            return false;
        }
        !(self.parted(other, gap) || other.parted(self, gap))
    }

    /// Whether one of this box's own axes parts the two by `gap`.
    fn parted(&self, other: &Solid, gap: f64) -> bool {
        let c = self.own(other.centre);
        let cos = (self.axis[0] * other.axis[0] + self.axis[1] * other.axis[1]).abs();
        let sin = (self.axis[0] * other.axis[1] - self.axis[1] * other.axis[0]).abs();
        c[0].abs() >= self.half[0] + other.half[0] * cos + other.half[1] * sin + gap
            || c[1].abs() >= self.half[1] + other.half[0] * sin + other.half[1] * cos + gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(x: f64, y: f64, axis: [f64; 2]) -> Solid {
        Solid { centre: [x, y], axis, half: [0.5, 0.5], bottom: 0.0, top: 1.0 }
    }

    #[test]
    fn boxes_meet_when_they_overlap() {
        let r = 0.5f64.sqrt();
        let a = square(0.0, 0.0, [1.0, 0.0]);
        assert!(a.meets(&square(0.9, 0.9, [1.0, 0.0]), 0.0));
        assert!(!a.meets(&square(1.1, 0.0, [1.0, 0.0]), 0.0));
        assert!(a.meets(&square(1.1, 0.0, [1.0, 0.0]), 0.2));
        // Turned by 45 degrees it reaches out by √½.
        assert!(a.meets(&square(1.15, 0.0, [r, r]), 0.0));
        assert!(!a.meets(&square(0.95, 0.95, [r, r]), 0.0));
        assert!(!a.meets(&Solid { bottom: 1.0, top: 2.0, ..a }, 0.0));
        assert!((a.distance([1.5, 0.0]) - 1.0).abs() < 1e-12);
        assert!((square(0.0, 0.0, [r, r]).distance([1.5, 0.0]) - (1.5 - r)).abs() < 1e-12);
        assert_eq!(a.distance([0.2, 0.3]), 0.0);
    }
}

//! How a surface looks: colours and a procedural pattern in the body's own axes. Must never depend on the camera
//! except through the pattern's fading where a pixel covers more than its detail.

use crate::math::{Vec3, v3};

/// The pattern on a surface. Coordinates are the body's own, metres; walls are unrolled along the face that was hit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pattern {
    /// One colour.
    Plain,
    /// Soft value noise between `base` and `second`; `size` metres.
    Noise {
        /// Metres.
        size: f32,
    },
    /// Bricks of `base` with joints of `second`.
    Brick {
        /// Length of a brick, metres; half as high.
        size: f32,
    },
    /// Square tiles of `base` with joints of `second`.
    Tiles {
        /// Side of a tile, metres.
        size: f32,
    },
    /// Stripes of `base` and `second` across local z (horizontal stripes) or x (`upright`).
    Stripes {
        /// Width of a pair, metres.
        size: f32,
        /// Along the height instead.
        upright: bool,
    },
    /// Boards of wood: `base` with grain of `second`, along local x.
    Wood {
        /// Width of a board, metres.
        size: f32,
    },
    /// A carriageway along local y: asphalt of `base`, patches towards `second`, white lines.
    Road {
        /// Half the carriageway's width, metres.
        half: f32,
        /// Width of the parking lane on each side, metres; 0 for none.
        parking: f32,
        /// Where this stretch's origin lies along the street, metres.
        along: f32,
        /// The street's curvature here, per metre: lines bend with it.
        bend: f32,
        /// Where along the street a crossing of stripes lies, metres.
        crossing: f32,
    },
    /// Slabs of `base` with joints of `second` along a street that bends.
    Paving {
        /// Side of a slab, metres.
        size: f32,
        /// Where this stretch's origin lies along the street, metres.
        along: f32,
        /// The street's curvature here, per metre.
        bend: f32,
    },
    /// A house front: wall of `base`, frames and bands of `second`, panes of `glass`; upright faces only.
    Facade {
        /// Half the body's height: the ground floor starts at −half, metres.
        half: f32,
        /// Height of a floor, metres.
        floor: f32,
        /// Width of a window's bay, metres.
        bay: f32,
        /// Share of the bay that is pane.
        open: f32,
        /// The panes' linear colour.
        glass: Vec3,
        /// Bricks instead of plaster.
        brick: bool,
        /// The ground floor is a shop with wide panes.
        shop: bool,
    },
    /// Leaves: blotches of `base` and `second`.
    Foliage {
        /// Metres.
        size: f32,
    },
}

/// How a surface looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Material {
    /// Main linear colour.
    pub base: Vec3,
    /// The pattern's second linear colour.
    pub second: Vec3,
    /// The pattern.
    pub pattern: Pattern,
    /// Strength of the mirrored sky and sun, 0…1.
    pub gloss: f32,
    /// Light of its own, as a factor on the colour.
    pub glow: f32,
    /// Picks the pattern's details.
    pub seed: u32,
}

impl Material {
    /// One dull colour.
    pub const fn plain(base: Vec3) -> Material {
        Material { base, second: base, pattern: Pattern::Plain, gloss: 0.0, glow: 0.0, seed: 0 }
    }
    /// Two colours in a pattern.
    pub const fn patterned(base: Vec3, second: Vec3, pattern: Pattern, seed: u32) -> Material {
        Material { base, second, pattern, gloss: 0.0, glow: 0.0, seed }
    }
    /// The same with gloss.
    pub const fn glossy(mut self, gloss: f32) -> Material {
        self.gloss = gloss;
        self
    }
    /// The same, shining by itself.
    pub const fn glowing(mut self, glow: f32) -> Material {
        self.glow = glow;
        self
    }
}

/// A colour as people write it (sRGB, 0xrrggbb) in linear light, by a square: near enough and free of libm.
pub const fn srgb(hex: u32) -> Vec3 {
    const fn channel(byte: u32) -> f32 {
        let x = (byte & 255) as f32 / 255.0;
        x * x
    }
    v3(channel(hex >> 16), channel(hex >> 8), channel(hex))
}

//! Colours and patterns of rooms. Each class keeps cues of its own, within a wide range; the shifted variant takes other
//! ranges. Must never know geometry.

use crate::material::{Material, Pattern, srgb};
use crate::math::Vec3;
use crate::random::Random;

/// Where a room's materials come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// The variant that is never trained on.
    pub(super) shifted: bool,
}

/// A colour a little off this one.
fn near(colour: Vec3, r: &mut Random) -> Vec3 {
    let bright = r.range(0.8, 1.2);
    Vec3 {
        x: (colour.x * bright * r.range(0.92, 1.08)).min(0.95),
        y: (colour.y * bright * r.range(0.92, 1.08)).min(0.95),
        z: (colour.z * bright * r.range(0.92, 1.08)).min(0.95),
    }
}

/// One of these sRGB colours, a little off.
fn one(colours: &[u32], r: &mut Random) -> Vec3 {
    let hex = r.pick(colours);
    near(srgb(hex), r)
}

impl Look {
    /// Boards, tiles, parquet, carpet or stone.
    pub(super) fn floor(self, r: &mut Random) -> Material {
        let seed = r.bits();
        if self.shifted {
            return match r.below(3) {
                0 => {
                    let base = one(&[0x4a4a50, 0x6d675e, 0x3c4a48], r);
                    Material::patterned(base, base * 0.6, Pattern::Tiles { size: r.range(0.5, 0.8) }, seed).glossy(0.15)
                }
                1 => {
                    let base = one(&[0x54654f, 0x5b5870, 0x7a5b55], r);
                    Material::patterned(base, base * 0.75, Pattern::Noise { size: 0.05 }, seed)
                }
                _ => {
                    let base = one(&[0x3f2a1c, 0xc9bda6, 0x59514a], r);
                    Material::patterned(base, base * 0.7, Pattern::Wood { size: r.range(0.2, 0.3) }, seed)
                }
            };
        }
        match r.below(5) {
            0 | 1 => {
                let base = one(&[0xb08457, 0x8a5d3b, 0xc79d6b, 0x9c7048, 0x6e4a30], r);
                Material::patterned(base, base * r.range(0.6, 0.8), Pattern::Wood { size: r.range(0.08, 0.18) }, seed)
                    .glossy(0.08)
            }
            2 => {
                let base = one(&[0xb59a7d, 0xa3a19a, 0x9d8468, 0xc4b8a4], r);
                Material::patterned(base, base * 0.65, Pattern::Tiles { size: r.range(0.25, 0.45) }, seed).glossy(0.08)
            }
            3 => {
                let base = one(&[0x8b8478, 0x7d6f66, 0x6c7078, 0x927d6a], r);
                Material::patterned(base, base * 0.8, Pattern::Noise { size: r.range(0.03, 0.08) }, seed)
            }
            _ => {
                let base = one(&[0xa97c50, 0x93653e, 0xb98d5e], r);
                Material::patterned(base, base * 0.72, Pattern::Wood { size: r.range(0.06, 0.09) }, seed).glossy(0.1)
            }
        }
    }

    /// Paint or paper.
    pub(super) fn wall(self, r: &mut Random) -> Material {
        let seed = r.bits();
        if self.shifted {
            return match r.below(3) {
                0 => {
                    let base = one(&[0x9c5a44, 0xa8795c, 0x8f8f8a], r);
                    Material::patterned(base, base * 0.75, Pattern::Brick { size: r.range(0.22, 0.3) }, seed)
                }
                1 => {
                    let base = one(&[0x4f6b66, 0x6a4f5e, 0x4d5a78, 0x74793f], r);
                    Material::patterned(base, base * 0.93, Pattern::Noise { size: 0.4 }, seed)
                }
                _ => {
                    let base = one(&[0x9db0b8, 0xb8a9b5], r);
                    Material::patterned(base, base * 0.75, Pattern::Tiles { size: r.range(0.15, 0.3) }, seed)
                        .glossy(0.1)
                }
            };
        }
        let base = one(&[0xd9d3c5, 0xcfd6d8, 0xd6c9b0, 0xc3cdb9, 0xd8c3bb, 0xb9c6d2, 0xdedede, 0xc9b99d], r);
        match r.below(4) {
            0 => Material::patterned(
                base,
                base * 0.82,
                Pattern::Stripes { size: r.range(0.15, 0.4), upright: true },
                seed,
            ),
            1 => Material::patterned(base, base * 0.9, Pattern::Noise { size: r.range(0.1, 0.3) }, seed),
            _ => Material::patterned(base, base * 0.96, Pattern::Noise { size: 0.6 }, seed),
        }
    }

    /// White, or nearly.
    pub(super) fn ceiling(self, r: &mut Random) -> Material {
        let seed = r.bits();
        if self.shifted {
            let base = one(&[0xb8b2a2, 0xa59c8c, 0xc2c8cc], r);
            return Material::patterned(base, base * 0.8, Pattern::Wood { size: 0.25 }, seed);
        }
        let base = one(&[0xefeeea, 0xf2efe6, 0xe6e8ea], r);
        Material::patterned(base, base * 0.96, Pattern::Noise { size: 0.5 }, seed)
    }

    /// Doors, frames, skirting: painted wood.
    pub(super) fn trim(self, r: &mut Random) -> Material {
        Material::plain(if self.shifted {
            one(&[0x35302c, 0x55504a, 0x2e3d3a], r)
        } else {
            one(&[0xeeeae0, 0xe4e4e4, 0xb89468, 0x9a7048], r)
        })
    }

    /// A carpet or curtain.
    pub(super) fn textile(self, r: &mut Random) -> Material {
        let (seed, base) = (r.bits(), one(&[0x8c3b3b, 0x3d5a80, 0x7a6f5d, 0xb9a88c, 0x51695a, 0x6d4a6b], r));
        let second = one(&[0xcdb891, 0x30343f, 0xa14a3a, 0x8fa3ad], r);
        match r.below(3) {
            0 => Material::patterned(base, second, Pattern::Stripes { size: r.range(0.15, 0.4), upright: false }, seed),
            1 => Material::patterned(base, base * 0.7, Pattern::Noise { size: 0.04 }, seed),
            _ => Material::patterned(base, second, Pattern::Tiles { size: r.range(0.2, 0.4) }, seed),
        }
    }

    /// What seats are covered with.
    pub(super) fn fabric(self, r: &mut Random) -> Material {
        let seed = r.bits();
        if self.shifted {
            let base = one(&[0x1f1d1c, 0x3a2219, 0xd8d2c4, 0xc8a83a], r);
            return match r.below(2) {
                0 => Material::plain(base).glossy(0.25),
                _ => Material::patterned(base, base * 1.6, Pattern::Stripes { size: 0.12, upright: true }, seed),
            };
        }
        let base = one(&[0x3e5f8a, 0x2f6f73, 0x7b3f4a, 0x5a6e3a, 0x8a8f98, 0x4a4e69, 0xa0522d, 0x6b7f99, 0x354a5f], r);
        Material::patterned(base, base * r.range(0.65, 0.85), Pattern::Noise { size: r.range(0.015, 0.04) }, seed)
    }

    /// Wood of tables and frames.
    pub(super) fn wood(self, r: &mut Random) -> Material {
        let seed = r.bits();
        let base = if self.shifted {
            one(&[0x1e1a18, 0xd8d8d6, 0x5f6a70], r)
        } else {
            one(&[0x9b6a3c, 0x7a4a26, 0xc08a52, 0x5b3a22, 0xa87b4f], r)
        };
        Material::patterned(base, base * 0.7, Pattern::Wood { size: r.range(0.1, 0.25) }, seed).glossy(0.1)
    }

    /// Fronts of cupboards and shelves.
    pub(super) fn front(self, r: &mut Random) -> Material {
        let seed = r.bits();
        if self.shifted {
            let base = one(&[0x2f4a57, 0x7a2e2e, 0x6f7d3c, 0x3b3b45], r);
            return Material::plain(base).glossy(0.2);
        }
        if r.chance(0.45) {
            let base = one(&[0xe8e6e0, 0xd5dadd, 0xcfd8c8, 0xe3dccb], r);
            return Material::plain(base).glossy(0.1);
        }
        let base = one(&[0x8a6238, 0xb58a5a, 0x5e432c, 0x9c7b56], r);
        Material::patterned(base, base * 0.75, Pattern::Wood { size: r.range(0.08, 0.2) }, seed).glossy(0.06)
    }

    /// Things: strong colours, now and then a pattern.
    pub(super) fn thing(self, r: &mut Random) -> Material {
        let (seed, hue) = (r.bits(), r.below(8));
        let base = if self.shifted {
            one(&[0xb7410e, 0x5d3a9b, 0x2e8b57, 0xe0c068, 0x303030, 0xdadada], r)
        } else {
            let colours = [0xd1322e, 0x2b6cb0, 0xe0a526, 0x2f9e58, 0x8e44ad, 0xe46f2b, 0x1fa5a0, 0xd65a8f];
            let hex = colours.get(hue as usize).copied().unwrap_or(0xd1322e);
            near(srgb(hex), r)
        };
        match r.below(5) {
            0 => Material::patterned(
                base,
                one(&[0xf0f0e8, 0x2b2b2b, 0xf2d16b], r),
                Pattern::Stripes { size: r.range(0.06, 0.14), upright: false },
                seed,
            ),
            1 => Material::patterned(base, base * 0.6, Pattern::Noise { size: 0.05 }, seed),
            _ => Material::plain(base).glossy(0.15),
        }
    }

    /// Dark plastic and metal of screens, lamps, speakers.
    pub(super) fn device(self, r: &mut Random) -> Material {
        let dark = one(&[0x1c1d20, 0x26282c, 0x303236], r);
        Material::plain(if self.shifted { one(&[0xd0d0d0, 0xb5a642], r) } else { dark }).glossy(0.3)
    }

    /// Leaves.
    pub(super) fn leaves(self, r: &mut Random) -> Material {
        let seed = r.bits();
        let base = one(if self.shifted { &[0x6f7f2a, 0x4a2f45] } else { &[0x2f7d32, 0x3f8f3f, 0x276b3a, 0x5a9a3c] }, r);
        Material::patterned(base, base * 0.45, Pattern::Foliage { size: r.range(0.05, 0.09) }, seed)
    }

    /// Skin.
    pub(super) fn skin(self, r: &mut Random) -> Material {
        Material::plain(one(&[0xe0ac8a, 0xc68863, 0x8d5a3c, 0xf1c7a5, 0x5c3a28], r))
    }

    /// Hair.
    pub(super) fn hair(self, r: &mut Random) -> Material {
        Material::plain(one(&[0x1b1512, 0x3a2718, 0x6b4a2a, 0xb08d57, 0x8a8a8a, 0x7a2f1a], r))
    }

    /// What people wear above.
    pub(super) fn shirt(self, r: &mut Random) -> Material {
        let (seed, base) =
            (r.bits(), one(&[0xd94f3d, 0x3a7bd5, 0xf2f2ee, 0xf0c04a, 0x4cae6f, 0x222831, 0xb56ac0, 0x7fb7d8], r));
        if self.shifted {
            return Material::patterned(base, base * 0.4, Pattern::Tiles { size: 0.08 }, seed);
        }
        match r.below(3) {
            0 => Material::patterned(
                base,
                one(&[0xf5f5f0, 0x2a2d3a], r),
                Pattern::Stripes { size: r.range(0.06, 0.12), upright: false },
                seed,
            ),
            _ => Material::patterned(base, base * 0.85, Pattern::Noise { size: 0.05 }, seed),
        }
    }

    /// What people wear below.
    pub(super) fn trousers(self, r: &mut Random) -> Material {
        let base = one(&[0x2c3e5c, 0x1e1f24, 0x6b5b45, 0x4b5563, 0x39463a, 0x8a7f70], r);
        Material::patterned(base, base * 0.8, Pattern::Noise { size: 0.03 }, r.bits())
    }
}

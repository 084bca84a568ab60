//! House fronts: floors of windows in bays, bands, shops.

use super::noise::lattice;
use super::place::{Place, Texel, brick};
use crate::material::{Material, Pattern};
use crate::math::{Vec3, floor, fract};
use crate::random::unit;

/// The colour at a place of a body with [`Pattern::Facade`].
pub fn texel(material: &Material, at: &Place) -> Texel {
    let m = material;
    let Pattern::Facade { half, floor: storey, bay, open, glass, brick: bricks, shop } = m.pattern else {
        return Texel { albedo: m.base, gloss: m.gloss };
    };
    if at.n.z.abs() > 0.7 {
        return Texel { albedo: Vec3::splat(0.12), gloss: 0.0 };
    }
    let (u, v) = at.unroll();
    let height = v + half;
    let f = at.footprint.max(1e-4);
    let inside = |x: f32, centre: f32, half: f32| ((half - (x - centre).abs()) / f + 0.5).clamp(0.0, 1.0);

    let tone = unit(lattice(0, 0, 9, m.seed)) * 0.16;
    let mut wall =
        if bricks { brick(m.base, m.second.mix(m.base, 0.5), u, v, 0.5, m.seed, at) } else { m.base * (0.95 + tone) };
    // Rain darkens the foot, a plinth ends it.
    let (row, ground) = (floor(height / storey), height < storey);
    if height < 0.5 {
        wall = wall * 0.6;
    }
    let is_shop = shop && ground;
    let (bay, open_w, open_h, sill) = if is_shop { (bay * 2.0, 0.82, 0.62, 0.44) } else { (bay, open, 0.56, 0.54) };
    let column = floor(u / bay);
    let (x, y) = (fract(u / bay) - 0.5, fract(height / storey) - sill);
    let (x, y) = (x * bay, y * storey);
    let (w, h) = (open_w * bay * 0.5, open_h * storey * 0.5);
    // Shares of the pixel: frame around the pane, pane, bars.
    let frame = inside(x, 0.0, w + 0.14) * inside(y, 0.0, h + 0.12);
    let pane = inside(x, 0.0, w) * inside(y, 0.0, h);
    let fade = at.detail(bay * 1.6);
    let mean_pane = open_w * open_h * 0.95;
    let frame = mean_pane * 1.25 + (frame - mean_pane * 1.25) * fade;
    let pane = mean_pane + (pane - mean_pane) * fade;
    let bars = at.line(x, 0.0, 0.035).max(at.line(y, h * 0.3, 0.03)) * fade;

    let pick = unit(lattice(column as i32, row as i32, 1, m.seed)) * fade + 0.5 * (1.0 - fade);
    // Curtains in some, deep dark in others.
    let curtain = if pick > 0.72 && !is_shop { 0.4 * fade } else { 0.0 };
    let shade = 0.55 + 0.9 * pick;
    let mut pane_colour = (glass * shade).mix(Vec3::splat(0.45), curtain);
    if is_shop {
        // Goods behind the pane.
        let goods = unit(lattice(floor(u * 1.4) as i32, floor(height * 1.6) as i32, 2, m.seed)) - 0.4;
        pane_colour = pane_colour * (1.0 + goods * 1.2 * at.detail(0.7));
    }
    let mut colour = wall.mix(m.second, frame).mix(pane_colour, pane * (1.0 - bars * 0.8));
    // A band between floors, and a sign over a shop.
    let band = at.line(fract(height / storey) * storey, storey - 0.1, 0.1) * 0.6;
    colour = colour.mix(m.second, band);
    if is_shop {
        let sign = inside(height, storey * 0.87, 0.26);
        let hue = unit(lattice(floor(u / (bay * 2.0)) as i32, 1, 4, m.seed));
        let sign_colour =
            Vec3 { x: 0.08 + 0.5 * hue, y: 0.1 + 0.25 * fract(hue * 7.0), z: 0.08 + 0.45 * fract(hue * 13.0) };
        let letters = unit(lattice(floor(u * 2.2) as i32, floor(height * 4.0) as i32, 6, m.seed));
        let letters = f32::from(letters > 0.5) * at.detail(0.5) * inside(height, storey * 0.87, 0.13);
        colour = colour.mix(sign_colour.mix(Vec3::splat(0.75), letters), sign);
    }
    Texel { albedo: colour, gloss: m.gloss + 0.55 * pane * (1.0 - curtain) }
}

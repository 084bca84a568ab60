//! Light: from a hit to the linear colour that reaches the camera. Lambert under sun, lamps and an ambient hemisphere,
//! a share of mirrored sky, then the air in between.

use super::intersect;
use super::noise::noise2;
use super::pattern::texel;
use super::place::Place;
use super::shadow::Shadows;
use super::view::{Eye, Lens, Primitive};
use crate::description::{Scene, Sky};
use crate::math::{Vec3, exp, smoothstep, v3};

/// Everything that shading needs besides the hit, at one instant.
pub struct Lighting<'a> {
    /// The scene.
    pub scene: &'a Scene,
    /// The camera.
    pub eye: &'a Eye,
    /// Shadows.
    pub shadows: &'a Shadows,
    /// Direction to the sun and its colour, in camera axes.
    pub sun: Option<(Vec3, Vec3)>,
    /// World up in camera axes.
    pub up: Vec3,
    /// A pixel's width at depth 1.
    pub pixel: f32,
}

impl<'a> Lighting<'a> {
    /// For this instant; `sun` as it is sampled there.
    pub fn new(scene: &'a Scene, eye: &'a Eye, shadows: &'a Shadows, sun: Option<Vec3>, lens: &Lens) -> Lighting<'a> {
        let sun = sun.zip(scene.light.sun).map(|(towards, sun)| (towards, sun.colour));
        Lighting { scene, eye, shadows, sun, up: eye.see(v3(0.0, 0.0, 1.0)), pixel: 1.0 / lens.focal }
    }

    /// What is seen along the camera ray `d` (z = 1) when nothing is hit.
    pub fn background(&self, d: Vec3) -> Vec3 {
        let d = d.unit();
        let colour = sky(&self.scene.light.sky, self.eye.unsee(d));
        match self.sun {
            Some((towards, sun)) => {
                let near = towards.dot(d).max(0.0);
                let (glow, disc) = (near * near * near * near, smoothstep(0.9985, 0.9995, near));
                colour + sun * (glow * glow * glow * 0.12 + disc * 1.5 * (1.0 - self.scene.light.sky.cover))
            }
            None => colour,
        }
    }

    /// What is seen of primitive `p` at depth `t` along the camera ray `d` (z = 1).
    pub fn surface(&self, p: &Primitive, d: Vec3, t: f32) -> Vec3 {
        let light = &self.scene.light;
        let material = &self.scene.bodies[p.body as usize].material;
        let direction = p.axes.undo(d);
        let local = p.eye + direction * t;
        let mut n = intersect::normal(&p.shape, local);
        if n.dot(direction) > 0.0 {
            n = -n;
        }
        let normal = p.axes.apply(n);
        let length = d.length();
        let facing = -(normal.dot(d)) / length;
        let footprint = t * self.pixel / facing.max(0.15);
        let look = texel(material, &Place { p: local, n, footprint });

        let point = d * t;
        let off = point + normal * (0.004 + 0.0015 * t);
        let rise = 0.5 + 0.5 * normal.dot(self.up);
        let mut arriving = light.ambient_down.mix(light.ambient_up, rise);
        if let Some((towards, colour)) = self.sun {
            let slope = normal.dot(towards);
            if slope > 0.0 && self.shadows.sun_reaches(off) {
                arriving = arriving + colour * slope;
            }
        }
        for (index, lamp) in light.lamps.iter().enumerate() {
            let to = self.shadows.to_lamp(index, off);
            let (squared, slope) = (to.dot(to), normal.dot(to));
            let reach = lamp.reach * lamp.reach;
            if slope > 0.0 && squared < reach && self.shadows.lamp_reaches(index, off).is_some() {
                // Fades to nothing at its reach; not brighter than at a quarter of a metre.
                let fade = 1.0 - squared / reach;
                let falling = fade * fade / (squared + 0.06);
                arriving = arriving + lamp.colour * (falling * slope / squared.sqrt().max(1e-4));
            }
        }
        let mut colour = look.albedo.times(arriving) + look.albedo * material.glow;
        if look.gloss > 0.0 {
            let view = d * (1.0 / length);
            let mirror = view + normal * (2.0 * facing);
            let grazing = 1.0 - facing.clamp(0.0, 1.0);
            let share = look.gloss * (0.25 + 0.75 * grazing * grazing * grazing);
            let up = mirror.dot(self.up);
            // Below the horizon the street is mirrored: a dull mean of it.
            let ground = light.ambient_up.mix(light.ambient_down, 0.5) * 0.35;
            let seen = light.sky.horizon.mix(light.sky.zenith, up.max(0.0));
            let mut mirrored = ground.mix(seen, smoothstep(-0.1, 0.25, up));
            if let Some((towards, sun)) = self.sun {
                let near = mirror.dot(towards).max(0.0);
                let near = near * near;
                let near = near * near;
                let near = near * near;
                let near = near * near;
                mirrored = mirrored + sun * (near * near * 2.0 * f32::from(self.shadows.sun_reaches(off)));
            }
            colour = colour.mix(mirrored, share);
        }
        if light.fog.density > 0.0 {
            let clear = exp(-light.fog.density * t * length);
            colour = light.fog.colour.mix(colour, clear);
        }
        colour
    }
}

/// The sky in a world direction (unit).
fn sky(sky: &Sky, d: Vec3) -> Vec3 {
    let up = d.z.max(0.0);
    let rise = 1.0 - (1.0 - up) * (1.0 - up) * (1.0 - up);
    let clear = sky.horizon.mix(sky.zenith, rise);
    if sky.cover <= 0.0 || d.z < 0.01 {
        return clear;
    }
    // Clouds on a plane above, fading towards the horizon.
    let (x, y) = (d.x / (d.z + 0.12) * 1.6, d.y / (d.z + 0.12) * 1.6);
    let n = noise2(x, y, sky.seed) * 0.55
        + noise2(x * 2.3, y * 2.3, sky.seed ^ 1) * 0.3
        + noise2(x * 5.1, y * 5.1, sky.seed ^ 2) * 0.15;
    let edge = 1.0 - sky.cover;
    let share = smoothstep(edge - 0.12, edge + 0.22, n) * smoothstep(0.0, 0.12, d.z);
    let body = sky.cloud * (0.85 + 0.3 * (n - 0.5));
    clear.mix(body, share * 0.9)
}

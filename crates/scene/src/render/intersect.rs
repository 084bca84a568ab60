//! Where a ray meets a shape in the shape's own axes, and the normal there. Rays have any length of direction: the
//! result is in units of it, so that with a camera's rays (z = 1) it is depth itself.

use crate::description::Shape;
use crate::math::{Vec3, v3};

/// The first place from `least` on where the ray enters the shape from outside (flat shapes: from either side).
#[inline]
pub fn hit(shape: &Shape, o: Vec3, d: Vec3, least: f32) -> Option<f32> {
    match *shape {
        Shape::Cuboid { half } => {
            let (i, j, k) = (inverse(d.x), inverse(d.y), inverse(d.z));
            let (ax, bx) = (-o.x * i, half.x * i.abs());
            let (ay, by) = (-o.y * j, half.y * j.abs());
            let (az, bz) = (-o.z * k, half.z * k.abs());
            let enter = (ax - bx).max(ay - by).max(az - bz);
            let leave = (ax + bx).min(ay + by).min(az + bz);
            (enter <= leave && enter >= least).then_some(enter)
        }
        Shape::Taper { half, top } => taper(half, top, o, d, least),
        Shape::Ellipsoid { radii } => {
            let r = v3(1.0 / radii.x, 1.0 / radii.y, 1.0 / radii.z);
            let (o, d) = (o.times(r), d.times(r));
            sphere(o, d, 1.0, least)
        }
        Shape::Cylinder { radius, half } => {
            let side = round_side(radius, half, o, d, least);
            let end = ends(radius, half, o, d, least);
            match (side, end) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }
        }
        Shape::Capsule { radius, half } => round_side(radius, half, o, d, least).or_else(|| {
            let upper = sphere(o - v3(0.0, 0.0, half), d, radius * radius, least);
            let lower = sphere(o + v3(0.0, 0.0, half), d, radius * radius, least);
            match (upper, lower) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }
        }),
        Shape::Rectangle { half } => {
            let t = -o.z * inverse(d.z);
            let inside = (o.x + t * d.x).abs() <= half[0] && (o.y + t * d.y).abs() <= half[1];
            (t >= least && inside).then_some(t)
        }
        Shape::Plane => {
            let t = -o.z * inverse(d.z);
            // Nobody sees further over flat land, and float16 depth ends at 65 km.
            (t >= least && t < 1e4).then_some(t)
        }
    }
}

/// The outward unit normal at `p` on the surface; flat shapes: +z.
#[inline]
pub fn normal(shape: &Shape, p: Vec3) -> Vec3 {
    match *shape {
        Shape::Cuboid { half } => {
            let (x, y, z) = (p.x.abs() - half.x, p.y.abs() - half.y, p.z.abs() - half.z);
            if z >= x && z >= y {
                v3(0.0, 0.0, sign(p.z))
            } else if x >= y {
                v3(sign(p.x), 0.0, 0.0)
            } else {
                v3(0.0, sign(p.y), 0.0)
            }
        }
        Shape::Taper { half, top } => {
            let (mut best, mut normal) = (f32::NEG_INFINITY, Vec3::ZERO);
            for (n, offset) in planes(half, top) {
                let scale = 1.0 / n.length();
                let distance = (n.dot(p) - offset) * scale;
                if distance > best {
                    (best, normal) = (distance, n * scale);
                }
            }
            normal
        }
        Shape::Ellipsoid { radii } => {
            v3(p.x / (radii.x * radii.x), p.y / (radii.y * radii.y), p.z / (radii.z * radii.z)).unit()
        }
        Shape::Cylinder { radius, half } => {
            let r = (p.x * p.x + p.y * p.y).sqrt();
            if p.z.abs() - half > r - radius {
                v3(0.0, 0.0, sign(p.z))
            } else {
                v3(p.x, p.y, 0.0) * (1.0 / r.max(1e-9))
            }
        }
        Shape::Capsule { half, .. } => (p - v3(0.0, 0.0, p.z.clamp(-half, half))).unit(),
        Shape::Rectangle { .. } | Shape::Plane => v3(0.0, 0.0, 1.0),
    }
}

#[inline]
fn sign(x: f32) -> f32 {
    if x < 0.0 { -1.0 } else { 1.0 }
}

/// 1/x, finite: keeps slabs free of 0 · ∞.
#[inline]
fn inverse(x: f32) -> f32 {
    if x.abs() > 1e-12 { 1.0 / x } else { 1e12 }
}

#[inline]
fn sphere(o: Vec3, d: Vec3, radius_squared: f32, least: f32) -> Option<f32> {
    // From the point of the ray nearest to the centre: stable for far small spheres.
    let a = d.dot(d);
    let t = -o.dot(d) / a;
    let near = o + d * t;
    let inside = radius_squared - near.dot(near);
    if inside < 0.0 {
        return None;
    }
    let t = t - (inside / a).sqrt();
    (t >= least).then_some(t)
}

#[inline]
fn round_side(radius: f32, half: f32, o: Vec3, d: Vec3, least: f32) -> Option<f32> {
    let a = d.x * d.x + d.y * d.y;
    if a < 1e-12 {
        return None;
    }
    let t = -(o.x * d.x + o.y * d.y) / a;
    let (x, y) = (o.x + t * d.x, o.y + t * d.y);
    let inside = radius * radius - x * x - y * y;
    if inside < 0.0 {
        return None;
    }
    let t = t - (inside / a).sqrt();
    (t >= least && (o.z + t * d.z).abs() <= half).then_some(t)
}

/// The end disc of a cylinder that faces the ray's start.
#[inline]
fn ends(radius: f32, half: f32, o: Vec3, d: Vec3, least: f32) -> Option<f32> {
    let t = (sign(o.z) * half - o.z) * inverse(d.z);
    let (x, y) = (o.x + t * d.x, o.y + t * d.y);
    (o.z.abs() > half && t >= least && x * x + y * y <= radius * radius).then_some(t)
}

/// A taper's faces: normals (not unit) and offsets, inside where n·p ≤ offset.
#[inline]
fn planes(half: Vec3, top: [f32; 2]) -> [(Vec3, f32); 6] {
    let (ax, bx) = ((half.x + top[0]) * 0.5, (half.x - top[0]) / (2.0 * half.z));
    let (ay, by) = ((half.y + top[1]) * 0.5, (half.y - top[1]) / (2.0 * half.z));
    [
        (v3(1.0, 0.0, bx), ax),
        (v3(-1.0, 0.0, bx), ax),
        (v3(0.0, 1.0, by), ay),
        (v3(0.0, -1.0, by), ay),
        (v3(0.0, 0.0, 1.0), half.z),
        (v3(0.0, 0.0, -1.0), half.z),
    ]
}

fn taper(half: Vec3, top: [f32; 2], o: Vec3, d: Vec3, least: f32) -> Option<f32> {
    let (mut enter, mut leave) = (f32::NEG_INFINITY, f32::INFINITY);
    for (n, offset) in planes(half, top) {
        let (start, slope) = (offset - n.dot(o), n.dot(d));
        let t = start * inverse(slope);
        if slope.abs() <= 1e-12 {
            if start < 0.0 {
                return None;
            }
        } else if slope < 0.0 {
            enter = enter.max(t);
        } else {
            leave = leave.min(t);
        }
    }
    (enter <= leave && enter >= least).then_some(enter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// How far inside a shape a point is (positive inside): the definition, independent of rays.
    fn depth_inside(shape: &Shape, p: Vec3) -> f32 {
        match *shape {
            Shape::Cuboid { half } => (half.x - p.x.abs()).min(half.y - p.y.abs()).min(half.z - p.z.abs()),
            Shape::Taper { half, top } => {
                let t = (p.z + half.z) / (2.0 * half.z);
                let (x, y) = (half.x + (top[0] - half.x) * t, half.y + (top[1] - half.y) * t);
                (x - p.x.abs()).min(y - p.y.abs()).min(half.z - p.z.abs())
            }
            Shape::Ellipsoid { radii: r } => 1.0 - v3(p.x / r.x, p.y / r.y, p.z / r.z).length(),
            Shape::Cylinder { radius, half } => (radius - v3(p.x, p.y, 0.0).length()).min(half - p.z.abs()),
            Shape::Capsule { radius, half } => radius - v3(p.x, p.y, p.z - p.z.clamp(-half, half)).length(),
            Shape::Rectangle { .. } | Shape::Plane => 0.0,
        }
    }

    #[test]
    fn rays_meet_solids_where_marching_meets_them() {
        let shapes = [
            Shape::Cuboid { half: v3(0.5, 0.8, 0.3) },
            Shape::Taper { half: v3(0.8, 0.9, 0.4), top: [0.5, 0.2] },
            Shape::Ellipsoid { radii: v3(0.5, 0.8, 0.3) },
            Shape::Cylinder { radius: 0.4, half: 0.6 },
            Shape::Capsule { radius: 0.4, half: 0.6 },
        ];
        let mut random = Random::of(&[1]);
        let mut hits = 0;
        for shape in shapes {
            for _ in 0..400 {
                let mut point = || v3(random.range(-1.0, 1.0), random.range(-1.0, 1.0), random.range(-1.0, 1.0));
                let o = point().unit() * 3.0;
                let d = (point() * 0.8 - o) * 0.5;
                let steps = 4000;
                let marched =
                    (0..steps).map(|i| i as f32 * 4.0 / steps as f32).find(|&t| depth_inside(&shape, o + d * t) >= 0.0);
                match (hit(&shape, o, d, 0.0), marched) {
                    (Some(t), Some(m)) => {
                        hits += 1;
                        assert!((t - m).abs() < 0.003, "{shape:?} {t} {m}");
                        let (p, n) = (o + d * t, normal(&shape, o + d * t));
                        assert!((n.length() - 1.0).abs() < 1e-4);
                        assert!(n.dot(d) < 1e-3, "{shape:?} faces away");
                        assert!(depth_inside(&shape, p + n * 1e-3) <= 1e-4);
                        assert!(depth_inside(&shape, p - n * 1e-3) >= -1e-4);
                    }
                    (None, None) => {}
                    // Grazing rays may slip between the steps.
                    (Some(t), None) => assert!(depth_inside(&shape, o + d * t).abs() < 1e-3),
                    (None, Some(m)) => panic!("{shape:?} missed at {m}"),
                }
            }
        }
        assert!(hits > 500);
    }
}

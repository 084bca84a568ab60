//! Nothing passes through anything: camera, people, furniture, walls.

use super::furniture::{chair, cupboard, shelf, sofa, stool, swivel, table};
use super::hand::SWAY;
use super::look::Look;
use super::piece::{Part, Piece, Spot};
use super::solid::Solid;
use super::{Generator, Room, objects};
use crate::description::{Placement, Scene, Shape};
use crate::math::{Rotation, Vec3, v3};
use crate::random::Random;

/// How far a shape reaches from its centre along a unit direction.
fn reach(shape: &Shape, rotation: &Rotation, direction: Vec3) -> f64 {
    let d = rotation.undo(direction);
    f64::from(match *shape {
        Shape::Cuboid { half } => half.x * d.x.abs() + half.y * d.y.abs() + half.z * d.z.abs(),
        Shape::Ellipsoid { radii } => v3(radii.x * d.x, radii.y * d.y, radii.z * d.z).length(),
        Shape::Cylinder { radius, half } => radius * (d.x * d.x + d.y * d.y).sqrt() + half * d.z.abs(),
        Shape::Capsule { radius, half } => radius + half * d.z.abs(),
        Shape::Rectangle { half } => half[0] * d.x.abs() + half[1] * d.y.abs(),
        Shape::Taper { half, .. } => half.x * d.x.abs() + half.y * d.y.abs() + half.z * d.z.abs(),
        Shape::Plane => f32::INFINITY,
    })
}

/// Asserts that a shape lies within a solid, to a millimetre.
fn within(shape: &Shape, at: &Placement, solid: &Solid, what: &str) {
    let [ax, ay] = solid.axis;
    let d = [at.position[0] - solid.centre[0], at.position[1] - solid.centre[1]];
    for (k, axis) in [[ax, ay], [-ay, ax]].into_iter().enumerate() {
        let off = (d[0] * axis[0] + d[1] * axis[1]).abs();
        let out = off + reach(shape, &at.rotation, v3(axis[0] as f32, axis[1] as f32, 0.0));
        assert!(out <= solid.half[k] + 1e-3, "{what}: {shape:?} reaches {out} m of {} on axis {k}", solid.half[k]);
    }
    let z = reach(shape, &at.rotation, v3(0.0, 0.0, 1.0));
    assert!(at.position[2] - z >= solid.bottom - 1e-3, "{what}: {shape:?} reaches down to {}", at.position[2] - z);
    assert!(at.position[2] + z <= solid.top + 1e-3, "{what}: {shape:?} reaches up to {}", at.position[2] + z);
}

fn rooms() -> impl Iterator<Item = (String, Room)> {
    (0..40).map(|i| (format!("seed {}, shifted {}", i / 2, i % 2 == 1), Room::new(i / 2, 0, i % 2 == 1)))
}

#[test]
fn pieces_stay_within_their_boxes() {
    let spot = Spot { at: [1.0, -2.0], axis: [0.8, 0.6], height: 0.3 };
    for seed in 0..300 {
        for shifted in [false, true] {
            let (look, r) = (Look { shifted }, &mut Random::of(&[seed]));
            let (side, room) = (r.range(0.15, 0.42), r.range(0.2, 0.6));
            let pieces: [Piece; 12] = [
                chair(look, r),
                swivel(look, r),
                sofa(look, r, 1 + seed % 3),
                stool(look, r),
                table(look, r, 1.3, 0.8, 0.74),
                table(look, r, 0.8, 0.6, 0.4),
                cupboard(look, r, 1.2, 0.45, 0.9),
                shelf(look, r, 1.0, 0.3, 1.8),
                objects::small(look, r, side, room),
                objects::large(look, r),
                objects::television(look, r, 1.1),
                objects::picture(look, r, 0.8, 0.5),
            ];
            assert!(pieces[8].half.iter().all(|h| *h <= side * 0.5 + 1e-6) && pieces[8].height <= room + 1e-6);
            for (i, piece) in pieces.iter().enumerate() {
                let (solid, at) = (piece.solid(&spot), spot.placement());
                for Part { shape, offset, rotation, .. } in &piece.parts {
                    within(shape, &at.carry(*offset, rotation), &solid, &format!("piece {i} of seed {seed}"));
                }
            }
        }
    }
}

#[test]
fn what_stands_still_keeps_apart() {
    for (name, room) in rooms() {
        for (i, a) in room.solids.iter().enumerate() {
            for b in &room.solids[..i] {
                assert!(!a.meets(b, 0.0), "{name}: {a:?} {b:?}");
            }
        }
    }
}

#[test]
fn the_camera_keeps_away_from_everything() {
    for (name, room) in rooms() {
        for n in (0..20_000).step_by(53).map(f64::from) {
            let walked = room.hand.walked(n);
            let camera = room.hand.camera(&room.path, n).now.position;
            let at = [camera[0], camera[1]];
            assert!(super::path::distance(at, room.path.at(walked)) <= SWAY, "{name}: off its path at {n}");
            for solid in room.solids.iter().filter(|s| s.bottom < camera[2] + 0.4) {
                assert!(solid.distance(at) >= 0.4, "{name} at {n}: {} m from {solid:?}", solid.distance(at));
            }
            for person in &room.people {
                let solid = person.solid(&room.path, walked, n);
                assert!(solid.distance(at) >= 0.4, "{name} at {n}: {} m from {solid:?}", solid.distance(at));
            }
        }
    }
}

#[test]
fn people_keep_apart_from_each_other_and_from_furniture() {
    for (name, room) in rooms() {
        for n in (0..20_000).step_by(101).map(f64::from) {
            let walked = room.hand.walked(n);
            let solids: Vec<Solid> = room.people.iter().map(|p| p.solid(&room.path, walked, n)).collect();
            for (i, a) in solids.iter().enumerate() {
                let others = room.solids.iter().chain(&solids[..i]);
                others.for_each(|b| assert!(!a.meets(b, 0.0), "{name} at {n}: {a:?} {b:?}"));
            }
        }
    }
}

#[test]
fn people_stay_within_their_space() {
    for (name, room) in rooms() {
        for n in (0..6000).step_by(97).map(f64::from) {
            let camera = [room.hand.walked(n), room.hand.walked(n + 1.0)];
            for person in &room.people {
                let solid = person.solid(&room.path, camera[0], n);
                let mut bodies = Vec::new();
                person.put(&room.path, camera, n, &mut bodies);
                for body in bodies {
                    within(&body.shape, &body.now, &solid, &format!("{name} at {n}"));
                }
            }
        }
    }
}

#[test]
fn frames_follow_on_each_other() {
    // What a frame says about the next is what the next says about itself.
    let room = Room::new(5, 0, false);
    let (mut a, mut b) = (Scene::default(), Scene::default());
    for n in [0, 77, 4_000_000_000] {
        room.fill(n, &mut a);
        room.fill(n + 1, &mut b);
        assert_eq!(a.camera.next, b.camera.now);
        assert_eq!(a.bodies.len(), b.bodies.len());
        assert!(a.bodies.iter().zip(&b.bodies).all(|(x, y)| x.next == y.now));
    }
}

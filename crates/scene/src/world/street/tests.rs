//! Nothing passes through anything, judged on the filled scenes alone.

use super::*;
use crate::math::v3;

/// A footprint on the ground: centre, axis along its length, half sizes across and along, and bottom and top.
struct Print {
    class: u8,
    at: [f64; 2],
    axis: [f64; 2],
    half: [f64; 2],
    low: f64,
    high: f64,
}

fn print(body: &Body) -> Print {
    let (at, half) = (&body.now, body.shape.half_extent());
    let y = at.rotation.y;
    // Legs and arms swing, wheels lie: the upright extent is taken along world z.
    let up = (at.rotation.x.z * half.x).abs() + (at.rotation.y.z * half.y).abs() + (at.rotation.z.z * half.z).abs();
    let length = f64::from((y.x * y.x + y.y * y.y).sqrt());
    Print {
        class: body.class,
        at: [at.position[0], at.position[1]],
        axis: [f64::from(y.x) / length, f64::from(y.y) / length],
        half: [f64::from(half.x), f64::from(half.y)],
        low: at.position[2] - f64::from(up),
        high: at.position[2] + f64::from(up),
    }
}

/// Whether two footprints overlap by more than `slack` (separating axes), at the same height.
fn overlap(a: &Print, b: &Print, slack: f64) -> bool {
    if a.low > b.high - slack || b.low > a.high - slack {
        return false;
    }
    let away = [b.at[0] - a.at[0], b.at[1] - a.at[1]];
    let across = |axis: [f64; 2]| [axis[1], -axis[0]];
    let reach = |p: &Print, n: [f64; 2]| {
        let x = across(p.axis);
        p.half[0] * (x[0] * n[0] + x[1] * n[1]).abs() + p.half[1] * (p.axis[0] * n[0] + p.axis[1] * n[1]).abs()
    };
    [a.axis, across(a.axis), b.axis, across(b.axis)]
        .into_iter()
        .all(|n| (away[0] * n[0] + away[1] * n[1]).abs() < reach(a, n) + reach(b, n) - slack)
}

#[test]
fn nothing_passes_through_anything() {
    let mut scene = Scene::default();
    let mut looked = [0usize; 3];
    for seed in 0..60u64 {
        let street = Street::new(seed, 0, seed % 4 == 3);
        for n in (0..1200).step_by(97) {
            street.fill(n, &mut scene);
            let prints: Vec<Print> = scene.bodies.iter().filter(|b| b.shape != Shape::Plane).map(print).collect();
            let torsos: Vec<&Print> = prints
                .iter()
                .zip(scene.bodies.iter().filter(|b| b.shape != Shape::Plane))
                .filter(|(p, b)| p.class == PERSON && matches!(b.shape, Shape::Taper { top, half } if top[0] > half.x))
                .map(|(p, _)| p)
                .collect();
            let vehicles: Vec<&Print> =
                prints.iter().filter(|p| p.class == VEHICLE && p.half[1] > 1.9 && p.low < 0.5).collect();
            let solid = |p: &&Print| [BUILDING, VEGETATION, POLE].contains(&p.class);
            for (i, torso) in torsos.iter().enumerate() {
                looked[0] += 1;
                for other in torsos.iter().skip(i + 1).chain(&vehicles) {
                    assert!(!overlap(torso, other, 0.02), "seed {seed} frame {n}: a person in {}", other.class);
                }
                for other in prints.iter().filter(solid) {
                    assert!(
                        !overlap(torso, other, 0.05),
                        "seed {seed} frame {n}: a person at {:?} in {} {:?} {:?}",
                        torso.at,
                        other.class,
                        other.at,
                        other.half
                    );
                }
            }
            for (i, vehicle) in vehicles.iter().enumerate() {
                looked[1] += 1;
                for other in vehicles.iter().skip(i + 1).copied().chain(prints.iter().filter(solid)) {
                    assert!(!overlap(vehicle, other, 0.05), "seed {seed} frame {n}: a vehicle in {}", other.class);
                }
            }
            let eye = scene.camera.now.position;
            let own = Print {
                class: SKY,
                at: [eye[0], eye[1]],
                axis: [f64::from(scene.camera.now.rotation.y.x), f64::from(scene.camera.now.rotation.y.y)],
                half: [0.9, 2.2],
                low: 0.2,
                high: 2.0,
            };
            for other in vehicles.iter().chain(&torsos).copied().chain(prints.iter().filter(solid)) {
                looked[2] += 1;
                assert!(!overlap(&own, other, 0.0), "seed {seed} frame {n}: the camera in {}", other.class);
            }
        }
    }
    assert!(looked.iter().all(|&n| n > 1000), "{looked:?}");
}

#[test]
fn what_moves_arrives_where_the_next_frame_finds_it() {
    let (mut a, mut b) = (Scene::default(), Scene::default());
    let street = Street::new(11, 0, false);
    let mut moved = 0;
    for n in [3, 50, 777] {
        street.fill(n, &mut a);
        street.fill(n + 1, &mut b);
        let gap = |p: &Placement, q: &Placement| q.offset_from(p.position).length();
        assert!(gap(&a.camera.next, &b.camera.now) < 1e-6);
        for body in a.bodies.iter().filter(|body| body.class == PERSON && body.now != body.next) {
            let found = b.bodies.iter().any(|other| other.class == PERSON && gap(&body.next, &other.now) < 1e-4);
            let far = v3(
                (body.now.position[0] - a.camera.now.position[0]) as f32,
                (body.now.position[1] - a.camera.now.position[1]) as f32,
                0.0,
            );
            // At the ends of the drawn stretch people come and go.
            if far.length() < 25.0 && far.y > 3.0 {
                assert!(found, "frame {n}: {:?}", body.now.position);
                moved += 1;
            }
        }
    }
    assert!(moved > 30, "{moved}");
}

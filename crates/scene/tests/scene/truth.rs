//! Truth fits itself: depth, pose, flow, normals and classes tell one story, and the pictures the same one.

use crate::geometry::{cross, dot, minus, pixel, point, to_camera, to_world, unit};
use milad_scene::{Clip, Intrinsics, Options, Pose, Quality, Truth, World};

const W: usize = 256;
const H: usize = 128;
const SEEDS: [u64; 4] = [0, 3, 7, 1_000_002];
const FRAMES: [u32; 3] = [0, 50, 3011];

/// Whether things of this class may move by themselves.
fn moves(class: &str) -> bool {
    matches!(class, "person" | "vehicle")
}

fn clips() -> impl Iterator<Item = (String, Clip)> {
    World::ALL.into_iter().flat_map(|world| {
        SEEDS.into_iter().map(move |seed| (format!("{world} {seed}"), Clip::new(world, seed, &Options::default())))
    })
}

fn truth(clip: &Clip, n: u32) -> Truth {
    let mut truth = Truth::default();
    clip.truth(n, &mut truth);
    truth
}

/// The camera between a frame and the next.
struct Move {
    camera: Intrinsics,
    poses: [Pose; 2],
}

impl Move {
    fn of(clip: &Clip, n: u32) -> Move {
        Move { camera: clip.camera(), poses: [clip.pose(n), clip.pose(n + 1)] }
    }
    /// Where the pixel's point is seen in the next frame if it stands still, and how far away.
    fn still(&self, x: usize, y: usize, depth: f32) -> ([f64; 2], f64) {
        let world = to_world(&self.poses[0], point(&self.camera, x as f64, y as f64, f64::from(depth)));
        let next = to_camera(&self.poses[1], world);
        (pixel(&self.camera, next), next[2])
    }
}

fn length(x: f64, y: f64) -> f64 {
    (x * x + y * y).sqrt()
}

#[test]
fn values_lie_within_their_ranges() {
    for (name, clip) in clips() {
        let (classes, camera) = (clip.world().classes(), clip.camera());
        for n in FRAMES {
            let t = truth(&clip, n);
            assert_eq!([t.class.len(), t.depth.len(), t.normals.len(), t.flow.len()], [1, 1, 3, 2].map(|k| k * W * H));
            for i in 0..W * H {
                let class = classes[usize::from(t.class[i])].name;
                let normal = [0, 1, 2].map(|k| f64::from(t.normals[k * W * H + i]));
                assert!(t.flow[i].is_finite() && t.flow[W * H + i].is_finite(), "{name} {n}: flow at {i}");
                if class == "sky" {
                    assert!(t.depth[i] == f32::INFINITY && normal == [0.0; 3], "{name} {n}: sky at {i}");
                    continue;
                }
                let farthest = if clip.world().name().starts_with("room") { 20.0 } else { 5000.0 };
                assert!(t.depth[i] > 0.05 && t.depth[i] < farthest, "{name} {n}: {class} at depth {}", t.depth[i]);
                assert!((dot(normal, normal) - 1.0).abs() < 1e-4, "{name} {n}: normal {normal:?} at {i}");
                let ray = point(&camera, (i % W) as f64, (i / W) as f64, 1.0);
                assert!(dot(normal, ray) < 1e-5, "{name} {n}: the normal of {class} at {i} looks away");
            }
        }
    }
}

#[test]
fn poses_are_rigid() {
    for (name, clip) in clips() {
        for n in FRAMES {
            let pose = clip.pose(n);
            let column = |k: usize| [0, 1, 2].map(|row| pose.0[row][k]);
            let [x, y, z] = [0, 1, 2].map(column);
            for (a, b, expected) in [(x, x, 1.0), (y, y, 1.0), (z, z, 1.0), (x, y, 0.0), (y, z, 0.0), (z, x, 0.0)] {
                assert!((dot(a, b) - expected).abs() < 1e-5, "{name} {n}: {pose:?}");
            }
            assert!(dot(cross(x, y), z) > 0.99, "{name} {n}: left-handed");
            assert!(y[2] < -0.8, "{name} {n}: camera's y looks down");
        }
    }
}

#[test]
fn depth_and_poses_give_the_flow_of_what_stands_still() {
    for (name, clip) in clips() {
        let (mut worst, mut seen) = (0.0f64, 0);
        for n in FRAMES {
            let (t, motion) = (truth(&clip, n), Move::of(&clip, n));
            for i in (0..W * H).filter(|&i| t.depth[i].is_finite()) {
                if moves(clip.world().classes()[usize::from(t.class[i])].name) {
                    continue;
                }
                let (x, y) = (i % W, i / W);
                let (to, depth) = motion.still(x, y, t.depth[i]);
                // Points that the camera passes go far out: small errors of angle are many pixels there.
                let [dx, dy] = [to[0] - x as f64, to[1] - y as f64];
                if depth < 0.3 || length(dx, dy) > 100.0 {
                    continue;
                }
                seen += 1;
                worst = worst.max(length(dx - f64::from(t.flow[i]), dy - f64::from(t.flow[W * H + i])));
            }
        }
        assert!(seen > W * H, "{name}: only {seen} pixels");
        assert!(worst <= 0.05, "{name}: off by {worst} px");
    }
}

#[test]
fn normals_fit_depth_on_planes() {
    for (name, clip) in clips() {
        let camera = clip.camera();
        let (mut seen, mut worst) = (0, 1.0f64);
        for n in FRAMES {
            let t = truth(&clip, n);
            let at = |x: usize, y: usize| point(&camera, x as f64, y as f64, f64::from(t.depth[y * W + x]));
            let normal = |i: usize| [0, 1, 2].map(|k| f64::from(t.normals[k * W * H + i]));
            for (y, x) in (1..H - 1).flat_map(|y| (1..W - 1).map(move |x| (y, x))) {
                let i = y * W + x;
                let around = [i - 1, i + 1, i - W, i + W];
                let inverse = |i: usize| 1.0 / f64::from(t.depth[i]);
                // One plane: one normal, and inverse depth even across it.
                let flat = t.depth[i].is_finite()
                    && around.iter().all(|&k| dot(normal(k), normal(i)) > 1.0 - 1e-7 && t.depth[k].is_finite())
                    && [(i - 1, i + 1), (i - W, i + W)]
                        .iter()
                        .all(|&(a, b)| (inverse(a) + inverse(b) - 2.0 * inverse(i)).abs() < 2e-6 * inverse(i));
                if !flat {
                    continue;
                }
                seen += 1;
                let across = minus(at(x + 1, y), at(x - 1, y));
                let down = minus(at(x, y + 1), at(x, y - 1));
                worst = worst.min(dot(unit(cross(down, across)), normal(i)));
            }
        }
        assert!(seen > W * H / 5, "{name}: only {seen} flat pixels");
        assert!(worst > 0.9995, "{name}: {} degrees off", worst.acos().to_degrees());
    }
}

#[test]
fn what_moves_lands_on_itself() {
    for world in World::ALL {
        let (mut seen, mut same) = (0, 0);
        for seed in 0..8 {
            let clip = Clip::new(world, seed, &Options::default());
            for n in FRAMES {
                let (now, next) = (truth(&clip, n), truth(&clip, n + 1));
                for i in 0..W * H {
                    if !moves(world.classes()[usize::from(now.class[i])].name) {
                        continue;
                    }
                    let x = ((i % W) as f32 + now.flow[i] + 0.5) as isize;
                    let y = ((i / W) as f32 + now.flow[W * H + i] + 0.5) as isize;
                    if (0..W as isize).contains(&x) && (0..H as isize).contains(&y) {
                        seen += 1;
                        same += usize::from(next.class[y as usize * W + x as usize] == now.class[i]);
                    }
                }
            }
        }
        let share = same as f64 / seen as f64;
        assert!(seen > 2000, "{world}: {seen} pixels of moving things");
        assert!(share > 0.93, "{world}: {share} of the pixels of moving things land on their class");
    }
}

#[test]
fn pictures_move_as_the_flow_of_moving_things_says() {
    for world in [World::Street, World::Room] {
        // What differs between a frame and the next, followed by true flow and as if nothing moved by itself.
        let (mut by_flow, mut by_camera, mut seen) = (0.0, 0.0, 0);
        for seed in 0..10 {
            let clip = Clip::new(world, seed, &Options { quality: Quality::Training, ..Options::default() });
            for n in [10, 400] {
                let (t, motion) = (truth(&clip, n), Move::of(&clip, n));
                let [mut a, mut b] = [0, 0].map(|_| vec![0u8; W * H * 3]);
                clip.frame(n, &mut a);
                clip.frame(n + 1, &mut b);
                for i in 0..W * H {
                    if !moves(world.classes()[usize::from(t.class[i])].name) {
                        continue;
                    }
                    let (x, y) = (i % W, i / W);
                    let (still, _) = motion.still(x, y, t.depth[i]);
                    let flow = [x as f64 + f64::from(t.flow[i]), y as f64 + f64::from(t.flow[W * H + i])];
                    if length(flow[0] - still[0], flow[1] - still[1]) < 1.0 {
                        continue;
                    }
                    if let (Some(p), Some(q)) = (sample(&b, flow), sample(&b, still)) {
                        let own = [0, 1, 2].map(|k| f64::from(a[i * 3 + k]));
                        let differ = |p: [f64; 3]| (0..3).map(|k| (p[k] - own[k]).abs()).sum::<f64>();
                        by_flow += differ(p);
                        by_camera += differ(q);
                        seen += 1;
                    }
                }
            }
        }
        println!(
            "{world}: {seen} pixels, {} by flow, {} by the camera",
            by_flow / seen as f64,
            by_camera / seen as f64
        );
        assert!(seen > 500, "{world}: {seen} pixels that move by themselves");
        assert!(by_flow < 0.75 * by_camera, "{world}: {by_flow} by true flow, {by_camera} without");
    }
}

/// The colour between pixels, where all four neighbours lie in the picture.
fn sample(rgb: &[u8], [x, y]: [f64; 2]) -> Option<[f64; 3]> {
    if x < 0.0 || y < 0.0 || x >= (W - 1) as f64 || y >= (H - 1) as f64 {
        return None;
    }
    let (c, r) = (x as usize, y as usize);
    let (u, v) = (x - c as f64, y - r as f64);
    Some([0, 1, 2].map(|k| {
        let at = |c: usize, r: usize| f64::from(rgb[(r * W + c) * 3 + k]);
        (at(c, r) * (1.0 - u) + at(c + 1, r) * u) * (1.0 - v) + (at(c, r + 1) * (1.0 - u) + at(c + 1, r + 1) * u) * v
    }))
}

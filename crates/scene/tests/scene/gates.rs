//! The gates of the worlds, over 50 seeds at 256×128: every class is there, things move, and copying an old answer is not
//! enough. Without them results on these clips would mean little.

use crate::metrics::Confusion;
use milad_scene::{Clip, Options, Truth, World};

const SEEDS: u64 = 50;
/// Keyframes looked at in each clip, and frames between them.
const KEYFRAMES: u32 = 6;
const APART: u32 = 83;
/// Pixels a frame below which a pixel does not count as moving.
const STILL: f32 = 0.05;

struct Gates {
    shares: Vec<f64>,
    median_flow: f32,
    copy: [f64; 2],
}

/// Measures a world; two threads, as the test is long.
fn measure(world: World) -> Gates {
    let classes = world.classes().len();
    let halves = [0, 1].map(|half| {
        std::thread::spawn(move || {
            let (mut counts, mut flows) = (vec![0u64; classes], Vec::new());
            let mut copies = [Confusion::new(classes), Confusion::new(classes)];
            let [mut now, mut later] = [Truth::default(), Truth::default()];
            for seed in (half..SEEDS).step_by(2) {
                let clip = Clip::new(world, seed, &Options::default());
                for n in (0..KEYFRAMES).map(|k| k * APART + seed as u32) {
                    clip.truth(n, &mut now);
                    now.class.iter().for_each(|&class| counts[usize::from(class)] += 1);
                    let (dx, dy) = now.flow.split_at(now.class.len());
                    let lengths = dx.iter().zip(dy).map(|(x, y)| (x * x + y * y).sqrt());
                    flows.extend(lengths.filter(|&length| length > STILL).step_by(5));
                    for (copy, age) in copies.iter_mut().zip([5, 10]) {
                        clip.truth(n + age, &mut later);
                        copy.add(&later.class, &now.class);
                    }
                }
            }
            (counts, flows, copies)
        })
    });
    let [a, b] = halves.map(|thread| thread.join().unwrap());
    let total: u64 = a.0.iter().chain(&b.0).sum();
    let shares = a.0.iter().zip(&b.0).map(|(x, y)| 100.0 * (x + y) as f64 / total as f64).collect();
    let mut flows = a.1;
    flows.extend(b.1);
    flows.sort_by(f32::total_cmp);
    let copy = [0, 1].map(|k| a.2[k].with(&b.2[k]).mean_iou());
    Gates { shares, median_flow: flows[flows.len() / 2], copy }
}

fn hold(world: World) {
    let gates = measure(world);
    let named: Vec<String> = world
        .classes()
        .iter()
        .zip(&gates.shares)
        .map(|(class, share)| format!("{} {share:.2} %", class.name))
        .collect();
    let figures = format!(
        "{world}: {}; median flow {:.2} px; copied over 5 frames {:.1} mIoU, over 10 {:.1}",
        named.join(", "),
        gates.median_flow,
        gates.copy[0],
        gates.copy[1]
    );
    println!("{figures}");
    assert!(gates.shares.iter().all(|&share| share >= 0.3), "a class below 0.3 %: {figures}");
    assert!(gates.median_flow >= 1.5, "median flow below 1.5 px a frame: {figures}");
    assert!(gates.copy[0] <= 80.0, "copying over 5 frames above 80 mIoU: {figures}");
    assert!(gates.copy[1] <= 70.0, "copying over 10 frames above 70 mIoU: {figures}");
}

#[test]
fn street_holds_the_gates() {
    hold(World::Street);
}

#[test]
fn street_shifted_holds_the_gates() {
    hold(World::StreetShifted);
}

#[test]
fn room_holds_the_gates() {
    hold(World::Room);
}

#[test]
fn room_shifted_holds_the_gates() {
    hold(World::RoomShifted);
}

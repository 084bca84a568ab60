//! Prints what the scene gates look at, and the renderer's speed: `gates WORLD [SEEDS [FIRST]]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use milad_scene::{Clip, Options, Quality, Truth, World};
use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let world: World = arguments.first().expect("a world").parse().expect("a world");
    let seeds: u64 = arguments.get(1).map_or(50, |s| s.parse().expect("seeds"));
    let first: u64 = arguments.get(2).map_or(0, |s| s.parse().expect("first seed"));
    let classes = world.classes().len();
    let options = Options::default();
    let mut shares = vec![0u64; classes];
    let mut confusion = [vec![0u64; classes * classes], vec![0u64; classes * classes]];
    let mut moving = Vec::new();
    let mut depths = Vec::new();
    for seed in first..first + seeds {
        let clip = Clip::new(world, seed, &options);
        for key in [0, 40] {
            let mut truth = Truth::default();
            clip.truth(key, &mut truth);
            let pixels = truth.class.len();
            for i in 0..pixels {
                shares[truth.class[i] as usize] += 1;
                let (dx, dy) = (truth.flow[i], truth.flow[pixels + i]);
                let length = (dx * dx + dy * dy).sqrt();
                if i % 7 == 0 {
                    if length > 0.25 {
                        moving.push(length);
                    }
                    if truth.depth[i].is_finite() {
                        depths.push(truth.depth[i]);
                    }
                }
            }
            for (later, confusion) in [5, 10].into_iter().zip(&mut confusion) {
                let mut then = Truth::default();
                clip.truth(key + later, &mut then);
                for (&a, &b) in truth.class.iter().zip(&then.class) {
                    confusion[a as usize * classes + b as usize] += 1;
                }
            }
        }
    }
    let total: u64 = shares.iter().sum();
    for (class, share) in world.classes().iter().zip(&shares) {
        println!("{:12} {:6.2} %", class.name, 100.0 * *share as f64 / total as f64);
    }
    moving.sort_by(f32::total_cmp);
    depths.sort_by(f32::total_cmp);
    println!("median flow of moving pixels {:.2}", moving[moving.len() / 2]);
    let at = |share: f64| depths[(depths.len() as f64 * share) as usize];
    println!("depth 5/50/95/99.9 %: {:.1} {:.1} {:.1} {:.1}", at(0.05), at(0.5), at(0.95), at(0.999));
    for (k, confusion) in [5, 10].iter().zip(&confusion) {
        let mut each = Vec::new();
        for c in 0..classes {
            let hit = confusion[c * classes + c] as f64;
            let row: u64 = (0..classes).map(|o| confusion[c * classes + o]).sum();
            let column: u64 = (0..classes).map(|o| confusion[o * classes + c]).sum();
            each.push(100.0 * hit / (row as f64 + column as f64 - hit));
        }
        let each_text: Vec<String> = each.iter().map(|v| format!("{v:.0}")).collect();
        println!("copy over {k}: mIoU {:.1}  ({})", each.iter().sum::<f64>() / classes as f64, each_text.join(" "));
    }
    for quality in [Quality::Training, Quality::Live] {
        let mut rgb = vec![0; options.width * options.height * 3];
        let (mut frames, mut worst) = (0, 0.0f64);
        let start = Instant::now();
        for seed in first..first + seeds.min(20) {
            let clip = Clip::new(world, seed, &Options { quality, ..options });
            for n in 0..3 {
                let one = Instant::now();
                clip.frame(n * 10, &mut rgb);
                worst = worst.max(one.elapsed().as_secs_f64());
                frames += 1;
            }
        }
        let mean = start.elapsed().as_secs_f64() / f64::from(frames);
        println!("{quality:?}: {:.1} ms a frame, worst {:.1} ms", 1e3 * mean, 1e3 * worst);
    }
}

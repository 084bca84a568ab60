//! Writes packed clips for training: `pack WORLD A..B FRAMES OUT [--flow] [--jobs J]` gives `OUT/0000012/*.npy` for every
//! seed A ≤ s < B that is not there yet.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use milad_scene::{Clip, Options, World, write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [world, seeds, frames, out, rest @ ..] = &arguments[..] else {
        eprintln!("usage: pack WORLD A..B FRAMES OUT [--flow] [--jobs J]");
        std::process::exit(2);
    };
    let world: World = world.parse().expect("a world");
    let (first, end) = seeds.split_once("..").expect("seeds as A..B");
    let (first, end): (u64, u64) = (first.parse().expect("A"), end.parse().expect("B"));
    let frames: u32 = frames.parse().expect("a number of frames");
    let flow = rest.iter().any(|a| a == "--flow");
    let jobs = rest.iter().position(|a| a == "--jobs").map_or(1, |i| rest[i + 1].parse().expect("a number of jobs"));
    let next = AtomicU64::new(first);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let place = Path::new(out).join(format!("{seed:07}"));
                    if !place.exists() {
                        let clip = Clip::new(world, seed, &Options::default());
                        write::packed(&clip, frames, flow, &place, |_| ()).expect("written");
                    }
                }
            });
        }
    });
}

//! The networks themselves, those that ship: what they give is used again as soon as nobody reads it any more.

use std::path::Path;

use milad::model::engine::{Image, blank, pixels};
use milad::model::{Bundle, Fast, Limits, Networks, Slow};

use crate::by_this_thread;

fn networks(name: &str) -> Networks {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
    Bundle::load_with(&folder, &Limits::default()).unwrap().into_networks(1).unwrap()
}

fn picture(networks: &Networks) -> Image {
    let mut image = blank(&networks.spec.input).unwrap();
    let fill = |bytes: &mut [u8]| bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = (i * 29 % 251) as u8);
    pixels(&mut image, fill).unwrap();
    Image::from(image)
}

#[test]
fn a_warm_network_allocates_nothing() {
    for name in ["street", "room"] {
        let mut networks = networks(name);
        let image = picture(&networks);
        let mut memory = networks.initial.clone();
        let mut counts = [0; 2];
        // Answers that are still on their way to clients while the next frames are computed.
        let mut published = vec![];
        for frame in 0..60u64 {
            let before = by_this_thread();
            let run = networks.fast.run(&image, &memory, frame * 40_000_000).unwrap();
            if frame >= 30 {
                counts[0] += by_this_thread() - before;
            }
            published.push(run.prediction);
            if published.len() > 2 {
                published.remove(0);
            }
            if frame % 5 == 0 {
                let before = by_this_thread();
                memory = networks.slow.run(&image, run.keys, frame * 40_000_000).unwrap().memory;
                if frame >= 30 {
                    counts[1] += by_this_thread() - before;
                }
            }
        }
        assert_eq!(counts, [0, 0], "{name}: the fast network in 30 frames, the slow one in 6");
    }
}

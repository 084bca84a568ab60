//! Writes one PNG with a column of pictures, classes, depth and normals per seed: `sheet WORLD FIRST COUNT FRAME OUT.png
//! [live]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use milad_scene::{Clip, Options, Quality, Truth, World};

fn main() {
    let a: Vec<String> = std::env::args().skip(1).collect();
    let world: World = a[0].parse().expect("a world");
    let (first, count, frame): (u64, usize, u32) =
        (a[1].parse().unwrap(), a[2].parse().unwrap(), a[3].parse().unwrap());
    let live = a.get(5).is_some_and(|s| s == "live");
    let quality = if live { Quality::Live } else { Quality::Training };
    let options = Options { quality, ..Options::default() };
    let (w, h) = (options.width, options.height);
    let (across, down) = (w * 4, h * count);
    let mut sheet = vec![0u8; across * down * 3];
    for i in 0..count {
        let clip = Clip::new(world, first + i as u64, &options);
        let mut rgb = vec![0; w * h * 3];
        let mut truth = Truth::default();
        clip.frame(frame, &mut rgb);
        clip.truth(frame, &mut truth);
        for y in 0..h {
            for x in 0..w {
                let p = y * w + x;
                let far = truth.depth[p].min(100.0) / 100.0;
                let depth = (255.0 * (1.0 - far.sqrt())) as u8;
                let normal = [0, 1, 2].map(|axis| (127.5 + 127.0 * truth.normals[axis * w * h + p]) as u8);
                let class = world.classes()[truth.class[p] as usize].color;
                let picture = [rgb[3 * p], rgb[3 * p + 1], rgb[3 * p + 2]];
                for (column, colour) in [picture, class, [depth; 3], normal].into_iter().enumerate() {
                    let at = ((i * h + y) * across + column * w + x) * 3;
                    sheet[at..at + 3].copy_from_slice(&colour);
                }
            }
        }
    }
    let file = std::fs::File::create(&a[4]).unwrap();
    let mut encoder = png::Encoder::new(file, across as u32, down as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&sheet).unwrap();
}

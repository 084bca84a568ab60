//! A clip as a file per frame and kind, for people: `000012.rgb.png`, `000012.class.png` (index), `000012.depth.npy`
//! (f16 [H,W] metres, inf for sky), `000012.normals.npy` (f16 [3,H,W]), `000012.flow.npy` (f16 [2,H,W]), `camera.json`.

use super::npy::Npy;
use super::{camera_json, whole};
use crate::clip::Clip;
use crate::frame::Truth;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::Path;

/// Writes frames 0..`frames` of `clip` to the folder `place`; `progress` is called after each.
pub fn clip(clip: &Clip, frames: u32, place: &Path, mut progress: impl FnMut(u32)) -> io::Result<()> {
    let (w, h) = (clip.options().width, clip.options().height);
    let palette: Vec<u8> = clip.world().classes().iter().flat_map(|class| class.color).collect();
    whole(place, |folder| {
        let mut rgb = vec![0; w * h * 3];
        let mut truth = Truth::default();
        for n in 0..frames {
            clip.frame(n, &mut rgb);
            clip.truth(n, &mut truth);
            let path = |kind: &str| folder.join(format!("{n:06}.{kind}"));
            image(&path("rgb.png"), w, h, &rgb, None)?;
            image(&path("class.png"), w, h, &truth.class, Some(&palette))?;
            for (kind, shape, values) in [
                ("depth.npy", &[h, w][..], &truth.depth),
                ("normals.npy", &[3, h, w][..], &truth.normals),
                ("flow.npy", &[2, h, w][..], &truth.flow),
            ] {
                let mut file = Npy::create(&path(kind), "<f2", shape)?;
                file.halves(values)?;
                file.finish()?;
            }
            progress(n);
        }
        fs::write(folder.join("camera.json"), camera_json(clip, frames))
    })
}

/// Writes a PNG: RGB, or indices into a palette.
fn image(path: &Path, w: usize, h: usize, data: &[u8], palette: Option<&[u8]>) -> io::Result<()> {
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), w as u32, h as u32);
    encoder.set_depth(png::BitDepth::Eight);
    match palette {
        Some(palette) => {
            encoder.set_color(png::ColorType::Indexed);
            encoder.set_palette(palette.to_vec());
        }
        None => encoder.set_color(png::ColorType::Rgb),
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(data)?;
    writer.finish()?;
    Ok(())
}

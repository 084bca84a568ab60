//! A clip as a few arrays, for training: `rgb.npy` u8 [N,H,W,3], `class.npy` u8 [N,H,W], `depth.npy` f16 [N,H,W]
//! (metres, inf for sky), `normals.npy` i8 [N,3,H,W] (127ths), `flow.npy` f16 [N,2,H,W] on request, `camera.json`.

use super::npy::Npy;
use super::{camera_json, whole};
use crate::clip::Clip;
use crate::frame::Truth;
use std::fs;
use std::io;
use std::path::Path;

/// Writes frames 0..`frames` of `clip` to the folder `place`; `progress` is called after each.
pub fn packed(
    clip: &Clip,
    frames: u32,
    with_flow: bool,
    place: &Path,
    mut progress: impl FnMut(u32),
) -> io::Result<()> {
    let (w, h, n) = (clip.options().width, clip.options().height, frames as usize);
    whole(place, |folder| {
        let mut rgb_file = Npy::create(&folder.join("rgb.npy"), "|u1", &[n, h, w, 3])?;
        let mut class_file = Npy::create(&folder.join("class.npy"), "|u1", &[n, h, w])?;
        let mut depth_file = Npy::create(&folder.join("depth.npy"), "<f2", &[n, h, w])?;
        let mut normals_file = Npy::create(&folder.join("normals.npy"), "|i1", &[n, 3, h, w])?;
        let mut flow_file = match with_flow {
            true => Some(Npy::create(&folder.join("flow.npy"), "<f2", &[n, 2, h, w])?),
            false => None,
        };
        let mut rgb = vec![0; w * h * 3];
        let mut truth = Truth::default();
        for frame in 0..frames {
            clip.frame(frame, &mut rgb);
            clip.truth(frame, &mut truth);
            rgb_file.bytes(&rgb)?;
            class_file.bytes(&truth.class)?;
            depth_file.halves(&truth.depth)?;
            normals_file.i8_127ths(&truth.normals)?;
            if let Some(file) = &mut flow_file {
                file.halves(&truth.flow)?;
            }
            progress(frame);
        }
        for file in [rgb_file, class_file, depth_file, normals_file].into_iter().chain(flow_file) {
            file.finish()?;
        }
        fs::write(folder.join("camera.json"), camera_json(clip, frames))
    })
}

//! Writes clips to folders: whole or not at all. A clip is written under a temporary name beside its place and renamed
//! when it is complete. Must never leave a half-written clip looking whole.

mod npy;
mod packed;
mod readable;

pub use packed::packed;
pub use readable::clip;

use crate::clip::Clip;
use crate::frame::Pose;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Writes into a temporary folder beside `place`, then puts it there in one step. What is there already stays: only an
/// empty folder is replaced.
fn whole(place: &Path, fill: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    refuse_to_replace(place)?;
    let parent = place.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let name = place.file_name().and_then(|n| n.to_str()).unwrap_or("clip");
    let temporary: PathBuf = parent.join(format!(".{name}.part-{}", std::process::id()));
    if temporary.exists() {
        // Left by a process that was killed and had this one's number.
        fs::remove_dir_all(&temporary)?;
    }
    fs::create_dir(&temporary)?;
    let done = fill(&temporary).and_then(|()| {
        refuse_to_replace(place)?;
        fs::rename(&temporary, place)
    });
    if done.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_dir_all(&temporary);
    }
    done
}

fn refuse_to_replace(place: &Path) -> io::Result<()> {
    let taken = match fs::read_dir(place) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if taken {
        let text = "expected a new or an empty folder, found files; remove it or give another folder";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    Ok(())
}

/// `camera.json`: what was rendered, intrinsics in pixels, and every frame's pose (camera to world, 3×4).
fn camera_json(clip: &Clip, frames: u32) -> String {
    let camera = clip.camera();
    let options = clip.options();
    let mut text = format!(
        "{{\"world\":\"{}\",\"seed\":{},\"frames\":{frames},\"width\":{},\"height\":{},\"quality\":\"{}\",\"cuts\":{},\
         \"frame_interval_s\":{},\"intrinsics\":[{:?},{:?},{:?},{:?}],\"classes\":[",
        clip.world(),
        clip.seed(),
        options.width,
        options.height,
        options.quality.name(),
        options.cuts,
        1.0 / crate::FRAMES_PER_SECOND,
        camera.fx,
        camera.fy,
        camera.cx,
        camera.cy
    );
    for (i, class) in clip.world().classes().iter().enumerate() {
        let [r, g, b] = class.color;
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{{\"name\":\"{}\",\"color\":\"#{r:02x}{g:02x}{b:02x}\"}}", class.name);
    }
    text.push_str("],\"poses\":[");
    for n in 0..frames {
        let Pose(rows) = clip.pose(n);
        let comma = if n == 0 { "" } else { "," };
        let _ = write!(text, "{comma}\n {rows:?}");
    }
    text.push_str("]}\n");
    text
}

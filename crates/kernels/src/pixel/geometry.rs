//! Which part of the camera's picture lands on which part of the network's input.

use super::Resize;
use super::prepare::Target;

/// The pixels of the output that show the picture, and the pixels of the picture that they show.
///
/// Everything here is in the camera's own orientation: quarter turns and flips happen when rows are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Geometry {
    /// The user's crop, in camera pixels: nothing outside of it is read. Left, top, right, bottom.
    pub crop: [usize; 4],
    /// What the shown pixels cover, in camera pixels: left, top, width, height.
    pub seen: [f64; 4],
    /// How many columns and rows the resize makes of `seen`, before turning.
    pub made: [usize; 2],
    /// Where the turned picture lies in the output: left, top, width, height. The rest is filled.
    pub placed: [usize; 4],
}

/// Lays a `width × height` picture out on `target`. The target is checked already.
pub(super) fn lay_out(width: usize, height: usize, target: &Target) -> Geometry {
    let [left, top, crop_width, crop_height] = target.crop.unwrap_or([0, 0, width, height]);
    let turned = target.rotate % 2 == 1;
    // The output as the camera would see it.
    let (out_width, out_height) = if turned { (target.height, target.width) } else { (target.width, target.height) };
    let (from_x, from_y) = (crop_width as f64, crop_height as f64);
    let (to_x, to_y) = (out_width as f64, out_height as f64);
    let mut seen = [left as f64, top as f64, from_x, from_y];
    let mut made = [out_width, out_height];
    match target.resize {
        Resize::Stretch => {}
        Resize::Crop => {
            let scale = (to_x / from_x).max(to_y / from_y);
            let (seen_x, seen_y) = ((to_x / scale).min(from_x), (to_y / scale).min(from_y));
            seen = [seen[0] + (from_x - seen_x) / 2.0, seen[1] + (from_y - seen_y) / 2.0, seen_x, seen_y];
        }
        Resize::Letterbox => {
            let scale = (to_x / from_x).min(to_y / from_y);
            let fit = |from: f64, out: usize| ((from * scale).round() as usize).clamp(1, out);
            made = [fit(from_x, out_width), fit(from_y, out_height)];
        }
    }
    let (shown_width, shown_height) = if turned { (made[1], made[0]) } else { (made[0], made[1]) };
    let placed = [(target.width - shown_width) / 2, (target.height - shown_height) / 2, shown_width, shown_height];
    Geometry { crop: [left, top, left + crop_width, top + crop_height], seen, made, placed }
}

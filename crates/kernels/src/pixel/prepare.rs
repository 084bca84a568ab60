//! Raw camera pixels → RGB of a network's size, in one pass over the picture. What the network makes of bytes is its own matter.
//!
//! **What is computed.** The user's crop is cut out; each component (Y, Cb, Cr, or R, G, B) is resized from its own grid
//! straight to the output's (anti-aliased triangle filter, half-pixel centres); the matrix and the range make RGB of it;
//! RGB is **clamped after the resize**, and rounded to bytes. Conversion is affine, so resizing the components
//! first is the same as converting every pixel first and clamping only at the end; it differs from clamping every camera
//! pixel where codes lie outside the RGB cube, whose excess is then averaged like any other light.
//!
//! **Chroma siting.** Chroma samples lie in the centre of the 2 or 4 pixels that share them, horizontally and
//! vertically, as V4L2 draws its formats, JPEG (JFIF) and Y4M's `C420jpeg` prescribe. MPEG-2's horizontally co-sited
//! chroma is read the same way: half a luma pixel off at most. Odd sizes have one more chroma sample, half outside.
//!
//! **Numbers.** Vertical weights are whole parts of 4096 (of fewer where a picture shrinks to less than an eighth), horizontal ones of 16,384, and add up
//! to these exactly; between the steps a sample has 7 bits behind the point; RGB is rounded to bytes at the end. So a flat picture stays flat, full-range RGB
//! of the network's size, not cropped, comes out as it went in, and every CPU gives the same bytes.
//!
//! **Order.** Crop (in camera pixels), quarter turns clockwise, flips, resize. All are folded into the taps and into
//! where a row is written.
//!
//! Nothing here allocates after [`Preparer::new`], and nothing panics, whatever a [`Picture`] claims.

use super::convert::Affine;
use super::geometry::{Geometry, lay_out};
use super::horizontal::Horizontal;
#[cfg(target_arch = "x86_64")]
use super::packed::Packed;
use super::rows::{self, Whole};
use super::taps::{Taps, Window};
use super::vertical::Vertical;
use super::{Colour, Picture, PixelFormat, Resize, plane_sizes};
use crate::cpu::Isa;
use crate::int8::Kernel;

/// The most pixels a side, of a camera's picture and of a network's input.
pub const MAX_SIDE: usize = 16_384;

/// What a picture is to become.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Pixels a row of the network's input.
    pub width: usize,
    /// Rows of the network's input.
    pub height: usize,
    /// R, G, B where a letterboxed picture does not reach.
    pub fill: [u8; 3],
    /// How a picture of another shape is fitted.
    pub resize: Resize,
    /// The only part of the picture to look at: left, top, width, height in camera pixels.
    pub crop: Option<[usize; 4]>,
    /// Mirror left and right, after turning.
    pub flip_horizontal: bool,
    /// Mirror top and bottom, after turning.
    pub flip_vertical: bool,
    /// Quarter turns clockwise, 0 to 3.
    pub rotate: u8,
}

/// Where one component of a pixel lies in a blended row, and how it is resized horizontally.
#[derive(Debug, Clone)]
struct Component {
    plane: usize,
    /// Its first sample within the used part of the row, and samples from one to the next.
    offset: usize,
    step: usize,
    horizontal: Horizontal,
    /// Its samples alone, with room for what is read in vectors behind them.
    samples: Vec<i16>,
    /// The resized row.
    row: Vec<i16>,
}

/// One plane of the format and its vertical resize.
#[derive(Debug, Clone)]
struct Plane {
    vertical: Vertical,
    /// The bytes of a row in use: the first, and how many.
    first: usize,
    used: usize,
    /// These, blended, with room for what is read in vectors behind them.
    blended: Vec<i16>,
}

/// Prepares pictures of one format and size for one network; holds all tables and scratch rows.
#[derive(Debug, Clone)]
pub struct Preparer {
    format: PixelFormat,
    width: usize,
    height: usize,
    target: Target,
    geometry: Geometry,
    colour: Colour,
    whole: Whole,
    planes: Vec<Plane>,
    components: Vec<Component>,
    /// All of them at once, where that can be.
    #[cfg(target_arch = "x86_64")]
    packed: Option<Packed>,
    /// A finished row on its way to a column of the output.
    turned: Vec<u8>,
    kernel: Kernel,
}

impl Preparer {
    /// For `width × height` pictures of `format` and `colour`.
    pub fn new(
        format: PixelFormat,
        colour: Colour,
        width: usize,
        height: usize,
        target: &Target,
    ) -> Result<Preparer, String> {
        Preparer::with_isa(Isa::selected(), format, colour, width, height, target)
    }

    /// [`Preparer::new`] for an instruction set of the caller's choice.
    pub fn with_isa(
        isa: Isa,
        format: PixelFormat,
        colour: Colour,
        width: usize,
        height: usize,
        target: &Target,
    ) -> Result<Preparer, String> {
        check(width, height, target)?;
        let geometry = lay_out(width, height, target);
        // A half turn is both flips; a flip of the output is a flip of the other axis in the camera's orientation after a
        // quarter turn. Turned clockwise, camera rows become columns from the right.
        let quarter = target.rotate % 2 == 1;
        let (mirrored, upside_down) = if quarter {
            (target.flip_vertical ^ (target.rotate == 3), target.flip_horizontal ^ (target.rotate == 1))
        } else {
            (target.flip_horizontal ^ (target.rotate == 2), target.flip_vertical ^ (target.rotate == 2))
        };
        let axis = |axis: usize, subsampled: bool, reversed: bool| {
            let (count, low, high) = (geometry.made[axis], geometry.crop[axis], geometry.crop[axis + 2]);
            let (origin, span) = (geometry.seen[axis], geometry.seen[axis + 2]);
            let window = if subsampled {
                Window { origin: origin / 2.0, span: span / 2.0, first: low / 2, end: high.div_ceil(2) }
            } else {
                Window { origin, span, first: low, end: high }
            };
            Taps::new(window, count, reversed)
        };
        let layout = layout(format);
        let kernel = Kernel::of(isa);
        let parts: Vec<(&Part, Taps)> = layout.iter().map(|part| (part, axis(0, part.half_width, mirrored))).collect();
        let mut planes = Vec::new();
        for plane in 0..plane_sizes(format, width, height).1 {
            let half_height = layout.iter().any(|part| part.plane == plane && part.half_height);
            let ends = parts.iter().filter(|(part, ..)| part.plane == plane).map(|(part, taps)| {
                let (first, end) = taps.used();
                (part.offset + first * part.step, part.offset + (end - 1) * part.step + 1)
            });
            let (first, end) = ends.fold((usize::MAX, 0), |(low, high), (first, end)| (low.min(first), high.max(end)));
            let used = end.saturating_sub(first);
            let vertical = Vertical::new(&axis(1, half_height, upside_down), used);
            planes.push(Plane { vertical, first, used, blended: vec![0; used] });
        }
        #[cfg(target_arch = "x86_64")]
        let packed = if format == PixelFormat::Rgb24 { Packed::new(&relative(&parts[0].1), kernel) } else { None };
        #[cfg(target_arch = "x86_64")]
        if let (Some(packed), Some(plane)) = (&packed, planes.first_mut()) {
            plane.blended.resize(packed.reads(), 0);
        }
        let components: Vec<Component> = parts
            .into_iter()
            .map(|(part, taps)| {
                let offset = part.offset + taps.used().0 * part.step - planes[part.plane].first;
                let horizontal = Horizontal::new(&relative(&taps), kernel);
                let (samples, row) = (vec![0; horizontal.reads()], vec![0; Horizontal::room(geometry.made[0])]);
                Component { plane: part.plane, offset, step: part.step, horizontal, samples, row }
            })
            .collect();
        let turned = if quarter { vec![0; 4 * geometry.made[0]] } else { Vec::new() };
        Ok(Preparer {
            format,
            width,
            height,
            target: target.clone(),
            geometry,
            colour,
            whole: Whole::new(&Affine::new(format, colour)),
            planes,
            components,
            #[cfg(target_arch = "x86_64")]
            packed,
            turned,
            kernel,
        })
    }

    /// Fills `out`, `[height, width, 4]`, RGBX with X zero. The picture's own colour counts, should it differ from that given before.
    ///
    /// Fails, without touching `out`, when the picture is not of the format and size that this was made for, a plane is
    /// too short for it, or `out` has another length.
    pub fn run(&mut self, picture: &Picture, out: &mut [u8]) -> Result<(), Mismatch> {
        if (picture.format, picture.width, picture.height) != (self.format, self.width, self.height) {
            return Err(Mismatch::Picture);
        }
        let (sizes, count) = plane_sizes(self.format, self.width, self.height);
        for (plane, &(row, rows)) in sizes.iter().enumerate().take(count) {
            let stride = picture.strides[plane];
            let needed = stride.checked_mul(rows - 1).and_then(|start| start.checked_add(row));
            if stride < row || needed.is_none_or(|needed| picture.planes[plane].len() < needed) {
                return Err(Mismatch::Plane(plane));
            }
        }
        if out.len() != 4 * self.target.width * self.target.height {
            return Err(Mismatch::Output);
        }
        if picture.colour != self.colour {
            self.colour = picture.colour;
            self.whole = Whole::new(&Affine::new(self.format, self.colour));
        }
        self.fill_around(out);
        let kernel = self.kernel;
        for y in 0..self.geometry.made[1] {
            for (i, plane) in self.planes.iter_mut().enumerate() {
                let bytes = &picture.planes[i][plane.first..];
                plane.vertical.run(kernel, y, bytes, picture.strides[i], &mut plane.blended[..plane.used]);
            }
            self.write_row(y, out);
        }
        Ok(())
    }

    /// Makes the blended row `y` a row of pixels and writes it where it belongs: a row of `out`, or a column after a quarter turn.
    fn write_row(&mut self, y: usize, out: &mut [u8]) {
        let (width, made) = (self.target.width, self.geometry.made[0]);
        let [left, top, ..] = self.geometry.placed;
        if self.turned.is_empty() {
            self.make_row(&mut out[4 * ((top + y) * width + left)..][..4 * made]);
        } else {
            let mut turned = std::mem::take(&mut self.turned);
            self.make_row(&mut turned);
            self.turned = turned;
            let (out, turned) = (out.as_chunks_mut::<4>().0, self.turned.as_chunks::<4>().0);
            let column = out[top * width + left + y..].iter_mut().step_by(width);
            column.zip(turned).for_each(|(out, pixel)| *out = *pixel);
        }
    }

    /// The blended row, resized and converted.
    fn make_row(&mut self, out: &mut [u8]) {
        #[cfg(target_arch = "x86_64")]
        if let (Some(packed), [plane]) = (&mut self.packed, self.planes.as_slice())
            && self.whole.only_rounds()
        {
            return packed.run(&plane.blended, out);
        }
        let made = self.geometry.made[0];
        for component in &mut self.components {
            let plane = &self.planes[component.plane];
            let blended = plane.blended[..plane.used].get(component.offset..).unwrap_or(&[]);
            let used = component.horizontal.used().min(component.samples.len());
            rows::component(self.kernel, blended, component.step, &mut component.samples[..used]);
            component.horizontal.run(&component.samples, &mut component.row);
        }
        let components = match self.components.as_slice() {
            [first, second, third] => [&first.row[..made], &second.row[..made], &third.row[..made]],
            // Grey: its matrix has zeros for the other two.
            [first, ..] => [&first.row[..made]; 3],
            [] => return,
        };
        rows::colour(self.kernel, components, &self.whole, out);
    }

    /// Plain colour where a letterboxed picture does not reach.
    fn fill_around(&self, out: &mut [u8]) {
        let [left, top, shown_width, shown_height] = self.geometry.placed;
        let (width, height) = (self.target.width, self.target.height);
        if (shown_width, shown_height) == (width, height) {
            return;
        }
        let [red, green, blue] = self.target.fill;
        let pixel = [red, green, blue, 0];
        for (y, row) in out.as_chunks_mut::<4>().0.chunks_exact_mut(width).enumerate() {
            if y < top || y >= top + shown_height {
                row.fill(pixel);
            } else {
                row[..left].fill(pixel);
                row[left + shown_width..].fill(pixel);
            }
        }
    }
}

/// Why a picture was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// Another format or size than the [`Preparer`] was made for.
    Picture,
    /// A plane (by its index) is shorter than its stride and rows say, or its stride shorter than a row.
    Plane(usize),
    /// The output's length is not 4·width·height.
    Output,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mismatch::Picture => f.write_str("the picture has another format or size than was negotiated"),
            Mismatch::Plane(plane) => write!(f, "plane {plane} of the picture is shorter than its rows need"),
            Mismatch::Output => f.write_str("the network's input has another size than was prepared for"),
        }
    }
}

impl std::error::Error for Mismatch {}

/// Counted from the first sample in use.
fn relative(taps: &Taps) -> Taps {
    let (first, _) = taps.used();
    let starts = taps.starts.iter().map(|start| start - first).collect();
    Taps { size: taps.size, starts, weights: taps.weights.clone() }
}

/// One component of a format.
struct Part {
    plane: usize,
    step: usize,
    offset: usize,
    half_width: bool,
    half_height: bool,
}

/// The components of a format in the order that [`Affine`] takes them.
fn layout(format: PixelFormat) -> Vec<Part> {
    let part = |plane, step, offset, half_width, half_height| Part { plane, step, offset, half_width, half_height };
    match format {
        PixelFormat::Yuyv => vec![part(0, 2, 0, false, false), part(0, 4, 1, true, false), part(0, 4, 3, true, false)],
        PixelFormat::Uyvy => vec![part(0, 2, 1, false, false), part(0, 4, 0, true, false), part(0, 4, 2, true, false)],
        PixelFormat::Nv12 => vec![part(0, 1, 0, false, false), part(1, 2, 0, true, true), part(1, 2, 1, true, true)],
        PixelFormat::Yu12 => vec![part(0, 1, 0, false, false), part(1, 1, 0, true, true), part(2, 1, 0, true, true)],
        PixelFormat::Yu16 => vec![part(0, 1, 0, false, false), part(1, 1, 0, true, false), part(2, 1, 0, true, false)],
        PixelFormat::Yu24 => (0..3).map(|plane| part(plane, 1, 0, false, false)).collect(),
        PixelFormat::Ycc | PixelFormat::Rgb24 => (0..3).map(|offset| part(0, 3, offset, false, false)).collect(),
        PixelFormat::Grey => vec![part(0, 1, 0, false, false)],
    }
}

fn check(width: usize, height: usize, target: &Target) -> Result<(), String> {
    let sides =
        [("picture", width), ("picture", height), ("network input", target.width), ("network input", target.height)];
    for (what, side) in sides {
        if side == 0 || side > MAX_SIDE {
            return Err(format!("a {what} of {side} pixels a side: expected 1 to {MAX_SIDE}"));
        }
    }
    if let Some([left, top, crop_width, crop_height]) = target.crop {
        let inside =
            |from: usize, len: usize, side: usize| len > 0 && from.checked_add(len).is_some_and(|end| end <= side);
        if !inside(left, crop_width, width) || !inside(top, crop_height, height) {
            return Err(format!(
                "crop {crop_width}×{crop_height} at {left},{top} does not lie inside the camera's {width}×{height} picture"
            ));
        }
    }
    if target.rotate > 3 {
        return Err(format!("rotation by {} quarter turns: expected 0 to 3", target.rotate));
    }
    Ok(())
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;

//! Filled rectangles in any raw pixel format: all that the test card is made of.

use milad_kernels::pixel::{Colour, Matrix, PixelFormat, Range, plane_sizes};

/// Where the planes of a picture lie in one buffer, and what its codes mean.
#[derive(Debug, Clone)]
pub struct Canvas {
    format: PixelFormat,
    colour: Colour,
    pub width: usize,
    pub height: usize,
    /// First byte, row length and rows, by plane.
    planes: [(usize, usize, usize); 3],
}

impl Canvas {
    pub fn new(format: PixelFormat, colour: Colour, width: usize, height: usize) -> Canvas {
        let mut first = 0;
        let planes = plane_sizes(format, width, height).0.map(|(row, rows)| {
            let plane = (first, row, rows);
            first += row * rows;
            plane
        });
        Canvas { format, colour, width, height, planes }
    }

    /// Bytes of a picture.
    pub fn bytes(&self) -> usize {
        self.planes.iter().map(|(_, row, rows)| row * rows).sum()
    }

    /// Fills `[left, top, width, height]`, cut off at the picture's edges. `rgb` is full-range; a chroma sample belongs to
    /// the rectangle that holds its first pixel.
    pub fn fill(&self, out: &mut [u8], [left, top, width, height]: [usize; 4], rgb: [u8; 3]) {
        let (right, bottom) = ((left + width).min(self.width), (top + height).min(self.height));
        let (left, top) = (left.min(right), top.min(bottom));
        let [first, second, third] = self.codes(rgb);
        let half = |from: usize, to: usize| (from.div_ceil(2), to.div_ceil(2));
        let (half_left, half_right) = half(left, right);
        let (half_top, half_bottom) = half(top, bottom);
        let full = (left, right, top, bottom);
        let wide = (half_left, half_right, top, bottom);
        let quarter = (half_left, half_right, half_top, half_bottom);
        let mut put = |plane, step, offset, area, code| self.put(out, plane, (step, offset), area, code);
        match self.format {
            PixelFormat::Yuyv | PixelFormat::Uyvy => {
                let luma = usize::from(self.format == PixelFormat::Uyvy);
                put(0, 2, luma, full, first);
                put(0, 4, 1 - luma, wide, second);
                put(0, 4, 3 - luma, wide, third);
            }
            PixelFormat::Nv12 => {
                put(0, 1, 0, full, first);
                put(1, 2, 0, quarter, second);
                put(1, 2, 1, quarter, third);
            }
            PixelFormat::Yu12 | PixelFormat::Yu16 | PixelFormat::Yu24 => {
                let chroma = match self.format {
                    PixelFormat::Yu12 => quarter,
                    PixelFormat::Yu16 => wide,
                    _ => full,
                };
                put(0, 1, 0, full, first);
                put(1, 1, 0, chroma, second);
                put(2, 1, 0, chroma, third);
            }
            PixelFormat::Ycc | PixelFormat::Rgb24 => {
                put(0, 3, 0, full, first);
                put(0, 3, 1, full, second);
                put(0, 3, 2, full, third);
            }
            PixelFormat::Grey => put(0, 1, 0, full, first),
        }
    }

    /// Writes `code` at every sample of a component within `area` (left, right, top, bottom, in its own samples).
    fn put(
        &self,
        out: &mut [u8],
        plane: usize,
        (step, offset): (usize, usize),
        (left, right, top, bottom): (usize, usize, usize, usize),
        code: u8,
    ) {
        let (first, row, rows) = self.planes[plane];
        let Some(bytes) = out.get_mut(first..first + row * rows) else { return };
        for line in bytes.chunks_exact_mut(row).take(bottom).skip(top) {
            let end = (right * step).min(line.len());
            let Some(line) = line.get_mut((left * step).min(end)..end) else { continue };
            if step == 1 {
                line.fill(code);
            } else {
                line.iter_mut().skip(offset).step_by(step).for_each(|byte| *byte = code);
            }
        }
    }

    /// The codes of a colour: Y, Cb, Cr or R, G, B, or grey.
    fn codes(&self, rgb: [u8; 3]) -> [u8; 3] {
        let [r, g, b] = rgb.map(|v| f32::from(v) / 255.0);
        let (kr, kb) = match self.colour.matrix {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
            Matrix::Bt2020 => (0.2627, 0.0593),
        };
        let luma = kr * r + (1.0 - kr - kb) * g + kb * b;
        let (black, span, swing) = match self.colour.range {
            Range::Limited => (16.0, 219.0, 224.0),
            Range::Full => (0.0, 255.0, 255.0),
        };
        // `as` saturates: the purest blue and red have no code of their own in the full range.
        let light = |v: f32| (black + span * v).round() as u8;
        let chroma = |v: f32| (128.0 + swing * v).round() as u8;
        match self.format {
            PixelFormat::Rgb24 => [light(r), light(g), light(b)],
            PixelFormat::Grey => [light(luma); 3],
            _ => [light(luma), chroma((b - luma) / (2.0 - 2.0 * kb)), chroma((r - luma) / (2.0 - 2.0 * kr))],
        }
    }
}

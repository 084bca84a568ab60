//! Where the integer part begins and ends: f32 `[channels, height, width]` or an image ↔ codes, with the change of layout.

use super::layout::CHANNEL_STEP;
use super::quantisation::code;
use super::versions::versions;
use super::{Error, Kernel, Layout, Plane, PlaneMut, Quantisation};

/// QuantizeLinear of f32 `[channels, height, width]`: `saturate(round_half_even(x / scale) + zero_point)`. Writes the rows of `output`.
pub fn quantise(kernel: Kernel, quantisation: Quantisation, input: &[f32], output: &mut PlaneMut) -> Result<(), Error> {
    quantisation.check("scale")?;
    let layout = *output.layout();
    elements(&layout, input.len())?;
    let (width, channels) = (layout.width(), layout.channels());
    let plane = layout.height() * width;
    for row in output.rows() {
        let target = output.row_mut(row);
        for first in (0..channels).step_by(CHANNEL_STEP) {
            // What fills up four channels may hold anything: here the last channel again.
            let values = [0, 1, 2, 3].map(|more| {
                let channel = (first + more).min(channels - 1);
                &input[channel * plane + row * width..][..width]
            });
            quantise_four(kernel, &mut target[first..], layout.pixel_stride(), values, quantisation);
        }
    }
    Ok(())
}

/// Pixels that are computed before they go to their places.
const PIXELS: usize = 64;

versions! {
    /// Four channels of a row: vectors of pixels, one word of four codes each.
    fn quantise_four(target: &mut [u8], stride: usize, values: [&[f32]; 4], quantisation: Quantisation) {
        let Quantisation { scale, zero_point } = quantisation;
        let mut words = [0u32; PIXELS];
        for start in (0..values[0].len()).step_by(PIXELS) {
            let [a, b, c, d] = values.map(|values| &values[start..values.len().min(start + PIXELS)]);
            for ((((word, &a), &b), &c), &d) in words.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                let [a, b, c, d] = [a, b, c, d].map(|x| u32::from(code(x / scale, zero_point)));
                *word = a | b << 8 | c << 16 | d << 24;
            }
            let words = &words[..a.len()];
            let target = &mut target[start * stride..];
            if stride == CHANNEL_STEP {
                // A picture: its words lie one after the other, but for what the last pixel lacks.
                let (pixels, rest) = target.as_chunks_mut::<CHANNEL_STEP>();
                let last = words.get(pixels.len()).copied().unwrap_or(0).to_le_bytes();
                pixels.iter_mut().zip(words).for_each(|(pixel, word)| *pixel = word.to_le_bytes());
                if words.len() > pixels.len() {
                    rest.iter_mut().zip(last).for_each(|(code, byte)| *code = byte);
                }
                continue;
            }
            for (pixel, word) in target.chunks_mut(stride).zip(words) {
                let bytes = word.to_le_bytes();
                match pixel.first_chunk_mut::<4>() {
                    Some(pixel) => *pixel = bytes,
                    None => pixel.iter_mut().zip(bytes).for_each(|(code, byte)| *code = byte),
                }
            }
        }
    }
}

/// DequantizeLinear to f32 `[channels, height, width]`: `(code − zero_point) · scale`.
pub fn dequantise(kernel: Kernel, quantisation: Quantisation, input: Plane, output: &mut [f32]) -> Result<(), Error> {
    quantisation.check("scale")?;
    let layout = *input.layout();
    elements(&layout, output.len())?;
    let (width, plane) = (layout.width(), layout.height() * layout.width());
    for (group, four) in output.chunks_mut(CHANNEL_STEP * plane).enumerate() {
        for row in 0..layout.height() {
            let mut planes = four.chunks_exact_mut(plane);
            // Fewer than four channels are left at the end.
            let mut next = || planes.next().map_or(&mut [][..], |plane| &mut plane[row * width..][..width]);
            let values = [next(), next(), next(), next()];
            let codes = &input.row(row)[CHANNEL_STEP * group..];
            dequantise_four(kernel, codes, layout.pixel_stride(), values, quantisation);
        }
    }
    Ok(())
}

versions! {
    /// Four channels of a row, or as many as `values` has: one word of four codes a pixel, then vectors of pixels.
    fn dequantise_four(codes: &[u8], stride: usize, values: [&mut [f32]; 4], quantisation: Quantisation) {
        let (zero, scale) = (i32::from(quantisation.zero_point), quantisation.scale);
        let width = values[0].len();
        let mut values = values;
        let mut words = [0u32; PIXELS];
        for start in (0..width).step_by(PIXELS) {
            let count = PIXELS.min(width - start);
            for (word, pixel) in words[..count].iter_mut().zip(codes[start * stride..].chunks(stride)) {
                *word = match pixel.first_chunk() {
                    Some(&bytes) => u32::from_le_bytes(bytes),
                    // The last pixel's last channels: there are no more than this.
                    None => pixel.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte)),
                };
            }
            for (channel, values) in values.iter_mut().enumerate() {
                let end = (start + count).min(values.len());
                let values = values.get_mut(start..end).unwrap_or_default();
                for (y, word) in values.iter_mut().zip(&words) {
                    *y = ((word >> (8 * channel) & 255) as i32 - zero) as f32 * scale;
                }
            }
        }
    }
}

fn elements(layout: &Layout, found: usize) -> Result<(), Error> {
    let expected = layout.height() * layout.width() * layout.channels();
    if found == expected {
        return Ok(());
    }
    Err(Error::Shape(format!("expected {expected} real numbers for {layout:?}, found {found}")))
}

/// An RGB image straight into the first layer's input: for each colour a table of 256, which holds mean, standard deviation and
/// QuantizeLinear at once.
#[derive(Clone)]
pub struct ImageTable {
    tables: Box<[[u8; 256]; 3]>,
}

impl std::fmt::Debug for ImageTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ImageTable")
    }
}

impl ImageTable {
    /// `value(colour, byte)` is the real number that the network's input has for a byte of the image.
    pub fn new(quantisation: Quantisation, value: impl Fn(usize, u8) -> f32) -> Result<ImageTable, Error> {
        quantisation.check("scale of the image")?;
        let mut tables = Box::new([[0; 256]; 3]);
        for (colour, table) in tables.iter_mut().enumerate() {
            for (byte, to) in table.iter_mut().enumerate() {
                *to = quantisation.quantise(value(colour, byte as u8));
            }
        }
        Ok(ImageTable { tables })
    }

    /// `image` is `[height, width, 3]` of the size of `output`, which has 3 channels; writes the rows of `output`.
    pub fn run(&self, image: &[u8], output: &mut PlaneMut) -> Result<(), Error> {
        let layout = *output.layout();
        if layout.channels() != 3 || image.len() != layout.height() * layout.width() * 3 {
            return Err(Error::Shape(format!(
                "image of {} bytes: expected one with 3 channels for {layout:?}",
                image.len()
            )));
        }
        let [red, green, blue] = &*self.tables;
        let stride = layout.pixel_stride();
        for row in output.rows() {
            let pixels = image[row * layout.width() * 3..].chunks_exact(3);
            for (y, x) in output.row_mut(row).chunks_mut(stride).zip(pixels) {
                if let ([r, g, b, ..], &[from_r, from_g, from_b]) = (y, x) {
                    *r = red[usize::from(from_r)];
                    *g = green[usize::from(from_g)];
                    *b = blue[usize::from(from_b)];
                }
            }
        }
        Ok(())
    }
}

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
    for piece in pieces(output.rows(), width) {
        for channel in (0..channels).step_by(CHANNEL_STEP) {
            // What fills up four channels may hold anything: here the last channel again.
            let values = [0, 1, 2, 3].map(|more| {
                let channel = (channel + more).min(channels - 1);
                &input[channel * plane..][piece.numbers(width)]
            });
            let mut words = [0; PIXELS];
            quantise_four(kernel, &mut words, values, quantisation);
            piece.scatter(output, channel, &words);
        }
    }
    Ok(())
}

/// Pixels that are computed before they go to their places.
const PIXELS: usize = 64;

/// Pixels that are computed at once: some whole rows, or a piece of one.
#[derive(Debug, Clone, Copy)]
struct Piece {
    row: usize,
    rows: usize,
    start: usize,
    /// Of each row.
    length: usize,
}

/// All pixels of these rows.
fn pieces(rows: std::ops::Range<usize>, width: usize) -> impl Iterator<Item = Piece> {
    let (at_once, length) = ((PIXELS / width).max(1), width.min(PIXELS));
    rows.clone().step_by(at_once).flat_map(move |row| {
        let rows = at_once.min(rows.end - row);
        let piece = move |start: usize| Piece { row, rows, start, length: length.min(width - start) };
        (0..width).step_by(length).map(piece)
    })
}

impl Piece {
    /// Where its numbers are in a plane of that width.
    fn numbers(self, width: usize) -> std::ops::Range<usize> {
        let first = self.row * width + self.start;
        first..first + (self.rows - 1) * width + self.length
    }

    /// Puts a word of four codes a pixel in its place, from a channel on.
    fn scatter(self, output: &mut PlaneMut, channel: usize, words: &[u32]) {
        let stride = output.layout().pixel_stride();
        for (row, words) in words.chunks(self.length).take(self.rows).enumerate() {
            scatter(&mut output.row_mut(self.row + row)[self.start * stride + channel..], stride, words);
        }
    }
}

versions! {
    /// Four channels: vectors of pixels, one word of four codes each.
    fn quantise_four(words: &mut [u32; PIXELS], values: [&[f32]; 4], quantisation: Quantisation) {
        let Quantisation { scale, zero_point } = quantisation;
        let [a, b, c, d] = values;
        for ((((word, &a), &b), &c), &d) in words.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            let [a, b, c, d] = [a, b, c, d].map(|x| u32::from(code(x / scale, zero_point)));
            *word = a | b << 8 | c << 16 | d << 24;
        }
    }
}

/// A word of four codes for each pixel, the first at `target`'s start; the last pixel may lack some.
#[inline(always)]
fn scatter(target: &mut [u8], stride: usize, words: &[u32]) {
    if stride == CHANNEL_STEP {
        // A picture: its words lie one after the other.
        let (pixels, rest) = target.as_chunks_mut::<CHANNEL_STEP>();
        let last = words.get(pixels.len()).copied();
        pixels.iter_mut().zip(words).for_each(|(pixel, word)| *pixel = word.to_le_bytes());
        rest.iter_mut().zip(last.map(u32::to_le_bytes).into_iter().flatten()).for_each(|(code, byte)| *code = byte);
        return;
    }
    for (pixel, word) in target.chunks_mut(stride).zip(words) {
        let bytes = word.to_le_bytes();
        match pixel.first_chunk_mut::<4>() {
            Some(pixel) => *pixel = bytes,
            None => pixel.iter_mut().zip(bytes).for_each(|(code, byte)| *code = byte),
        }
    }
}

/// A mixture of a few real planes that becomes codes at once: a 1×1 convolution in float before a QuantizeLinear.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    inputs: usize,
    /// `[output channel][input]`
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Mix {
    /// Planes that it can mix.
    pub const MOST_INPUTS: usize = 8;

    /// `weights` are `[bias.len()][inputs]`, all finite; at most [`Mix::MOST_INPUTS`] inputs.
    pub fn new(inputs: usize, weights: Vec<f32>, bias: Vec<f32>) -> Result<Mix, Error> {
        if inputs > Mix::MOST_INPUTS {
            return Err(Error::Shape(format!("mixture: expected at most {} planes, found {inputs}", Mix::MOST_INPUTS)));
        }
        if inputs == 0 || bias.is_empty() || weights.len() != inputs * bias.len() {
            return Err(Error::Shape(format!(
                "mixture: expected {} × {inputs} weights, found {}",
                bias.len(),
                weights.len()
            )));
        }
        if weights.iter().chain(&bias).any(|number| !number.is_finite()) {
            return Err(Error::Quantisation("mixture: expected finite weights".into()));
        }
        Ok(Mix { inputs, weights, bias })
    }

    /// Planes that it mixes.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Channels that it makes.
    pub fn channels(&self) -> usize {
        self.bias.len()
    }

    /// Of f32 `[inputs, height, width]`: `saturate(round_half_even(x / scale) + zero_point)` with `x = ((w₀·x₀ + w₁·x₁) + …) + bias` in f32, each
    /// operation rounded. Writes the rows of `output`.
    pub fn run(
        &self,
        kernel: Kernel,
        quantisation: Quantisation,
        input: &[f32],
        output: &mut PlaneMut,
    ) -> Result<(), Error> {
        quantisation.check("scale")?;
        let layout = *output.layout();
        let (width, channels) = (layout.width(), layout.channels());
        let plane = layout.height() * width;
        if channels != self.bias.len() || input.len() != plane * self.inputs {
            return Err(Error::Shape(format!(
                "mixture of {} planes into {} channels: expected those sizes, found {} numbers for {layout:?}",
                self.inputs,
                self.bias.len(),
                input.len()
            )));
        }
        // Read once for all channels.
        let mut planes = [[0f32; PIXELS]; Mix::MOST_INPUTS];
        for piece in pieces(output.rows(), width) {
            for (values, from) in planes.iter_mut().zip(input.chunks_exact(plane)) {
                let from = &from[piece.numbers(width)];
                values[..from.len()].copy_from_slice(from);
            }
            for channel in (0..channels).step_by(CHANNEL_STEP) {
                // What fills up four channels may hold anything: here the last channel again.
                let four = [0, 1, 2, 3].map(|more| (channel + more).min(channels - 1));
                let weights = four.map(|channel| &self.weights[channel * self.inputs..][..self.inputs]);
                let bias = four.map(|channel| self.bias[channel]);
                let mut words = [0; PIXELS];
                mix_four(kernel, &mut words, &planes, weights, bias, quantisation);
                piece.scatter(output, channel, &words);
            }
        }
        Ok(())
    }
}

versions! {
    /// Four channels of as many pixels as are computed at once.
    fn mix_four(
        words: &mut [u32; PIXELS],
        planes: &[[f32; PIXELS]],
        weights: [&[f32]; 4],
        bias: [f32; 4],
        quantisation: Quantisation,
    ) {
        let Quantisation { scale, zero_point } = quantisation;
        for (channel, (weights, bias)) in weights.iter().zip(bias).enumerate() {
            let mut sums = [0f32; PIXELS];
            for (number, (plane, &weight)) in planes.iter().zip(*weights).enumerate() {
                match number {
                    0 => sums.iter_mut().zip(plane).for_each(|(sum, x)| *sum = weight * x),
                    _ => sums.iter_mut().zip(plane).for_each(|(sum, x)| *sum += weight * x),
                }
            }
            for (word, sum) in words.iter_mut().zip(&sums) {
                *word |= u32::from(code((sum + bias) / scale, zero_point)) << (8 * channel);
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

/// A prepared picture straight into the first layer's input: for each colour a table of 256, which holds mean, standard deviation and
/// QuantizeLinear at once.
#[derive(Clone)]
pub struct ImageTable {
    kernel: Kernel,
    tables: Box<[[u8; 256]; 3]>,
}

impl std::fmt::Debug for ImageTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ImageTable")
    }
}

impl ImageTable {
    /// `value(colour, byte)` is the real number that the network's input has for a byte of the image.
    pub fn new(
        kernel: Kernel,
        quantisation: Quantisation,
        value: impl Fn(usize, u8) -> f32,
    ) -> Result<ImageTable, Error> {
        quantisation.check("scale of the image")?;
        let mut tables = Box::new([[0; 256]; 3]);
        for (colour, table) in tables.iter_mut().enumerate() {
            for (byte, to) in table.iter_mut().enumerate() {
                *to = quantisation.quantise(value(colour, byte as u8));
            }
        }
        Ok(ImageTable { kernel, tables })
    }

    /// `image` is `[height, width, 4]` of the size of `output`, RGBX; `output` has 3 channels. Writes the rows of
    /// `output`.
    pub fn run(&self, image: &[u8], output: &mut PlaneMut) -> Result<(), Error> {
        let layout = *output.layout();
        let width = layout.width();
        if layout.channels() != 3 || layout.pixel_stride() != CHANNEL_STEP || image.len() != layout.height() * width * 4
        {
            return Err(Error::Shape(format!(
                "image of {} bytes: expected one of 4 bytes a pixel and 3 channels for {layout:?}",
                image.len()
            )));
        }
        for row in output.rows() {
            let (pixels, to) = (&image[row * width * 4..][..width * 4], output.row_mut(row));
            // The row's last pixel may lack its X.
            let whole = to.len().min(pixels.len()) / 4 * 4;
            look_up(self.kernel, &self.tables, &pixels[..whole], &mut to[..whole]);
            let last = to[whole..].iter_mut().zip(&pixels[whole..]).zip(self.tables.iter());
            last.for_each(|((to, &byte), table)| *to = table[usize::from(byte)]);
        }
        Ok(())
    }
}

/// Whole pixels of four bytes; the fourth of what is written means nothing.
fn look_up(kernel: Kernel, tables: &[[u8; 256]; 3], pixels: &[u8], to: &mut [u8]) {
    let done = match kernel {
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512Vnni if std::arch::is_x86_feature_detected!("avx512vbmi") => {
            // SAFETY: the CPU has it, as was just asked.
            unsafe { look_up_vbmi(tables, pixels, to) }
        }
        _ => 0,
    };
    let [red, green, blue] = tables;
    for (to, &[r, g, b, _]) in to[done..].as_chunks_mut::<4>().0.iter_mut().zip(pixels[done..].as_chunks::<4>().0) {
        *to = [red[usize::from(r)], green[usize::from(g)], blue[usize::from(b)], 0];
    }
}

/// As many whole registers as there are; returns how many bytes that was. Two permutations look a byte up in half a table each, and its highest bit
/// says which half it is.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn look_up_vbmi(tables: &[[u8; 256]; 3], pixels: &[u8], to: &mut [u8]) -> usize {
    use std::arch::x86_64::*;
    let (pixels, to) = (pixels.as_chunks::<64>().0, to.as_chunks_mut::<64>().0);
    for (pixels, to) in pixels.iter().zip(&mut *to) {
        // SAFETY: arrays of a register's size, and of four of them.
        unsafe {
            let bytes = _mm512_loadu_si512(pixels.as_ptr().cast());
            let upper = _mm512_movepi8_mask(bytes);
            let mut all = _mm512_setzero_si512();
            for (colour, table) in tables.iter().enumerate() {
                let quarters = table.as_ptr().cast::<__m512i>();
                let low = _mm512_permutex2var_epi8(quarters.read_unaligned(), bytes, quarters.add(1).read_unaligned());
                let high =
                    _mm512_permutex2var_epi8(quarters.add(2).read_unaligned(), bytes, quarters.add(3).read_unaligned());
                let found = _mm512_mask_blend_epi8(upper, low, high);
                all = _mm512_mask_blend_epi8(0x1111_1111_1111_1111 << colour, all, found);
            }
            _mm512_storeu_si512(to.as_mut_ptr().cast(), all);
        }
    }
    64 * pixels.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In whole registers as far as these reach, and byte by byte: the same of every width.
    #[test]
    fn looking_up_a_row_is_the_same_with_and_without_registers() {
        let mut tables = [[0u8; 256]; 3];
        for (colour, table) in tables.iter_mut().enumerate() {
            for (byte, to) in table.iter_mut().enumerate() {
                *to = (byte * (2 * colour + 3) + 17 * colour) as u8;
            }
        }
        for width in [1, 15, 16, 17, 33, 64, 256] {
            let pixels: Vec<u8> = (0..4 * width).map(|i| (i * 89 + i / 7) as u8).collect();
            let expected: Vec<[u8; 3]> =
                pixels.chunks(4).map(|p| [0, 1, 2].map(|c| tables[c][usize::from(p[c])])).collect();
            for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.available()) {
                let mut to = vec![255; pixels.len()];
                look_up(kernel, &tables, &pixels, &mut to);
                let found: Vec<[u8; 3]> = to.chunks(4).map(|p| [p[0], p[1], p[2]]).collect();
                assert_eq!(found, expected, "{kernel}: {width} pixels");
            }
            #[cfg(target_arch = "x86_64")]
            if Kernel::Avx512Vnni.available() && std::arch::is_x86_feature_detected!("avx512vbmi") {
                let mut to = vec![255; pixels.len()];
                // SAFETY: the CPU has it, as was just asked.
                let done = unsafe { look_up_vbmi(&tables, &pixels, &mut to) };
                assert_eq!(done, pixels.len() / 64 * 64);
                assert!(to[done..].iter().all(|&byte| byte == 255), "written behind the last whole register");
            }
        }
    }
}

//! The picture that the networks saw, for people and for clients that ask: their input, made RGB again.

use crate::model::InputSpec;

/// Pixels at a time: enough for vectors, few enough to stay in the first-level cache.
const AT_ONCE: usize = 64;
/// 2²³: a float of this size has its whole number in its last bits, rounded as the sum was.
const WHOLE: f32 = 8_388_608.0;

/// Turns `[3, H, W]` numbers (RGB in 0…1, less the mean, by the deviation) into `[H, W, 3]` bytes. Numbers that came from
/// bytes become those bytes again; what is no number becomes 0.
pub fn denormalise(input: &InputSpec, planes: &[f32], out: &mut [u8]) {
    let mut parts = planes.chunks_exact((input.width * input.height).max(1));
    let (Some(red), Some(green), Some(blue)) = (parts.next(), parts.next(), parts.next()) else { return };
    let [r, g, b] = std::array::from_fn(|channel| {
        let (mean, std) = (input.mean[channel], input.std[channel]);
        ((std * 255.0) as f32, (mean * 255.0) as f32)
    });
    let byte =
        |value: f32, (scale, offset): (f32, f32)| ((value * scale + offset).clamp(0.0, 255.0) + WHOLE).to_bits() & 255;
    // Pixels as 24 bits of a word first, which the compiler does in vectors, then without the gaps between them.
    let mut pixels = [0u32; AT_ONCE];
    let planes = red.chunks(AT_ONCE).zip(green.chunks(AT_ONCE)).zip(blue.chunks(AT_ONCE));
    for (out, ((red, green), blue)) in out.chunks_mut(3 * AT_ONCE).zip(planes) {
        for (((pixel, red), green), blue) in pixels.iter_mut().zip(red).zip(green).zip(blue) {
            *pixel = byte(*red, r) | byte(*green, g) << 8 | byte(*blue, b) << 16;
        }
        let (fours, rest) = out.as_chunks_mut::<12>();
        let of_rest = pixels.iter().skip(4 * fours.len());
        for (out, [p, q, s, t]) in fours.iter_mut().zip(pixels.as_chunks::<4>().0) {
            let words = [p | q << 24, q >> 8 | s << 16, s >> 16 | t << 8];
            for (out, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(words) {
                *out = word.to_le_bytes();
            }
        }
        for (out, pixel) in rest.as_chunks_mut::<3>().0.iter_mut().zip(of_rest) {
            let [red, green, blue, _] = pixel.to_le_bytes();
            *out = [red, green, blue];
        }
    }
}

#[cfg(test)]
mod tests {
    use milad_kernels::pixel::Resize;

    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        let input = InputSpec { width: 256, height: 1, mean, std, resize: Resize::Stretch };
        let planes: Vec<f32> =
            (0..3).flat_map(|c| (0..256).map(move |v| ((f64::from(v) / 255.0 - mean[c]) / std[c]) as f32)).collect();
        let mut out = vec![7; 768];
        denormalise(&input, &planes, &mut out);
        let expected: Vec<u8> = (0..=255).flat_map(|v| [v; 3]).collect();
        assert_eq!(out, expected);
        for (value, expected) in [(f32::INFINITY, 255), (f32::NEG_INFINITY, 0), (f32::NAN, 0)] {
            denormalise(&input, &[value; 768], &mut out);
            assert_eq!(out, [expected; 768], "{value}");
        }
    }

    #[test]
    fn pictures_of_any_size_are_converted_to_their_last_pixel() {
        for (width, height) in [(1, 1), (7, 3), (16, 4), (67, 1)] {
            let input = InputSpec { width, height, mean: [0.0; 3], std: [1.0; 3], resize: Resize::Stretch };
            let bytes: Vec<u8> = (0..3 * width * height).map(|i| (i * 37 % 256) as u8).collect();
            let planes: Vec<f32> =
                (0..3).flat_map(|c| bytes.iter().skip(c).step_by(3)).map(|v| f32::from(*v) / 255.0).collect();
            let mut out = vec![0; bytes.len()];
            denormalise(&input, &planes, &mut out);
            assert_eq!(out, bytes, "{width}×{height}");
        }
    }
}

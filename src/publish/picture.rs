//! The picture that the networks saw, for people and for clients that ask: their input, made RGB again.

use crate::model::InputSpec;

/// Turns `[3, H, W]` numbers (RGB in 0…1, less the mean, by the deviation) into `[H, W, 3]` bytes. Numbers that came from
/// bytes become those bytes again.
pub fn denormalise(input: &InputSpec, planes: &[f32], out: &mut [u8]) {
    let pixels = input.width * input.height;
    for (channel, (mean, std)) in input.mean.into_iter().zip(input.std).enumerate() {
        let (scale, offset) = ((std * 255.0) as f32, (mean * 255.0 + 0.5) as f32);
        let Some(plane) = planes.get(channel * pixels..(channel + 1) * pixels) else { return };
        for (out, value) in out.iter_mut().skip(channel).step_by(3).zip(plane) {
            // The cast ends at 0 and at 255.
            *out = (value * scale + offset) as u8;
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
        denormalise(&input, &[f32::INFINITY; 768], &mut out);
        assert_eq!(out, [255; 768]);
    }
}

//! A prepared picture as numbers: what a byte of each colour is to a network, rounded once.
//!
//! A quantised network makes a byte of that number again. Calibration's scales are such that some bytes of a picture lie halfway between
//! two; a last bit that is off would turn all of them, and with them some thousandths of a picture.

/// `(byte/255 − mean)/std` for each byte of each colour, in f64 and rounded once.
#[derive(Clone, PartialEq)]
pub struct Normalise {
    tables: Box<[[f32; 256]; 3]>,
}

impl std::fmt::Debug for Normalise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Normalise")
    }
}

impl Normalise {
    /// For a network that was trained so.
    pub fn new(mean: [f64; 3], std: [f64; 3]) -> Normalise {
        let mut tables = Box::new([[0.0; 256]; 3]);
        for ((table, mean), std) in tables.iter_mut().zip(mean).zip(std) {
            for (byte, number) in table.iter_mut().enumerate() {
                *number = ((byte as f64 / 255.0 - mean) / std) as f32;
            }
        }
        Normalise { tables }
    }

    /// What a byte of a colour (0: red) is; 0 of a colour that is none.
    pub fn number(&self, colour: usize, byte: u8) -> f32 {
        self.tables.get(colour).map_or(0.0, |table| table[usize::from(byte)])
    }

    /// `pixels` are RGBX; `out` is planar, `[3][pixels]`. What one has more than the other stays as it is.
    pub fn run(&self, pixels: &[u8], out: &mut [f32]) {
        let size = (out.len() / 3).max(1);
        for ((colour, table), out) in self.tables.iter().enumerate().zip(out.chunks_exact_mut(size)) {
            for (out, pixel) in out.iter_mut().zip(pixels.as_chunks::<4>().0) {
                *out = table[usize::from(pixel[colour])];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_rounded_once() {
        let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        let normalise = Normalise::new(mean, std);
        let pixels: Vec<u8> = (0..=255u8).flat_map(|byte| [byte, 255 - byte, byte ^ 85, 9]).collect();
        let mut out = vec![0.0; 768];
        normalise.run(&pixels, &mut out);
        for (i, value) in out.iter().enumerate() {
            let (colour, pixel) = (i / 256, i % 256);
            let byte = pixels[4 * pixel + colour];
            let expected = ((f64::from(byte) / 255.0 - mean[colour]) / std[colour]) as f32;
            assert_eq!((*value, normalise.number(colour, byte)), (expected, expected));
        }
        assert_eq!(normalise.number(3, 7), 0.0);
    }
}

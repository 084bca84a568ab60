//! NumPy's array files, format version 1.0 (numpy.org/doc/stable/reference/generated/numpy.lib.format.html), little
//! endian, C order; and float16 by hand.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// An array file that is written element by element.
pub struct Npy {
    file: BufWriter<File>,
    left: usize,
}

impl Npy {
    /// Creates the file; `kind` is NumPy's, e.g. `|u1`, `|i1`, `<f2`.
    pub fn create(path: &Path, kind: &str, shape: &[usize]) -> io::Result<Npy> {
        let list: Vec<String> = shape.iter().map(|n| format!("{n},")).collect();
        let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}), }}", list.join(" "));
        // The data start at a multiple of 64; the header ends with a newline.
        while (10 + header.len() + 1) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut file = BufWriter::with_capacity(1 << 18, File::create(path)?);
        file.write_all(b"\x93NUMPY\x01\x00")?;
        file.write_all(&(header.len() as u16).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        let bytes = match kind {
            "<f2" => 2,
            _ => 1,
        };
        Ok(Npy { file, left: shape.iter().product::<usize>() * bytes })
    }

    /// Appends bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = self.left.wrapping_sub(bytes.len());
        self.file.write_all(bytes)
    }

    /// Appends float16.
    pub fn halves(&mut self, values: &[f32]) -> io::Result<()> {
        values.iter().try_for_each(|&value| self.bytes(&half(value).to_le_bytes()))
    }

    /// Appends unit vectors' components as whole 127ths.
    pub fn i8_127ths(&mut self, values: &[f32]) -> io::Result<()> {
        values.iter().try_for_each(|&value| {
            let scaled = value * 127.0;
            let rounded = if scaled >= 0.0 { (scaled + 0.5) as i8 } else { (scaled - 0.5) as i8 };
            self.bytes(&rounded.to_le_bytes())
        })
    }

    /// Closes the file; an error when it holds more or less than its shape says.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        if self.left == 0 { Ok(()) } else { Err(io::Error::other("array written with another size than announced")) }
    }
}

/// f32 to IEEE binary16, round to nearest even; beyond 65504 infinite.
pub fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return sign | 0x7e00;
    }
    if magnitude >= 0x477f_f000 {
        return sign | 0x7c00;
    }
    if magnitude < 0x3880_0000 {
        // Subnormal: adding 0.5 places the mantissa so that the hardware rounds it to nearest even.
        let shifted = f32::from_bits(magnitude) + 0.5;
        return sign | (shifted.to_bits() - 0x3f00_0000) as u16;
    }
    let odd = (magnitude >> 13) & 1;
    sign | ((magnitude - 0x3800_0000 + 0xfff + odd) >> 13) as u16
}

#[cfg(test)]
mod tests {
    use super::half;

    #[test]
    fn halves_are_ieee() {
        let cases: [(f32, u16); 12] = [
            (0.0, 0),
            (-0.0, 0x8000),
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (65504.0, 0x7bff),
            (65520.0, 0x7c00),
            (f32::INFINITY, 0x7c00),
            (6.103_515_6e-5, 0x0400),
            (5.960_464_5e-8, 0x0001),
            (0.1, 0x2e66),
            (1.000_488_3, 0x3c00), // a tie goes to even
            (1.001_464_8, 0x3c02),
        ];
        for (value, bits) in cases {
            assert_eq!(half(value), bits, "{value}");
        }
        assert_eq!(half(f32::NAN) & 0x7c00, 0x7c00);
        assert_ne!(half(f32::NAN) & 0x03ff, 0);
    }
}

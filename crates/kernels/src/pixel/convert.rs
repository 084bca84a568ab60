//! Codes to colours: the affine map of a matrix and a range.

use super::{Colour, Matrix, PixelFormat, Range};

/// `rgb[i] = row[i]·(Y, Cb, Cr) + offset[i]`, from codes (0…255) to RGB in 0…1 (before clamping).
///
/// For [`PixelFormat::Rgb24`] the three components are R, G, B; for [`PixelFormat::Grey`] the first is grey and the
/// others don't count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Affine {
    pub matrix: [[f64; 3]; 3],
    pub offset: [f64; 3],
}

/// Kr and Kb of a matrix.
pub(super) fn luma_coefficients(matrix: Matrix) -> (f64, f64) {
    match matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
        Matrix::Bt2020 => (0.2627, 0.0593),
    }
}

impl Affine {
    /// ITU-T H.273, section 8.3, equations for 8-bit codes: Y' = (Y − 16)/219 and C' = (C − 128)/224 in the limited
    /// range, Y/255 and (C − 128)/255 in the full range; R = Y' + 2(1 − Kr)·Cr', B = Y' + 2(1 − Kb)·Cb',
    /// G from Y' = Kr·R + Kg·G + Kb·B.
    pub fn new(format: PixelFormat, colour: Colour) -> Affine {
        let (black, luma, chroma) = match colour.range {
            Range::Limited => (16.0, 1.0 / 219.0, 1.0 / 224.0),
            Range::Full => (0.0, 1.0 / 255.0, 1.0 / 255.0),
        };
        let rows: [[f64; 3]; 3] = match format {
            PixelFormat::Rgb24 => [[luma, 0.0, 0.0], [0.0, luma, 0.0], [0.0, 0.0, luma]],
            PixelFormat::Grey => [[luma, 0.0, 0.0]; 3],
            _ => {
                let (kr, kb) = luma_coefficients(colour.matrix);
                let kg = 1.0 - kr - kb;
                let (red, blue) = (2.0 * (1.0 - kr) * chroma, 2.0 * (1.0 - kb) * chroma);
                [[luma, 0.0, red], [luma, -blue * kb / kg, -red * kr / kg], [luma, blue, 0.0]]
            }
        };
        let zero = match format {
            PixelFormat::Rgb24 => [black; 3],
            PixelFormat::Grey => [black, 0.0, 0.0],
            _ => [black, 128.0, 128.0],
        };
        let offset = rows.map(|row| -(row[0] * zero[0] + row[1] * zero[1] + row[2] * zero[2]));
        Affine { matrix: rows, offset }
    }
}

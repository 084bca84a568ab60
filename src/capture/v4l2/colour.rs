//! What a driver's colour space, Y'CbCr encoding and quantisation say about the numbers in a picture.
//!
//! The defaults are those of `V4L2_MAP_YCBCR_ENC_DEFAULT` and `V4L2_MAP_QUANTIZATION_DEFAULT` in
//! `<linux/videodev2.h>`; where the driver says nothing at all: BT.601, limited for YUV, full for RGB, grey and JPEG.

use milad_kernels::pixel::{Colour, Matrix, PixelFormat, Range};
use v4l::v4l_sys as sys;

use super::super::Encoding;

/// The three numbers of a driver's format, as granted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Colorimetry {
    /// `enum v4l2_colorspace`.
    pub colorspace: u32,
    /// `enum v4l2_ycbcr_encoding`.
    pub ycbcr_enc: u32,
    /// `enum v4l2_quantization`.
    pub quantization: u32,
}

impl Colorimetry {
    /// What they mean for a stream in `encoding`.
    pub fn colour(self, encoding: Encoding) -> Colour {
        Colour { matrix: self.matrix(encoding), range: self.range(encoding) }
    }

    fn matrix(self, encoding: Encoding) -> Matrix {
        match self.ycbcr_enc {
            sys::v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_DEFAULT => {}
            sys::v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_709 | sys::v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_XV709 => {
                return Matrix::Bt709;
            }
            sys::v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_BT2020
            | sys::v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_BT2020_CONST_LUM => return Matrix::Bt2020,
            // Kr = 0.212, Kb = 0.087: nearer to BT.709 (0.2126, 0.0722) than to any other here.
            sys::v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_SMPTE240M => return Matrix::Bt709,
            // 601, xvYCC 601 and sYCC share their coefficients; an encoding newer than this file gets them too.
            _ => return Matrix::Bt601,
        }
        // JFIF 1.02 fixes BT.601, and cameras state the sensor's colour space for their JPEG all the same.
        if encoding == Encoding::Mjpeg {
            return Matrix::Bt601;
        }
        match self.colorspace {
            sys::v4l2_colorspace_V4L2_COLORSPACE_REC709
            | sys::v4l2_colorspace_V4L2_COLORSPACE_DCI_P3
            | sys::v4l2_colorspace_V4L2_COLORSPACE_SMPTE240M => Matrix::Bt709,
            sys::v4l2_colorspace_V4L2_COLORSPACE_BT2020 => Matrix::Bt2020,
            _ => Matrix::Bt601,
        }
    }

    fn range(self, encoding: Encoding) -> Range {
        match self.quantization {
            sys::v4l2_quantization_V4L2_QUANTIZATION_FULL_RANGE => return Range::Full,
            sys::v4l2_quantization_V4L2_QUANTIZATION_LIM_RANGE => return Range::Limited,
            _ => {}
        }
        match (encoding, self.colorspace) {
            (Encoding::Mjpeg | Encoding::Raw(PixelFormat::Rgb24), _) => Range::Full,
            (_, sys::v4l2_colorspace_V4L2_COLORSPACE_JPEG) => Range::Full,
            // Says nothing at all: a sensor's luma as it is. With a colour space stated, the kernel's rule holds.
            (Encoding::Raw(PixelFormat::Grey), sys::v4l2_colorspace_V4L2_COLORSPACE_DEFAULT) => Range::Full,
            _ => Range::Limited,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YUYV: Encoding = Encoding::Raw(PixelFormat::Yuyv);
    const RGB: Encoding = Encoding::Raw(PixelFormat::Rgb24);
    const GREY: Encoding = Encoding::Raw(PixelFormat::Grey);

    /// colorspace, ycbcr_enc, quantization by the numbers of the kernel's header.
    fn colour(encoding: Encoding, numbers: (u32, u32, u32)) -> (Matrix, Range) {
        let (colorspace, ycbcr_enc, quantization) = numbers;
        let Colour { matrix, range } = Colorimetry { colorspace, ycbcr_enc, quantization }.colour(encoding);
        (matrix, range)
    }

    #[test]
    fn a_silent_driver_gets_the_format_s_defaults() {
        assert_eq!(colour(YUYV, (0, 0, 0)), (Matrix::Bt601, Range::Limited));
        assert_eq!(colour(Encoding::Mjpeg, (0, 0, 0)), (Matrix::Bt601, Range::Full));
        assert_eq!(colour(RGB, (0, 0, 0)).1, Range::Full);
        assert_eq!(colour(GREY, (0, 0, 0)).1, Range::Full);
    }

    #[test]
    fn the_kernels_own_rules_decide_what_the_colour_space_implies() {
        // SMPTE170M 1, SMPTE240M 2, REC709 3, JPEG 7, SRGB 8, OPRGB 9, BT2020 10, DCI_P3 12.
        for (colorspace, expected) in [
            (1, (Matrix::Bt601, Range::Limited)),
            (2, (Matrix::Bt709, Range::Limited)),
            (3, (Matrix::Bt709, Range::Limited)),
            (7, (Matrix::Bt601, Range::Full)),
            (8, (Matrix::Bt601, Range::Limited)),
            (9, (Matrix::Bt601, Range::Limited)),
            (10, (Matrix::Bt2020, Range::Limited)),
            (12, (Matrix::Bt709, Range::Limited)),
        ] {
            assert_eq!(colour(YUYV, (colorspace, 0, 0)), expected, "colorspace {colorspace}");
        }
        assert_eq!(colour(GREY, (8, 0, 0)).1, Range::Limited);
        assert_eq!(colour(Encoding::Mjpeg, (8, 0, 0)), (Matrix::Bt601, Range::Full));
    }

    #[test]
    fn what_the_driver_states_itself_wins() {
        assert_eq!(colour(YUYV, (8, 2, 1)), (Matrix::Bt709, Range::Full));
        assert_eq!(colour(YUYV, (7, 6, 2)), (Matrix::Bt2020, Range::Limited));
        assert_eq!(colour(Encoding::Mjpeg, (3, 2, 2)), (Matrix::Bt709, Range::Limited));
        assert_eq!(colour(RGB, (8, 0, 2)).1, Range::Limited);
    }

    #[test]
    fn numbers_newer_than_this_file_mean_the_defaults() {
        assert_eq!(colour(YUYV, (99, 99, 99)), (Matrix::Bt601, Range::Limited));
    }
}

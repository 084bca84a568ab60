//! Camera pixels: the formats, their colour, and their way into a network's input ([`prepare`], [`Normalise`]).

#[cfg(target_arch = "x86_64")]
mod blocks;
mod convert;
mod geometry;
mod horizontal;
mod normalise;
#[cfg(target_arch = "x86_64")]
mod packed;
pub mod prepare;
mod rows;
mod taps;
mod vertical;

pub use normalise::Normalise;

/// How raw pixels lie in memory. Compressed formats are decoded before they come here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// 4:2:2 packed, `Y0 Cb Y1 Cr`.
    Yuyv,
    /// 4:2:2 packed, `Cb Y0 Cr Y1`.
    Uyvy,
    /// 4:2:0, a plane of Y and a plane of interleaved Cb Cr.
    Nv12,
    /// 4:2:0, planes Y, Cb, Cr (also called I420; V4L2's YU12).
    Yu12,
    /// 4:2:2, planes Y, Cb, Cr (Y4M's C422).
    Yu16,
    /// 4:4:4, planes Y, Cb, Cr (Y4M's C444).
    Yu24,
    /// 4:4:4 packed, `Y Cb Cr`: what a JPEG decodes to.
    Ycc,
    /// `R G B`, 8 bits each.
    Rgb24,
    /// Luma only.
    Grey,
}

/// The luma coefficients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// ITU-R BT.601: Kr = 0.299, Kb = 0.114.
    Bt601,
    /// ITU-R BT.709: Kr = 0.2126, Kb = 0.0722.
    Bt709,
    /// ITU-R BT.2020, non-constant luminance: Kr = 0.2627, Kb = 0.0593.
    Bt2020,
}

/// Which codes stand for black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Range {
    /// Y 16…235, chroma 16…240.
    Limited,
    /// 0…255.
    Full,
}

/// What the numbers of a picture mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Colour {
    /// The luma coefficients of YUV formats; without meaning for [`PixelFormat::Rgb24`].
    pub matrix: Matrix,
    /// The range: of Y and chroma, of R, G and B, or of grey.
    pub range: Range,
}

impl Colour {
    /// BT.601, limited: a YUV camera that says nothing.
    pub const YUV_DEFAULT: Colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };
    /// BT.601, full: JPEG (JFIF 1.02), and RGB or grey that says nothing.
    pub const FULL_DEFAULT: Colour = Colour { matrix: Matrix::Bt601, range: Range::Full };

    /// What raw pixels of a format mean where nobody says it.
    pub fn unsaid(format: PixelFormat) -> Colour {
        match format {
            PixelFormat::Rgb24 | PixelFormat::Grey => Colour::FULL_DEFAULT,
            _ => Colour::YUV_DEFAULT,
        }
    }
}

/// How a picture of one shape becomes a picture of another. Always anti-aliased (triangle filter), half-pixel centres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resize {
    /// Both axes scaled on their own; the shape changes.
    Stretch,
    /// Scaled to cover, what sticks out is cut off evenly.
    Crop,
    /// Scaled to fit, the rest filled with a plain colour.
    Letterbox,
}

/// A picture to read: up to three planes, each with the distance in bytes between its rows.
///
/// `planes[i]` starts at the first byte of plane i, whether the planes lie in one buffer or in several.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// How the pixels lie in the planes.
    pub format: PixelFormat,
    /// What they mean.
    pub colour: Colour,
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The planes' bytes; unused ones are empty.
    pub planes: [&'a [u8]; 3],
    /// Bytes from a row to the next, by plane.
    pub strides: [usize; 3],
}

/// How many planes a format has, and each plane's smallest row length in bytes and number of rows.
///
/// Odd sizes round chroma up, as V4L2 and Y4M do.
pub fn plane_sizes(format: PixelFormat, width: usize, height: usize) -> ([(usize, usize); 3], usize) {
    let (cw, ch) = (width.div_ceil(2), height.div_ceil(2));
    match format {
        PixelFormat::Yuyv | PixelFormat::Uyvy => ([(cw * 4, height), (0, 0), (0, 0)], 1),
        PixelFormat::Nv12 => ([(width, height), (cw * 2, ch), (0, 0)], 2),
        PixelFormat::Yu12 => ([(width, height), (cw, ch), (cw, ch)], 3),
        PixelFormat::Yu16 => ([(width, height), (cw, height), (cw, height)], 3),
        PixelFormat::Yu24 => ([(width, height); 3], 3),
        PixelFormat::Ycc | PixelFormat::Rgb24 => ([(width * 3, height), (0, 0), (0, 0)], 1),
        PixelFormat::Grey => ([(width, height), (0, 0), (0, 0)], 1),
    }
}

//! The stage between capture and the networks: a frame's bytes become RGB of their size.
//!
//! Raw formats go straight through `kernels::pixel`; JPEG is decoded first, to Y Cb Cr, so that matrix and range are the
//! ones that the source states. A picture that can't be used is a [`BadFrame`]: an error value that the pipeline counts.
//! It must never pass a damaged picture on in silence, and never panic on what a camera sends.

mod jpeg;

use milad_kernels::pixel::prepare::{Preparer, Target};
use milad_kernels::pixel::{Picture, PixelFormat};

use crate::capture::{Camera, Encoding, Frame};
use crate::model::InputSpec;
use jpeg::JpegDecoder;
pub use jpeg::jpeg_size;

/// What the user wants done to the camera's picture before anything else: `[camera] crop, rotate, flip`, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrepareOptions {
    /// The only part to look at: left, top, width, height in camera pixels.
    pub crop: Option<[usize; 4]>,
    /// Quarter turns clockwise, 0 to 3.
    pub rotate: u8,
    /// Mirror left and right, after turning.
    pub flip_horizontal: bool,
    /// Mirror top and bottom, after turning.
    pub flip_vertical: bool,
}

/// A picture that can't be used, and why: for the log, and for a count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadFrame(pub String);

/// Prepares the frames of one camera, as negotiated, for one model's input.
#[derive(Debug)]
pub struct Prepare {
    kind: Kind,
    width: usize,
    height: usize,
}

#[derive(Debug)]
enum Kind {
    Raw(Box<Preparer>),
    /// A JPEG is colour or grey, picture by picture.
    Jpeg {
        decoder: Box<JpegDecoder>,
        colour: Box<Preparer>,
        grey: Box<Preparer>,
    },
}

impl Prepare {
    /// Fails when the camera's size, the crop or the model's input can't be worked with, and says which.
    pub fn new(camera: &Camera, input: &InputSpec, options: &PrepareOptions) -> Result<Prepare, String> {
        let format = &camera.format;
        let (width, height) = (format.width, format.height);
        let target = Target {
            width: input.width,
            height: input.height,
            fill: input.mean.map(|mean| (mean * 255.0).round() as u8),
            resize: input.resize,
            crop: options.crop,
            flip_horizontal: options.flip_horizontal,
            flip_vertical: options.flip_vertical,
            rotate: options.rotate,
        };
        let preparer = |pixels: PixelFormat| Preparer::new(pixels, format.colour, width, height, &target);
        let kind = match format.encoding {
            Encoding::Raw(pixels) => Kind::Raw(Box::new(preparer(pixels)?)),
            Encoding::Mjpeg => Kind::Jpeg {
                decoder: Box::new(JpegDecoder::new(width, height)),
                colour: Box::new(preparer(PixelFormat::Ycc)?),
                grey: Box::new(preparer(PixelFormat::Grey)?),
            },
        };
        Ok(Prepare { kind, width, height })
    }

    /// Fills `out`, `[input height, input width, 4]`, RGBX with X zero. After a [`BadFrame`] what is in `out` means nothing.
    ///
    /// `frame` must be of the camera that this was made for; another size or format is a [`BadFrame`].
    pub fn run(&mut self, frame: &Frame, out: &mut [u8]) -> Result<(), BadFrame> {
        let format = &frame.camera.format;
        match &mut self.kind {
            Kind::Raw(preparer) => {
                let payload = &frame.raw.payload;
                let picture = format.picture(payload).ok_or_else(|| {
                    let found: usize = payload.memory_planes().iter().map(|plane| plane.len()).sum();
                    BadFrame(format!(
                        "truncated: {found} bytes are too few for {}×{} {}",
                        format.width, format.height, frame.camera.format_name
                    ))
                })?;
                preparer.run(&picture, out).map_err(|mismatch| BadFrame(mismatch.to_string()))
            }
            Kind::Jpeg { decoder, colour, grey } => {
                let [bytes, ..] = frame.raw.payload.memory_planes();
                let (pixels, data) = decoder.decode(bytes).map_err(BadFrame)?;
                let (preparer, step) = match pixels {
                    PixelFormat::Grey => (grey, 1),
                    _ => (colour, 3),
                };
                let picture = Picture {
                    format: pixels,
                    colour: format.colour,
                    width: self.width,
                    height: self.height,
                    planes: [data, &[], &[]],
                    strides: [self.width * step, 0, 0],
                };
                preparer.run(&picture, out).map_err(|mismatch| BadFrame(mismatch.to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! What a frame costs outside of its networks: a camera's pixels to their input, and their output to maps and statistics.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use milad_client::{Named, Statistics};
use milad_kernels::pixel::{Colour, PixelFormat, plane_sizes};
use serde::Serialize;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::quantile;
use crate::capture::pool::Pool;
use crate::capture::{Camera, Encoding, Frame, Payload, RawFrame, StreamFormat};
use crate::model::{Prediction, Spec};
use crate::prepare::{Prepare, PrepareOptions, jpeg_size};
use crate::publish::Digest;

/// The raw formats that are timed, with the names that cameras give them.
const FORMATS: [(&str, PixelFormat); 5] = [
    ("YUYV", PixelFormat::Yuyv),
    ("NV12", PixelFormat::Nv12),
    ("YU12", PixelFormat::Yu12),
    ("RGB3", PixelFormat::Rgb24),
    ("GREY", PixelFormat::Grey),
];
const RUNS: usize = 61;

/// Times in milliseconds, medians.
#[derive(Debug, Serialize)]
pub(super) struct Around {
    /// Pixels of the camera's pictures.
    pub camera: [usize; 2],
    /// By format: the camera's pixels to the networks' input.
    pub prepare_ms: Vec<(&'static str, f64)>,
    /// A prediction to published maps and their statistics.
    pub maps_ms: f64,
    /// By format: part of a frame's time that is outside of the networks, at the bundle's interval.
    pub share: Vec<(&'static str, f64)>,
    /// Of the picture that was given.
    pub jpeg: Option<Jpeg>,
}

/// A JPEG picture's way to the networks' input.
#[derive(Debug, Serialize)]
pub(super) struct Jpeg {
    pub size: [usize; 2],
    /// The decoder alone.
    pub decode_ms: f64,
    /// Decoding, resizing and normalising.
    pub prepare_ms: f64,
    pub ratio: f64,
}

/// Times what is around networks that take `networks_ms` for a frame.
pub(super) fn measure(
    spec: &Spec,
    prediction: &Prediction,
    networks_ms: f64,
    camera: [usize; 2],
    jpeg: Option<&Path>,
) -> anyhow::Result<Around> {
    let mut prepare_ms = vec![];
    for (name, pixels) in FORMATS {
        let (sizes, _) = plane_sizes(pixels, camera[0], camera[1]);
        let bytes: Vec<u8> = noise(sizes.iter().map(|(row, rows)| row * rows).sum());
        let format = StreamFormat {
            encoding: Encoding::Raw(pixels),
            width: camera[0],
            height: camera[1],
            strides: sizes.map(|(row, _)| row),
            colour: Colour::unsaid(pixels),
        };
        prepare_ms.push((name, preparation(spec, name, format, &bytes)?));
    }
    let (mut digest, mut statistics) = (Digest::new(spec), Named::<Statistics>::default());
    digest.run(prediction, &mut statistics)?;
    let maps_ms = median(|| digest.run(prediction, &mut statistics).is_ok());
    let share = |&(name, ms): &(&'static str, f64)| (name, (ms + maps_ms) / (ms + maps_ms + networks_ms));
    let share = prepare_ms.iter().map(share).collect();
    let jpeg = jpeg.map(|file| timed_jpeg(spec, file)).transpose()?;
    Ok(Around { camera, prepare_ms, maps_ms, share, jpeg })
}

fn timed_jpeg(spec: &Spec, file: &Path) -> anyhow::Result<Jpeg> {
    let bytes = std::fs::read(file).with_context(|| format!("{} can't be read", file.display()))?;
    let refused = |reason: String| anyhow::anyhow!("{}: {reason}", file.display());
    let (width, height) = jpeg_size(&bytes).map_err(refused)?;
    let format =
        StreamFormat { encoding: Encoding::Mjpeg, width, height, strides: [0; 3], colour: Colour::FULL_DEFAULT };
    let prepare_ms = preparation(spec, "MJPG", format, &bytes)?;
    let mut pixels = vec![];
    let decode_ms = median(|| decode(&bytes, &mut pixels));
    Ok(Jpeg { size: [width, height], decode_ms, prepare_ms, ratio: prepare_ms / decode_ms })
}

/// The decoder as it comes, asked for what costs it least.
fn decode(bytes: &[u8], pixels: &mut Vec<u8>) -> bool {
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::YCbCr);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let Some(size) = decoder.decode_headers().ok().and_then(|()| decoder.output_buffer_size()) else { return false };
    pixels.resize(size, 0);
    decoder.decode_into(pixels).is_ok()
}

/// Preparing a frame of these bytes.
fn preparation(spec: &Spec, name: &str, format: StreamFormat, bytes: &[u8]) -> anyhow::Result<f64> {
    let camera = Arc::new(Camera {
        name: "noise".into(),
        format_name: name.into(),
        format,
        interval_ns: 0,
        live: false,
        counts: false,
        intrinsics: None,
    });
    let mut prepare = Prepare::new(&camera, &spec.input, &PrepareOptions::default()).map_err(anyhow::Error::msg)?;
    let mut buffer = Pool::new(1, bytes.len()).take().context("no buffer")?;
    buffer.extend_from_slice(bytes);
    let raw = RawFrame { driver_sequence: 0, captured_ns: 0, payload: Payload::Pooled(buffer) };
    let frame = Frame { sequence: 0, epoch: 0, camera, raw };
    let mut out = vec![0; 4 * spec.input.width * spec.input.height];
    prepare.run(&frame, &mut out)?;
    Ok(median(|| prepare.run(&frame, &mut out).is_ok()))
}

/// Milliseconds of a run, by the clock on the wall: the median is of a run that nothing interrupted.
fn median(mut run: impl FnMut() -> bool) -> f64 {
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(run());
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    quantile(&mut times, 0.5)
}

/// Bytes that neither prediction of branches nor a cache can know.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

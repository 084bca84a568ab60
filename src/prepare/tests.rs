//! What the stage does with whole, damaged and unexpected pictures.

use std::sync::Arc;

use milad_kernels::pixel::{Colour, Matrix, Range, Resize};

use super::*;
use crate::capture::pool::Pool;
use crate::capture::{Payload, RawFrame, StreamFormat};

const FILES: [(&str, &[u8]); 4] = [
    ("4:2:0", include_bytes!("../../tests/data/frame-420.jpg")),
    ("4:2:0 with restarts", include_bytes!("../../tests/data/frame-420-restart.jpg")),
    ("4:2:2", include_bytes!("../../tests/data/frame-422.jpg")),
    ("4:4:4", include_bytes!("../../tests/data/frame-444.jpg")),
];
const GREY: &[u8] = include_bytes!("../../tests/data/frame-grey.jpg");
const ODD: &[u8] = include_bytes!("../../tests/data/frame-odd.jpg");
const NARROW: &[u8] = include_bytes!("../../tests/data/frame-narrow.jpg");

fn camera(encoding: Encoding, width: usize, height: usize, colour: Colour) -> Arc<Camera> {
    let strides = [width * 2, 0, 0];
    let format = StreamFormat { encoding, width, height, strides, colour };
    let (name, format_name) = ("test".to_owned(), "TEST".to_owned());
    Arc::new(Camera { name, format_name, format, interval_ns: 0, live: false, counts: false, intrinsics: None })
}

fn frame(camera: &Arc<Camera>, bytes: &[u8]) -> Frame {
    let mut buffer = Pool::new(1, bytes.len()).take().unwrap();
    buffer.extend_from_slice(bytes);
    let raw = RawFrame { driver_sequence: 0, captured_ns: 0, payload: Payload::Pooled(buffer) };
    Frame { sequence: 0, epoch: 0, camera: camera.clone(), raw }
}

fn input(width: usize, height: usize) -> InputSpec {
    InputSpec { width, height, mean: [0.0; 3], std: [1.0; 3], resize: Resize::Stretch }
}

/// The mean of each channel after `bytes` are prepared as 8×6.
fn means(camera: &Arc<Camera>, bytes: &[u8]) -> Result<[f32; 3], BadFrame> {
    let mut prepare = Prepare::new(camera, &input(8, 6), &PrepareOptions::default()).unwrap();
    let mut out = vec![0; 192];
    prepare.run(&frame(camera, bytes), &mut out)?;
    Ok([0, 1, 2].map(|c| out.iter().skip(c).step_by(4).map(|&byte| f32::from(byte) / 255.0).sum::<f32>() / 48.0))
}

fn jpeg(width: usize, height: usize) -> Arc<Camera> {
    camera(Encoding::Mjpeg, width, height, Colour::FULL_DEFAULT)
}

fn without_tables(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (bytes[..2].to_vec(), 2);
    while bytes[at + 1] != 0xda {
        let end = at + 2 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        if bytes[at + 1] != 0xc4 {
            out.extend_from_slice(&bytes[at..end]);
        }
        at = end;
    }
    out.extend_from_slice(&bytes[at..]);
    out
}

#[test]
fn jpegs_of_every_subsampling_show_the_colours_they_were_made_of() {
    // The means of the picture that the files were made of, by numpy.
    let expected = [134.5 / 255.0, 124.0 / 255.0, 152.0 / 255.0];
    for (name, bytes) in FILES {
        let found = means(&jpeg(64, 48), bytes).unwrap();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 0.01, "{name}: {found}, expected {expected}");
        }
    }
}

#[test]
fn grey_and_odd_sized_jpegs_are_pictures_too() {
    let [r, g, b] = means(&jpeg(64, 48), GREY).unwrap();
    assert!(r == g && g == b && (0.45..0.6).contains(&r), "{r} {g} {b}");
    assert!(means(&jpeg(37, 23), ODD).is_ok());
}

#[test]
fn a_narrow_black_picture_is_whole_although_its_rows_are_a_few_bytes_long() {
    assert!(means(&jpeg(16, 64), NARROW).unwrap().iter().all(|mean| *mean < 1e-6));
}

#[test]
fn jpegs_without_huffman_tables_mean_the_standards() {
    for (name, bytes) in FILES {
        let bare = without_tables(bytes);
        assert_eq!(bare.len(), bytes.len() - 432, "{name}");
        assert_eq!(means(&jpeg(64, 48), &bare), means(&jpeg(64, 48), bytes), "{name}");
    }
}

#[test]
fn the_range_that_the_driver_states_beats_jpegs_own() {
    let limited = camera(Encoding::Mjpeg, 64, 48, Colour { matrix: Matrix::Bt601, range: Range::Limited });
    let full = means(&jpeg(64, 48), GREY).unwrap()[0];
    let found = means(&limited, GREY).unwrap()[0];
    assert!((found - (full * 255.0 - 16.0) / 219.0).abs() < 1e-4);
}

#[test]
fn padding_after_the_picture_is_allowed() {
    let mut padded = FILES[0].1.to_vec();
    padded.extend_from_slice(&[0; 999]);
    assert_eq!(means(&jpeg(64, 48), &padded), means(&jpeg(64, 48), FILES[0].1));
}

#[test]
fn a_jpeg_cut_off_anywhere_is_refused() {
    for (name, bytes) in FILES.into_iter().chain([("grey", GREY)]) {
        for cut in 0..bytes.len() {
            let error = means(&jpeg(64, 48), &bytes[..cut]).expect_err(&format!("{name} cut at {cut}"));
            assert!(error.0.contains("JPEG"), "{error}");
        }
    }
}

#[test]
fn a_jpeg_cut_off_and_ended_properly_is_refused() {
    for (name, bytes) in FILES.into_iter().chain([("grey", GREY)]) {
        let mut accepted = 0;
        for cut in 0..bytes.len() - 16 {
            let mut ended = bytes[..cut].to_vec();
            ended.extend_from_slice(&[0xff, 0xd9]);
            accepted += usize::from(means(&jpeg(64, 48), &ended).is_ok());
        }
        assert_eq!(accepted, 0, "{name}");
    }
}

#[test]
fn damaged_jpegs_are_refused_or_decoded_but_never_a_panic() {
    let mut seed = 1u32;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    let mut refused = 0;
    for round in 0..2000 {
        let (_, original) = FILES[round % FILES.len()];
        let mut bytes = original.to_vec();
        for _ in 0..=next(8) {
            let at = next(bytes.len());
            bytes[at] = next(256) as u8;
        }
        refused += usize::from(means(&jpeg(64, 48), &bytes).is_err());
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn another_size_than_negotiated_is_refused_with_both_sizes() {
    let error = means(&jpeg(640, 480), FILES[0].1).unwrap_err();
    assert_eq!(error.0, "JPEG of 64×48 where 640×480 was negotiated");
}

#[test]
fn raw_frames_that_are_too_short_are_refused() {
    let yuyv = camera(Encoding::Raw(PixelFormat::Yuyv), 16, 4, Colour::YUV_DEFAULT);
    assert!(means(&yuyv, &[128; 128]).is_ok());
    let error = means(&yuyv, &[128; 127]).unwrap_err();
    assert_eq!(error.0, "truncated: 127 bytes are too few for 16×4 TEST");
    assert!(means(&yuyv, &[]).is_err());
}

#[test]
fn a_crop_outside_the_picture_is_refused_at_once() {
    let options = PrepareOptions { crop: Some([600, 0, 100, 100]), ..PrepareOptions::default() };
    let error = Prepare::new(&jpeg(640, 480), &input(8, 6), &options).unwrap_err();
    assert!(error.contains("does not lie inside the camera's 640×480 picture"), "{error}");
}

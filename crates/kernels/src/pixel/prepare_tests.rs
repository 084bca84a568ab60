//! Preparation against a naive f64 reference that converts every pixel first and resizes afterwards.

use super::*;
use crate::pixel::{Matrix, Range};

const FORMATS: [PixelFormat; 9] = [
    PixelFormat::Yuyv,
    PixelFormat::Uyvy,
    PixelFormat::Nv12,
    PixelFormat::Yu12,
    PixelFormat::Yu16,
    PixelFormat::Yu24,
    PixelFormat::Ycc,
    PixelFormat::Rgb24,
    PixelFormat::Grey,
];
const MATRICES: [Matrix; 3] = [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020];

fn target(width: usize, height: usize) -> Target {
    Target {
        width,
        height,
        fill: [0; 3],
        resize: Resize::Stretch,
        crop: None,
        flip_horizontal: false,
        flip_vertical: false,
        rotate: 0,
    }
}

/// Planes with `pad` bytes more than a row needs, filled by `byte(plane, x, y)`.
struct Owned {
    format: PixelFormat,
    colour: Colour,
    width: usize,
    height: usize,
    planes: [Vec<u8>; 3],
    strides: [usize; 3],
}

impl Owned {
    fn new(format: PixelFormat, colour: Colour, (width, height): (usize, usize), pad: usize) -> Owned {
        let (sizes, count) = plane_sizes(format, width, height);
        let mut seed = 12345u32;
        let mut planes: [Vec<u8>; 3] = Default::default();
        let mut strides = [0; 3];
        for i in 0..count {
            strides[i] = sizes[i].0 + pad;
            planes[i] = (0..strides[i] * sizes[i].1)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (seed >> 24) as u8
                })
                .collect();
        }
        Owned { format, colour, width, height, planes, strides }
    }

    /// All pixels of one colour.
    fn flat(format: PixelFormat, colour: Colour, size: (usize, usize), codes: [u8; 3]) -> Owned {
        let mut picture = Owned::new(format, colour, size, 0);
        let pattern: [&[u8]; 3] = match format {
            PixelFormat::Yuyv => [&[codes[0], codes[1], codes[0], codes[2]], &[], &[]],
            PixelFormat::Uyvy => [&[codes[1], codes[0], codes[2], codes[0]], &[], &[]],
            PixelFormat::Nv12 => [&codes[..1], &codes[1..], &[]],
            PixelFormat::Ycc | PixelFormat::Rgb24 => [&codes, &[], &[]],
            _ => [&codes[..1], &codes[1..2], &codes[2..]],
        };
        for (plane, pattern) in picture.planes.iter_mut().zip(pattern) {
            plane.iter_mut().zip(pattern.iter().cycle()).for_each(|(byte, code)| *byte = *code);
        }
        picture
    }

    fn picture(&self) -> Picture<'_> {
        Picture {
            format: self.format,
            colour: self.colour,
            width: self.width,
            height: self.height,
            planes: [&self.planes[0], &self.planes[1], &self.planes[2]],
            strides: self.strides,
        }
    }

    /// The plane, its subsampling and the code of component `c` at its own sample (x, y).
    fn code(&self, c: usize, x: usize, y: usize) -> f64 {
        let at = |plane: usize, byte: usize| self.planes[plane][y * self.strides[plane] + byte] as f64;
        match (self.format, c) {
            (PixelFormat::Yuyv, 0) => at(0, 2 * x),
            (PixelFormat::Yuyv, c) => at(0, 4 * x + 2 * c - 1),
            (PixelFormat::Uyvy, 0) => at(0, 2 * x + 1),
            (PixelFormat::Uyvy, c) => at(0, 4 * x + 2 * c - 2),
            (PixelFormat::Nv12, 1 | 2) => at(1, 2 * x + c - 1),
            (PixelFormat::Ycc | PixelFormat::Rgb24, c) => at(0, 3 * x + c),
            (PixelFormat::Grey, _) => at(0, x),
            (_, c) => at(c, x),
        }
    }

    fn subsampling(&self, c: usize) -> (usize, usize) {
        match self.format {
            PixelFormat::Yuyv | PixelFormat::Uyvy | PixelFormat::Yu16 if c > 0 => (2, 1),
            PixelFormat::Nv12 | PixelFormat::Yu12 if c > 0 => (2, 2),
            _ => (1, 1),
        }
    }
}

fn rgb(format: PixelFormat, colour: Colour, [a, b, c]: [f64; 3]) -> [f64; 3] {
    let limited = colour.range == Range::Limited;
    let luma = |code: f64| if limited { (code - 16.0) / 219.0 } else { code / 255.0 };
    let chroma = |code: f64| (code - 128.0) / if limited { 224.0 } else { 255.0 };
    match format {
        PixelFormat::Rgb24 => [luma(a), luma(b), luma(c)],
        PixelFormat::Grey => [luma(a); 3],
        _ => {
            let (kr, kb) = match colour.matrix {
                Matrix::Bt601 => (0.299, 0.114),
                Matrix::Bt709 => (0.2126, 0.0722),
                Matrix::Bt2020 => (0.2627, 0.0593),
            };
            let red = luma(a) + 2.0 * (1.0 - kr) * chroma(c);
            let blue = luma(a) + 2.0 * (1.0 - kb) * chroma(b);
            [red, (luma(a) - kr * red - kb * blue) / (1.0 - kr - kb), blue]
        }
    }
}

/// The triangle filter, densely: what output sample `i` of `count` takes from each of `len` source samples.
fn weights(origin: f64, span: f64, first: usize, end: usize, count: usize, i: usize) -> Vec<(usize, f64)> {
    let scale = span / count as f64;
    let centre = origin + (i as f64 + 0.5) * scale;
    let all: Vec<(usize, f64)> = (first..end)
        .map(|x| (x, 1.0 - (x as f64 + 0.5 - centre).abs() / scale.max(1.0)))
        .filter(|(_, w)| *w > 0.0)
        .collect();
    let sum: f64 = all.iter().map(|(_, w)| w).sum();
    all.into_iter().map(|(x, w)| (x, w / sum)).collect()
}

/// What `made[1] × made[0]` pixels of the source become, unturned: `[y][x]` → RGB.
fn reference(owned: &Owned, crop: [usize; 4], seen: [f64; 4], made: [usize; 2]) -> Vec<Vec<[f64; 3]>> {
    let [left, top, width, height] = crop;
    (0..made[1])
        .map(|y| {
            (0..made[0])
                .map(|x| {
                    let mut codes = [0.0; 3];
                    for (c, code) in codes.iter_mut().enumerate() {
                        let (sx, sy) = owned.subsampling(c);
                        let (fx, fy) = (sx as f64, sy as f64);
                        let across =
                            weights(seen[0] / fx, seen[2] / fx, left / sx, (left + width).div_ceil(sx), made[0], x);
                        let down =
                            weights(seen[1] / fy, seen[3] / fy, top / sy, (top + height).div_ceil(sy), made[1], y);
                        for (v, down) in &down {
                            for (u, across) in &across {
                                *code += down * across * owned.code(c, *u, *v);
                            }
                        }
                    }
                    rgb(owned.format, owned.colour, codes).map(|v| v.clamp(0.0, 1.0))
                })
                .collect()
        })
        .collect()
}

/// RGB in 0…1, planar.
fn light(out: &[u8]) -> Vec<f32> {
    assert!(out.as_chunks::<4>().0.iter().all(|pixel| pixel[3] == 0));
    (0..3).flat_map(|c| out.iter().skip(c).step_by(4)).map(|&byte| f32::from(byte) / 255.0).collect()
}

/// Half a byte for the last rounding, and a quarter for weights that are whole numbers: of noise, which is the worst picture.
const ROUNDING: f64 = 0.75 / 255.0;

fn isas() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.available())
}

#[test]
fn every_format_at_odd_sizes_equals_the_reference() {
    // RGB of the full range needs no matrix.
    let formats = FORMATS.map(|format| (format, Colour::YUV_DEFAULT));
    for (format, colour) in formats.into_iter().chain([(PixelFormat::Rgb24, Colour::FULL_DEFAULT)]) {
        for (size, to) in [
            ((40, 30), (16, 12)),
            ((37, 23), (16, 9)),
            ((5, 3), (21, 10)),
            ((1, 1), (3, 2)),
            ((2, 9), (2, 3)),
            ((99, 7), (1, 1)),
            ((150, 70), (60, 20)),
            ((400, 300), (33, 7)),
            // 16 outputs that see as many samples as registers hold, and one more.
            ((77, 7), (20, 3)),
            ((78, 7), (20, 3)),
        ] {
            for pad in [0, 5] {
                // Every instruction set gives the same bytes.
                let mut first: Option<Vec<u8>> = None;
                for isa in isas() {
                    let owned = Owned::new(format, colour, size, pad);
                    let mut out = vec![7; 4 * to.0 * to.1];
                    let mut preparer =
                        Preparer::with_isa(isa, format, colour, size.0, size.1, &target(to.0, to.1)).unwrap();
                    preparer.run(&owned.picture(), &mut out).unwrap();
                    assert!(*first.get_or_insert_with(|| out.clone()) == out, "{isa} {format:?} {size:?} to {to:?}");
                    let out = light(&out);
                    let whole = [0.0, 0.0, size.0 as f64, size.1 as f64];
                    let expected = reference(&owned, [0, 0, size.0, size.1], whole, [to.0, to.1]);
                    for (i, value) in out.iter().enumerate() {
                        let (c, y, x) = (i / (to.0 * to.1), i / to.0 % to.1, i % to.0);
                        let difference = (*value as f64 - expected[y][x][c]).abs();
                        // Where a picture shrinks to less than an eighth, weights are coarser.
                        let allowed = if size.1 > 8 * to.1 { 1.5 / 255.0 } else { ROUNDING };
                        assert!(
                            difference < allowed,
                            "{isa} {format:?} {size:?} to {to:?} at {c},{y},{x}: {difference}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn known_colours_come_out_of_every_format_matrix_and_range() {
    let colours =
        [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.25, 0.5, 0.75]];
    for format in FORMATS {
        for matrix in MATRICES {
            for range in [Range::Limited, Range::Full] {
                for rgb in colours {
                    let (kr, kb) = crate::pixel::convert::luma_coefficients(matrix);
                    let luma = kr * rgb[0] + (1.0 - kr - kb) * rgb[1] + kb * rgb[2];
                    let cb = (rgb[2] - luma) / (2.0 * (1.0 - kb));
                    let cr = (rgb[0] - luma) / (2.0 * (1.0 - kr));
                    let (base, span, swing) =
                        if range == Range::Limited { (16.0, 219.0, 224.0) } else { (0.0, 255.0, 255.0) };
                    let (values, expected) = match format {
                        PixelFormat::Rgb24 => (rgb.map(|v| base + span * v), rgb),
                        PixelFormat::Grey => ([base + span * luma, 0.0, 0.0], [luma; 3]),
                        _ => ([base + span * luma, 128.0 + swing * cb, 128.0 + swing * cr], rgb),
                    };
                    let codes = values.map(|v| v.round().clamp(0.0, 255.0) as u8);
                    let colour = Colour { matrix, range };
                    let owned = Owned::flat(format, colour, (9, 5), codes);
                    let mut out = vec![0; 4 * 4 * 2];
                    Preparer::new(format, colour, 9, 5, &target(4, 2))
                        .unwrap()
                        .run(&owned.picture(), &mut out)
                        .unwrap();
                    for (i, value) in light(&out).iter().enumerate() {
                        // Codes are whole numbers: half a code of luma and of chroma is what may be lost, and full range
                        // has no code 255.5 for the purest blue and red.
                        let lost = (*value as f64 - expected[i / 8]).abs();
                        assert!(lost < 0.010, "{format:?} {colour:?} {rgb:?}: {value}, channel {}", i / 8);
                    }
                }
            }
        }
    }
}

#[test]
fn two_pictures_that_differ_only_by_range_differ_as_the_range_says() {
    for format in FORMATS {
        let value = |range: Range| {
            let colour = Colour { matrix: Matrix::Bt601, range };
            let owned = Owned::flat(
                format,
                colour,
                (8, 8),
                if format == PixelFormat::Rgb24 { [100; 3] } else { [100, 128, 128] },
            );
            let mut out = vec![0; 16];
            Preparer::new(format, colour, 8, 8, &target(2, 2)).unwrap().run(&owned.picture(), &mut out).unwrap();
            light(&out)
        };
        assert!(value(Range::Full).iter().all(|v| (v - 100.0 / 255.0).abs() < 1e-6), "{format:?}");
        assert!(value(Range::Limited).iter().all(|v| (v - 98.0 / 255.0).abs() < 1e-6), "{format:?}");
    }
}

#[test]
fn the_pictures_own_colour_beats_the_one_given_before() {
    let limited = Colour { matrix: Matrix::Bt709, range: Range::Limited };
    let owned = Owned::flat(PixelFormat::Yuyv, limited, (4, 4), [235, 128, 128]);
    let mut out = vec![0; 4];
    let mut preparer = Preparer::new(PixelFormat::Yuyv, Colour::FULL_DEFAULT, 4, 4, &target(1, 1)).unwrap();
    preparer.run(&owned.picture(), &mut out).unwrap();
    assert_eq!(out, [255, 255, 255, 0]);
}

#[test]
fn rgb_that_changes_its_range_comes_out_as_if_it_always_had_it() {
    let (size, target) = ((150, 70), target(60, 20));
    let mut changing = Preparer::new(PixelFormat::Rgb24, Colour::FULL_DEFAULT, size.0, size.1, &target).unwrap();
    for range in [Range::Full, Range::Limited, Range::Full] {
        let colour = Colour { range, ..Colour::FULL_DEFAULT };
        let owned = Owned::new(PixelFormat::Rgb24, colour, size, 3);
        let mut out = [vec![0; 4 * 60 * 20], vec![0; 4 * 60 * 20]];
        changing.run(&owned.picture(), &mut out[0]).unwrap();
        let mut fresh = Preparer::new(PixelFormat::Rgb24, colour, size.0, size.1, &target).unwrap();
        fresh.run(&owned.picture(), &mut out[1]).unwrap();
        assert!(out[0] == out[1], "{range:?}");
    }
}

#[test]
fn every_kernel_gives_the_same_bytes_however_a_picture_is_placed() {
    for (format, colour) in [(PixelFormat::Rgb24, Colour::FULL_DEFAULT), (PixelFormat::Nv12, Colour::YUV_DEFAULT)] {
        let owned = Owned::new(format, colour, (150, 70), 5);
        let turns = (0..4).flat_map(|rotate| [(rotate, false, false), (rotate, true, false), (rotate, false, true)]);
        for (rotate, flip_horizontal, flip_vertical) in turns {
            for resize in [Resize::Stretch, Resize::Crop, Resize::Letterbox] {
                for (crop, (width, height)) in [(None, (61, 30)), (None, (40, 59)), (Some([7, 3, 120, 61]), (53, 37))] {
                    let fill = [1, 2, 3];
                    let target =
                        Target { fill, resize, crop, rotate, flip_horizontal, flip_vertical, ..target(width, height) };
                    let mut first: Option<Vec<u8>> = None;
                    for isa in isas() {
                        let mut out = vec![7; 4 * width * height];
                        Preparer::with_isa(isa, format, colour, 150, 70, &target)
                            .unwrap()
                            .run(&owned.picture(), &mut out)
                            .unwrap();
                        assert!(*first.get_or_insert_with(|| out.clone()) == out, "{isa} {format:?} {target:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_whiter_than_white_or_blacker_than_black_is_clamped_after_the_resize() {
    for (code, expected) in [(255, 255), (0, 0)] {
        let owned = Owned::flat(PixelFormat::Nv12, Colour::YUV_DEFAULT, (4, 4), [code, 128, 128]);
        let mut out = vec![100; 4];
        Preparer::new(PixelFormat::Nv12, Colour::YUV_DEFAULT, 4, 4, &target(1, 1))
            .unwrap()
            .run(&owned.picture(), &mut out)
            .unwrap();
        assert_eq!(out, [expected, expected, expected, 0]);
    }
}

#[test]
fn pictures_of_the_networks_size_stay_as_they_are() {
    for (crop, rotate) in [(None, 0), (None, 1), (None, 2), (Some([2, 1, 4, 4]), 0), (Some([2, 1, 4, 4]), 3)] {
        let owned = Owned::new(PixelFormat::Rgb24, Colour::FULL_DEFAULT, (6, 6), 5);
        let side = if crop.is_some() { 4 } else { 6 };
        let target = Target { crop, rotate, ..target(side, side) };
        let mut out = vec![0; 4 * side * side];
        let mut preparer = Preparer::new(PixelFormat::Rgb24, Colour::FULL_DEFAULT, 6, 6, &target).unwrap();
        preparer.run(&owned.picture(), &mut out).unwrap();
        let (left, top) = if crop.is_some() { (2, 1) } else { (0, 0) };
        for (c, y, x) in (0..3 * side * side).map(|i| (i / (side * side), i / side % side, i % side)) {
            let last = side - 1;
            let (row, column) = [(y, x), (last - x, y), (last - y, last - x), (x, last - y)][usize::from(rotate)];
            let byte = owned.planes[0][(top + row) * owned.strides[0] + (left + column) * 3 + c];
            assert_eq!(out[(y * side + x) * 4 + c], byte, "{crop:?} {rotate} {c} {y} {x}");
        }
    }
}

#[test]
fn turns_and_flips_move_pixels_and_change_nothing_else() {
    // 3 wide, 2 high, every pixel its own value: A B C / D E F.
    for format in [PixelFormat::Grey, PixelFormat::Rgb24] {
        let step = if format == PixelFormat::Grey { 1 } else { 3 };
        let mut owned = Owned::new(format, Colour::FULL_DEFAULT, (3, 2), 2);
        for y in 0..2 {
            for x in 0..3 * step {
                owned.planes[0][y * owned.strides[0] + x] = b"ABCDEF"[y * 3 + x / step];
            }
        }
        let turn = |rotate: u8, flip_horizontal: bool, flip_vertical: bool| -> String {
            let (width, height) = if rotate % 2 == 1 { (2, 3) } else { (3, 2) };
            let target = Target { rotate, flip_horizontal, flip_vertical, ..target(width, height) };
            let mut out = vec![0; 24];
            Preparer::new(format, Colour::FULL_DEFAULT, 3, 2, &target)
                .unwrap()
                .run(&owned.picture(), &mut out)
                .unwrap();
            assert!(out.as_chunks::<4>().0.iter().all(|[r, g, b, _]| r == g && g == b));
            out.iter().step_by(4).map(|&byte| byte as char).collect()
        };
        assert_eq!(turn(0, false, false), "ABCDEF");
        assert_eq!(turn(1, false, false), "DAEBFC");
        assert_eq!(turn(2, false, false), "FEDCBA");
        assert_eq!(turn(3, false, false), "CFBEAD");
        assert_eq!(turn(0, true, false), "CBAFED");
        assert_eq!(turn(0, false, true), "DEFABC");
        assert_eq!(turn(1, true, false), "ADBECF");
        assert_eq!(turn(1, false, true), "FCEBDA");
        assert_eq!(turn(2, true, true), "ABCDEF");
        assert_eq!(turn(3, true, false), "FCEBDA");
    }
}

#[test]
fn a_user_crop_reads_nothing_else() {
    for format in FORMATS {
        let owned = Owned::new(format, Colour::YUV_DEFAULT, (31, 21), 3);
        let crop = [4, 6, 15, 11];
        let target = Target { crop: Some(crop), ..target(7, 5) };
        let mut out = vec![0; 4 * 35];
        Preparer::new(format, Colour::YUV_DEFAULT, 31, 21, &target).unwrap().run(&owned.picture(), &mut out).unwrap();
        let expected = reference(&owned, crop, crop.map(|v| v as f64), [7, 5]);
        for (i, value) in light(&out).iter().enumerate() {
            assert!((*value as f64 - expected[i / 7 % 5][i % 7][i / 35]).abs() < ROUNDING, "{format:?} {i}");
        }
    }
}

#[test]
fn crop_cuts_evenly_and_letterbox_fills_with_a_plain_colour() {
    let owned = Owned::new(PixelFormat::Yuyv, Colour::YUV_DEFAULT, (40, 20), 0);
    let mut out = vec![0; 4 * 64];
    let run = |target: &Target, out: &mut [u8]| {
        Preparer::new(PixelFormat::Yuyv, Colour::YUV_DEFAULT, 40, 20, target)
            .unwrap()
            .run(&owned.picture(), out)
            .unwrap();
    };
    run(&Target { resize: Resize::Crop, ..target(8, 8) }, &mut out);
    let expected = reference(&owned, [0, 0, 40, 20], [10.0, 0.0, 20.0, 20.0], [8, 8]);
    for (i, value) in light(&out).iter().enumerate() {
        assert!((*value as f64 - expected[i / 8 % 8][i % 8][i / 64]).abs() < ROUNDING, "crop {i}");
    }
    let fill = [51, 102, 153];
    out.fill(7);
    run(&Target { resize: Resize::Letterbox, fill, ..target(8, 8) }, &mut out);
    let expected = reference(&owned, [0, 0, 40, 20], [0.0, 0.0, 40.0, 20.0], [8, 4]);
    for (i, value) in light(&out).iter().enumerate() {
        let (c, y, x) = (i / 64, i / 8 % 8, i % 8);
        let inside = (2..6).contains(&y);
        let expected = if inside { expected[y - 2][x][c] } else { f64::from(fill[c]) / 255.0 };
        assert!((*value as f64 - expected).abs() < ROUNDING, "letterbox {i}");
    }
    // Turned by a quarter, the bars stand left and right.
    let unturned = out.clone();
    out.fill(7);
    run(&Target { resize: Resize::Letterbox, fill, rotate: 1, ..target(8, 8) }, &mut out);
    let pixels = |out: &[u8]| out.as_chunks::<4>().0.to_vec();
    assert!(pixels(&out).chunks(8).all(|row| row[..2] == row[6..] && row[..2] == [[51, 102, 153, 0]; 2]));
    assert_ne!(pixels(&unturned)[2 * 8], [51, 102, 153, 0]);
}

#[test]
fn impossible_targets_and_pictures_are_errors_and_never_panics() {
    let new = |width, height, target: &Target| {
        Preparer::new(PixelFormat::Nv12, Colour::YUV_DEFAULT, width, height, target).err()
    };
    assert!(new(0, 4, &target(1, 1)).is_some());
    assert!(new(4, usize::MAX, &target(1, 1)).is_some());
    assert!(new(4, 4, &target(0, 1)).is_some());
    assert!(new(4, 4, &target(1, MAX_SIDE + 1)).is_some());
    for crop in [[0, 0, 5, 4], [4, 0, 1, 1], [0, 0, 0, 1], [usize::MAX, 0, 2, 2]] {
        let message = new(4, 4, &Target { crop: Some(crop), ..target(1, 1) }).unwrap();
        assert!(message.contains("does not lie inside the camera's 4×4 picture"), "{message}");
    }
    assert!(new(4, 4, &Target { rotate: 4, ..target(1, 1) }).is_some());
    assert_eq!(new(MAX_SIDE, MAX_SIDE, &target(3, 3)), None);

    let mut preparer = Preparer::new(PixelFormat::Nv12, Colour::YUV_DEFAULT, 5, 5, &target(2, 2)).unwrap();
    let owned = Owned::new(PixelFormat::Nv12, Colour::YUV_DEFAULT, (5, 5), 0);
    let mut out = vec![0; 16];
    assert_eq!(preparer.run(&owned.picture(), &mut out[..15]), Err(Mismatch::Output));
    assert_eq!(preparer.run(&Picture { width: 4, ..owned.picture() }, &mut out), Err(Mismatch::Picture));
    assert_eq!(preparer.run(&Picture { strides: [4, 6, 0], ..owned.picture() }, &mut out), Err(Mismatch::Plane(0)));
    assert_eq!(
        preparer.run(&Picture { strides: [5, usize::MAX, 0], ..owned.picture() }, &mut out),
        Err(Mismatch::Plane(1))
    );
    let planes = [&owned.planes[0][..24], &owned.planes[1][..], &[]];
    assert_eq!(preparer.run(&Picture { planes, ..owned.picture() }, &mut out), Err(Mismatch::Plane(0)));
    assert_eq!(preparer.run(&owned.picture(), &mut out), Ok(()));
}

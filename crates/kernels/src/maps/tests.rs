//! Every map against a naive loop that knows nothing of runs and lanes.

use super::*;

/// Small, repeatable noise in −1…1 (Numerical Recipes' quick generator).
fn noise(n: usize, mut seed: u32) -> Vec<f32> {
    (0..n)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn sample(map: &[f32], (h, w): (usize, usize), (oh, ow): (usize, usize), y: usize, x: usize) -> f32 {
    let place = |i: usize, source: usize, out: usize| {
        let position = ((i as f64 + 0.5) * source as f64 / out as f64 - 0.5).clamp(0.0, source as f64 - 1.0);
        let left = position as usize;
        (left, (left + 1).min(source - 1), (position - left as f64) as f32)
    };
    let (y0, y1, fy) = place(y, h, oh);
    let (x0, x1, fx) = place(x, w, ow);
    let column = |x: usize| map[y0 * w + x] + (map[y1 * w + x] - map[y0 * w + x]) * fy;
    column(x0) + (column(x1) - column(x0)) * fx
}

const SHAPES: [((usize, usize), (usize, usize)); 14] = [
    ((32, 64), (128, 256)),
    ((5, 17), (10, 34)),
    ((3, 18), (12, 72)),
    ((2, 40), (6, 320)),
    ((4, 33), (4, 99)),
    ((16, 32), (128, 256)),
    ((17, 23), (128, 256)),
    ((1, 1), (5, 7)),
    ((5, 7), (1, 1)),
    ((4, 4), (4, 4)),
    ((9, 31), (13, 33)),
    ((20, 40), (7, 9)),
    ((2, 3), (100, 101)),
    ((3, 1), (8, 8)),
];

#[test]
fn segmentation_is_the_argmax_of_the_upsampled_logits() {
    for (seed, (from, to)) in SHAPES.into_iter().enumerate() {
        for classes in [1, 2, 8, 19] {
            // Coarse values, so that ties do happen.
            let logits: Vec<f32> =
                noise(classes * from.0 * from.1, seed as u32 + 1).iter().map(|v| (v * 2.0).round()).collect();
            let mut out = vec![255; to.0 * to.1];
            let mut up = Upsampler::new(from.0, from.1, to.0, to.1).unwrap();
            up.segmentation(&logits, classes, &mut out).unwrap();
            for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.available()) {
                let mut other = vec![254; to.0 * to.1];
                up.kernel = kernel;
                up.segmentation(&logits, classes, &mut other).unwrap();
                assert_eq!(other, out, "{kernel} {from:?} to {to:?}");
            }
            for y in 0..to.0 {
                for x in 0..to.1 {
                    let value = |c: usize| sample(&logits[c * from.0 * from.1..], from, to, y, x);
                    let expected = (0..classes).fold(0, |best, c| if value(c) > value(best) { c } else { best });
                    assert_eq!(out[y * to.1 + x] as usize, expected, "{from:?} to {to:?} at {y},{x}");
                }
            }
        }
    }
}

#[test]
fn a_class_that_is_nan_never_wins_and_ties_go_to_the_lowest() {
    let mut up = Upsampler::new(1, 1, 1, 2).unwrap();
    let mut out = [9; 2];
    up.segmentation(&[f32::NAN, -5.0], 2, &mut out).unwrap();
    assert_eq!(out, [1, 1]);
    up.segmentation(&[f32::NAN, f32::NAN], 2, &mut out).unwrap();
    assert_eq!(out, [0, 0]);
    up.segmentation(&[0.5, 1.0, 1.0], 3, &mut out).unwrap();
    assert_eq!(out, [1, 1]);
}

#[test]
fn classes_of_cells_that_are_alike_are_those_of_runs_with_every_kernel() {
    for (seed, size) in [2, 4, 8].into_iter().enumerate() {
        for (height, width) in [(2, 2), (3, 15), (4, 16), (3, 17), (5, 64)] {
            for classes in [1, 3, 8, 21] {
                let (out_height, out_width) = (size * height, size * width);
                let logits = noise(classes * height * width, seed as u32 + 50);
                let mut up = Upsampler::new(height, width, out_height, out_width).unwrap();
                assert_eq!(up.columns.cells.map(|cells| cells.size), Some(size));
                let mut runs = vec![255; out_height * out_width];
                let mut without = up.clone();
                without.columns.cells = None;
                without.segmentation(&logits, classes, &mut runs).unwrap();
                for kernel in kernels() {
                    up.kernel = kernel;
                    let mut cells = vec![254; runs.len()];
                    up.segmentation(&logits, classes, &mut cells).unwrap();
                    assert!(cells == runs, "{kernel}: {classes} classes, {width} cells of {size}");
                }
            }
        }
    }
}

fn kernels() -> impl Iterator<Item = Kernel> {
    Kernel::ALL.into_iter().filter(|kernel| kernel.available())
}

fn upsampler(kernel: Kernel, from: (usize, usize), to: (usize, usize)) -> Upsampler {
    let mut up = Upsampler::new(from.0, from.1, to.0, to.1).unwrap();
    up.kernel = kernel;
    up
}

#[test]
fn raw_maps_are_upsampled_and_nothing_else_with_every_kernel() {
    for kernel in kernels() {
        for (seed, (from, to)) in SHAPES.into_iter().enumerate() {
            let map = noise(3 * from.0 * from.1, seed as u32 + 100);
            let mut out = vec![0.0; 3 * to.0 * to.1];
            upsampler(kernel, from, to).raw(&map, 3, &mut out).unwrap();
            for (i, value) in out.iter().enumerate() {
                let (c, y, x) = (i / (to.0 * to.1), i / to.1 % to.0, i % to.1);
                assert_eq!(value.to_bits(), sample(&map[c * from.0 * from.1..], from, to, y, x).to_bits(), "{kernel}");
            }
        }
    }
}

#[test]
fn depth_is_decoded_after_upsampling_to_the_same_bits_with_every_kernel() {
    for (from, to) in [((6, 5), (24, 17)), ((6, 5), (24, 20)), ((5, 33), (10, 66)), ((3, 17), (24, 136))] {
        let map: Vec<f32> = noise(from.0 * from.1, 7).iter().map(|v| v + 1.5).collect();
        for encoding in [DepthEncoding::Metres, DepthEncoding::Log, DepthEncoding::Inverse] {
            let decode = |v: f64| match encoding {
                DepthEncoding::Metres => v,
                DepthEncoding::Log => v.exp(),
                DepthEncoding::Inverse => 1.0 / v,
            };
            let mut first: Option<Vec<u32>> = None;
            for kernel in kernels() {
                let mut out = vec![0.0; to.0 * to.1];
                upsampler(kernel, from, to).depth(&map, encoding, &mut out).unwrap();
                for (i, value) in out.iter().enumerate() {
                    let expected = decode(sample(&map, from, to, i / to.1, i % to.1) as f64);
                    let difference = (*value as f64 - expected).abs();
                    assert!(difference <= 1e-6 * expected.abs(), "{kernel}, {encoding:?}: {value} {expected}");
                }
                let bits: Vec<u32> = out.iter().map(|value| value.to_bits()).collect();
                assert!(*first.get_or_insert_with(|| bits.clone()) == bits, "{kernel}, {encoding:?}");
            }
        }
    }
}

#[test]
fn logarithms_that_are_extreme_are_decoded_as_such_beside_rows_of_usual_ones() {
    let one = |value: f32| {
        let mut metres = [0.0];
        depth::to_metres(DepthEncoding::Log, &[value], u32::MAX, &mut metres);
        metres[0]
    };
    let extremes = [100.0, -100.0, 88.5, -87.6, 80.5, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    for (from, to) in
        [((16, 5), (64, 17)), ((16, 5), (64, 20)), ((16, 33), (32, 66)), ((16, 17), (128, 136)), ((16, 2), (64, 8))]
    {
        let mut map = noise(from.0 * from.1, 9);
        // On every other row, here and there.
        for (i, extreme) in extremes.into_iter().enumerate() {
            map[2 * i * from.1 + i % from.1] = extreme;
        }
        let (rows, columns) = (Axis::new(from.0, to.0), Axis::new(from.1, to.1));
        for kernel in kernels() {
            let mut out = vec![0.0; to.0 * to.1];
            upsampler(kernel, from, to).depth(&map, DepthEncoding::Log, &mut out).unwrap();
            for (i, found) in out.iter().enumerate() {
                let (y, x) = (i / to.1, i % to.1);
                let value = sample(&map, from, to, y, x);
                let value = if value.is_finite() { value } else { map[rows.nearest(y) * from.1 + columns.nearest(x)] };
                let expected = one(value);
                assert!(
                    found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(),
                    "{kernel}: {found}, expected {expected} of {value}"
                );
            }
        }
    }
}

#[test]
fn an_infinite_sample_reaches_its_nearest_pixels_only() {
    for kernel in kernels() {
        let mut out = [0.0; 8];
        let mut up = upsampler(kernel, (1, 2), (1, 8));
        up.depth(&[3.0, f32::INFINITY], DepthEncoding::Metres, &mut out).unwrap();
        assert_eq!(out, [3.0, 3.0, 3.0, 3.0, f32::INFINITY, f32::INFINITY, f32::INFINITY, f32::INFINITY]);
        up.depth(&[f32::NAN, 2.0], DepthEncoding::Inverse, &mut out).unwrap();
        assert!(out[..4].iter().all(|v| v.is_nan()));
        assert_eq!(out[4..], [0.5; 4]);
    }
}

#[test]
fn normals_come_out_with_unit_length_times_127_and_the_same_with_every_kernel() {
    for (from, to) in
        [((5, 9), (20, 31)), ((5, 9), (10, 18)), ((5, 17), (20, 68)), ((3, 4), (24, 32)), ((2, 33), (8, 132))]
    {
        let (source, pixels) = (from.0 * from.1, to.0 * to.1);
        let map = noise(3 * source, 3);
        let mut first: Option<Vec<i8>> = None;
        for kernel in kernels() {
            let mut out = vec![0; 3 * pixels];
            upsampler(kernel, from, to).normals(&map, &mut out).unwrap();
            for i in 0..pixels {
                let at = |c: usize| sample(&map[c * source..], from, to, i / to.1, i % to.1) as f64;
                let v: Vec<f64> = (0..3).map(at).collect();
                let length = v.iter().map(|v| v * v).sum::<f64>().sqrt();
                for c in 0..3 {
                    let expected = v[c] / length * 127.0;
                    assert!((out[c * pixels + i] as f64 - expected).abs() <= 0.501, "{kernel}");
                }
            }
            assert!(*first.get_or_insert_with(|| out.clone()) == out, "{kernel}");
        }
    }
}

#[test]
fn a_normal_without_direction_is_zero() {
    for kernel in kernels() {
        for (from, to) in [((1, 1), (1, 1)), ((2, 2), (4, 4))] {
            let (source, pixels) = (from.0 * from.1, to.0 * to.1);
            let mut up = upsampler(kernel, from, to);
            let mut out = vec![1; 3 * pixels];
            for bad in [0.0, -0.0, f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-20] {
                let map: Vec<f32> = [0.0, bad, 0.0].into_iter().flat_map(|part| vec![part; source]).collect();
                up.normals(&map, &mut out).unwrap();
                assert_eq!(out, vec![0; 3 * pixels], "{kernel}: {bad}");
            }
            for small in [1e-5, 1e-11, 1e18] {
                let map: Vec<f32> = [0.0, 0.0, -small].into_iter().flat_map(|part| vec![part; source]).collect();
                up.normals(&map, &mut out).unwrap();
                assert!(out[2 * pixels..].iter().all(|&z| z == -127), "{kernel}: {small}");
            }
        }
    }
}

#[test]
fn wrong_lengths_and_impossible_shapes_are_errors() {
    assert!(Upsampler::new(0, 1, 1, 1).is_err());
    assert!(Upsampler::new(1, 1, 1, usize::MAX).is_err());
    let mut up = Upsampler::new(2, 2, 4, 4).unwrap();
    assert!(up.segmentation(&[0.0; 7], 2, &mut [0; 16]).is_err());
    assert!(up.segmentation(&[0.0; 8], 2, &mut [0; 15]).is_err());
    assert!(up.segmentation(&[], 0, &mut [0; 16]).is_err());
    assert!(up.segmentation(&[0.0; 4], usize::MAX, &mut [0; 16]).is_err());
    let message = up.depth(&[0.0; 3], DepthEncoding::Log, &mut [0.0; 16]).unwrap_err().to_string();
    assert_eq!(message, "depth: expected 1×2×2 values, found 3");
    assert!(up.normals(&[0.0; 12], &mut [0; 47]).is_err());
    assert!(up.raw(&[0.0; 12], 3, &mut [0.0; 47]).is_err());
}

//! Resizing against ONNX's definition: bilinear in f32, in the order of operations that is promised, and near the mean in f64.

use milad_kernels::int8::{Coordinates, Kernel, Layout, Mode, PlaneMut, Quantisation, Resize, Rounding};

use crate::tensor::{Random, Tensor, check, kernels};

fn position(coordinates: Coordinates, o: usize, from: usize, to: usize) -> f64 {
    let (o, from, to) = (o as f64, from as f64, to as f64);
    match coordinates {
        Coordinates::HalfPixel => (o + 0.5) * from / to - 0.5,
        Coordinates::Asymmetric => o * from / to,
        Coordinates::AlignCorners => o * (from - 1.0) / (to - 1.0).max(1.0),
    }
}

const COORDINATES: [Coordinates; 3] = [Coordinates::HalfPixel, Coordinates::Asymmetric, Coordinates::AlignCorners];
const SIZES: [([usize; 2], [usize; 2]); 6] =
    [([4, 6], [8, 12]), ([3, 5], [12, 20]), ([8, 8], [4, 2]), ([5, 7], [9, 4]), ([1, 3], [1, 9]), ([6, 1], [1, 5])];

/// What bilinear resizing promises, and the mean in f64: in codes, not rounded.
fn blended(
    input: &Tensor,
    [channel, row, column]: [usize; 3],
    [from, to]: [[usize; 2]; 2],
    coordinates: Coordinates,
    [x, y]: [Quantisation; 2],
) -> (f32, f64) {
    let axis = |o: usize, axis: usize| {
        let (o, scale, [from, to]) = (o as f32, to[axis] as f32 / from[axis] as f32, [from[axis], to[axis]]);
        let at = match coordinates {
            Coordinates::HalfPixel => (o + 0.5) / scale - 0.5,
            Coordinates::Asymmetric => o / scale,
            Coordinates::AlignCorners => o * (from as f32 - 1.0) / (to as f32 - 1.0).max(1.0),
        };
        let at = at.clamp(0.0, from as f32 - 1.0);
        let near = at.floor();
        let far = (near + 1.0).min(from as f32 - 1.0);
        let weights = if near == far { [0.5, 0.5] } else { [far - at, at - near] };
        ([near as isize, far as isize], weights)
    };
    let ((rows, down), (columns, along)) = (axis(row, 0), axis(column, 1));
    let (mut sum, mut mean) = (0.0f32, 0.0f64);
    for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let code = f32::from(input.at(channel, rows[i], columns[j]).unwrap()) - f32::from(x.zero_point);
        sum += along[j] * down[i] * (code * x.scale);
        mean += f64::from(along[j]) * f64::from(down[i]) * f64::from(code);
    }
    (sum / y.scale, mean * f64::from(x.scale) / f64::from(y.scale))
}

#[test]
fn bilinear_codes_are_the_rounded_mean_of_four() {
    let mut random = Random(29);
    for ((from, to), coordinates) in SIZES.into_iter().flat_map(|sizes| COORDINATES.map(|grid| (sizes, grid))) {
        for (scales, channels) in [([0.3, 0.3], 5), ([0.3, 0.17], 37)] {
            let q = [Quantisation::new(scales[0], 90).unwrap(), Quantisation::new(scales[1], 33).unwrap()];
            let input = Tensor::random(Layout::new(from[0], from[1], channels, 1).unwrap(), 90, &mut random);
            let expected = |channel, row, column| {
                let (sum, mean) = blended(&input, [channel, row, column], [from, to], coordinates, q);
                assert!((f64::from(sum) - mean).abs() < 1e-3, "{sum} {mean}");
                (sum.round_ties_even() + 33.0).clamp(0.0, 255.0) as u8
            };
            for kernel in kernels() {
                let resize = Resize::new(kernel, from, to, Mode::Linear, coordinates, q).unwrap();
                let layout = Layout::new(to[0], to[1], channels, 1).unwrap();
                check(
                    &format!("{kernel}, {from:?} to {to:?}, {coordinates:?}, {scales:?}"),
                    layout,
                    expected,
                    |part| {
                        resize.run(input.plane(), part).unwrap();
                    },
                );
            }
        }
    }
}

#[test]
fn nearest_codes_are_those_of_the_right_neighbour() {
    let mut random = Random(31);
    let scale = Quantisation::new(0.3, 90).unwrap();
    for (from, to) in SIZES {
        for coordinates in COORDINATES {
            for rounding in [Rounding::PreferFloor, Rounding::PreferCeil, Rounding::Floor, Rounding::Ceil] {
                let input = Tensor::random(Layout::new(from[0], from[1], 6, 0).unwrap(), 90, &mut random);
                let resize =
                    Resize::new(Kernel::Portable, from, to, Mode::Nearest(rounding), coordinates, [scale; 2]).unwrap();
                let expected = |channel: usize, row: usize, column: usize| {
                    let at = |o: usize, axis: usize| {
                        // Thirds and fifths are not exact in f64; whole and half positions must be.
                        let position = (position(coordinates, o, from[axis], to[axis]) * 1e9).round() / 1e9;
                        let near = match rounding {
                            Rounding::PreferFloor => (position - 0.5).ceil(),
                            Rounding::PreferCeil => (position + 0.5).floor(),
                            Rounding::Floor => position.floor(),
                            Rounding::Ceil => position.ceil(),
                        };
                        near.clamp(0.0, (from[axis] - 1) as f64) as isize
                    };
                    input.at(channel, at(row, 0), at(column, 1)).unwrap()
                };
                let layout = Layout::new(to[0], to[1], 6, 1).unwrap();
                check(&format!("{from:?} to {to:?}, {coordinates:?}, {rounding:?}"), layout, expected, |part| {
                    resize.run(input.plane(), part).unwrap();
                });
            }
        }
    }
}

#[test]
fn other_sizes_are_refused() {
    let scale = Quantisation::new(0.3, 90).unwrap();
    let new = |from, to| Resize::new(Kernel::Portable, from, to, Mode::Linear, Coordinates::HalfPixel, [scale; 2]);
    assert!(new([0, 1], [1, 1]).is_err());
    let input = Tensor::new(Layout::new(4, 4, 3, 0).unwrap(), 90, |_, _, _| 0);
    let mut bytes = vec![0; 4096];
    let mut output = PlaneMut::new(Layout::new(8, 8, 3, 0).unwrap(), &mut bytes).unwrap();
    assert!(new([4, 4], [8, 8]).unwrap().run(input.plane(), &mut output).is_ok());
    assert!(new([4, 4], [8, 16]).unwrap().run(input.plane(), &mut output).is_err());
    assert!(new([4, 2], [8, 8]).unwrap().run(input.plane(), &mut output).is_err());
}

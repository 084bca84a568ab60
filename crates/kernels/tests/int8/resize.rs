//! Resizing against ONNX's definition in f64.

use milad_kernels::int8::{Coordinates, Layout, Mode, PlaneMut, Quantisation, Resize, Rounding};

use crate::tensor::{Random, Tensor, check};

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

#[test]
fn bilinear_codes_are_the_rounded_mean_of_four() {
    let mut random = Random(29);
    for (from, to) in SIZES {
        for coordinates in COORDINATES {
            for (scales, channels) in [([0.3, 0.3], 5), ([0.3, 0.17], 16)] {
                let (x, y) = (Quantisation::new(scales[0], 90).unwrap(), Quantisation::new(scales[1], 33).unwrap());
                let input = Tensor::random(Layout::new(from[0], from[1], channels, 1).unwrap(), 90, &mut random);
                let resize = Resize::new(from, to, Mode::Linear, coordinates, x, y).unwrap();
                let layout = Layout::new(to[0], to[1], channels, 1).unwrap();
                let mean = |channel: usize, row: usize, column: usize| {
                    let axis = |o, axis: usize| {
                        let at = position(coordinates, o, from[axis], to[axis]).clamp(0.0, (from[axis] - 1) as f64);
                        let near = (at + 1e-9).floor();
                        (near as usize, (near as usize + 1).min(from[axis] - 1), (at - near).max(0.0))
                    };
                    let ((top, bottom, down), (left, right, along)) = (axis(row, 0), axis(column, 1));
                    let code = |row: usize, column: usize| {
                        f64::from(input.at(channel, row as isize, column as isize).unwrap()) - 90.0
                    };
                    let upper = code(top, left) * (1.0 - along) + code(top, right) * along;
                    let lower = code(bottom, left) * (1.0 - along) + code(bottom, right) * along;
                    upper * (1.0 - down) + lower * down
                };
                // Weights like 1/3 are not exact in f64: what is meant to lie halfway, or on a code, is put there.
                let expected = |channel, row, column| {
                    let mean = mean(channel, row, column);
                    let half = (mean * 2.0).round() / 2.0;
                    let mean = if (mean - half).abs() < 1e-9 { half } else { mean };
                    ((mean as f32 * (x.scale / y.scale)).round_ties_even() + 33.0).clamp(0.0, 255.0) as u8
                };
                check(&format!("{from:?} to {to:?}, {coordinates:?}, {scales:?}"), layout, expected, |part| {
                    resize.run(input.plane(), part).unwrap();
                });
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
                let resize = Resize::new(from, to, Mode::Nearest(rounding), coordinates, scale, scale).unwrap();
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
fn other_sizes_and_fractions_too_fine_are_refused() {
    let scale = Quantisation::new(0.3, 90).unwrap();
    let new = |from, to| Resize::new(from, to, Mode::Linear, Coordinates::HalfPixel, scale, scale);
    assert!(new([0, 1], [1, 1]).is_err());
    assert!(new([997, 991], [1009, 1013]).is_err());
    let input = Tensor::new(Layout::new(4, 4, 3, 0).unwrap(), 90, |_, _, _| 0);
    let mut bytes = vec![0; 4096];
    let mut output = PlaneMut::new(Layout::new(8, 8, 3, 0).unwrap(), &mut bytes).unwrap();
    assert!(new([4, 4], [8, 8]).unwrap().run(input.plane(), &mut output).is_ok());
    assert!(new([4, 4], [8, 16]).unwrap().run(input.plane(), &mut output).is_err());
    assert!(new([4, 2], [8, 8]).unwrap().run(input.plane(), &mut output).is_err());
}

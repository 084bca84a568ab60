//! Addition against its definition, for all pairs of codes.

use milad_kernels::int8::{Add, Layout, Quantisation};

use crate::tensor::{Tensor, check, kernels};

/// The sum of two codes as the operator defines it.
pub fn defined([(a, qa), (b, qb)]: [(u8, Quantisation); 2], y: Quantisation) -> u8 {
    let (ra, rb) = (qa.scale / y.scale, qb.scale / y.scale);
    let offset = f32::from(y.zero_point) - ra.mul_add(f32::from(qa.zero_point), rb * f32::from(qb.zero_point));
    f32::from(a).mul_add(ra, f32::from(b).mul_add(rb, offset)).round_ties_even().clamp(0.0, 255.0) as u8
}

#[test]
fn sums_of_all_pairs_of_codes_equal_the_definition() {
    let quantisation = |scale, zero_point| Quantisation::new(scale, zero_point).unwrap();
    for (a, b, y, bounds) in [
        (quantisation(0.1, 128), quantisation(0.1, 128), quantisation(0.2, 128), 0..=255),
        (quantisation(0.05, 0), quantisation(0.02, 255), quantisation(0.031, 17), 17..=255),
        (quantisation(7.0, 3), quantisation(1e-9, 0), quantisation(2.0, 250), 10..=240),
        (quantisation(1.0, 0), quantisation(0.5, 0), quantisation(1.0, 0), 0..=255),
        // Ninths: commensurable, so that many sums lie halfway.
        (quantisation(59.0 / 2040.0, 3), quantisation(35.0 / 2040.0, 135), quantisation(18.0 / 2040.0, 101), 0..=255),
    ] {
        let layout = Layout::new(256, 256, 1, 0).unwrap();
        let first = Tensor::new(layout, a.zero_point, |_, row, _| row as u8);
        let second = Tensor::new(layout, b.zero_point, |_, _, column| column as u8);
        let expected = |_: usize, row: usize, column: usize| {
            let code = defined([(row as u8, a), (column as u8, b)], y);
            code.clamp(*bounds.start(), *bounds.end())
        };
        for kernel in kernels() {
            let add = Add::new(kernel, [a, b], y, bounds.clone()).unwrap();
            check(kernel.name(), layout, expected, |part| add.run(first.plane(), second.plane(), part).unwrap());
        }
    }
}

#[test]
fn sums_go_where_they_belong_in_any_layout() {
    let scale = Quantisation::new(1.0, 0).unwrap();
    for (channels, first, second) in [(5, 0, 1), (16, 2, 0), (1, 1, 1)] {
        let layout = |border| Layout::new(3, 7, channels, border).unwrap();
        let code = |channel: usize, row: usize, column: usize| (channel * 3 + row * 11 + column) as u8;
        let a = Tensor::new(layout(first), 0, code);
        let b = Tensor::new(layout(second), 0, |channel, row, column| code(channel, row, column) / 2);
        let expected = |channel, row, column| code(channel, row, column) + code(channel, row, column) / 2;
        let wide = Layout::new(3, 7, 8 + channels, 1).unwrap();
        for kernel in kernels() {
            let add = Add::new(kernel, [scale; 2], scale, 0..=255).unwrap();
            for layout in [layout(1), wide.channels_from(8, channels).unwrap()] {
                check(kernel.name(), layout, expected, |part| add.run(a.plane(), b.plane(), part).unwrap());
            }
        }
    }
}

#[test]
fn one_pixel_is_added_to_all() {
    let quantisation = |scale, zero_point| Quantisation::new(scale, zero_point).unwrap();
    let (a, b, y) = (quantisation(0.3, 7), quantisation(0.11, 90), quantisation(0.4, 51));
    let map = Tensor::new(Layout::new(4, 5, 6, 1).unwrap(), 7, |channel, row, column| {
        (channel * 40 + row * 9 + column) as u8
    });
    let pixel = Tensor::new(Layout::new(1, 1, 6, 0).unwrap(), 90, |channel, _, _| (channel * 50) as u8);
    let expected = |channel: usize, row: usize, column: usize| {
        let code = |tensor: &Tensor, row, column| tensor.at(channel, row as isize, column as isize).unwrap();
        defined([(code(&map, row, column), a), (code(&pixel, 0, 0), b)], y)
    };
    for kernel in kernels() {
        let add = Add::new(kernel, [a, b], y, 0..=255).unwrap();
        check(kernel.name(), Layout::new(4, 5, 6, 2).unwrap(), expected, |part| {
            add.run(map.plane(), pixel.plane(), part).unwrap();
        });
    }
}

#[test]
fn sizes_and_scales_that_do_not_fit_are_refused() {
    let scale = Quantisation::new(1.0, 0).unwrap();
    let zero = Quantisation { scale: 0.0, zero_point: 0 };
    for kernel in kernels() {
        assert!(Add::new(kernel, [scale, zero], scale, 0..=255).is_err());
        assert!(Add::new(kernel, [scale, scale], zero, 0..=255).is_err());
        assert!(Add::new(kernel, [Quantisation { scale: 1e9, zero_point: 0 }, scale], scale, 0..=255).is_err());
        let add = Add::new(kernel, [scale; 2], scale, 0..=255).unwrap();
        let small = Tensor::new(Layout::new(2, 2, 4, 0).unwrap(), 0, |_, _, _| 0);
        let large = Tensor::new(Layout::new(2, 3, 4, 0).unwrap(), 0, |_, _, _| 0);
        let mut bytes = vec![0; 1000];
        let mut output = milad_kernels::int8::PlaneMut::new(small.layout, &mut bytes).unwrap();
        assert!(add.run(small.plane(), large.plane(), &mut output).is_err());
    }
}

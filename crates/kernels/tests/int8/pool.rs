//! Pooling against its definition.

use milad_kernels::int8::{AveragePool, Layout, MaxPool, Mean, Quantisation, Window};

use crate::tensor::{Random, Tensor, check};

fn windows() -> Vec<(Window, [usize; 2], [usize; 2])> {
    let plain = Window { size: [2, 2], stride: [2, 2], dilation: [1, 1], pads: [0; 4], ceil: false };
    vec![
        (plain, [6, 8], [3, 4]),
        (Window { size: [3, 3], pads: [1; 4], ..plain }, [7, 8], [4, 4]),
        (Window { size: [3, 3], stride: [1, 1], pads: [1; 4], ..plain }, [5, 9], [5, 9]),
        (Window { size: [3, 2], stride: [1, 3], dilation: [2, 1], pads: [2, 0, 1, 1], ..plain }, [6, 7], [5, 3]),
        (Window { ceil: true, ..plain }, [5, 7], [3, 4]),
        (Window { size: [3, 3], pads: [1; 4], ceil: true, ..plain }, [6, 7], [4, 4]),
        // The last window would start in the padding behind the input: it does not count.
        (Window { size: [2, 2], stride: [3, 3], pads: [1; 4], ceil: true, ..plain }, [5, 6], [2, 3]),
        (Window::whole(6, 5), [6, 5], [1, 1]),
    ]
}

/// The codes under a window.
fn under(window: &Window, input: &Tensor, channel: usize, row: usize, column: usize) -> Vec<u8> {
    let mut codes = Vec::new();
    for (ky, kx) in (0..window.size[0]).flat_map(|ky| (0..window.size[1]).map(move |kx| (ky, kx))) {
        let y = (row * window.stride[0] + ky * window.dilation[0]) as isize - window.pads[0] as isize;
        let x = (column * window.stride[1] + kx * window.dilation[1]) as isize - window.pads[1] as isize;
        codes.extend(input.at(channel, y, x));
    }
    codes
}

#[test]
fn maxima_and_means_equal_the_definition() {
    let mut random = Random(23);
    for (window, from, to) in windows() {
        for channels in [1, 5, 16, 70] {
            assert_eq!(window.output_size(from[0], from[1]), Ok(to), "{window:?}");
            let input = Tensor::random(Layout::new(from[0], from[1], channels, 1).unwrap(), 77, &mut random);
            let layout = Layout::new(to[0], to[1], channels, 2).unwrap();
            let max = MaxPool::new(window).unwrap();
            let expected =
                |channel, row, column| under(&window, &input, channel, row, column).into_iter().max().unwrap();
            check(&format!("{window:?}"), layout, expected, |part| max.run(input.plane(), part).unwrap());

            let (x, y) = (Quantisation::new(0.11, 77).unwrap(), Quantisation::new(0.06, 130).unwrap());
            let means = [Mean::Exact, Mean::Pooled, Mean::Reduced];
            for (mean, count_padding) in means.into_iter().flat_map(|mean| [(mean, false), (mean, true)]) {
                let average = AveragePool::new(window, count_padding, mean, x, y);
                if window.ceil && count_padding {
                    assert!(average.is_err());
                    continue;
                }
                let average = average.unwrap();
                let expected = |channel, row, column| {
                    let codes = under(&window, &input, channel, row, column);
                    let exact: i32 = codes.iter().map(|&code| i32::from(code) - 77).sum();
                    let sum = codes.iter().fold(0.0, |sum, &code| sum + (f32::from(code) - 77.0) * 0.11f32);
                    let count = if count_padding { window.size[0] * window.size[1] } else { codes.len() } as f32;
                    let code = match mean {
                        Mean::Exact => (exact as f32 * (0.11 / (0.06 * count))).round_ties_even() + 130.0,
                        Mean::Pooled => (sum / count / 0.06 + 130.0).round_ties_even(),
                        Mean::Reduced => (sum / count / 0.06).round_ties_even() + 130.0,
                    };
                    code.clamp(0.0, 255.0) as u8
                };
                check(&format!("{window:?}"), layout, expected, |part| average.run(input.plane(), part).unwrap());
            }
        }
    }
}

#[test]
fn windows_without_a_pixel_are_refused() {
    let window = Window { size: [2, 2], stride: [2, 2], dilation: [1, 1], pads: [0; 4], ceil: false };
    assert!(MaxPool::new(Window { size: [0, 2], ..window }).is_err());
    assert!(MaxPool::new(Window { stride: [2, 0], ..window }).is_err());
    assert!(MaxPool::new(Window { pads: [2, 0, 0, 0], ..window }).is_err());
    assert!(window.output_size(1, 8).is_err());
}

//! The way into codes and out of them.

use milad_kernels::int8::{ImageTable, Layout, Mix, Quantisation, dequantise, quantise};

use crate::tensor::{Random, Tensor, check, kernels};

#[test]
fn real_numbers_become_codes_in_the_other_layout() {
    let mut random = Random(37);
    for (channels, height, width) in
        [(1, 3, 5), (3, 6, 40), (3, 2, 64), (3, 2, 131), (4, 2, 130), (5, 2, 129), (20, 4, 33), (64, 3, 7)]
    {
        for quantisation in [Quantisation::new(0.017, 113).unwrap(), Quantisation::new(0.25, 0).unwrap()] {
            let mut values: Vec<f32> = (0..channels * height * width).map(|_| random.real() * 3.0).collect();
            // Halfway cases, and what is no number.
            values.iter_mut().step_by(3).for_each(|x| *x = (*x * 40.0).round() * 0.125);
            values[..3].copy_from_slice(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
            let expected = |channel: usize, row: usize, column: usize| {
                let code = (values[(channel * height + row) * width + column] / quantisation.scale).round_ties_even();
                (code + f32::from(quantisation.zero_point)).clamp(0.0, 255.0) as u8
            };
            let layout = Layout::new(height, width, channels, 2).unwrap();
            for kernel in kernels() {
                check(kernel.name(), layout, expected, |part| {
                    quantise(kernel, quantisation, &values, part).unwrap();
                });
            }
            let codes = Tensor::random(layout, 0, &mut random);
            for kernel in kernels() {
                let mut output = vec![f32::NAN; values.len()];
                dequantise(kernel, quantisation, codes.plane(), &mut output).unwrap();
                for (at, &found) in output.iter().enumerate() {
                    let (channel, at) = (at / (height * width), at % (height * width));
                    let code = codes.at(channel, (at / width) as isize, (at % width) as isize).unwrap();
                    let expected = (f32::from(code) - f32::from(quantisation.zero_point)) * quantisation.scale;
                    assert_eq!(found, expected, "{kernel}");
                }
                assert!(dequantise(kernel, quantisation, codes.plane(), &mut output[1..]).is_err());
            }
        }
    }
}

#[test]
fn a_mixture_of_planes_becomes_codes() {
    let mut random = Random(41);
    for (inputs, channels, height, width) in
        [(1, 1, 2, 5), (3, 48, 4, 32), (3, 8, 7, 20), (8, 5, 3, 70), (2, 3, 2, 131)]
    {
        let quantisation = Quantisation::new(0.011, 97).unwrap();
        let mut numbers = |count: usize| -> Vec<f32> { (0..count).map(|_| random.real()).collect() };
        let (weights, bias) = (numbers(inputs * channels), numbers(channels));
        let mut planes = numbers(inputs * height * width);
        planes[0] = f32::NAN;
        planes[1] = f32::INFINITY;
        let expected = |channel: usize, row: usize, column: usize| {
            let of = |input: usize| planes[(input * height + row) * width + column] * weights[channel * inputs + input];
            let sum = (1..inputs).fold(of(0), |sum, input| sum + of(input)) + bias[channel];
            let code = (sum / quantisation.scale).round_ties_even() + f32::from(quantisation.zero_point);
            code.clamp(0.0, 255.0) as u8
        };
        let mix = Mix::new(inputs, weights.clone(), bias.clone()).unwrap();
        assert_eq!([mix.inputs(), mix.channels()], [inputs, channels]);
        let layout = Layout::new(height, width, channels, 1).unwrap();
        for kernel in kernels() {
            check(kernel.name(), layout, expected, |part| mix.run(kernel, quantisation, &planes, part).unwrap());
        }
        let mut bytes = vec![0; layout.bytes()];
        let mut whole = milad_kernels::int8::PlaneMut::new(layout, &mut bytes).unwrap();
        assert!(mix.run(kernels().next().unwrap(), quantisation, &planes[1..], &mut whole).is_err());
    }
    assert!(Mix::new(2, vec![1.0; 3], vec![0.0]).is_err());
    assert!(Mix::new(9, vec![1.0; 9], vec![0.0]).is_err());
    assert!(Mix::new(1, vec![f32::NAN], vec![0.0]).is_err());
}

#[test]
fn an_image_becomes_codes_through_its_tables() {
    let quantisation = Quantisation::new(0.02, 100).unwrap();
    let value =
        |colour: usize, byte: u8| (f32::from(byte) / 255.0 - [0.4, 0.5, 0.6][colour]) / [0.2, 0.3, 0.25][colour];
    let image = |height: usize, width: usize| -> Vec<u8> {
        (0..height * width * 4).map(|i| (i * 29 + i / 256) as u8).collect()
    };
    for (kernel, (height, width)) in
        kernels().flat_map(|kernel| [(5, 9), (3, 16), (4, 77), (2, 1)].map(|size| (kernel, size)))
    {
        let (table, image) = (ImageTable::new(kernel, quantisation, value).unwrap(), image(height, width));
        let expected = |channel: usize, row: usize, column: usize| {
            quantisation.quantise(value(channel, image[(row * width + column) * 4 + channel]))
        };
        check("image", Layout::new(height, width, 3, 1).unwrap(), expected, |part| table.run(&image, part).unwrap());
    }
    let (height, width) = (5, 9);
    let (table, image) =
        (ImageTable::new(kernels().next().unwrap(), quantisation, value).unwrap(), image(height, width));
    let mut bytes = vec![0; 1 << 12];
    let four = Layout::new(height, width, 4, 1).unwrap();
    assert!(table.run(&image, &mut milad_kernels::int8::PlaneMut::new(four, &mut bytes).unwrap()).is_err());
}

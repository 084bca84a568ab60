//! Convolution against six nested loops.

use milad_kernels::cpu::Isa;
use milad_kernels::int8::{Conv, ConvSpec, Error, Kernel, Layout, Output, Quantisation, Residual};

use crate::tensor::{Random, Tensor, check, kernels};

/// One shape: sizes and what is special about the numbers.
#[derive(Debug, Clone, Copy)]
struct Case {
    inputs: usize,
    outputs: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pads: [usize; 4],
    depthwise: bool,
    zero_point: u8,
    weights: Weights,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Weights {
    /// −128 … 127, with a scale that uses the output's range.
    Any,
    /// −127 … 127
    Symmetric,
    /// −64 … 64: pairs of products fit 16 bits even of unsigned codes.
    Seven,
    /// All −128: the largest sums there are.
    Least,
    /// All 127.
    Most,
}

const PLAIN: Case = Case {
    inputs: 16,
    outputs: 16,
    size: [7, 13],
    kernel: [3, 3],
    stride: [1, 1],
    dilation: [1, 1],
    pads: [1, 1, 1, 1],
    depthwise: false,
    zero_point: 128,
    weights: Weights::Any,
};

fn cases() -> Vec<Case> {
    let mut cases = vec![PLAIN];
    for channels in [1, 3, 4, 5, 8, 16, 20, 33, 40, 48, 64, 80, 96, 130] {
        cases.push(Case { inputs: channels, ..PLAIN });
        cases.push(Case { outputs: channels, inputs: 5, ..PLAIN });
        cases.push(Case { inputs: channels, outputs: channels, kernel: [1, 1], pads: [0; 4], zero_point: 3, ..PLAIN });
        cases.push(Case { inputs: channels.max(2), outputs: channels.max(2), depthwise: true, ..PLAIN });
    }
    for width in 1..40 {
        cases.push(Case { outputs: 16 * (width % 5) + 16, inputs: 4, size: [2, width], ..PLAIN });
        let (outputs, kernel) = (8 * (width % 4) + 8, [1, 1]);
        cases.push(Case { outputs, inputs: 7, size: [2, width], kernel, pads: [0; 4], ..PLAIN });
        cases.push(Case { inputs: 24, outputs: 24, depthwise: true, size: [2, width], ..PLAIN });
    }
    for (kernel, stride, dilation, pads) in [
        ([3, 3], [2, 2], [1, 1], [1, 1, 1, 1]),
        ([3, 3], [2, 2], [1, 1], [0, 0, 1, 1]),
        ([7, 7], [2, 2], [1, 1], [3, 3, 3, 3]),
        ([3, 3], [1, 1], [2, 2], [2, 2, 2, 2]),
        ([3, 3], [1, 2], [2, 1], [2, 0, 1, 3]),
        ([5, 5], [1, 1], [1, 1], [2, 2, 2, 2]),
        ([1, 3], [1, 1], [1, 1], [0, 1, 0, 1]),
        ([3, 1], [2, 1], [1, 1], [1, 0, 0, 0]),
        ([2, 4], [3, 3], [1, 3], [0, 5, 2, 0]),
        ([1, 1], [2, 2], [1, 1], [0, 0, 0, 0]),
        ([1, 1], [1, 1], [1, 1], [1, 0, 2, 1]),
        ([3, 3], [1, 1], [1, 1], [0, 0, 0, 0]),
    ] {
        let case = Case { kernel, stride, dilation, pads, size: [11, 17], ..PLAIN };
        for (inputs, outputs) in [(3, 20), (16, 64), (20, 5)] {
            cases.push(Case { inputs, outputs, ..case });
        }
        for channels in [3, 20, 64, 72] {
            cases.push(Case { inputs: channels, outputs: channels, depthwise: true, ..case });
        }
    }
    for weights in [Weights::Symmetric, Weights::Seven, Weights::Least, Weights::Most] {
        for zero_point in [0, 1, 128, 255] {
            let case = Case { weights, zero_point, ..PLAIN };
            cases.push(Case { outputs: 40, ..case });
            cases.push(Case { inputs: 20, kernel: [1, 1], pads: [0; 4], ..case });
            cases.push(Case { depthwise: true, ..case });
            cases.push(Case { depthwise: true, kernel: [5, 5], pads: [2; 4], ..case });
        }
    }
    cases
}

/// The numbers of a case.
struct Numbers {
    weights: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<i32>,
    input: Tensor,
    codes: Quantisation,
    output: Quantisation,
}

impl Case {
    fn output_size(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let padded = self.size[axis] + self.pads[axis] + self.pads[axis + 2];
            (padded - self.dilation[axis] * (self.kernel[axis] - 1) - 1) / self.stride[axis] + 1
        })
    }

    fn numbers(&self, random: &mut Random) -> Numbers {
        let each = self.kernel[0] * self.kernel[1] * if self.depthwise { 1 } else { self.inputs };
        let mut weight = || match self.weights {
            Weights::Any => (random.next() as u8) as i8,
            Weights::Symmetric => (random.below(255) as i32 - 127) as i8,
            Weights::Seven => (random.below(129) as i32 - 64) as i8,
            Weights::Least => -128,
            Weights::Most => 127,
        };
        let weights = (0..each * self.outputs).map(|_| weight()).collect();
        let scales = (0..self.outputs).map(|_| 0.002 * (1.2 + random.real())).collect();
        let bias = (0..self.outputs).map(|_| (random.real() * 3000.0) as i32).collect();
        let codes = Quantisation::new(0.031, self.zero_point).unwrap();
        // Two standard deviations of the sums to both ends.
        let spread = 74.0 * 74.0 * (each as f32).sqrt() * 0.002 * 0.031 * 4.0 / 255.0;
        let output = Quantisation::new(spread, 120).unwrap();
        let border = self.pads.into_iter().max().unwrap() + 3 * random.below(2) + self.stride[1] - 1;
        let layout = Layout::new(self.size[0], self.size[1], self.inputs, border).unwrap();
        let input = Tensor::random(layout, self.zero_point, random);
        Numbers { weights, scales, bias, input, codes, output }
    }

    fn spec<'a>(&self, numbers: &'a Numbers, output: Output) -> ConvSpec<'a> {
        ConvSpec {
            input_channels: self.inputs,
            output_channels: self.outputs,
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            pads: self.pads,
            groups: if self.depthwise { self.inputs } else { 1 },
            input: numbers.codes,
            weights: &numbers.weights,
            weight_scales: &numbers.scales,
            bias: Some(&numbers.bias),
            output,
        }
    }

    /// `[channel][row][column]`
    fn sums(&self, numbers: &Numbers) -> Vec<i64> {
        let [height, width] = self.output_size();
        let mut sums = Vec::new();
        let inputs = if self.depthwise { 1 } else { self.inputs };
        for output in 0..self.outputs {
            for (row, column) in (0..height).flat_map(|row| (0..width).map(move |column| (row, column))) {
                let mut sum = i64::from(numbers.bias[output]);
                for (ky, kx) in (0..self.kernel[0]).flat_map(|ky| (0..self.kernel[1]).map(move |kx| (ky, kx))) {
                    let y = (row * self.stride[0] + ky * self.dilation[0]) as isize - self.pads[0] as isize;
                    let x = (column * self.stride[1] + kx * self.dilation[1]) as isize - self.pads[1] as isize;
                    for input in 0..inputs {
                        let channel = if self.depthwise { output } else { input };
                        let code = numbers.input.at(channel, y, x).unwrap_or(self.zero_point);
                        let weight =
                            numbers.weights[((output * inputs + input) * self.kernel[0] + ky) * self.kernel[1] + kx];
                        sum += (i64::from(code) - i64::from(self.zero_point)) * i64::from(weight);
                    }
                }
                sums.push(sum);
            }
        }
        sums
    }
}

/// What the definition says of one sum.
fn requantise(sum: i64, numbers: &Numbers, channel: usize, low: u8, high: u8) -> u8 {
    let factor = numbers.codes.scale * numbers.scales[channel] / numbers.output.scale;
    let code = (sum as i32 as f32 * factor).round_ties_even() + f32::from(numbers.output.zero_point);
    (code.clamp(0.0, 255.0) as u8).clamp(low, high)
}

#[test]
fn codes_equal_the_definition() {
    let mut random = Random(7);
    for (number, case) in cases().into_iter().enumerate() {
        let numbers = case.numbers(&mut random);
        let [height, width] = case.output_size();
        let sums = case.sums(&numbers);
        let (low, high) = if number % 3 == 0 { (120, 200) } else { (0, 255) };
        let expected = |channel: usize, row: usize, column: usize| {
            requantise(sums[(channel * height + row) * width + column], &numbers, channel, low, high)
        };
        let output = Output::Codes { quantisation: numbers.output, low, high, residual: None };
        let wide = Layout::new(height, width, case.outputs.next_multiple_of(4) + 12, 1).unwrap();
        let multiple = case.outputs.is_multiple_of(4);
        let layouts = [
            Layout::new(height, width, case.outputs, number % 2).unwrap(),
            if multiple {
                wide.channels_from(8, case.outputs).unwrap()
            } else {
                Layout::new(height, width, case.outputs, 0).unwrap()
            },
        ];
        for kernel in kernels() {
            let conv = Conv::new(kernel, &case.spec(&numbers, output)).unwrap();
            assert_eq!(conv.output_size(case.size[0], case.size[1]), Ok([height, width]));
            for layout in layouts {
                check(&format!("{kernel}, {case:?}"), layout, expected, |part| {
                    conv.run(numbers.input.plane(), None, part).unwrap();
                });
            }
        }
    }
}

#[test]
fn real_numbers_equal_the_definition() {
    let mut random = Random(11);
    for case in cases().into_iter().step_by(3) {
        let numbers = case.numbers(&mut random);
        let [height, width] = case.output_size();
        let sums = case.sums(&numbers);
        for kernel in kernels() {
            for (low, high) in [(f32::NEG_INFINITY, f32::INFINITY), (0.0, 0.5)] {
                let conv = Conv::new(kernel, &case.spec(&numbers, Output::Real { low, high })).unwrap();
                let mut output = vec![f32::NAN; sums.len()];
                conv.run_real(numbers.input.plane(), &mut output).unwrap();
                for (at, (&found, &sum)) in output.iter().zip(&sums).enumerate() {
                    let factor = numbers.codes.scale * numbers.scales[at / (height * width)];
                    let expected = (sum as i32 as f32 * factor).clamp(low, high);
                    assert_eq!(found, expected, "{kernel}, {case:?}, element {at}");
                }
            }
        }
    }
}

#[test]
fn a_residual_is_added_to_the_codes() {
    let mut random = Random(13);
    for case in cases().into_iter().step_by(7) {
        let numbers = case.numbers(&mut random);
        let [height, width] = case.output_size();
        let sums = case.sums(&numbers);
        let input = Quantisation::new(0.7 * numbers.output.scale, 31).unwrap();
        let sum = Quantisation::new(1.3 * numbers.output.scale, 90).unwrap();
        let other = Tensor::random(Layout::new(height, width, case.outputs, 2).unwrap(), 31, &mut random);
        for (kernel, leads) in kernels().flat_map(|kernel| [(kernel, false), (kernel, true)]) {
            let expected = |channel: usize, row: usize, column: usize| {
                let code = requantise(sums[(channel * height + row) * width + column], &numbers, channel, 0, 255);
                let other = other.at(channel, row as isize, column as isize).unwrap();
                let mut summands = [(code, numbers.output), (other, input)];
                if leads {
                    summands.reverse();
                }
                crate::add::defined(summands, sum).clamp(90, 255)
            };
            let residual = Some(Residual { input, leads, output: sum, low: 90, high: 255 });
            let output = Output::Codes { quantisation: numbers.output, low: 0, high: 255, residual };
            let conv = Conv::new(kernel, &case.spec(&numbers, output)).unwrap();
            let layout = Layout::new(height, width, case.outputs, 1).unwrap();
            check(&format!("{kernel}, {case:?}"), layout, expected, |part| {
                conv.run(numbers.input.plane(), Some(other.plane()), part).unwrap();
            });
        }
    }
}

#[test]
fn scales_that_saturate_everything_are_computed_all_the_same() {
    let mut random = Random(17);
    let mut numbers = PLAIN.numbers(&mut random);
    numbers.output = Quantisation::new(1e-12, 120).unwrap();
    let sums = PLAIN.sums(&numbers);
    let output = Output::Codes { quantisation: numbers.output, low: 0, high: 255, residual: None };
    for kernel in kernels() {
        let conv = Conv::new(kernel, &PLAIN.spec(&numbers, output)).unwrap();
        let layout = Layout::new(7, 13, 16, 0).unwrap();
        let expected =
            |channel, row, column| requantise(sums[(channel * 7 + row) * 13 + column], &numbers, channel, 0, 255);
        check(kernel.name(), layout, expected, |part| conv.run(numbers.input.plane(), None, part).unwrap());
    }
}

#[test]
fn every_instruction_set_has_kernels_and_they_are_what_runs() {
    let forced = milad_kernels::cpu::forced().unwrap();
    for isa in forced.into_iter().chain([Isa::best()]).filter(|&isa| isa != Isa::Portable) {
        // The AVX-512 kernels need VNNI too; what is there without is AVX2.
        assert_ne!(Kernel::of(isa), Kernel::Portable, "{isa}");
    }
    let mut random = Random(23);
    for depthwise in [false, true] {
        let case = Case { weights: Weights::Symmetric, depthwise, ..PLAIN };
        let numbers = case.numbers(&mut random);
        let output = Output::Codes { quantisation: numbers.output, low: 0, high: 255, residual: None };
        for kernel in kernels() {
            assert_eq!(Conv::new(kernel, &case.spec(&numbers, output)).unwrap().kernel(), kernel, "{case:?}");
        }
    }
}

#[test]
fn what_can_not_be_exact_or_does_not_fit_is_refused() {
    let mut random = Random(19);
    let numbers = PLAIN.numbers(&mut random);
    let output = Output::Codes { quantisation: numbers.output, low: 0, high: 255, residual: None };
    let spec = PLAIN.spec(&numbers, output);
    let refused = |spec: ConvSpec| Conv::new(Kernel::Portable, &spec).unwrap_err();
    assert!(Conv::new(Kernel::Portable, &spec).is_ok());

    let huge = [i32::MAX - 1000; 16];
    assert!(matches!(refused(ConvSpec { bias: Some(&huge), ..spec }), Error::Overflow { channel: 0, .. }));
    assert!(matches!(refused(ConvSpec { groups: 2, ..spec }), Error::Unsupported(_)));
    assert!(matches!(refused(ConvSpec { weights: &[1; 5], ..spec }), Error::Shape(_)));
    assert!(matches!(refused(ConvSpec { bias: Some(&[0; 3]), ..spec }), Error::Shape(_)));
    assert!(matches!(refused(ConvSpec { weight_scales: &[1.0; 3], ..spec }), Error::Shape(_)));
    assert!(matches!(refused(ConvSpec { stride: [0, 1], ..spec }), Error::Shape(_)));
    for scale in [0.0, f32::NAN, -1.0, f32::INFINITY] {
        assert!(matches!(refused(ConvSpec { weight_scales: &[scale], ..spec }), Error::Quantisation(_)));
        let input = Quantisation { scale, zero_point: 0 };
        assert!(matches!(refused(ConvSpec { input, ..spec }), Error::Quantisation(_)));
        let output = Output::Codes { quantisation: input, low: 0, high: 255, residual: None };
        assert!(matches!(refused(ConvSpec { output, ..spec }), Error::Quantisation(_)));
    }
    let output = Output::Real { low: 1.0, high: 0.0 };
    assert!(matches!(refused(ConvSpec { output, ..spec }), Error::Quantisation(_)));
    assert!(matches!(
        refused(ConvSpec { output: Output::Real { low: f32::NAN, high: 0.0 }, ..spec }),
        Error::Quantisation(_)
    ));

    let conv = Conv::new(Kernel::Portable, &spec).unwrap();
    assert_eq!(conv.border(7, 13), Ok(1));
    let bytes = vec![0; 1 << 16];
    let mut target = bytes.clone();
    let mut run = |input: Layout, output: Layout| {
        let input = milad_kernels::int8::Plane::new(input, &bytes).unwrap();
        conv.run(input, None, &mut milad_kernels::int8::PlaneMut::new(output, &mut target).unwrap())
    };
    let layout = |height, width, channels, border| Layout::new(height, width, channels, border).unwrap();
    assert!(run(layout(7, 13, 16, 1), layout(7, 13, 16, 0)).is_ok());
    assert!(run(layout(7, 13, 16, 0), layout(7, 13, 16, 0)).is_err(), "no border");
    assert!(run(layout(7, 13, 20, 1), layout(7, 13, 16, 0)).is_err(), "channels in");
    assert!(run(layout(7, 13, 16, 1), layout(7, 13, 20, 0)).is_err(), "channels out");
    assert!(run(layout(7, 13, 16, 1), layout(7, 12, 16, 0)).is_err(), "width");
    assert!(run(layout(8, 13, 16, 1), layout(7, 13, 16, 0)).is_err(), "height");
    assert!(run(layout(7, 13, 32, 1).channels_from(0, 16).unwrap(), layout(7, 13, 16, 0)).is_err(), "a view");
}

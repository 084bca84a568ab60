//! How fast integer convolution is, against the most that one core could do: `cargo bench -p milad-kernels --bench int8`.
//!
//! | flag | |
//! |---|---|
//! | `--json` | one JSON line for each row instead of the table |
//! | `--kernel NAME` | only this kernel (default: all that the CPU has, but the portable one) |
//! | `--layer NAME` | only layers whose name contains this |
//! | `--rounds N` | rounds for each row (default 40) |
//! | `--weights BITS` | weights of this many bits, 7 or 8 (default 8): 7 lets AVX2 use vpmaddubsw |
//!
//! Times are the thread's processor time. Peak and run alternate and medians are compared: a neighbour's load then hits both alike.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod layers;

use layers::{LAYERS, Layer};
use milad_kernels::int8::{AlignedBytes, Conv, ConvSpec, Kernel, Layout, Output, Plane, PlaneMut, Quantisation};
use milad_kernels::peak;
use rustix::time::{ClockId, clock_gettime};

struct Arguments {
    json: bool,
    kernels: Vec<Kernel>,
    layer: String,
    rounds: usize,
    bits: u32,
}

fn arguments() -> Arguments {
    let fast = Kernel::ALL.into_iter().filter(|&kernel| kernel.available() && kernel != Kernel::Portable).collect();
    let mut parsed = Arguments { json: false, kernels: fast, layer: String::new(), rounds: 40, bits: 8 };
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{flag}: expected a value"));
        match flag.as_str() {
            "--json" => parsed.json = true,
            "--kernel" => {
                let name = value();
                let found = Kernel::ALL.into_iter().find(|kernel| kernel.name() == name);
                parsed.kernels = vec![found.unwrap_or_else(|| panic!("--kernel {name}: no such kernel"))];
            }
            "--layer" => parsed.layer = value(),
            "--rounds" => parsed.rounds = value().parse().expect("--rounds: expected a number"),
            "--weights" => parsed.bits = value().parse().expect("--weights: expected a number"),
            "--bench" => {} // what cargo passes
            _ => panic!("{flag}: expected --json, --kernel, --layer, --rounds or --weights"),
        }
    }
    parsed
}

/// Processor time of this thread in seconds.
fn now() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let arguments = arguments();
    if !arguments.json {
        println!("layer                              MMAC | kernel             ms  GMAC/s    peak  share");
    }
    for layer in LAYERS.iter().filter(|layer| layer.name.contains(&arguments.layer)) {
        for &kernel in &arguments.kernels {
            measure(layer, kernel, &arguments);
        }
    }
}

fn measure(layer: &Layer, kernel: Kernel, arguments: &Arguments) {
    let numbers = |count: usize| (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
    let inputs = if layer.depthwise { 1 } else { layer.inputs };
    let count = layer.outputs * inputs * layer.kernel * layer.kernel;
    let weights: Vec<i8> = numbers(count).map(|x| (x as i8).max(-127) >> (8 - arguments.bits)).collect();
    let spec = ConvSpec {
        input_channels: layer.inputs,
        output_channels: layer.outputs,
        kernel: [layer.kernel; 2],
        stride: [layer.stride; 2],
        dilation: [1; 2],
        pads: [layer.kernel / 2; 4],
        groups: if layer.depthwise { layer.inputs } else { 1 },
        input: Quantisation { scale: 0.02, zero_point: 128 },
        weights: &weights,
        weight_scales: &[0.001],
        bias: None,
        output: Output::Codes {
            quantisation: Quantisation { scale: 0.03, zero_point: 128 },
            low: 0,
            high: 255,
            residual: None,
        },
    };
    let conv = Conv::new(kernel, &spec).unwrap_or_else(|error| panic!("{error}"));
    let [height, width] = layer.size;
    let border = |kernel: usize| kernel / 2;
    let input_layout = Layout::new(height, width, layer.inputs, border(layer.kernel)).unwrap();
    let [height, width] = conv.output_size(height, width).unwrap();
    // What follows a 3×3 layer usually is one.
    let output_layout = Layout::new(height, width, layer.outputs, border(layer.kernel).min(1)).unwrap();
    let (mut input, mut output) = (AlignedBytes::new(input_layout.bytes()), AlignedBytes::new(output_layout.bytes()));
    let length = input.len();
    input.iter_mut().zip(numbers(length)).for_each(|(x, number)| *x = number);
    let input = Plane::new(input_layout, &input).unwrap();
    let mut output = PlaneMut::new(output_layout, &mut output).unwrap();
    let macs = conv.macs(height, width);
    let times = (20_000_000 / macs).clamp(1, 50);
    let (mut peaks, mut runs) = (Vec::new(), Vec::new());
    for round in 0..arguments.rounds + 3 {
        let start = now();
        let peak = peak::integer_work(kernel) / (now() - start);
        conv.run(input, None, &mut output).unwrap();
        let start = now();
        for _ in 0..times {
            conv.run(input, None, &mut output).unwrap();
        }
        if round >= 3 {
            runs.push((now() - start) / times as f64);
            peaks.push(peak);
        }
    }
    let (peak, run) = (median(&mut peaks), median(&mut runs));
    let rate = macs as f64 / run;
    let name = layer.name;
    if arguments.json {
        println!(
            "{{\"layer\":\"{name}\",\"kernel\":\"{kernel}\",\"macs\":{macs},\"run_s\":{run:e},\"macs_per_s\":{rate:e},\"peak_macs_per_s\":{peak:e},\"share\":{:.4}}}",
            rate / peak
        );
    } else {
        println!(
            "{name:<32} {:6.1} | {:<12} {:9.4} {:7.1} {:7.1} {:5.1}%",
            macs as f64 * 1e-6,
            kernel.name(),
            run * 1e3,
            rate * 1e-9,
            peak * 1e-9,
            100.0 * rate / peak
        );
    }
}

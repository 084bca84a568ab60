//! How fast local attention is, against the most that one core could do: `cargo bench -p milad-kernels --bench ila`.
//!
//! | flag | |
//! |---|---|
//! | `--json` | one JSON line for each row instead of the table |
//! | `--isa NAME` | only this instruction set (default: all that the CPU has) |
//! | `--shape G,CQ,CV,H,W,T,R` | this shape instead of the usual ones |
//! | `--rounds N` | rounds for each row (default 300) |
//! | `--drive FILE` | reads q, k, v as raw f32 from FILE, writes y to FILE.y; then answers each line on standard input with the seconds of a run |
//!
//! Times are the thread's processor time. Peak, run and pack alternate, and medians are compared: a neighbour's load then hits all of them alike. FLOPs are counted by the formula
//! 2·T·H·W·(2r+1)²·(Cq+Cv), also for the masked positions at the border, which the kernels partly skip.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, Write};

use milad_kernels::cpu::Isa;
use milad_kernels::ila::{Attention, Shape};
use milad_kernels::peak;
use rustix::time::{ClockId, clock_gettime};

/// heads, Cq, Cv, H, W, T, r
const SHAPES: [[usize; 7]; 8] = [
    [1, 32, 32, 48, 80, 1, 4],
    [1, 64, 64, 48, 80, 1, 4],
    [1, 32, 32, 16, 32, 1, 3],
    [1, 64, 64, 16, 32, 1, 3],
    [1, 32, 32, 24, 40, 1, 3],
    [1, 32, 32, 96, 160, 1, 4],
    [3, 48, 48, 32, 64, 1, 3],
    [1, 32, 32, 32, 64, 2, 3],
];

struct Arguments {
    json: bool,
    isas: Vec<Isa>,
    shapes: Vec<[usize; 7]>,
    rounds: usize,
    drive: Option<String>,
}

fn arguments() -> Arguments {
    let available: Vec<Isa> = Isa::ALL.into_iter().filter(|isa| isa.available()).collect();
    let mut parsed = Arguments { json: false, isas: available, shapes: SHAPES.to_vec(), rounds: 300, drive: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{flag}: expected a value"));
        match flag.as_str() {
            "--json" => parsed.json = true,
            "--isa" => parsed.isas = vec![value().parse().unwrap_or_else(|error| panic!("{error}"))],
            "--shape" => {
                let numbers: Vec<usize> =
                    value().split(',').map(|n| n.parse().expect("--shape: expected numbers")).collect();
                parsed.shapes = vec![numbers.try_into().expect("--shape: expected G,CQ,CV,H,W,T,R")];
            }
            "--rounds" => parsed.rounds = value().parse().expect("--rounds: expected a number"),
            "--drive" => parsed.drive = Some(value()),
            "--bench" => {} // what cargo passes
            _ => panic!("{flag}: expected --json, --isa, --shape, --rounds or --drive"),
        }
    }
    parsed
}

fn shape([heads, query_channels, value_channels, height, width, keyframes, radius]: [usize; 7]) -> Shape {
    Shape { heads, query_channels, value_channels, height, width, keyframes, radius }
}

/// Numbers in −1 … 1.
fn numbers(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1u32 << 23) as f32 - 1.0).collect()
}

/// Processor time of this thread in seconds: a neighbour that takes the core away does not count.
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
    if let Some(file) = &arguments.drive {
        return drive(file, shape(arguments.shapes[0]), *arguments.isas.last().unwrap());
    }
    if !arguments.json {
        println!("g   Cq  Cv    H×W    T r | kernel    run ms  GFLOP/s   peak  share | pack ms");
    }
    for &row in &arguments.shapes {
        for &isa in &arguments.isas {
            measure(shape(row), isa, &arguments);
        }
    }
}

fn measure(shape: Shape, isa: Isa, arguments: &Arguments) {
    let mut attention = Attention::new(isa, shape, None).unwrap_or_else(|error| panic!("{error}"));
    let q = numbers(shape.query_channels * shape.positions());
    let v = numbers(shape.value_channels * shape.positions());
    let mut y = v.clone();
    let (mut peaks, mut runs, mut packs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..arguments.rounds + 5 {
        let start = now();
        let flops = peak::work(isa);
        let peak = flops / (now() - start);
        let start = now();
        for t in 0..shape.keyframes {
            attention.pack(t, &q, &v).unwrap();
        }
        let packed = (now() - start) / shape.keyframes as f64;
        // Once to bring the packed rows back into the cache, as they are on all frames but the keyframe's.
        attention.run(&q, None, None, None, &mut y, None, None).unwrap();
        let run = timed(&mut attention, &q, &mut y);
        if round >= 5 {
            peaks.push(peak);
            packs.push(packed);
            runs.push(run);
        }
    }
    let (peak, run, pack) = (median(&mut peaks), median(&mut runs), median(&mut packs));
    let rate = 2.0 * attention.macs() as f64 / run;
    let Shape { heads, query_channels, value_channels, height, width, keyframes, radius } = shape;
    if arguments.json {
        println!(
            "{{\"heads\":{heads},\"query_channels\":{query_channels},\"value_channels\":{value_channels},\"height\":{height},\
             \"width\":{width},\"keyframes\":{keyframes},\"radius\":{radius},\"kernel\":\"{}\",\"run_s\":{run:e},\"pack_s\":{pack:e},\
             \"flops_per_s\":{rate:e},\"peak_flops_per_s\":{peak:e},\"share\":{:.4}}}",
            attention.kernel_name(),
            rate / peak
        );
    } else {
        println!(
            "{heads} {query_channels:4}{value_channels:4} {height:3}×{width:<4} {keyframes} {radius} | {:<9}{:7.3} {:8.1} {:6.1} {:5.1}% | {:.4}",
            attention.kernel_name(),
            run * 1e3,
            rate * 1e-9,
            peak * 1e-9,
            100.0 * rate / peak,
            pack * 1e3
        );
    }
}

/// Seconds of a run; the mean of several where one is so short that reading the clock would count.
fn timed(attention: &mut Attention, q: &[f32], y: &mut [f32]) -> f64 {
    let times = (10_000_000 / attention.macs()).clamp(1, 20);
    let start = now();
    for _ in 0..times {
        attention.run(q, None, None, None, y, None, None).unwrap();
    }
    (now() - start) / times as f64
}

/// For a comparison with another program on the same inputs: see the module.
fn drive(file: &str, shape: Shape, isa: Isa) {
    let mut attention = Attention::new(isa, shape, None).unwrap_or_else(|error| panic!("{error}"));
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let data: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let (cq, cv) = (shape.query_channels * shape.positions(), shape.value_channels * shape.positions());
    assert_eq!(data.len(), cq + shape.keyframes * (cq + cv), "{file}: expected q, k and v of {shape:?}");
    let (q, rest) = data.split_at(cq);
    let (k, v) = rest.split_at(shape.keyframes * cq);
    for t in 0..shape.keyframes {
        attention.pack(t, &k[t * cq..][..cq], &v[t * cv..][..cv]).unwrap();
    }
    let mut y = vec![0.0; cv];
    attention.run(q, None, None, None, &mut y, None, None).unwrap();
    let bytes: Vec<u8> = y.iter().flat_map(|y| y.to_le_bytes()).collect();
    std::fs::write(format!("{file}.y"), bytes).unwrap_or_else(|error| panic!("{file}.y: {error}"));
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", attention.kernel_name()).unwrap();
    out.flush().unwrap();
    for _ in std::io::stdin().lock().lines() {
        // Warm-up: the other program has just had the caches.
        for _ in 0..3 {
            attention.run(q, None, None, None, &mut y, None, None).unwrap();
        }
        writeln!(out, "{}", timed(&mut attention, q, &mut y)).unwrap();
        out.flush().unwrap();
    }
}

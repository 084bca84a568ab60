//! `milad bench`: how long a bundle's networks take on this machine, node by node, and how much of the machine that is.
//!
//! What a frame costs around the networks is timed too, and shared out. The picture is noise: the networks take the same time whatever they see. The core's peak is measured between the
//! frames, so that a busy machine slows both alike, and shares are what to compare.

mod around;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use milad_kernels::cpu::Isa;
use milad_kernels::int8::Kernel;
use milad_kernels::peak;
use serde::Serialize;

use crate::model::engine::{blank, pixels};
use crate::model::profile::{Node, Peak, Profile};
use crate::model::{Bundle, Image, InputSpec, IntegerReport, Keys, LoadReport, Networks};

const LEGEND: &str = "\
Each row is a node of the plan, or a step of an integer region: the median of its times, its part of all of them, its \
multiply-accumulates, its part of the core's peak as measured in the same run (a little more than all of it where the peak was \
disturbed), and the integer kernel. Kernel “–”: integers without multiply-accumulates to speak of; “float”: 32-bit floats. What \
stands at the edges of integer regions: “look up” makes codes of the picture's bytes, “quantise” of floats, “mix” of a few planes \
that a 1×1 convolution mixes first; “dequantise” makes floats of codes; “copy” hands codes to another region. A FloatRegion is \
several small operators in float; they are named below the table.";

/// What can be said on the command line.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = LEGEND)]
pub struct Args {
    /// The bundle: a folder, or a name in ./models or /usr/share/milad/models
    #[arg(long, value_name = "BUNDLE")]
    pub bundle: String,
    /// Frames to time; the slow network runs a fifth as often
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub frames: u32,
    /// Threads for each network
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// Run quantised parts in float, as the engine does without our integer operators: what to compare with
    #[arg(long)]
    pub float: bool,
    /// Size of the camera's pictures, whose preparation is timed
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "640x480", value_parser = size)]
    pub camera: [usize; 2],
    /// A JPEG picture as a camera would send it: its decoder alone is compared with all of its preparation
    #[arg(long, value_name = "FILE")]
    pub jpeg: Option<PathBuf>,
    /// One JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    bundle: String,
    sha256: String,
    frames: u32,
    threads: u16,
    isa: &'static str,
    attention_kernel: &'static str,
    /// What one core does at most, in the median between the frames.
    peak: Peak,
    /// What runs in integers.
    integer: IntegerReport,
    /// Bytes of memory that the process holds (VmRSS), after the last frame.
    resident_bytes: Option<u64>,
    loading_ms: f64,
    /// Multiply-accumulates once a keyframe for what depends on memory alone.
    prelude_macs: u64,
    networks: Vec<NetworkReport>,
    /// What a frame costs outside of the networks.
    around: around::Around,
    float_though_quantised: Vec<String>,
}

#[derive(Debug, Serialize)]
struct NetworkReport {
    name: &'static str,
    macs: u64,
    attention_macs: u64,
    median_ms: f64,
    p90_ms: f64,
    nodes: Vec<Node>,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<()> {
    let bundle = if args.float { Bundle::load_float(&args.bundle)? } else { Bundle::load(&args.bundle)? };
    let networks = bundle.into_networks(usize::from(args.threads))?;
    let report = measure(networks, &args)?;
    match args.json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print!("{}", table(&report)),
    }
    Ok(())
}

fn measure(mut networks: Networks, args: &Args) -> anyhow::Result<Report> {
    let input = &networks.spec.input;
    let image = noise(input)?;
    let keyframes = args.frames.div_ceil(5);
    let progress = ProgressBar::new(u64::from(args.frames + keyframes));
    progress.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} frames, {eta} left")?);
    let (mut peaks, mut integer_peaks, mut fast, mut slow) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut fast_nodes, mut slow_nodes) = (Profile::default(), Profile::default());
    let keys = |networks: &mut Networks| -> anyhow::Result<Keys> {
        let outputs = networks.fast.run_all(&image, &networks.initial, 0)?;
        Ok(networks.fast.sort(&outputs)?.keys)
    };
    let mut memory = networks.initial.clone();
    // Whole runs and runs with a clock around every node alternate: the clock's own cost stays out of the totals.
    for _ in 0..keyframes {
        let first = keys(&mut networks)?;
        peaks.push(peak::burst(Isa::selected()));
        integer_peaks.push(integer_peak());
        let start = Instant::now();
        memory = networks.slow.run_all(&image, first.clone(), 0)?.1;
        slow.push(start.elapsed().as_secs_f64());
        slow_nodes.run(|observe| networks.slow.run_timed(&image, first, 0, observe))?;
        progress.inc(1);
    }
    for _ in 0..args.frames {
        peaks.push(peak::burst(Isa::selected()));
        integer_peaks.push(integer_peak());
        let start = Instant::now();
        networks.fast.run_all(&image, &memory, 0)?;
        fast.push(start.elapsed().as_secs_f64());
        fast_nodes.run(|observe| networks.fast.run_timed(&image, &memory, 0, observe))?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    let outputs = networks.fast.run_all(&image, &memory, 0)?;
    let prediction = networks.fast.sort(&outputs)?.prediction;
    // Before anything but the networks takes some.
    let resident_bytes = resident();
    let LoadReport { macs_fast, macs_prelude, macs_slow, macs_ila, kernel, ref float_nodes, ref integer, loading } =
        networks.report;
    let peak = Peak { flops: quantile(&mut peaks, 0.5), integer_macs: quantile(&mut integer_peaks, 0.5) };
    let network = |name, macs: u64, attention_macs, times: &mut Vec<f64>, nodes: Profile| {
        let median = quantile(times, 0.5);
        NetworkReport {
            name,
            macs,
            attention_macs,
            median_ms: median * 1e3,
            p90_ms: quantile(times, 0.9) * 1e3,
            nodes: nodes.nodes(peak),
        }
    };
    let fast = network("fast", macs_fast, macs_ila, &mut fast, fast_nodes);
    let slow = network("slow", macs_slow, 0, &mut slow, slow_nodes);
    // Sums of medians: nodes are too short to be interrupted often, networks on a busy machine are not.
    let total = |network: &NetworkReport| network.nodes.iter().map(|node| node.median_us).sum::<f64>() / 1e3;
    // The slow network's part of a frame, at the interval that the bundle was trained for.
    let interval = f64::from(networks.spec.keyframe_interval.max(1));
    let a_frame = total(&fast) + total(&slow) / interval;
    let around = around::measure(&networks.spec, &prediction, a_frame, args.camera, args.jpeg.as_deref())?;
    Ok(Report {
        bundle: networks.spec.name.clone(),
        sha256: networks.spec.sha256.clone(),
        frames: args.frames,
        threads: args.threads,
        isa: Isa::selected().name(),
        attention_kernel: kernel,
        peak,
        integer: integer.clone(),
        resident_bytes,
        loading_ms: loading.as_secs_f64() * 1e3,
        prelude_macs: macs_prelude,
        networks: vec![fast, slow],
        around,
        float_though_quantised: float_nodes.clone(),
    })
}

/// `640x480`
fn size(words: &str) -> Result<[usize; 2], String> {
    let sides = words.split_once('x').and_then(|(width, height)| Some([width.parse().ok()?, height.parse().ok()?]));
    let within = |sides: &[usize; 2]| sides.iter().all(|side| (1..=16_384).contains(side));
    sides.filter(within).ok_or_else(|| "expected width and height in pixels, as in 640x480".into())
}

/// Multiply-accumulates/s of a short burst with the instructions that the integer kernels use.
fn integer_peak() -> f64 {
    let start = Instant::now();
    let macs = peak::integer_work(Kernel::selected());
    macs / start.elapsed().as_secs_f64()
}

/// VmRSS, from the kernel.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// A picture of bytes from a linear congruential generator (Knuth, MMIX): the same on every machine.
fn noise(input: &InputSpec) -> anyhow::Result<Image> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut image = blank(input)?;
    pixels(&mut image, |pixels| pixels.iter_mut().for_each(|byte| *byte = next()))?;
    Ok(Image::from(image))
}

/// The smallest value that at least this share of the values does not exceed; 0 of nothing.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (share * values.len() as f64).ceil() as usize;
    values.get(index.saturating_sub(1)).copied().unwrap_or(0.0)
}

fn table(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |words: std::fmt::Arguments| {
        let _ = writeln!(text, "{words}");
    };
    line(format_args!(
        "{}: kernels {}, attention {}, integers {}, {} thread(s), loaded in {:.0} ms",
        report.bundle, report.isa, report.attention_kernel, report.integer.kernel, report.threads, report.loading_ms
    ));
    line(format_args!(
        "one core's peak: {:.1} GFLOP/s in float, {:.1} GMAC/s in integers; in integers: {:.2} MMAC in {} regions, {:.1} KiB of maps, {:.1} KiB of weights",
        report.peak.flops * 1e-9,
        report.peak.integer_macs * 1e-9,
        report.integer.macs as f64 * 1e-6,
        report.integer.regions,
        report.integer.arena_bytes as f64 / 1024.0,
        report.integer.weight_bytes as f64 / 1024.0
    ));
    if let Some(bytes) = report.resident_bytes {
        line(format_args!("memory that the process holds: {:.1} MiB", bytes as f64 / (1u64 << 20) as f64));
    }
    for network in &report.networks {
        line(format_args!(
            "\n{}: {:.3} ms (p90 {:.3}), {:.2} MMAC of which attention {:.2}",
            network.name,
            network.median_ms,
            network.p90_ms,
            network.macs as f64 * 1e-6,
            network.attention_macs as f64 * 1e-6
        ));
        line(format_args!("{:>9} {:>6} {:>9} {:>6}  {:<14} node", "µs", "share", "MMAC", "peak", "kernel"));
        for node in &network.nodes {
            let peak = if node.macs == 0 { "–".into() } else { format!("{:.0} %", node.peak_share * 100.0) };
            let kernel = node.kernel.unwrap_or(if node.integer { "–" } else { "float" });
            line(format_args!(
                "{:9.1} {:4.1} % {:9.3} {peak:>6}  {kernel:<14} {} ({})",
                node.median_us,
                node.share * 100.0,
                node.macs as f64 * 1e-6,
                node.name,
                node.operator
            ));
        }
    }
    line(format_args!(
        "\nonce a keyframe, beside the slow network: {:.2} MMAC on memory alone",
        report.prelude_macs as f64 * 1e-6
    ));
    let around = &report.around;
    line(format_args!(
        "\naround the networks, camera {}×{}: maps and statistics {:.3} ms",
        around.camera[0], around.camera[1], around.maps_ms
    ));
    for ((name, ms), (_, share)) in around.prepare_ms.iter().zip(&around.share) {
        line(format_args!("  prepare {name} {ms:.3} ms; with the maps {:.1} % of a frame", share * 100.0));
    }
    if let Some(around::Jpeg { size: [width, height], decode_ms, prepare_ms, ratio }) = around.jpeg {
        line(format_args!(
            "  prepare JPEG {width}×{height} {prepare_ms:.3} ms, {ratio:.2} times the decoder alone ({decode_ms:.3} ms)"
        ));
    }
    for network in &report.networks {
        for node in network.nodes.iter().filter(|node| !node.members.is_empty()) {
            let members = node.members.join(", ");
            line(format_args!("{}: small operators in float that run as one, {}: {members}", network.name, node.name));
        }
    }
    match report.float_though_quantised.as_slice() {
        [] if report.integer.regions == 0 => line(format_args!("everything runs in float")),
        [] => line(format_args!("nothing that is quantised runs in float")),
        nodes => {
            line(format_args!("quantised, but in float, {}:", nodes.len()));
            nodes.iter().for_each(|node| line(format_args!("  {node}")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_two_numbers_within_reason() {
        assert_eq!(size("640x480"), Ok([640, 480]));
        for wrong in ["", "640", "640x", "0x480", "640x99999", "640 x 480", "-1x4"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let mut values = vec![3.0, 1.0, 2.0, 4.0];
        assert_eq!((quantile(&mut values, 0.5), quantile(&mut values, 0.9)), (2.0, 4.0));
        assert_eq!(quantile(&mut [], 0.5), 0.0);
    }
}

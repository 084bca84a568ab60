//! `milad infer`: a bundle on a clip, frame by frame, every output written: how a bundle is compared with other engines.
//!
//! Without a clock and without threads of its own, so that what it writes depends on the files alone. The order of work
//! is [`crate::sequence`]'s.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use tract_onnx::prelude::TValue;

use crate::capture::source_spec::{ClipSpec, Pace};
use crate::capture::{self, Frame, Next, Request, SourceSpec};
use crate::model::engine::{blank, pixels};
use crate::model::{Bundle, Image};
use crate::npy;
use crate::prepare::{Prepare, PrepareOptions};
use crate::sequence::{AtAgeZero, Schedule, Sequence, Step};
use crate::stop::Stop;

/// What can be said on the command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The bundle: a folder, or a name in ./models or /usr/share/milad/models
    #[arg(long, value_name = "BUNDLE")]
    pub bundle: String,
    /// The clip: a .y4m file, a recording of `milad watch`, or a folder of PNG or JPEG pictures
    #[arg(long, value_name = "PATH")]
    pub clip: PathBuf,
    /// Where the results go; made if it is not there
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// Frames from keyframe to keyframe [default: what the bundle was trained for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub interval: Option<u32>,
    /// Frames until a keyframe's memory comes into force. Keyframes are then at least so far apart, whatever the interval:
    /// there is one slow network
    #[arg(long, value_name = "L", default_value_t = 0)]
    pub latency: u32,
    /// Threads for each network; the results do not depend on it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// Write into a folder that is not empty; earlier results in it are removed first
    #[arg(long)]
    pub force: bool,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<()> {
    let bundle = Bundle::load(&args.bundle)?;
    let networks = bundle.into_networks(usize::from(args.threads))?;
    let interval = args.interval.unwrap_or(networks.spec.keyframe_interval);
    if args.latency > interval {
        let latency = args.latency;
        eprintln!(
            "keyframes every {latency} frames instead of every {interval}: with --latency {latency} the slow network is busy for so long"
        );
    }
    let stop = Stop::new()?;
    let clip = ClipSpec { path: args.clip.clone(), pace: Pace::Max, repeat: false };
    let mut source = capture::open(&SourceSpec::Clip(clip), &Request::default(), &stop)?;
    let camera = source.camera();
    let mut prepare = Prepare::new(&camera, &networks.spec.input, &PrepareOptions::default())
        .map_err(|reason| anyhow::anyhow!("clip {}: {reason}", args.clip.display()))?;
    // A folder of pictures has no clock: its frames are as far apart as those in training.
    let interval_ns = match args.clip.is_dir() || camera.interval_ns == 0 {
        true => networks.spec.frame_interval_s * 1e9,
        false => camera.interval_ns as f64,
    };
    make_folder(&args.out, args.force)?;
    let progress = progress();
    let schedule = Schedule::new(interval, args.latency);
    let mut sequence = Sequence::new(networks, schedule, interval_ns);
    let names = Names {
        slow: sequence.networks.slow.output_names().to_vec(),
        fast: sequence.networks.fast.output_names().to_vec(),
    };
    let mut files = 0;
    loop {
        let raw = match source.next(&stop)? {
            Next::Frame(raw) => raw,
            Next::Bad { driver_sequence, reason } => bail!("frame {driver_sequence}: {reason}"),
            Next::End | Next::Stopped => break,
        };
        let number = sequence.frames();
        let frame = Frame { sequence: number, epoch: 0, camera: camera.clone(), raw };
        let mut image = blank(&sequence.networks.spec.input)?;
        let mut prepared = Ok(());
        pixels(&mut image, |pixels| prepared = prepare.run(&frame, pixels))?;
        prepared.with_context(|| format!("frame {number}"))?;
        drop(frame);
        let image = Image::from(image);
        let step = sequence.step(&image, AtAgeZero::Predictions).with_context(|| format!("frame {number}"))?;
        files += write(&args.out, &step, &names)?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    let (frames, keyframes) = (sequence.frames(), sequence.runs().slow);
    ensure!(frames > 0, "clip {}: expected pictures, found none", args.clip.display());
    eprintln!("{frames} frames, {keyframes} keyframes: {files} files in {}", args.out.display());
    Ok(())
}

/// Names of all outputs.
struct Names {
    slow: Vec<String>,
    fast: Vec<String>,
}

/// Writes all outputs of a frame; returns how many files that were.
fn write(out: &Path, step: &Step, names: &Names) -> anyhow::Result<usize> {
    let mut files = 0;
    let mut write = |network: &str, names: &[String], outputs: &[TValue]| -> anyhow::Result<()> {
        for (name, tensor) in names.iter().zip(outputs) {
            let file = out.join(format!("{:06}.{network}.{name}.npy", step.number));
            npy::write(&file, tensor).with_context(|| format!("{}: cannot be written", file.display()))?;
            files += 1;
        }
        Ok(())
    };
    if let Some(outputs) = &step.slow {
        write("slow", &names.slow, outputs)?;
    }
    write("fast", &names.fast, &step.fast)?;
    Ok(files)
}

/// Makes the folder, or makes sure that it is empty.
fn make_folder(out: &Path, force: bool) -> anyhow::Result<()> {
    let cannot = || format!("{}: cannot be used for results", out.display());
    std::fs::create_dir_all(out).with_context(cannot)?;
    let mut others = Vec::new();
    for entry in std::fs::read_dir(out).with_context(cannot)? {
        others.push(entry.with_context(cannot)?.path());
    }
    if others.is_empty() {
        return Ok(());
    }
    ensure!(
        force,
        "{}: expected an empty folder, found {} files; give another folder, or --force to replace earlier results",
        out.display(),
        others.len()
    );
    for file in others.iter().filter(|file| is_result(file)) {
        std::fs::remove_file(file).with_context(|| format!("{}: cannot be removed", file.display()))?;
    }
    Ok(())
}

/// Whether a file is named as ours are: `000012.fast.….npy`, or the unfinished form of it.
fn is_result(file: &Path) -> bool {
    let Some(name) = file.file_name().and_then(|name| name.to_str()) else { return false };
    let name = name.strip_suffix(".unfinished").unwrap_or(name);
    let Some((number, rest)) = name.split_once('.') else { return false };
    number.len() >= 6
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && (rest.starts_with("fast.") || rest.starts_with("slow."))
        && rest.ends_with(".npy")
}

/// Frames so far and their rate, on standard error where it is a terminal.
fn progress() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} frame {pos}, {per_sec}, {elapsed}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_results_are_removed_by_force() {
        for name in ["000012.fast.task.depth.npy", "1000000.slow.value.a.npy", "000001.slow.x.npy.unfinished"] {
            assert!(is_result(Path::new(name)), "{name}");
        }
        for name in ["notes.txt", "000012.rgb.png", "12.fast.a.npy", "000012.depth.npy", "000012.fast.a.txt"] {
            assert!(!is_result(Path::new(name)), "{name}");
        }
    }
}

//! `milad scene`: rendered clips with their truth, as folders: for people to look at, for training, for `eval`.
//!
//! A clip is there whole or not at all, so that writing many can be interrupted and taken up again. It never replaces
//! what it did not write.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use milad_scene::{Clip, Options, Quality, World, write};

use crate::seeds::Seeds;

/// What can be said on the command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// street, room, street-shifted or room-shifted
    #[arg(long, value_name = "WORLD", value_parser = world)]
    pub world: World,
    /// One clip, into the folder itself
    #[arg(long, value_name = "S", required_unless_present = "seeds", conflicts_with = "seeds")]
    pub seed: Option<u64>,
    /// A clip for each seed A ≤ s < B, into folders named by seed; clips that are there already are left alone
    #[arg(long, value_name = "A..B")]
    pub seeds: Option<Seeds>,
    /// Frames of each clip
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub frames: u32,
    /// Where clips go; made if it is not there
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// A few arrays a clip instead of a few files a frame: for training
    #[arg(long)]
    pub packed: bool,
    /// Write the optical flow too, which packed clips leave out
    #[arg(long, requires = "packed")]
    pub flow: bool,
    /// Pixels a row
    #[arg(long, value_name = "W", default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..=8192))]
    pub width: u32,
    /// Rows
    #[arg(long, value_name = "H", default_value_t = 128, value_parser = clap::value_parser!(u32).range(8..=8192))]
    pub height: u32,
    /// live (quick) or training (smooth edges, motion blur); the truth is the same
    #[arg(long, value_name = "QUALITY", default_value = "training", value_parser = quality)]
    pub quality: Quality,
    /// Let the camera jump to another place every few seconds
    #[arg(long)]
    pub cuts: bool,
    /// Clips written at the same time
    #[arg(long, value_name = "J", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
}

/// Reads a world's name.
pub fn world(text: &str) -> Result<World, String> {
    text.parse().map_err(|error: milad_scene::UnknownWorld| error.to_string())
}

/// Reads a quality's name.
pub fn quality(text: &str) -> Result<Quality, String> {
    match text {
        "live" => Ok(Quality::Live),
        "training" => Ok(Quality::Training),
        _ => Err("expected live or training".to_owned()),
    }
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<()> {
    let job = Job {
        world: args.world,
        frames: args.frames,
        packed: args.packed,
        flow: args.flow,
        options: Options {
            width: args.width as usize,
            height: args.height as usize,
            quality: args.quality,
            cuts: args.cuts,
        },
    };
    match (args.seed, &args.seeds) {
        (Some(seed), _) => job.one(seed, &args.out),
        (None, Some(seeds)) => job.many(seeds, &args.out, usize::from(args.jobs)),
        // The parser asks for one of the two.
        (None, None) => Ok(()),
    }
}

/// What every clip of a run has in common.
#[derive(Debug, Clone)]
struct Job {
    world: World,
    frames: u32,
    packed: bool,
    flow: bool,
    options: Options,
}

impl Job {
    fn one(&self, seed: u64, out: &Path) -> anyhow::Result<()> {
        if let Ok(mut entries) = std::fs::read_dir(out) {
            let empty = entries.next().is_none();
            ensure!(empty, "{}: expected a new or an empty folder, found files; give another folder", out.display());
        }
        let progress = progress(u64::from(self.frames));
        self.write(seed, out, &progress)?;
        progress.finish_and_clear();
        eprintln!("{} seed {seed}, {} frames, in {}", self.world, self.frames, out.display());
        Ok(())
    }

    /// Clips are handed to threads one by one; the first failure ends all of them.
    fn many(&self, seeds: &Seeds, out: &Path, jobs: usize) -> anyhow::Result<()> {
        let progress = progress((seeds.count() as u64).saturating_mul(u64::from(self.frames)));
        let (next, failed, there) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicUsize::new(0));
        let work = || -> anyhow::Result<()> {
            while !failed.load(Ordering::Relaxed)
                && let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed))
            {
                let place = out.join(format!("{seed:07}"));
                if place.exists() {
                    self.check_existing(seed, &place).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                    there.fetch_add(1, Ordering::Relaxed);
                    progress.inc(u64::from(self.frames));
                } else {
                    self.write(seed, &place, &progress).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..jobs.min(seeds.count())).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })?;
        progress.finish_and_clear();
        let there = there.into_inner();
        let written = seeds.count() - there;
        eprintln!("{} seeds {seeds}: {written} clips written, {there} were there, in {}", self.world, out.display());
        Ok(())
    }

    fn write(&self, seed: u64, place: &Path, progress: &ProgressBar) -> anyhow::Result<()> {
        let clip = Clip::new(self.world, seed, &self.options);
        let tell = |_| progress.inc(1);
        let done = match self.packed {
            true => write::packed(&clip, self.frames, self.flow, place, tell),
            false => write::clip(&clip, self.frames, place, tell),
        };
        done.with_context(|| format!("{}: the clip cannot be written", place.display()))
    }

    /// A clip that is there already must be the one that would be written.
    fn check_existing(&self, seed: u64, place: &Path) -> anyhow::Result<()> {
        let Options { width, height, quality, cuts } = self.options;
        let expected = Described {
            world: &self.world.to_string(),
            seed,
            frames: self.frames.into(),
            width: width as u64,
            height: height as u64,
            quality: quality.name(),
            cuts,
        };
        let expected = expected.to_string();
        let found = described(&place.join("camera.json")).unwrap_or_else(|| "something else".to_owned());
        let (first, layout) = match self.packed {
            true => ("rgb.npy", "packed"),
            false => ("000000.rgb.png", "a file a frame"),
        };
        let same_layout = place.join(first).exists() && (!self.flow || place.join("flow.npy").exists());
        let advice = "give another folder, or remove it";
        ensure!(found == expected, "{}: expected {expected}, found {found}; {advice}", place.display());
        let with = if self.flow { ", with flow" } else { "" };
        ensure!(
            same_layout,
            "{}: expected a clip {layout}{with}, found one without {first}{with}; {advice}",
            place.display()
        );
        Ok(())
    }
}

/// What a clip is.
struct Described<'a> {
    world: &'a str,
    seed: u64,
    frames: u64,
    width: u64,
    height: u64,
    quality: &'a str,
    cuts: bool,
}

impl std::fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Described { world, seed, frames, width, height, quality, cuts } = self;
        let cuts = if *cuts { ", with cuts" } else { "" };
        write!(f, "{world} seed {seed}, {frames} frames of {width}×{height}, {quality} quality{cuts}")
    }
}

/// What a clip's `camera.json` says that it is.
fn described(file: &Path) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    let (text, number) = (|key: &str| json.get(key)?.as_str(), |key: &str| json.get(key)?.as_u64());
    let described = Described {
        world: text("world")?,
        seed: number("seed")?,
        frames: number("frames")?,
        width: number("width")?,
        height: number("height")?,
        // Clips of earlier versions say neither.
        quality: text("quality").unwrap_or("unknown"),
        cuts: json.get("cuts").and_then(|cuts| cuts.as_bool()).unwrap_or(false),
    };
    Some(described.to_string())
}

fn progress(frames: u64) -> ProgressBar {
    let bar = ProgressBar::new(frames);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} frames, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    bar
}

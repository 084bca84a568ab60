//! `milad eval`: how well a bundle predicts, against exact truth, and what that costs.
//!
//! Pictures go the daemon's own way: [`crate::prepare`], the networks in the order of [`crate::sequence`], and the maps that
//! would be published ([`crate::publish::Digest`]). Nothing here knows an architecture. docs/EVALUATION.md defines every
//! number that comes out.

mod clips;
mod confusion;
mod consistency;
mod depth;
mod labelled;
mod normals;
mod report;
mod runner;
mod scores;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use milad_scene::{Options, Quality, World};

use crate::model::{Bundle, Spec};
use crate::scene;
use crate::seeds::Seeds;
use crate::sequence::Schedule;
use crate::stop::Stop;
use clips::{Clips, Rendered};
use runner::{ClipResult, Runner};
use scores::Targets;

/// How the networks answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Both networks, as the daemon runs them
    Mila,
    /// The slow network on every frame: the ceiling
    Slow,
    /// The fast network alone, its memory never filled
    Fast,
    /// The slow network's answer to the keyframe, kept until the next one
    Copy,
}

/// What can be said on the command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The bundle: a folder, or a name in ./models or /usr/share/milad/models
    #[arg(long, value_name = "BUNDLE")]
    pub bundle: String,
    /// How the networks answer
    #[arg(long, value_enum, default_value = "mila")]
    pub mode: Mode,
    /// Rendered clips: seeds A ≤ s < B
    #[arg(long, value_name = "A..B", required_unless_present = "clips", conflicts_with = "clips", requires = "frames")]
    pub seeds: Option<Seeds>,
    /// Frames of each rendered clip
    #[arg(long, value_name = "N", conflicts_with = "clips", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub frames: Option<u32>,
    /// street, room, street-shifted or room-shifted [default: the one that the bundle is named after]
    #[arg(long, value_name = "WORLD", conflicts_with = "clips", value_parser = scene::world)]
    pub world: Option<World>,
    /// How clips are rendered: training or live
    #[arg(long, value_name = "QUALITY", conflicts_with = "clips", default_value = "training", value_parser = scene::quality)]
    pub quality: Quality,
    /// A labelled clip as `milad scene` writes it, or a folder of such clips
    #[arg(long, value_name = "FOLDER")]
    pub clips: Option<PathBuf>,
    /// Frames from keyframe to keyframe [default: what the bundle was trained for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub interval: Option<u32>,
    /// Frames until a keyframe's memory comes into force. Keyframes are then at least so far apart, whatever the interval:
    /// there is one slow network
    #[arg(long, value_name = "L", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub latency: u32,
    /// Clips at the same time. Times of networks mean something with one only
    #[arg(long, value_name = "J", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// One JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<()> {
    let bundle = Bundle::load(&args.bundle)?;
    let spec = bundle.spec().clone();
    let macs = bundle.report().clone();
    let interval = args.interval.unwrap_or(spec.keyframe_interval);
    let schedule = Schedule::new(interval, args.latency);
    if args.latency > interval {
        let latency = args.latency;
        eprintln!(
            "keyframes every {latency} frames instead of every {interval}: with --latency {latency} the slow network is busy for so long"
        );
    }
    let clips = clips(&args, &spec)?;
    let targets = Targets::new(&spec, &clips.classes()?)?;
    let results = evaluate(&args, bundle, &clips, &targets, schedule)?;
    let report = report::Report::new(&args, (&spec, &macs), (interval, schedule), &clips, &targets, &results);
    ensure!(
        report.scored_frames > 0,
        "nothing to score: with latency {} the first keyframe comes into force at frame {0}, and no clip has so many; \
         give longer clips or a smaller --latency",
        args.latency
    );
    match args.json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print!("{}", table::table(&report)),
    }
    Ok(())
}

fn clips(args: &Args, spec: &Spec) -> anyhow::Result<Clips> {
    if let Some(folder) = &args.clips {
        return Clips::labelled(folder);
    }
    let (Some(seeds), Some(frames)) = (args.seeds.clone(), args.frames) else {
        anyhow::bail!("expected --seeds A..B with --frames N, or --clips FOLDER");
    };
    let named = || spec.name.parse::<World>().ok();
    let world = args.world.or_else(named).with_context(|| {
        let name = &spec.name;
        format!("bundle {name} is not named after a world: give --world street, room, street-shifted or room-shifted")
    })?;
    let options = Options { width: spec.input.width, height: spec.input.height, quality: args.quality, cuts: false };
    Ok(Clips::Rendered(Rendered { world, seeds, frames, options }))
}

/// Every clip's result in the order of the clips, whatever the order in which they were done: sums do not depend on `jobs`.
fn evaluate(
    args: &Args,
    bundle: Bundle,
    clips: &Clips,
    targets: &Targets,
    schedule: Schedule,
) -> anyhow::Result<ClipResult> {
    let stop = Stop::new().context("no descriptor for the stop switch")?;
    let progress = ProgressBar::new(clips.frames()?);
    progress.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} frames, {per_sec}, {eta} left")?);
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let merged = Mutex::new(InOrder::default());
    let work = |bundle: Bundle| -> anyhow::Result<()> {
        let mut runner = Runner::new(bundle.into_networks(1)?, args.mode, schedule, targets);
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(mut clip) = clips.open(index, &stop)? else { break };
            let result = runner.run(&mut clip, &stop, &progress).with_context(|| clips.name(index))?;
            merged.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).put(index, result);
        }
        Ok(())
    };
    let work = |bundle: anyhow::Result<Bundle>| {
        let outcome = bundle.and_then(work);
        failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
        outcome
    };
    std::thread::scope(|scope| {
        let others = 1..usize::from(args.jobs).min(clips.count());
        let others: Vec<_> =
            others.map(|_| scope.spawn(|| work(Bundle::load(&args.bundle).map_err(anyhow::Error::from)))).collect();
        let mine = work(Ok(bundle));
        let outcomes = others.into_iter().map(|other| match other.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        outcomes.fold(mine, |first, other| first.and(other))
    })?;
    progress.finish_and_clear();
    let merged = merged.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    merged.sum.context("there are no clips")
}

/// Merges results in the order of their clips; one that comes too early waits.
#[derive(Debug, Default)]
struct InOrder {
    sum: Option<ClipResult>,
    merged: usize,
    early: BTreeMap<usize, ClipResult>,
}

impl InOrder {
    fn put(&mut self, index: usize, result: ClipResult) {
        self.early.insert(index, result);
        while let Some(result) = self.early.remove(&self.merged) {
            self.merged += 1;
            match &mut self.sum {
                Some(sum) => sum.merge(&result),
                None => self.sum = Some(result),
            }
        }
    }
}

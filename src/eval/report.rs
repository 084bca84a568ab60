//! What `milad eval` says, as JSON with keys that stay: numbers of all frames, and of sets of them. docs/EVALUATION.md
//! describes each.

use serde::Serialize;

use super::clips::Clips;
use super::confusion::Confusion;
use super::depth::CAP_M;
use super::runner::{ClipResult, first_streaming};
use super::scores::{Scores, Target, Targets, TaskSums};
use super::{Args, Mode};
use crate::model::{LoadReport, Spec};
use crate::sequence::Schedule;

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Report {
    pub bundle: String,
    pub sha256: String,
    pub mode: &'static str,
    pub source: Source,
    pub clips: usize,
    /// Frames played.
    pub frames: u64,
    /// Frames with a keyframe in force: the same in every mode.
    pub scored_frames: u64,
    pub interval: u32,
    pub latency: u32,
    /// Frames from keyframe to keyframe in force: max(interval, latency, 1).
    pub period: u64,
    /// The first frame of each clip that `streaming` is scored at.
    pub first_streaming: u64,
    pub depth_cap_m: f32,
    pub all: Quality,
    pub non_key: Quality,
    pub streaming: Quality,
    pub by_age: Vec<AgeQuality>,
    pub consistency: Vec<Consistency>,
    pub cost: Cost,
}

/// What was played.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Rendered { world: String, seeds: [u64; 2], frames: u32, quality: &'static str },
    Labelled { folder: String },
}

/// Quality over a set of frames.
#[derive(Debug, Serialize)]
pub struct Quality {
    pub frames: u64,
    pub tasks: Vec<Task>,
}

/// Quality at one age of the keyframe in force.
#[derive(Debug, Serialize)]
pub struct AgeQuality {
    pub age: u64,
    #[serde(flatten)]
    pub quality: Quality,
}

/// One task. Scores are null where no pixel could be scored.
#[derive(Debug, Serialize)]
pub struct Task {
    pub name: String,
    #[serde(flatten)]
    pub scores: TaskScores,
}

/// A task's scores.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TaskScores {
    Segmentation {
        pixels: u64,
        miou: Option<f64>,
        classes: Vec<ClassScore>,
        unknown_classes: Vec<String>,
    },
    Depth {
        pixels: u64,
        abs_rel: Option<f64>,
        rmse_m: Option<f64>,
        within_1_25: Option<f64>,
    },
    Normals {
        pixels: u64,
        mean_deg: Option<f64>,
        median_deg: Option<f64>,
        within_11_25_deg: Option<f64>,
        within_22_5_deg: Option<f64>,
        within_30_deg: Option<f64>,
    },
    Raw,
}

/// IoU of a class, 0…1, and its row of the confusion matrix: how its pixels were classified.
#[derive(Debug, Serialize)]
pub struct ClassScore {
    pub name: String,
    pub iou: Option<f64>,
    pub predicted: Vec<u64>,
}

/// Agreement of consecutive predictions of one task.
#[derive(Debug, Serialize)]
pub struct Consistency {
    pub task: String,
    /// Pixels that were followed.
    pub pixels: u64,
    pub miou: Option<f64>,
}

/// What was executed.
#[derive(Debug, Serialize)]
pub struct Cost {
    pub fast_runs: u64,
    pub slow_runs: u64,
    /// Multiply-accumulates of one run.
    pub fast_macs: u64,
    pub slow_macs: u64,
    /// Once with each keyframe: what the fast network makes of memory alone.
    pub prelude_macs: u64,
    /// Mean over all frames played.
    pub macs_per_frame: f64,
    /// Of the slow network on every frame.
    pub ratio: f64,
    pub wall_ms_per_frame: f64,
    pub cpu_ms_per_frame: f64,
}

impl Report {
    /// Sums become numbers.
    pub fn new(
        args: &Args,
        (spec, load): (&Spec, &LoadReport),
        (interval, schedule): (u32, Schedule),
        clips: &Clips,
        targets: &Targets,
        result: &ClipResult,
    ) -> Report {
        let quality = |scores: &Scores| quality(spec, targets, scores);
        let ages = result.by_age.iter();
        Report {
            bundle: spec.name.clone(),
            sha256: spec.sha256.clone(),
            mode: args.mode.name(),
            source: source(args, clips),
            clips: clips.count(),
            frames: result.frames,
            scored_frames: result.all.frames,
            interval,
            latency: args.latency,
            period: schedule.period(),
            first_streaming: first_streaming(schedule),
            depth_cap_m: CAP_M,
            all: quality(&result.all),
            non_key: quality(&result.non_key),
            streaming: quality(&result.streaming),
            by_age: ages.map(|(age, scores)| AgeQuality { age: *age, quality: quality(scores) }).collect(),
            consistency: consistency(spec, result),
            cost: cost(load, result),
        }
    }
}

impl Mode {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Mila => "mila",
            Mode::Slow => "slow",
            Mode::Fast => "fast",
            Mode::Copy => "copy",
        }
    }
}

fn source(args: &Args, clips: &Clips) -> Source {
    match clips {
        Clips::Rendered(rendered) => Source::Rendered {
            world: rendered.world.to_string(),
            seeds: rendered.seeds.ends(),
            frames: rendered.frames,
            quality: rendered.options.quality.name(),
        },
        Clips::Labelled(_) => Source::Labelled {
            folder: args.clips.as_ref().map(|folder| folder.display().to_string()).unwrap_or_default(),
        },
    }
}

fn quality(spec: &Spec, targets: &Targets, scores: &Scores) -> Quality {
    let tasks = spec.tasks.iter().zip(&targets.0).enumerate().map(|(index, (task, target))| {
        let scores = match (target, scores.tasks.get(index)) {
            (Target::Segmentation(classes), Some(TaskSums::Segmentation(sums))) => {
                let scored = classes.scored.iter().copied();
                let named = scored.clone().map(|class| ClassScore {
                    name: classes.names.get(class).cloned().unwrap_or_default(),
                    iou: sums.iou(class),
                    predicted: sums.rows().nth(class).unwrap_or_default().to_vec(),
                });
                TaskScores::Segmentation {
                    pixels: sums.pixels(),
                    miou: sums.mean_iou(scored.clone()),
                    classes: named.collect(),
                    unknown_classes: classes.unknown.clone(),
                }
            }
            (Target::Segmentation(_), _) => {
                TaskScores::Segmentation { pixels: 0, miou: None, classes: vec![], unknown_classes: vec![] }
            }
            (Target::Depth, sums) => {
                let sums = match sums {
                    Some(TaskSums::Depth(sums)) => sums.clone(),
                    _ => Default::default(),
                };
                let scores = sums.scores();
                TaskScores::Depth {
                    pixels: sums.pixels,
                    abs_rel: scores.map(|scores| scores.abs_rel),
                    rmse_m: scores.map(|scores| scores.rmse_m),
                    within_1_25: scores.map(|scores| scores.within_1_25),
                }
            }
            (Target::Normals, sums) => {
                let (pixels, scores) = match sums {
                    Some(TaskSums::Normals(sums)) => (sums.pixels, sums.scores()),
                    _ => (0, None),
                };
                let [within_11_25_deg, within_22_5_deg, within_30_deg] =
                    [0, 1, 2].map(|i| scores.and_then(|scores| scores.within.get(i).copied()));
                TaskScores::Normals {
                    pixels,
                    mean_deg: scores.map(|scores| scores.mean_deg),
                    median_deg: scores.map(|scores| scores.median_deg),
                    within_11_25_deg,
                    within_22_5_deg,
                    within_30_deg,
                }
            }
            (Target::Raw, _) => TaskScores::Raw,
        };
        Task { name: task.name.clone(), scores }
    });
    Quality { frames: scores.frames, tasks: tasks.collect() }
}

fn consistency(spec: &Spec, result: &ClipResult) -> Vec<Consistency> {
    let agreement = |confusion: &Confusion| {
        let classes = confusion.rows().count();
        (confusion.pixels(), confusion.mean_iou(0..classes))
    };
    let tasks = spec.tasks.iter().zip(&result.consistency);
    let followed = tasks.filter_map(|(task, confusion)| Some((task, agreement(confusion.as_ref()?))));
    followed.map(|(task, (pixels, miou))| Consistency { task: task.name.clone(), pixels, miou }).collect()
}

fn cost(load: &LoadReport, result: &ClipResult) -> Cost {
    let cost = &result.cost;
    let frames = result.frames.max(1) as f64;
    let all = cost.fast_runs as f64 * load.macs_fast as f64
        + cost.slow_runs as f64 * load.macs_slow as f64
        + cost.prelude_runs as f64 * load.macs_prelude as f64;
    Cost {
        fast_runs: cost.fast_runs,
        slow_runs: cost.slow_runs,
        fast_macs: load.macs_fast,
        slow_macs: load.macs_slow,
        prelude_macs: load.macs_prelude,
        macs_per_frame: all / frames,
        ratio: all / frames / (load.macs_slow.max(1) as f64),
        wall_ms_per_frame: cost.wall_s / frames * 1e3,
        cpu_ms_per_frame: cost.cpu_s / frames * 1e3,
    }
}

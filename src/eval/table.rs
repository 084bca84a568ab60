//! `milad eval` for people: a few lines of numbers.

use std::fmt::Write as _;

use super::report::{Quality, Report, Source, TaskScores};

/// Characters of a number, and of what stands in front of the numbers.
const CELL: usize = 11;
const FIRST: usize = 19;

/// The report as text.
pub fn table(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |words: std::fmt::Arguments| {
        let _ = writeln!(text, "{words}");
    };
    let source = match &report.source {
        Source::Rendered { world, seeds: [first, end], frames, .. } => {
            format!("{world} seeds {first}..{end}, {frames} frames each")
        }
        Source::Labelled { folder } => format!("{} clips in {folder}", report.clips),
    };
    line(format_args!("{} ({}), mode {}: {source}", report.bundle, short(&report.sha256), report.mode));
    line(format_args!(
        "a keyframe every {} frames, in force after {}; {} of {} frames scored, depth to {} m",
        report.period, report.latency, report.scored_frames, report.frames, report.depth_cap_m
    ));
    let groups: Vec<(&str, &[&str])> =
        report.all.tasks.iter().map(|task| (task.name.as_str(), headings(&task.scores))).collect();
    let names = groups.iter().filter(|(_, own)| !own.is_empty());
    let names: String = names.map(|(name, own)| format!("  {name:<width$}", width = own.len() * CELL - 2)).collect();
    let headings: String = groups.iter().flat_map(|(_, own)| own.iter()).map(|own| format!("{own:>CELL$}")).collect();
    line(format_args!("\n{:>FIRST$}{names}\n{:>10} {:>8}{headings}", "", "", "frames"));
    let mut row = |name: &str, quality: &Quality| {
        let values: String = quality.tasks.iter().flat_map(|task| values(&task.scores)).collect();
        line(format_args!("{name:>10} {:>8}{values}", quality.frames));
    };
    row("all", &report.all);
    row("non-key", &report.non_key);
    row("streaming", &report.streaming);
    for age in &report.by_age {
        row(&format!("age {}", age.age), &age.quality);
    }
    line(format_args!(
        "\nstreaming: the truth of each moment against the answer that is there by then, from frame {} of a clip on",
        report.first_streaming
    ));
    for task in &report.all.tasks {
        let TaskScores::Segmentation { classes, unknown_classes, .. } = &task.scores else { continue };
        let ious: Vec<String> = classes.iter().map(|class| format!("{} {}", class.name, percent(class.iou))).collect();
        line(format_args!("{}, IoU %: {}", task.name, ious.join(", ")));
        if !unknown_classes.is_empty() {
            line(format_args!("  not scored, the bundle does not know them: {}", unknown_classes.join(", ")));
        }
    }
    for consistency in &report.consistency {
        line(format_args!("{}, temporal consistency: mIoU {} %", consistency.task, percent(consistency.miou)));
    }
    let cost = &report.cost;
    line(format_args!(
        "{:.2} MMAC a frame, {:.1} % of the slow network on every frame; {:.2} ms a frame in the networks, {:.2} ms of a processor",
        cost.macs_per_frame * 1e-6,
        cost.ratio * 100.0,
        cost.wall_ms_per_frame,
        cost.cpu_ms_per_frame
    ));
    text
}

fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

fn headings(scores: &TaskScores) -> &'static [&'static str] {
    match scores {
        TaskScores::Segmentation { .. } => &["mIoU %"],
        TaskScores::Depth { .. } => &["AbsRel", "RMSE m", "<1.25 %"],
        TaskScores::Normals { .. } => &["mean °", "median °", "<11.25° %", "<22.5° %", "<30° %"],
        TaskScores::Raw => &[],
    }
}

/// As wide as [`headings`], in the same order.
fn values(scores: &TaskScores) -> Vec<String> {
    let cell = |text: String| format!("{text:>CELL$}");
    let plain =
        |value: &Option<f64>, digits: usize| value.map_or("–".to_owned(), |value| format!("{value:.digits$}"));
    let values = match scores {
        TaskScores::Segmentation { miou, .. } => vec![percent(*miou)],
        TaskScores::Depth { abs_rel, rmse_m, within_1_25, .. } => {
            vec![plain(abs_rel, 4), plain(rmse_m, 2), percent(*within_1_25)]
        }
        TaskScores::Normals { mean_deg, median_deg, within_11_25_deg, within_22_5_deg, within_30_deg, .. } => vec![
            plain(mean_deg, 2),
            plain(median_deg, 2),
            percent(*within_11_25_deg),
            percent(*within_22_5_deg),
            percent(*within_30_deg),
        ],
        TaskScores::Raw => vec![],
    };
    values.into_iter().map(cell).collect()
}

fn percent(share: Option<f64>) -> String {
    share.map_or("–".to_owned(), |share| format!("{:.2}", share * 100.0))
}

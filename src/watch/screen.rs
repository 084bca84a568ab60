//! What `milad watch` knows, and how it looks: text out of messages, nothing else.

use std::fmt::Write;

use milad_client::{
    AccountMessage, CameraInfo, CameraState, Hello, IMAGE, Message, ResultMessage, Share, Statistics, TaskInfo,
    TaskKind,
};

use super::picture::Picture;
use super::terminal::{Colours, Terminal};
use super::window::Window;

/// A frame older than this is called out, in seconds.
const STALE: f64 = 2.0;
/// Characters of a full bar, and of a line with one: number, name, bar.
const BAR: usize = 16;
const BAR_LINE: usize = 12 + 8 + BAR + 4;
/// Pictures narrower than this are none.
const PICTURE_COLUMNS: usize = 20;
/// Between two pictures.
const GAP: usize = 2;

/// The newest of everything.
#[derive(Debug, Default)]
pub struct Screen {
    hello: Option<Hello>,
    camera: Option<CameraInfo>,
    /// Why there is no camera.
    lost_camera: Option<String>,
    result: Option<ResultMessage>,
    window: Window,
    account: Option<AccountMessage>,
    dropped: u64,
    bye: Option<String>,
    drawn: bool,
}

impl Screen {
    /// Learns from a message.
    pub fn take(&mut self, message: Message) {
        match message {
            Message::Hello(hello) => {
                self.camera = hello.camera.clone();
                self.hello = Some(hello);
            }
            Message::Result(result) => {
                self.dropped = self.dropped.saturating_add(result.dropped);
                self.window.take(&result);
                self.result = Some(result);
            }
            Message::Camera(camera) => {
                self.lost_camera = match camera.state {
                    CameraState::Up => None,
                    _ => Some(camera.reason.unwrap_or_else(|| "no reason given".into())),
                };
                self.camera = camera.camera.or(self.camera.take());
                self.window.clear();
            }
            Message::Model(model) => {
                if let Some(hello) = &mut self.hello {
                    (hello.bundle, hello.tasks) = (model.bundle, model.tasks);
                }
                self.window.clear();
            }
            Message::Bye { reason } | Message::Error { message: reason } => self.bye = Some(reason),
            Message::Account(account) => self.account = Some(account),
            Message::Maps(_) | Message::Ok | Message::Unknown => {}
        }
    }

    /// Why the stream ended.
    pub fn goodbye(&self) -> String {
        match &self.bye {
            Some(reason) => format!("milad closed the connection: {}", clean(reason)),
            None => "the connection ended".into(),
        }
    }

    /// The maps worth a picture, the camera's first: by name, and what they are.
    pub fn maps(&self) -> impl Iterator<Item = (&str, Option<&TaskInfo>)> {
        let visible =
            |task: &&TaskInfo| matches!(task.kind, TaskKind::Segmentation | TaskKind::Depth | TaskKind::Normals);
        let tasks = self.hello.iter().flat_map(|hello| &hello.tasks).filter(visible);
        std::iter::once((IMAGE, None)).chain(tasks.map(|task| (task.name.as_str(), Some(task))))
    }

    /// Seconds since the newest frame was captured.
    fn age(&self, now_ns: u64) -> Option<f64> {
        self.result.as_ref().map(|result| now_ns.saturating_sub(result.captured_ns) as f64 * 1e-9)
    }

    /// One line, with its newline.
    pub fn line(&self, now_ns: u64) -> String {
        let mut out = String::new();
        match (&self.result, self.age(now_ns)) {
            (Some(result), Some(age)) => {
                let _ = write!(out, "frame {} age {age:.2} s", result.sequence);
                let _ = write!(
                    out,
                    " rate {:.1}/s latency {:.1} ms",
                    self.window.rate().unwrap_or(0.0),
                    result.latency_ms.total
                );
                match &result.keyframe {
                    Some(keyframe) => drop(write!(out, " keyframe {:.0} ms old", keyframe.age_ms)),
                    None => out.push_str(" keyframe none"),
                }
                let _ = write!(out, " dropped {}", self.dropped);
                for (name, statistics) in result.tasks.iter() {
                    let _ = write!(out, " {}", clean(name));
                    numbers(&mut out, statistics);
                }
            }
            _ => out.push_str("no result yet"),
        }
        if let Some(reason) = &self.lost_camera {
            let _ = write!(out, " CAMERA LOST: {}", clean(reason));
        }
        out.push('\n');
        out
    }

    /// A whole screen with the control sequences (ECMA-48) that put it in place of the last one. What the terminal has no room
    /// for is left out: pictures first, then what is at the bottom, so that the screen never scrolls.
    pub fn full(&mut self, now_ns: u64, terminal: &Terminal, pictures: &[Picture]) -> String {
        // Long lines are cut off at the terminal's edge rather than wrapped.
        let mut out = String::from(if self.drawn { "\x1b[H\x1b[?7l" } else { "\x1b[2J\x1b[H\x1b[?7l" });
        self.drawn = true;
        // The last row stays free for the cursor.
        let room = terminal.rows.map_or(usize::MAX, |rows| rows.saturating_sub(1).max(1));
        let mut lines = self.state(now_ns);
        let tasks = self.tasks(terminal.columns, terminal.colours);
        if terminal.colours != Colours::None && self.result.is_some() {
            // A caption, and an empty line below.
            let rows = room.saturating_sub(lines.len() + tasks.len() + 2);
            lines.extend(side_by_side(pictures, rows, terminal));
        }
        lines.extend(tasks);
        for line in lines.iter().take(room) {
            out.push_str(line);
            out.push_str("\x1b[K\r\n");
        }
        out.push_str("\x1b[J\x1b[?7h");
        out
    }

    /// Who, how fast, how old, what was lost; an empty line last.
    fn state(&self, now_ns: u64) -> Vec<String> {
        let mut lines = Vec::new();
        lines.push(match &self.hello {
            Some(hello) => {
                let (milad, bundle) = (clean(&hello.milad), clean(&hello.bundle.name));
                format!("milad {milad} · {bundle} (trained on {})", clean(&hello.bundle.trained_on))
            }
            None => "milad".to_owned(),
        });
        lines.push(format!("camera    {}", self.camera_told()));
        let (Some(result), Some(age)) = (&self.result, self.age(now_ns)) else {
            lines.extend(["no result yet".to_owned(), String::new()]);
            return lines;
        };
        let stale = if age > STALE { "  NOTHING NEW" } else { "" };
        lines.push(format!("frame     {} · epoch {} · captured {age:.2} s ago{stale}", result.sequence, result.epoch));
        let rate = if age > STALE { 0.0 } else { self.window.rate().unwrap_or(0.0) };
        lines.push(format!("rate      {rate:.1}/s · lost by this client {}", self.dropped));
        let latency = &result.latency_ms;
        lines.push(format!(
            "latency   {:.1} ms (prepare {:.1}, fast {:.1}, publish {:.1})",
            latency.total, latency.prepare, latency.fast, latency.publish
        ));
        if let Some((median, worst)) = self.window.latency() {
            lines.push(format!("          median {median:.1}, worst {worst:.1} ms {}", self.window.plot(40)));
        }
        let slow = if result.slow_running { " · the next one is being made" } else { "" };
        lines.push(match &result.keyframe {
            Some(key) => {
                format!("keyframe  {} · {} frames, {:.0} ms old{slow}", key.sequence, key.age_frames, key.age_ms)
            }
            None => format!("keyframe  none yet{slow}"),
        });
        if let Some(confidence) = result.confidence {
            lines.push(format!("confidence {:.0} %", confidence * 100.0));
        }
        if let Some(account) = &self.account {
            let mut line = format!(
                "frames    captured {} · published {} · in flight {} · driver gaps {}",
                account.captured, account.published, account.in_flight, account.driver_gaps
            );
            if !account.dropped.is_empty() {
                line.push_str(" · dropped");
            }
            for dropped in &account.dropped {
                // Writing to a string does not fail, here and below.
                let _ = write!(line, " {} {}/{}", dropped.frames, clean(&dropped.stage), clean(&dropped.cause));
            }
            lines.push(line);
        }
        lines.push(String::new());
        lines
    }

    fn camera_told(&self) -> String {
        let mut out = String::new();
        if let Some(camera) = &self.camera {
            let _ = write!(out, "{} {}×{} {}", clean(&camera.name), camera.width, camera.height, clean(&camera.format));
            if camera.interval_ns > 0 {
                let _ = write!(out, " {:.1}/s", 1e9 / camera.interval_ns as f64);
            }
        }
        match (&self.lost_camera, &self.camera) {
            (Some(reason), _) => drop(write!(out, " LOST: {}", clean(reason))),
            (None, None) => out.push_str("none yet"),
            _ => {}
        }
        out
    }

    /// Every task's statistics, in so many columns of characters.
    fn tasks(&self, columns: usize, colours: Colours) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, statistics) in self.result.iter().flat_map(|result| result.tasks.iter()) {
            let mut line = clean(name);
            if let Statistics::Segmentation { share } = statistics {
                lines.push(line);
                let classes = self.hello.iter().flat_map(|hello| &hello.tasks).find(|task| task.name == name);
                let of = |class: &str| {
                    let info = classes?.classes.iter().find(|info| info.name == class)?;
                    let colour = super::colour(&info.color);
                    (colours != Colours::None).then(|| colours.sequence(colour, colour))
                };
                let all: Vec<String> = share.iter().map(|(class, share)| bar(class, *share, of(class))).collect();
                // Class by class downwards.
                let beside = (columns / BAR_LINE).clamp(1, all.len().max(1));
                let rows = all.len().div_ceil(beside);
                for row in 0..rows {
                    let cells = all.iter().skip(row).step_by(rows);
                    lines.push(cells.map(String::as_str).collect::<String>().trim_end().to_owned());
                }
            } else {
                numbers(&mut line, statistics);
                lines.push(line);
            }
        }
        lines
    }
}

/// A class with its share, padded to [`BAR_LINE`] characters; the bar in its colour, where there is a sequence for it.
fn bar(class: &str, share: Share, colour: Option<String>) -> String {
    let part = f64::from(share.0).clamp(0.0, 1.0);
    let length = (part * BAR as f64).round() as usize;
    let name: String = clean(class).chars().take(12).collect();
    let bar = match colour.filter(|_| length > 0) {
        Some(sequence) => format!("{sequence}{}\x1b[0m", "█".repeat(length)),
        None => "█".repeat(length),
    };
    format!("  {name:<12} {:>5.1} % {bar}{} ", part * 100.0, " ".repeat(BAR - length.min(BAR)))
}

/// As many pictures as fit beside each other in so many rows, each under its name, and an empty line; nothing where they
/// would be too small to see.
fn side_by_side(pictures: &[Picture], rows: usize, terminal: &Terminal) -> Vec<String> {
    let width = |count: usize| {
        let widest = (terminal.columns + GAP).saturating_sub(count * GAP) / count;
        pictures.iter().take(count).map(|picture| picture.columns(rows)).fold(widest, usize::min)
    };
    let fits = |count: &usize| width(*count) >= PICTURE_COLUMNS;
    let Some(count) = (1..=pictures.len()).rev().find(fits) else { return Vec::new() };
    let (width, shown) = (width(count), pictures.get(..count).unwrap_or_default());
    let line = |cell: &dyn Fn(&Picture) -> String| shown.iter().map(cell).collect::<Vec<_>>().join(&" ".repeat(GAP));
    let mut lines = vec![line(&|picture| format!("{:<width$.width$}", clean(&picture.name))).trim_end().to_owned()];
    let rows = shown.iter().map(|picture| picture.rows(width)).max().unwrap_or(0);
    for row in 0..rows {
        lines.push(line(&|picture| match row < picture.rows(width) {
            true => picture.row(row, width, terminal.colours),
            false => " ".repeat(width),
        }));
    }
    lines.push(String::new());
    lines
}

/// A task's numbers on one line, each with a space before it.
fn numbers(out: &mut String, statistics: &Statistics) {
    let _ = match statistics {
        Statistics::Segmentation { share } => {
            share.iter().try_for_each(|(class, share)| write!(out, " {}={:.0}%", clean(class), share.0 * 100.0))
        }
        Statistics::Depth { p5, p50, p95, nearest } => {
            let all = [("nearest", nearest), ("p5", p5), ("p50", p50), ("p95", p95)];
            all.iter().try_for_each(|(name, metres)| match metres {
                Some(metres) => write!(out, " {name}={metres:.1}m"),
                None => write!(out, " {name}=none"),
            })
        }
        Statistics::Normals { up } => write!(out, " up={:.0}%", up * 100.0),
        Statistics::Raw {} => Ok(()),
    };
}

/// Text of others without what a terminal would obey.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;

//! What `milad watch` knows, and how it looks: text out of messages, nothing else.

use std::fmt::Write;
use std::path::Path;

use milad_client::{
    AccountMessage, CameraInfo, CameraState, Dropped, Hello, IMAGE, Latency, Message, ResultMessage, Statistics,
    TaskInfo, TaskKind,
};

use super::picture::Picture;
use super::terminal::{Colours, Terminal};
use super::text::{BAR_LINE, Line, ascii, bar, clean};
use super::window::Window;

/// A frame older than this is called out, in seconds.
const STALE: f64 = 2.0;
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
    /// for is left out: pictures first, then what is at the bottom, so that the screen never scrolls. Pictures of a frame that is
    /// long gone are not shown: they would be taken for new ones.
    pub fn full(&mut self, now_ns: u64, terminal: &Terminal, pictures: &[Picture]) -> String {
        let colours = terminal.can.colours;
        // The last row stays free for the cursor.
        let room = terminal.rows.map_or(usize::MAX, |rows| rows.saturating_sub(1).max(1));
        let mut lines: Vec<String> =
            self.state(now_ns, terminal.columns).iter().map(|line| line.text(colours)).collect();
        let tasks = self.tasks(terminal.columns, colours);
        let is_new = self.lost_camera.is_none() && self.age(now_ns).is_some_and(|age| age <= STALE);
        if colours != Colours::None && is_new {
            // A caption, and an empty line below.
            let rows = room.saturating_sub(lines.len() + tasks.len() + 2);
            lines.extend(side_by_side(pictures, rows, terminal));
        }
        lines.extend(tasks);
        let first = !std::mem::replace(&mut self.drawn, true);
        drawn(lines.iter().take(room), first, terminal)
    }

    /// Who, how fast, how old, what was lost; an empty line last.
    fn state(&self, now_ns: u64, columns: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut tell = |label: &str, parts: &[String]| lines.extend(Line::told(label, parts, columns));
        match &self.hello {
            Some(hello) => {
                let bundle = format!("{}, trained on {}", clean(&hello.bundle.name), clean(&hello.bundle.trained_on));
                tell("milad", &[clean(&hello.milad), bundle]);
            }
            None => tell("milad", &[]),
        }
        match &self.lost_camera {
            Some(reason) => lines.extend(Line::alarm("camera", &[format!("LOST: {}", clean(reason))], columns)),
            None => tell("camera", &self.camera_told()),
        }
        let (Some(result), Some(age)) = (&self.result, self.age(now_ns)) else {
            lines.extend(Line::told("frame", &["no result yet".to_owned()], columns));
            lines.push(Line::default());
            return lines;
        };
        let frame =
            [result.sequence.to_string(), format!("epoch {}", result.epoch), format!("captured {age:.2} s ago")];
        let rate = if age > STALE {
            lines.extend(Line::alarm("frame", &[frame.as_slice(), &["NOTHING NEW".to_owned()]].concat(), columns));
            0.0
        } else {
            lines.extend(Line::told("frame", &frame, columns));
            self.window.rate().unwrap_or(0.0)
        };
        let mut tell = |label: &str, parts: &[String]| lines.extend(Line::told(label, parts, columns));
        tell("rate", &[format!("{rate:.1}/s"), format!("lost by this client {}", self.dropped)]);
        let Latency { total, prepare, fast, publish } = result.latency_ms;
        let mut parts = vec![format!("{total:.1} ms (prepare {prepare:.1}, fast {fast:.1}, publish {publish:.1})")];
        if let Some((median, worst)) = self.window.latency() {
            parts.push(format!("median {median:.1}, worst {worst:.1} ms"));
        }
        tell("latency", &parts);
        tell("", &[self.window.plot(40)]);
        let mut parts = match &result.keyframe {
            Some(key) => vec![key.sequence.to_string(), format!("{} frames, {:.0} ms old", key.age_frames, key.age_ms)],
            None => vec!["none yet".to_owned()],
        };
        parts.extend(result.confidence.map(|confidence| format!("confidence {:.0} %", confidence * 100.0)));
        parts.extend(result.slow_running.then(|| "the next one is being made".to_owned()));
        tell("keyframe", &parts);
        if let Some(account) = &self.account {
            let counts = [
                ("captured", account.captured),
                ("published", account.published),
                ("in flight", account.in_flight),
                ("driver gaps", account.driver_gaps),
            ];
            let mut parts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            let cause =
                |drop: &Dropped| format!("dropped {} {}/{}", drop.frames, clean(&drop.stage), clean(&drop.cause));
            parts.extend(account.dropped.iter().map(cause));
            tell("frames", &parts);
        }
        lines.push(Line::default());
        lines
    }

    fn camera_told(&self) -> Vec<String> {
        let Some(camera) = &self.camera else { return vec!["none yet".to_owned()] };
        let size = format!("{}×{} {}", camera.width, camera.height, clean(&camera.format));
        let rate = (camera.interval_ns > 0).then(|| format!("{:.1}/s", 1e9 / camera.interval_ns as f64));
        [clean(&camera.name), size].into_iter().chain(rate).collect()
    }

    /// Every task's statistics, in so many columns of characters.
    fn tasks(&self, columns: usize, colours: Colours) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, statistics) in self.result.iter().flat_map(|result| result.tasks.iter()) {
            match statistics {
                Statistics::Segmentation { share } => {
                    lines.push(clean(name));
                    let task = self.hello.iter().flat_map(|hello| &hello.tasks).find(|task| task.name == name);
                    let of = |class: &str| {
                        let info = task?.classes.iter().find(|info| info.name == class)?;
                        Some(super::colour(&info.color))
                    };
                    let all: Vec<String> =
                        share.iter().map(|(class, share)| bar(class, share.0, of(class), colours)).collect();
                    // Class by class downwards.
                    let beside = (columns / BAR_LINE).clamp(1, all.len().max(1));
                    let rows = all.len().div_ceil(beside);
                    for row in 0..rows {
                        let cells = all.iter().skip(row).step_by(rows);
                        lines.push(cells.map(String::as_str).collect::<String>().trim_end().to_owned());
                    }
                }
                Statistics::Depth { p5, p50, p95, nearest } => {
                    let metres = |(what, metres): (&str, &Option<f32>)| match metres {
                        Some(metres) => format!("{what} {metres:.1} m"),
                        None => format!("{what} none"),
                    };
                    let all = [("nearest", nearest), ("p5", p5), ("p50", p50), ("p95", p95)].map(metres);
                    lines.extend(Line::told(name, &all, columns).iter().map(|line| line.text(colours)));
                }
                Statistics::Normals { up } => {
                    let up = [format!("{:.0} % up", up * 100.0)];
                    lines.extend(Line::told(name, &up, columns).iter().map(|line| line.text(colours)));
                }
                Statistics::Raw {} => {
                    lines.extend(Line::told(name, &[], columns).iter().map(|line| line.text(colours)))
                }
            }
        }
        lines
    }
}

/// The screen while nobody answers: nothing of the daemon that went is left on it.
pub fn waiting(why: &str, path: &Path, seconds: u64, terminal: &Terminal) -> String {
    let parts = [format!("NO CONNECTION for {seconds} s"), clean(why)];
    let mut lines = Line::alarm("milad", &parts, terminal.columns);
    let rest = [format!("waiting for milad at {}", clean(&path.display().to_string())), "Ctrl-C ends".to_owned()];
    lines.extend(Line::told("", &rest, terminal.columns));
    let lines: Vec<String> = lines.iter().map(|line| line.text(terminal.can.colours)).collect();
    drawn(lines.iter(), true, terminal)
}

/// Lines in place of the screen before; the first one clears what others left.
fn drawn<'a>(lines: impl Iterator<Item = &'a String>, first: bool, terminal: &Terminal) -> String {
    // Long lines are cut off at the terminal's edge rather than wrapped.
    let mut out = String::from(if first { "\x1b[2J\x1b[H\x1b[?7l" } else { "\x1b[H\x1b[?7l" });
    for line in lines {
        out.push_str(line);
        out.push_str("\x1b[K\r\n");
    }
    out.push_str("\x1b[J\x1b[?7h");
    if terminal.can.unicode { out } else { ascii(&out) }
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
            true => picture.row(row, width, terminal.can.colours),
            false => " ".repeat(width),
        }));
    }
    lines.push(String::new());
    lines
}

/// A task's numbers for [`Screen::line`], each with a space before it.
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

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;

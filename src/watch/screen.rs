//! What `milad watch` knows, and how it looks: text out of messages, nothing else.

use std::collections::VecDeque;
use std::fmt::Write;

use milad_client::{CameraInfo, CameraState, Hello, Message, ResultMessage, Statistics};

/// Results that the rate is measured over.
const WINDOW: usize = 60;
/// A frame older than this is called out, in seconds.
const STALE: f64 = 2.0;
/// Characters of a full bar.
const BAR: usize = 30;

/// The newest of everything.
#[derive(Debug, Default)]
pub struct Screen {
    hello: Option<Hello>,
    camera: Option<CameraInfo>,
    /// Why there is no camera.
    lost_camera: Option<String>,
    result: Option<ResultMessage>,
    /// Publication times, the newest last.
    times: VecDeque<u64>,
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
                if self.times.len() == WINDOW {
                    self.times.pop_front();
                }
                self.times.push_back(result.published_ns);
                self.result = Some(result);
            }
            Message::Camera(camera) => {
                self.lost_camera = match camera.state {
                    CameraState::Up => None,
                    _ => Some(camera.reason.unwrap_or_else(|| "no reason given".into())),
                };
                self.camera = camera.camera.or(self.camera.take());
                self.times.clear();
            }
            Message::Model(model) => {
                if let Some(hello) = &mut self.hello {
                    hello.bundle = model.bundle;
                }
                self.times.clear();
            }
            Message::Bye { reason } | Message::Error { message: reason } => self.bye = Some(reason),
            Message::Maps(_) | Message::Account(_) | Message::Ok | Message::Unknown => {}
        }
    }

    /// Why the stream ended.
    pub fn goodbye(&self) -> String {
        match &self.bye {
            Some(reason) => format!("milad closed the connection: {}", clean(reason)),
            None => "the connection ended".into(),
        }
    }

    /// Results a second over the last few.
    fn rate(&self) -> Option<f64> {
        let span = self.times.back()?.saturating_sub(*self.times.front()?);
        (span > 0).then(|| (self.times.len() - 1) as f64 * 1e9 / span as f64)
    }

    /// Seconds since the newest frame was captured.
    fn age(&self, now_ns: u64) -> Option<f64> {
        self.result.as_ref().map(|result| now_ns.saturating_sub(result.captured_ns) as f64 * 1e-9)
    }

    /// One line, with its newline.
    pub fn line(&self, now_ns: u64) -> String {
        let mut out = String::new();
        // Writing to a string does not fail, here and below.
        match (&self.result, self.age(now_ns)) {
            (Some(result), Some(age)) => {
                let _ = write!(out, "frame {} age {age:.2} s", result.sequence);
                let _ =
                    write!(out, " rate {:.1}/s latency {:.1} ms", self.rate().unwrap_or(0.0), result.latency_ms.total);
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

    /// A whole screen with the control sequences (ECMA-48) that put it in place of the last one. What `rows` of the terminal
    /// have no room for is left out at the bottom, so that the screen never scrolls.
    pub fn full(&mut self, now_ns: u64, rows: Option<u16>) -> String {
        // Long lines are cut off at the terminal's edge rather than wrapped.
        let mut out = String::from(if self.drawn { "\x1b[H\x1b[?7l" } else { "\x1b[2J\x1b[H\x1b[?7l" });
        self.drawn = true;
        // The last row stays free for the cursor.
        let room = rows.map_or(usize::MAX, |rows| usize::from(rows.saturating_sub(1)).max(1));
        for line in self.text(now_ns).lines().take(room) {
            out.push_str(line);
            out.push_str("\x1b[K\r\n");
        }
        out.push_str("\x1b[J\x1b[?7h");
        out
    }

    /// The screen's text.
    fn text(&self, now_ns: u64) -> String {
        let mut out = String::new();
        match &self.hello {
            Some(hello) => {
                let bundle = &hello.bundle;
                let trained = clean(&bundle.trained_on);
                let _ = writeln!(out, "milad {} · {} (trained on {trained})", clean(&hello.milad), clean(&bundle.name));
            }
            None => out.push_str("milad\n"),
        }
        let _ = write!(out, "camera    ");
        if let Some(camera) = &self.camera {
            let _ = write!(out, "{} {}×{} {}", clean(&camera.name), camera.width, camera.height, clean(&camera.format));
            if camera.interval_ns > 0 {
                let _ = write!(out, " {:.1}/s", 1e9 / camera.interval_ns as f64);
            }
        }
        let _ = match (&self.lost_camera, &self.camera) {
            (Some(reason), _) => writeln!(out, " LOST: {}", clean(reason)),
            (None, None) => writeln!(out, "none yet"),
            _ => writeln!(out),
        };
        let (Some(result), Some(age)) = (&self.result, self.age(now_ns)) else {
            out.push_str("no result yet\n");
            return out;
        };
        let stale = if age > STALE { "  NOTHING NEW" } else { "" };
        let _ =
            writeln!(out, "frame     {} · epoch {} · captured {age:.2} s ago{stale}", result.sequence, result.epoch);
        let rate = if age > STALE { 0.0 } else { self.rate().unwrap_or(0.0) };
        let _ = writeln!(out, "rate      {rate:.1}/s · lost by this client {}", self.dropped);
        let latency = &result.latency_ms;
        let _ = writeln!(
            out,
            "latency   {:.1} ms (prepare {:.1}, fast {:.1}, publish {:.1})",
            latency.total, latency.prepare, latency.fast, latency.publish
        );
        let _ = match &result.keyframe {
            Some(key) => {
                writeln!(out, "keyframe  {} · {} frames, {:.0} ms old", key.sequence, key.age_frames, key.age_ms)
            }
            None => writeln!(out, "keyframe  none yet"),
        };
        if let Some(confidence) = result.confidence {
            let _ = writeln!(out, "confidence {:.0} %", confidence * 100.0);
        }
        for (name, statistics) in result.tasks.iter() {
            let _ = write!(out, "\n{}", clean(name));
            if let Statistics::Segmentation { share } = statistics {
                out.push('\n');
                for (class, share) in share.iter() {
                    let part = f64::from(share.0).clamp(0.0, 1.0);
                    let bar = "█".repeat((part * BAR as f64).round() as usize);
                    let _ = writeln!(out, "  {:<14} {:>5.1} % {bar}", clean(class), part * 100.0);
                }
            } else {
                numbers(&mut out, statistics);
                out.push('\n');
            }
        }
        out
    }
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
mod tests {
    use milad_client::{CameraMessage, Named, Share};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn watching(results: u64) -> Screen {
        let mut screen = Screen::default();
        for i in 0..results {
            let share = [("road".into(), Share(0.31)), ("evil\x1b[2J".into(), Share(0.69))].into_iter().collect();
            screen.take(Message::Result(ResultMessage {
                sequence: i,
                dropped: 1,
                captured_ns: SECOND + i * SECOND / 20,
                published_ns: SECOND + i * SECOND / 20,
                tasks: Named(vec![("seg".into(), Statistics::Segmentation { share })]),
                ..ResultMessage::default()
            }));
        }
        screen
    }

    #[test]
    fn the_rate_and_the_losses_are_those_of_the_results() {
        let line = watching(41).line(3 * SECOND);
        assert!(
            line.starts_with("frame 40 age 0.00 s rate 20.0/s latency 0.0 ms keyframe none dropped 41 seg road=31%"),
            "{line}"
        );
    }

    #[test]
    fn a_small_terminal_keeps_the_top_of_the_screen() {
        let mut screen = watching(41);
        let whole = screen.full(3 * SECOND, None);
        let small = screen.full(3 * SECOND, Some(4));
        assert_eq!(small.matches("\r\n").count(), 3);
        let first = |text: &str| text.split("\x1b[?7l").nth(1).and_then(|text| text.lines().next()).map(str::to_owned);
        assert_eq!(first(&small), first(&whole));
    }

    #[test]
    fn an_old_result_is_called_old() {
        let screen = watching(3);
        assert!(!screen.text(2 * SECOND).contains("NOTHING NEW"));
        let old = screen.text(12 * SECOND);
        assert!(old.contains("captured 10.90 s ago  NOTHING NEW") && old.contains("rate      0.0/s"), "{old}");
    }

    #[test]
    fn a_lost_camera_is_told_until_it_is_back() {
        let mut screen = watching(1);
        let mut camera =
            CameraMessage { state: CameraState::Lost, epoch: 1, reason: Some("gone".into()), camera: None };
        screen.take(Message::Camera(camera.clone()));
        assert!(screen.text(0).contains("LOST: gone") && screen.line(0).contains("CAMERA LOST: gone"));
        camera.state = CameraState::Up;
        camera.camera = Some(CameraInfo { name: "cam".into(), width: 4, height: 2, ..CameraInfo::default() });
        screen.take(Message::Camera(camera));
        assert!(screen.text(0).contains("camera    cam 4×2") && !screen.text(0).contains("LOST"));
    }

    #[test]
    fn nothing_from_the_daemon_steers_the_terminal() {
        let mut screen = watching(1);
        assert!(!screen.text(0).contains('\x1b') && !screen.line(0).contains('\x1b'));
        screen.take(Message::Bye { reason: "\x1b]0;x\x07".into() });
        assert!(!screen.goodbye().contains('\x1b'));
        // Its own sequences are only those of a screen.
        assert!(
            screen.full(0, None).starts_with("\x1b[2J\x1b[H") && screen.full(0, None).starts_with("\x1b[H\x1b[?7l")
        );
    }
}

//! `milad devices`: which cameras are there, what they can do, and by which name to call them.
//!
//! It looks and asks; it sets nothing and streams nothing.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::SourceError;
use super::v4l2::controls;
use super::v4l2::device::{Device, Kind};
use super::v4l2::errors::CSI_ADVICE;
use super::v4l2::find::Places;
use super::v4l2::formats::{Format, fourcc};
use super::v4l2::menu::{DriverMenu, Interval, Intervals, Menu, Sizes};

/// One `/dev/videoN`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    /// The node.
    pub path: PathBuf,
    /// `--source` values that find this camera whatever its number.
    pub stable_names: Vec<String>,
    /// The driver's name for the hardware; empty where it could not be asked.
    pub card: String,
    /// The driver.
    pub driver: String,
    /// Where it is plugged in.
    pub bus: String,
    /// What it is.
    #[serde(flatten)]
    pub state: State,
}

/// What a node is good for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// A camera for `--source v4l2:`.
    Camera {
        /// What it offers.
        formats: Vec<Offer>,
        /// What `[camera.controls]` may set.
        controls: Vec<Setting>,
    },
    /// A part of a CSI camera: comes in through libcamera and a pipe.
    NeedsLibcamera,
    /// No camera, in words.
    Other {
        /// What it is.
        what: String,
    },
    /// It could not be asked.
    Unreadable {
        /// Why, and what to do.
        reason: String,
    },
}

/// One format of a camera.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Offer {
    /// The four letters.
    pub format: String,
    /// Whether milad reads it.
    pub usable: bool,
    /// Sizes with their rates; empty where the driver does not tell.
    pub modes: Vec<Mode>,
}

/// One size of a format.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mode {
    /// Pixels a row, at the least.
    pub width: u32,
    /// Rows, at the least.
    pub height: u32,
    /// The largest width and height, where a range is offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_to: Option<(u32, u32)>,
    /// Frames a second, fastest first; both ends where a range is offered.
    pub rates: Vec<f64>,
}

/// One control of a camera.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// As the configuration spells it.
    pub name: String,
    /// Smallest value.
    pub minimum: i64,
    /// Largest value.
    pub maximum: i64,
    /// What the driver starts with.
    pub default: i64,
}

/// What `milad devices` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these nodes [default: every /dev/video*]
    #[arg(value_name = "NODE")]
    paths: Vec<PathBuf>,
    /// One JSON array instead of the table
    #[arg(long)]
    json: bool,
}

/// Prints the list.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let text = report(&list(&args.paths), args.json)?;
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever read has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Looks at `paths`, or at every `/dev/videoN` where none is given.
pub fn list(paths: &[PathBuf]) -> Vec<Node> {
    let places = Places::system();
    let all = if paths.is_empty() { places.nodes() } else { paths.to_vec() };
    all.iter().map(|path| node(&places, path)).collect()
}

/// Whether `--source v4l2:` can stream from it; an error where it can't be asked. Looks only; a file that is no device is not
/// even opened.
pub fn is_camera(path: &Path) -> Result<bool, SourceError> {
    let is_device = std::fs::metadata(path).is_ok_and(|found| found.file_type().is_char_device());
    if !is_device {
        return Ok(false);
    }
    let device = Device::open(path)?;
    Ok(match device.kind {
        Kind::Capture { buffer_type } => {
            !Device::gives_sensor_data_only(&DriverMenu::read(&device, buffer_type)?.formats())
        }
        Kind::NeedsLibcamera | Kind::Other(_) => false,
    })
}

/// The list for people, or one JSON array.
pub fn report(nodes: &[Node], json: bool) -> Result<String, serde_json::Error> {
    if json { Ok(serde_json::to_string_pretty(nodes)? + "\n") } else { Ok(table(nodes)) }
}

fn node(places: &Places, path: &Path) -> Node {
    let stable_names = places.stable_names(path).iter().map(ToString::to_string).collect();
    let path = path.to_owned();
    match Device::open(&path) {
        Err(error) => {
            let (card, driver, bus) = Default::default();
            Node { path, stable_names, card, driver, bus, state: State::Unreadable { reason: error.to_string() } }
        }
        Ok(device) => {
            let state = state(&device);
            let Device { card, driver, bus, .. } = device;
            Node { path, stable_names, card, driver, bus, state }
        }
    }
}

fn state(device: &Device) -> State {
    let buffer_type = match device.kind {
        Kind::Capture { buffer_type } => buffer_type,
        Kind::NeedsLibcamera => return State::NeedsLibcamera,
        Kind::Other(what) => return State::Other { what: what.to_owned() },
    };
    let menu = match DriverMenu::read(device, buffer_type) {
        Ok(menu) => menu,
        Err(error) => return State::Unreadable { reason: error.to_string() },
    };
    let formats = menu.formats();
    if Device::gives_sensor_data_only(&formats) {
        return State::NeedsLibcamera;
    }
    let offer = |format: &u32| Offer {
        format: fourcc(*format),
        usable: Format::of(*format).is_some(),
        modes: menu.sizes(*format).iter().map(|sizes| mode(&menu, *format, sizes)).collect(),
    };
    // A camera that can't tell them all gives pictures all the same.
    let settings = controls::list(device).0.into_iter().map(|control| {
        let controls::Description { name, minimum, maximum, default, .. } = control;
        Setting { name, minimum, maximum, default }
    });
    State::Camera { formats: formats.iter().map(offer).collect(), controls: settings.collect() }
}

fn mode(menu: &DriverMenu<'_>, format: u32, sizes: &Sizes) -> Mode {
    let (size, up_to) = match *sizes {
        Sizes::One(size) => (size, None),
        Sizes::Range { min, max, .. } => (min, Some(max)),
    };
    let mut rates: Vec<f64> = Vec::new();
    for intervals in menu.intervals(format, size) {
        match intervals {
            Intervals::One(one) => rates.extend(one.rate()),
            Intervals::Range { shortest, longest } => {
                rates.extend([shortest, longest].into_iter().filter_map(Interval::rate))
            }
        }
    }
    rates.sort_by(|a, b| b.total_cmp(a));
    Mode { width: size.0, height: size.1, up_to, rates }
}

fn table(nodes: &[Node]) -> String {
    let mut text = String::new();
    let cameras = nodes.iter().filter(|node| matches!(node.state, State::Camera { .. })).count();
    for node in nodes {
        // Writing to a String does not fail.
        let _ = write_node(&mut text, node);
    }
    if nodes.iter().any(|node| node.state == State::NeedsLibcamera) {
        let _ = writeln!(text, "\nCSI cameras need libcamera to make pictures: {CSI_ADVICE}");
    }
    if cameras == 0 {
        let found = match nodes {
            [] => "there is no /dev/video*".to_owned(),
            _ => format!("none of {} video nodes is one", nodes.len()),
        };
        let _ = writeln!(
            text,
            "\nNo camera that V4L2 can stream from: {found}.\n\
             Plug in a USB camera and look at `dmesg`; for a CSI camera see `rpicam-hello --list-cameras`;\n\
             without any camera, `milad run` plays a rendered street (`--source scene:`), or a test card (`--source card:`)."
        );
    }
    text.trim_start_matches('\n').to_owned()
}

fn write_node(text: &mut String, node: &Node) -> std::fmt::Result {
    let path = node.path.display();
    match &node.state {
        State::Camera { formats, controls } => {
            writeln!(text, "{path}  {} (driver {}, {})", node.card, node.driver, node.bus)?;
            if node.stable_names.is_empty() {
                writeln!(text, "  --source v4l2:{path}")?;
            }
            for name in &node.stable_names {
                writeln!(text, "  --source {name}")?;
            }
            for offer in formats {
                write_offer(text, offer)?;
            }
            let names: Vec<_> = controls.iter().map(|control| control.name.as_str()).collect();
            if !names.is_empty() {
                writeln!(text, "  controls: {}", names.join(", "))?;
            }
            Ok(())
        }
        State::NeedsLibcamera => writeln!(text, "{path}  part of a CSI camera (driver {})", node.driver),
        State::Other { what } => writeln!(text, "{path}  no camera: {what} ({}, driver {})", node.card, node.driver),
        State::Unreadable { reason } => writeln!(text, "{path}  {reason}"),
    }
}

fn write_offer(text: &mut String, offer: &Offer) -> std::fmt::Result {
    if !offer.usable {
        return writeln!(text, "  {:5} not read by milad", offer.format);
    }
    if offer.modes.is_empty() {
        return writeln!(text, "  {:5} sizes not told by the driver", offer.format);
    }
    for mode in &offer.modes {
        let size = match mode.up_to {
            None => format!("{}x{}", mode.width, mode.height),
            Some((width, height)) => format!("{}x{} to {width}x{height}", mode.width, mode.height),
        };
        let rates: Vec<_> = mode.rates.iter().map(|rate| format!("{}", (rate * 100.0).round() / 100.0)).collect();
        let rates = if rates.is_empty() { "rates not told".to_owned() } else { rates.join(", ") + " frames/s" };
        writeln!(text, "  {:5} {size:11} {rates}", offer.format)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_node(state: State) -> Node {
        Node {
            path: "/dev/video0".into(),
            stable_names: vec!["usb:046d:0825".into()],
            card: "Webcam".into(),
            driver: "uvcvideo".into(),
            bus: "usb-1".into(),
            state,
        }
    }

    #[test]
    fn a_camera_is_told_with_its_modes_and_its_stable_name() {
        let modes = vec![Mode { width: 640, height: 480, up_to: None, rates: vec![30.0, 29.97003] }];
        let formats = vec![
            Offer { format: "YUYV".into(), usable: true, modes },
            Offer { format: "H264".into(), usable: false, modes: vec![] },
        ];
        let camera = a_node(State::Camera { formats, controls: vec![] });
        let text = report(std::slice::from_ref(&camera), false).unwrap();
        for words in
            ["/dev/video0  Webcam", "--source usb:046d:0825", "640x480     30, 29.97 frames/s", "H264  not read"]
        {
            assert!(text.contains(words), "no {words:?} in:\n{text}");
        }
        assert!(!text.contains("No camera"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&report(&[camera], true).unwrap()).unwrap();
        assert_eq!(json[0]["state"], "camera");
        assert_eq!(json[0]["formats"][0]["modes"][0]["rates"][0], 30.0);
    }

    #[test]
    fn a_csi_camera_and_no_camera_come_with_advice() {
        let text = report(&[a_node(State::NeedsLibcamera)], false).unwrap();
        assert!(text.contains("rpicam-vid") && text.contains("--source pipe:"), "{text}");
        assert!(text.contains("No camera"), "{text}");
        let text = report(&[], false).unwrap();
        assert!(text.contains("no /dev/video*") && text.contains("card:"), "{text}");
        assert_eq!(report(&[], true).unwrap(), "[]\n");
    }
}

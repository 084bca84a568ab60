//! What `--source` and `[camera] source` say, parsed once: which kind of source, which one, with which options.
//!
//! Nothing is opened here. Whatever is not understood is an error that says what would have been.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use milad_scene::World;

/// A source, as the user named it.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceSpec {
    /// `v4l2:…` or `usb:…`: a V4L2 camera.
    Camera(CameraName),
    /// `pipe:`: Y4M on standard input.
    Pipe,
    /// `clip:PATH`: a Y4M file, a recording of `milad watch`, or a folder of pictures.
    Clip(ClipSpec),
    /// `scene:…`: a rendered world.
    Scene(SceneSpec),
    /// `card:`: the moving test card.
    Card(CardSpec),
}

impl SourceSpec {
    /// Whether frames come whether or not anybody is ready for them: late readers skip some.
    pub fn is_live(&self) -> bool {
        match self {
            SourceSpec::Camera(_) | SourceSpec::Pipe | SourceSpec::Scene(_) | SourceSpec::Card(_) => true,
            SourceSpec::Clip(clip) => matches!(clip.pace, Pace::Fixed(_)),
        }
    }
}

/// How a camera is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameraName {
    /// Whichever is the first: `v4l2:`.
    First,
    /// A device node, or a link to one: `v4l2:/dev/video0`.
    Path(PathBuf),
    /// A name in `/dev/v4l/by-id`: stays with the camera when numbers change.
    ById(String),
    /// USB vendor and product, and the serial number where one is given: `usb:046d:0825[:SERIAL]`.
    Usb(UsbName),
}

/// A USB device as `lsusb` prints it, with its serial number where one was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbName {
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product: u16,
    /// iSerial; any, where `None`.
    pub serial: Option<String>,
}

/// Which clip, and how fast.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipSpec {
    /// A `.y4m` file or a folder of pictures.
    pub path: PathBuf,
    /// How fast it plays.
    pub pace: Pace,
    /// Whether it starts again at its end.
    pub repeat: bool,
}

/// How fast a clip plays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// At the rate that the clip states (30 frames/s where it states none).
    Own,
    /// At this many frames a second: a live source, late readers skip frames.
    Fixed(f64),
    /// As fast as it is read: no frame is skipped.
    Max,
}

/// The test card's options.
#[derive(Debug, Clone, PartialEq)]
pub struct CardSpec {
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The pixel format's four letters.
    pub format: String,
    /// Frames a second.
    pub rate: f64,
}

impl CardSpec {
    /// What the configuration asks of a camera is asked of the card too, and beats its own options.
    pub fn with(&self, request: &Request) -> CardSpec {
        let (width, height) = request.size.unwrap_or((self.width, self.height));
        let format = request.format.as_ref().unwrap_or(&self.format).clone();
        CardSpec { width, height, format, rate: request.rate.unwrap_or(self.rate) }
    }
}

impl Default for CardSpec {
    fn default() -> CardSpec {
        CardSpec { width: 640, height: 480, format: "YUYV".to_owned(), rate: 30.0 }
    }
}

/// A rendered world, and how it is rendered.
#[derive(Debug, Clone, PartialEq)]
pub struct SceneSpec {
    /// Which world.
    pub world: World,
    /// Which of its clips.
    pub seed: u64,
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The pixel format's four letters.
    pub format: String,
    /// Frames a second.
    pub rate: f64,
    /// Whether the camera jumps to another place every few seconds.
    pub cuts: bool,
}

impl SceneSpec {
    /// What the configuration asks of a camera is asked of the scene too, and beats its own options.
    pub fn with(&self, request: &Request) -> SceneSpec {
        let (width, height) = request.size.unwrap_or((self.width, self.height));
        let format = request.format.as_ref().unwrap_or(&self.format).clone();
        SceneSpec { width, height, format, rate: request.rate.unwrap_or(self.rate), ..*self }
    }
}

impl Default for SceneSpec {
    /// A clip that no network was trained on.
    fn default() -> SceneSpec {
        let (width, height, format, rate) = (256, 128, "RGB3".to_owned(), milad_scene::FRAMES_PER_SECOND);
        SceneSpec { world: World::Street, seed: 1_999_999, width, height, format, rate, cuts: false }
    }
}

/// What is asked of a source; what it grants is in [`super::Camera`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// Pixels a row, rows.
    pub size: Option<(u32, u32)>,
    /// Frames a second.
    pub rate: Option<f64>,
    /// A four-letter format name.
    pub format: Option<String>,
    /// Camera controls by name, spelled as `v4l2-ctl --list-ctrls` does.
    pub controls: std::collections::BTreeMap<String, i64>,
}

/// Why a source's name was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("source {text:?}: {problem}")]
pub struct SourceSpecError {
    text: String,
    problem: String,
}

/// The kinds, as error messages list them.
const KINDS: &str = "v4l2: (the first camera), v4l2:/dev/video0, v4l2:NAME (from /dev/v4l/by-id), usb:VID:PID[:SERIAL], pipe:, clip:PATH, scene:WORLD or card:";

impl FromStr for SourceSpec {
    type Err = SourceSpecError;

    fn from_str(text: &str) -> Result<SourceSpec, SourceSpecError> {
        parse(text).map_err(|problem| SourceSpecError { text: text.to_owned(), problem })
    }
}

fn parse(text: &str) -> Result<SourceSpec, String> {
    if text.contains('\0') {
        return Err("holds a NUL byte, which no name can".to_owned());
    }
    let Some((kind, rest)) = text.split_once(':') else {
        return Err(if text.starts_with("/dev/") {
            format!("names no kind of source; for a camera write v4l2:{text}")
        } else {
            format!("names no kind of source; expected {KINDS}")
        });
    };
    match kind {
        "v4l2" => camera(rest),
        "usb" => usb(rest),
        "pipe" if rest.is_empty() => Ok(SourceSpec::Pipe),
        "pipe" => Err("takes nothing after the colon: it reads Y4M from standard input".to_owned()),
        "clip" => clip(rest),
        "card" => card(rest),
        "scene" => scene(rest),
        _ => Err(format!("{kind:?} is not a kind of source; expected {KINDS}")),
    }
}

fn camera(rest: &str) -> Result<SourceSpec, String> {
    let number = rest.strip_prefix("video").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let name = match rest {
        "" => CameraName::First,
        _ if number => CameraName::Path(PathBuf::from("/dev").join(rest)),
        _ if rest.contains('/') => CameraName::Path(PathBuf::from(rest)),
        _ => CameraName::ById(rest.to_owned()),
    };
    Ok(SourceSpec::Camera(name))
}

fn usb(rest: &str) -> Result<SourceSpec, String> {
    let mut parts = rest.splitn(3, ':');
    let mut id = |what: &str| -> Result<u16, String> {
        let text = parts.next().unwrap_or("");
        if text.is_empty() || text.len() > 4 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!(
                "{what} is {text:?}; expected usb:VID:PID or usb:VID:PID:SERIAL with hexadecimal ids as lsusb prints them"
            ));
        }
        u16::from_str_radix(text, 16).map_err(|e| e.to_string())
    };
    let (vendor, product) = (id("the vendor")?, id("the product")?);
    let serial = match parts.next() {
        Some("") => return Err("the serial number after the second colon is empty".to_owned()),
        other => other.map(str::to_owned),
    };
    Ok(SourceSpec::Camera(CameraName::Usb(UsbName { vendor, product, serial })))
}

fn clip(rest: &str) -> Result<SourceSpec, String> {
    let (path, options) = rest.rsplit_once('?').unwrap_or((rest, ""));
    if path.is_empty() {
        return Err("names no clip; expected clip:FILE or clip:FOLDER".to_owned());
    }
    let mut spec = ClipSpec { path: PathBuf::from(path), pace: Pace::Own, repeat: false };
    for (key, value) in pairs(options)? {
        match key {
            "rate" if value == "max" => spec.pace = Pace::Max,
            "rate" => spec.pace = Pace::Fixed(rate(value)?),
            "loop" => spec.repeat = flag(key, value)?,
            _ => return Err(format!("{key:?} is not an option of clip:; expected rate or loop")),
        }
    }
    Ok(SourceSpec::Clip(spec))
}

fn card(rest: &str) -> Result<SourceSpec, String> {
    let options = match rest.strip_prefix('?') {
        Some(options) => options,
        None if rest.is_empty() => "",
        None => return Err("takes options only: card:?width=640&height=480&format=YUYV&rate=30".to_owned()),
    };
    let mut spec = CardSpec::default();
    for (key, value) in pairs(options)? {
        match key {
            "width" => spec.width = pixels(key, value)?,
            "height" => spec.height = pixels(key, value)?,
            "format" => spec.format = value.to_ascii_uppercase(),
            "rate" => spec.rate = rate(value)?,
            _ => return Err(format!("{key:?} is not an option of card:; expected width, height, format or rate")),
        }
    }
    Ok(SourceSpec::Card(spec))
}

fn scene(rest: &str) -> Result<SourceSpec, String> {
    let (world, options) = rest.split_once('?').unwrap_or((rest, ""));
    let mut spec = SceneSpec::default();
    if !world.is_empty() {
        spec.world = world.parse().map_err(|error: milad_scene::UnknownWorld| error.to_string())?;
    }
    for (key, value) in pairs(options)? {
        match key {
            "seed" => {
                spec.seed = value.parse().map_err(|_| format!("seed={value}: expected a whole number from 0 on"))?
            }
            "width" => spec.width = pixels(key, value)?,
            "height" => spec.height = pixels(key, value)?,
            "rate" => spec.rate = rate(value)?,
            "cuts" => spec.cuts = flag(key, value)?,
            _ => {
                return Err(format!("{key:?} is not an option of scene:; expected seed, width, height, rate or cuts"));
            }
        }
    }
    Ok(SourceSpec::Scene(spec))
}

fn pairs(options: &str) -> Result<Vec<(&str, &str)>, String> {
    let parts = options.split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').ok_or_else(|| format!("option {part:?}: expected key=value"))).collect()
}

fn rate(value: &str) -> Result<f64, String> {
    match value.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1000.0 => Ok(rate),
        _ => Err(format!("rate={value}: expected frames a second, above 0 and at most 1000")),
    }
}

fn pixels(key: &str, value: &str) -> Result<u32, String> {
    match value.parse::<u32>() {
        Ok(pixels) if (1..=16384).contains(&pixels) => Ok(pixels),
        _ => Err(format!("{key}={value}: expected pixels, 1 to 16384")),
    }
}

fn flag(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(format!("{key}={value}: expected 1 or 0")),
    }
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceSpec::Camera(name) => name.fmt(f),
            SourceSpec::Pipe => f.write_str("pipe:"),
            SourceSpec::Clip(clip) => {
                // A `?` in the path itself needs the separator, even with nothing to say behind it.
                write!(f, "clip:{}?loop={}", clip.path.display(), u8::from(clip.repeat))?;
                match clip.pace {
                    Pace::Own => Ok(()),
                    Pace::Fixed(rate) => write!(f, "&rate={rate}"),
                    Pace::Max => f.write_str("&rate=max"),
                }
            }
            SourceSpec::Scene(scene) => {
                // The format can only be what it is.
                let SceneSpec { world, seed, width, height, rate, cuts, .. } = scene;
                let cuts = u8::from(*cuts);
                write!(f, "scene:{world}?seed={seed}&width={width}&height={height}&rate={rate}&cuts={cuts}")
            }
            SourceSpec::Card(card) => {
                let CardSpec { width, height, format, rate } = card;
                write!(f, "card:?width={width}&height={height}&format={format}&rate={rate}")
            }
        }
    }
}

impl fmt::Display for CameraName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CameraName::First => f.write_str("v4l2:"),
            CameraName::Path(path) => write!(f, "v4l2:{}", path.display()),
            CameraName::ById(name) => write!(f, "v4l2:{name}"),
            CameraName::Usb(usb) => usb.fmt(f),
        }
    }
}

impl fmt::Display for UsbName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "usb:{:04x}:{:04x}", self.vendor, self.product)?;
        match &self.serial {
            Some(serial) => write!(f, ":{serial}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> SourceSpec {
        text.parse().unwrap()
    }

    #[test]
    fn each_kind_is_understood() {
        assert_eq!(spec("v4l2:"), SourceSpec::Camera(CameraName::First));
        assert_eq!(spec("v4l2:/dev/video3"), SourceSpec::Camera(CameraName::Path("/dev/video3".into())));
        assert_eq!(spec("v4l2:video3"), SourceSpec::Camera(CameraName::Path("/dev/video3".into())));
        assert_eq!(spec("v4l2:usb-Cam-index0"), SourceSpec::Camera(CameraName::ById("usb-Cam-index0".into())));
        let usb = |serial: Option<&str>| UsbName { vendor: 0x46d, product: 0x825, serial: serial.map(str::to_owned) };
        assert_eq!(spec("usb:046d:0825"), SourceSpec::Camera(CameraName::Usb(usb(None))));
        assert_eq!(spec("usb:046d:0825:A:1"), SourceSpec::Camera(CameraName::Usb(usb(Some("A:1")))));
        assert_eq!(spec("pipe:"), SourceSpec::Pipe);
        assert_eq!(
            spec("clip:a?b.y4m?rate=12.5&loop=1"),
            SourceSpec::Clip(ClipSpec { path: "a?b.y4m".into(), pace: Pace::Fixed(12.5), repeat: true })
        );
        assert_eq!(spec("scene:"), SourceSpec::Scene(SceneSpec::default()));
        let scene = SceneSpec { world: World::Room, seed: 7, width: 64, rate: 5.0, cuts: true, ..SceneSpec::default() };
        assert_eq!(spec("scene:room?seed=7&width=64&rate=5&cuts=1"), SourceSpec::Scene(scene));
        assert_eq!(spec("card:"), SourceSpec::Card(CardSpec::default()));
        let card = CardSpec { width: 32, height: 16, format: "NV12".into(), rate: 5.0 };
        assert_eq!(spec("card:?width=32&height=16&format=nv12&rate=5"), SourceSpec::Card(card));
    }

    #[test]
    fn what_is_printed_is_understood_again() {
        let others = ["scene:street-shifted?seed=3&cuts=1", "card:"];
        for text in ["v4l2:", "v4l2:/dev/video0", "v4l2:usb-x", "usb:046d:0825:S", "pipe:", "clip:/a?b?rate=max&loop=1"]
            .iter()
            .chain(&others)
        {
            let first = spec(text);
            assert_eq!(spec(&first.to_string()), first, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_says_what_would_be() {
        for (text, hint) in [
            ("", "v4l2:/dev/video0"),
            ("/dev/video0", "v4l2:/dev/video0"),
            ("webcam:0", "usb:VID:PID"),
            ("usb:46d", "lsusb"),
            ("usb:+46d:0825", "lsusb"),
            ("usb:046d:0825:", "empty"),
            ("pipe:x", "standard input"),
            ("clip:", "clip:FOLDER"),
            ("clip:x?rate=0", "above 0"),
            ("clip:x?rate=nan", "above 0"),
            ("clip:x?speed=2", "rate or loop"),
            ("scene:attic", "street-shifted"),
            ("scene:street?seed=-1", "whole number"),
            ("scene:street?cuts=2", "1 or 0"),
            ("scene:street?fov=2", "seed, width"),
            ("card:?width=0", "1 to 16384"),
            ("card:x", "options only"),
            ("v4l2:/dev/vi\0deo", "NUL"),
        ] {
            let error = text.parse::<SourceSpec>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}

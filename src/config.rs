//! The configuration file: what may stand in it, read strictly.
//!
//! An unknown key, a wrong type or an impossible value is an error that names the key, what was found and what to write
//! instead; nothing is silently ignored. Command-line flags beat the file ([`crate::cli`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Where the packaged daemon's configuration lies.
pub const DEFAULT_PATH: &str = "/etc/milad/milad.toml";

/// Everything that can be configured. Each table may be missing.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    /// `[camera]`
    pub camera: Camera,
    /// `[model]`
    pub model: Model,
    /// `[keyframe]`
    pub keyframe: Keyframe,
    /// `[results]`
    pub results: Results,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[view]`
    pub view: View,
    /// `[threads]`
    pub threads: Threads,
}

/// `[camera]`: where frames come from, and how they are turned before the networks see them.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Camera {
    /// `v4l2:…`, `usb:…`, `pipe:`, `clip:…`, `scene:…`, `card:`; nothing: the first camera, or a rendered scene where there
    /// is none.
    pub source: Option<String>,
    /// Wanted `[width, height]` in pixels.
    pub size: Option<[u32; 2]>,
    /// Wanted frames a second.
    pub rate: Option<f64>,
    /// Wanted format: `YUYV`, `NV12`, `MJPG` …
    pub format: Option<String>,
    /// Camera controls by their V4L2 name.
    pub controls: BTreeMap<String, i64>,
    /// `none`, `horizontal`, `vertical` or `both`.
    pub flip: Flip,
    /// Clockwise: 0, 90, 180 or 270.
    pub rotate: u32,
    /// `[x, y, width, height]` in pixels of the camera's picture; the rest is not looked at.
    pub crop: Option<[u32; 4]>,
    /// `[fx, fy, cx, cy]` in pixels of the camera's picture: passed on to clients.
    pub intrinsics: Option<[f64; 4]>,
}

/// Mirroring, applied after the crop and the rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flip {
    /// As it comes.
    #[default]
    None,
    /// Left and right change places.
    Horizontal,
    /// Top and bottom change places.
    Vertical,
    /// Both: half a turn.
    Both,
}

/// `[model]`
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Model {
    /// A folder, or a name to be found in `./models`, then `/usr/share/milad/models`.
    pub bundle: Option<String>,
}

/// `[keyframe]`
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Keyframe {
    /// Frames from keyframe to keyframe, at least; nothing: what the bundle was trained for.
    pub interval: Option<u32>,
    /// Whether every frame is waited for and every keyframe published itself; nothing: only for sources that can wait.
    pub synchronous: Option<bool>,
}

/// `[results]`
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Results {
    /// The Unix socket's path.
    pub socket: Option<PathBuf>,
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// `address:port`, or `off`.
    pub listen: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics { listen: "127.0.0.1:9464".to_owned() }
    }
}

/// `[view]`: the live view, beside the metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct View {
    /// Whether there is one.
    pub enabled: bool,
    /// Whether other machines may look, who must know the token.
    pub allow_remote: bool,
    /// What whoever looks must know.
    pub token: Option<String>,
}

/// `[threads]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Threads {
    /// Threads within a network; nothing: 1.
    pub network: Option<usize>,
    /// Cores that the capture thread may use.
    pub capture_cores: Option<Vec<usize>>,
    /// Cores for preparation and the fast network: the frame's way.
    pub fast_cores: Option<Vec<usize>>,
    /// Cores for the slow network.
    pub slow_cores: Option<Vec<usize>>,
    /// Cores for publishing.
    pub publish_cores: Option<Vec<usize>>,
}

/// The keys that may stand in each table. [`tests::the_table_of_keys_is_what_the_types_accept`] holds it true.
const KEYS: [(&str, &[&str]); 7] = [
    ("camera", &["source", "size", "rate", "format", "controls", "flip", "rotate", "crop", "intrinsics"]),
    ("model", &["bundle"]),
    ("keyframe", &["interval", "synchronous"]),
    ("results", &["socket"]),
    ("metrics", &["listen"]),
    ("view", &["enabled", "allow_remote", "token"]),
    ("threads", &["network", "capture_cores", "fast_cores", "slow_cores", "publish_cores"]),
];

/// Why a configuration is refused. The program ends with [`EXIT_CODE`].
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{path}: can't be read: {source}. Check the path and its permissions, or leave --config out")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Not TOML, or a value of another type.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's words, with line and column.
        message: String,
    },
    /// A key that does not exist.
    #[error("{path}: unknown key `{key}`{}", suggestion(.nearest))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key, with its table.
        key: String,
        /// The most similar one that exists.
        nearest: Option<String>,
    },
    /// A value that makes no sense.
    #[error("{path}: `{key}` is {found}, expected {expected}")]
    Value {
        /// The file, or the command line.
        path: PathBuf,
        /// The key, with its table.
        key: &'static str,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
}

/// `EX_CONFIG` of `sysexits.h`: a configuration error, which a restart does not heal.
pub const EXIT_CODE: u8 = 78;

fn suggestion(nearest: &Option<String>) -> String {
    match nearest {
        Some(key) => format!("; did you mean `{key}`?"),
        None => "; see the commented sample configuration for the keys that exist".to_owned(),
    }
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Config::parse(&text, path)
    }

    /// Checks the text of a file. `path` only serves the messages.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let syntax = |error: toml::de::Error| ConfigError::Syntax { path: path.to_owned(), message: error.to_string() };
        let table: toml::Table = toml::from_str(text).map_err(syntax)?;
        refuse_unknown_keys(&table, path)?;
        let config: Config = toml::from_str(text).map_err(syntax)?;
        config.check(path)?;
        Ok(config)
    }

    /// Checks the values against each other and against what is possible. `path` only serves the messages.
    pub fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let refuse =
            |key, found: String, expected| Err(ConfigError::Value { path: path.to_owned(), key, found, expected });
        let camera = &self.camera;
        if let Some([width, height]) = camera.size
            && (width == 0 || height == 0 || width > 16384 || height > 16384)
        {
            return refuse("camera.size", format!("[{width}, {height}]"), "1 to 16384 pixels each way");
        }
        if let Some(rate) = camera.rate
            && !(rate > 0.0 && rate <= 1000.0)
        {
            return refuse("camera.rate", rate.to_string(), "more than 0 and at most 1000 frames a second");
        }
        if ![0, 90, 180, 270].contains(&camera.rotate) {
            return refuse("camera.rotate", camera.rotate.to_string(), "0, 90, 180 or 270 degrees");
        }
        if let Some([x, y, width, height]) = camera.crop
            && (width == 0 || height == 0)
        {
            return refuse("camera.crop", format!("[{x}, {y}, {width}, {height}]"), "a width and a height above 0");
        }
        if let Some(intrinsics) = camera.intrinsics
            && !(intrinsics.iter().all(|value| value.is_finite()) && intrinsics[0] > 0.0 && intrinsics[1] > 0.0)
        {
            return refuse("camera.intrinsics", format!("{intrinsics:?}"), "[fx, fy, cx, cy] in pixels, fx and fy > 0");
        }
        if let Some(interval) = self.keyframe.interval
            && !(1..=10_000).contains(&interval)
        {
            return refuse("keyframe.interval", interval.to_string(), "1 to 10000 frames");
        }
        if let Some(threads) = self.threads.network
            && !(1..=64).contains(&threads)
        {
            return refuse("threads.network", threads.to_string(), "1 to 64 threads");
        }
        if let Some(token) = &self.view.token
            && (token.len() < crate::view::TOKEN_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return refuse(
                "view.token",
                format!("{} characters", token.len()),
                "16 printable characters or more, no spaces",
            );
        }
        if self.view.allow_remote && self.view.token.is_none() {
            return refuse("view.allow_remote", "true without a token".to_owned(), "`view.token` beside it, or false");
        }
        if self.view.enabled && self.metrics.listen == "off" {
            return refuse(
                "view.enabled",
                "true with metrics off".to_owned(),
                "an address in `metrics.listen`: the view is there",
            );
        }
        if self.metrics.listen != "off" && self.metrics.listen.parse::<std::net::SocketAddr>().is_err() {
            return refuse(
                "metrics.listen",
                format!("\"{}\"", self.metrics.listen),
                "an IP address and a port, as in \"127.0.0.1:9464\", or \"off\"",
            );
        }
        Ok(())
    }
}

/// Names the nearest key that exists, if any is near: at most two letters in five differ.
fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(key, candidate), candidate))
        .filter(|(distance, candidate)| distance * 5 <= candidate.len().max(key.len()) * 2)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

fn refuse_unknown_keys(table: &toml::Table, path: &Path) -> Result<(), ConfigError> {
    for (name, value) in table {
        let Some((_, keys)) = KEYS.iter().find(|(known, _)| known == name) else {
            // A key without its table is the commonest slip: look in the tables too.
            let inside = KEYS.iter().find(|(_, keys)| keys.contains(&name.as_str()));
            let nearest = match inside {
                Some((table, _)) => Some(format!("{table}.{name}")),
                None => nearest(name, KEYS.iter().map(|(known, _)| *known)),
            };
            return Err(ConfigError::UnknownKey { path: path.to_owned(), key: name.clone(), nearest });
        };
        for key in value.as_table().into_iter().flat_map(|table| table.keys()) {
            if !keys.contains(&key.as_str()) {
                let nearest = nearest(key, keys.iter().copied()).map(|key| format!("{name}.{key}"));
                return Err(ConfigError::UnknownKey { path: path.to_owned(), key: format!("{name}.{key}"), nearest });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("milad.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn the_table_of_keys_is_what_the_types_accept() {
        let everything = r#"
            [camera]
            source = "v4l2:/dev/video0"
            size = [640, 480]
            rate = 30
            format = "YUYV"
            controls = { exposure_auto = 1 }
            flip = "both"
            rotate = 90
            crop = [0, 0, 320, 240]
            intrinsics = [500.0, 500.0, 320.0, 240.0]
            [model]
            bundle = "street"
            [keyframe]
            interval = 5
            synchronous = false
            [results]
            socket = "/run/milad/results.sock"
            [metrics]
            listen = "127.0.0.1:9464"
            [view]
            enabled = true
            allow_remote = true
            token = "0123456789abcdef"
            [threads]
            network = 2
            capture_cores = [0]
            fast_cores = [1]
            slow_cores = [0]
            publish_cores = [0]
        "#;
        let table: toml::Table = toml::from_str(everything).unwrap();
        for (name, keys) in KEYS {
            let written: Vec<_> = table[name].as_table().unwrap().keys().map(String::as_str).collect();
            let mut known = keys.to_vec();
            known.sort_unstable();
            let mut sorted = written.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, known, "[{name}]");
        }
        let config = parse(everything).unwrap();
        assert_eq!(config.camera.controls["exposure_auto"], 1);
        assert_eq!(config.threads.publish_cores.as_deref(), Some(&[0][..]));
        assert_eq!(config.keyframe.synchronous, Some(false));
    }

    #[test]
    fn an_unknown_key_is_refused_and_the_nearest_one_named() {
        assert_eq!(
            parse("[keyframe]\nintervall = 5").unwrap_err(),
            "milad.toml: unknown key `keyframe.intervall`; did you mean `keyframe.interval`?"
        );
        assert_eq!(parse("[camra]").unwrap_err(), "milad.toml: unknown key `camra`; did you mean `camera`?");
        assert_eq!(
            parse("interval = 5").unwrap_err(),
            "milad.toml: unknown key `interval`; did you mean `keyframe.interval`?"
        );
        assert!(parse("[camera]\nzzz = 1").unwrap_err().contains("see the commented sample"));
    }

    #[test]
    fn a_wrong_type_says_where_and_what() {
        let message = parse("[keyframe]\ninterval = \"five\"").unwrap_err();
        assert!(message.contains("line 2") && message.contains("invalid type: string \"five\""), "{message}");
        assert!(parse("[camera]\nsize = [640]").is_err());
        assert!(parse("camera = 3").is_err());
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        for (text, expected) in [
            ("[keyframe]\ninterval = 0", "`keyframe.interval` is 0, expected 1 to 10000 frames"),
            ("[camera]\nsize = [0, 480]", "`camera.size` is [0, 480]"),
            ("[camera]\nrate = 0", "`camera.rate` is 0"),
            ("[camera]\nrotate = 45", "`camera.rotate` is 45, expected 0, 90, 180 or 270"),
            ("[camera]\ncrop = [0, 0, 0, 9]", "`camera.crop`"),
            ("[camera]\nintrinsics = [0, 1, 2, 3]", "`camera.intrinsics`"),
            (
                "[view]\nallow_remote = true",
                "`view.allow_remote` is true without a token, expected `view.token` beside it",
            ),
            ("[view]\ntoken = \"short\"", "`view.token` is 5 characters, expected 16"),
            ("[view]\nenabled = true\n[metrics]\nlisten = \"off\"", "`view.enabled` is true with metrics off"),
            ("[threads]\nnetwork = 0", "`threads.network` is 0"),
            (
                "[metrics]\nlisten = \"here\"",
                "`metrics.listen` is \"here\", expected an IP address and a port, as in \"127.0.0.1:9464\", or \"off\"",
            ),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn a_missing_file_says_what_to_do() {
        let message = Config::load(Path::new("/nonexistent/milad.toml")).unwrap_err().to_string();
        assert!(message.starts_with("/nonexistent/milad.toml: can't be read: No such file"), "{message}");
    }
}

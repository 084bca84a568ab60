//! What the configuration comes to: every default filled in, every choice made, before anything is opened.

use std::path::{Path, PathBuf};

use clap::Args;
use milad_scene::World;

use crate::capture::source_spec::SourceSpecError;
use crate::capture::v4l2::find::Places;
use crate::capture::{Request, SourceError, SourceSpec, devices};
use crate::config::{self, Config, ConfigError, Flip};
use crate::model::SEARCH;
use crate::prepare::PrepareOptions;
use crate::publish::{SocketError, socket};

/// Something is configured that can't be had, and waiting won't help: exit status 78, like a bad configuration.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Flags of `milad run` and `milad check`. A flag beats the configuration file.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// The configuration [default: /etc/milad/milad.toml where it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// v4l2: (the first camera), v4l2:/dev/video0, v4l2:BY-ID-NAME, usb:VID:PID[:SERIAL], pipe:, clip:FILE, clip:FOLDER, scene:WORLD or card:
    #[arg(long)]
    pub source: Option<String>,
    /// A bundle's folder, or its name in ./models or /usr/share/milad/models
    #[arg(long, value_name = "BUNDLE")]
    pub bundle: Option<String>,
    /// The Unix socket that results go out on
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Where metrics are served: ADDRESS:PORT, or off
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<String>,
    /// Serve a live view for browsers on this machine, beside the metrics
    #[arg(long)]
    pub view: bool,
    /// Frames from keyframe to keyframe
    #[arg(long, value_name = "N")]
    pub interval: Option<u32>,
    /// End after N frames
    #[arg(long, value_name = "N")]
    pub frames: Option<u64>,
    /// Wait for every frame, and publish the slow network's own predictions on keyframes [default: for clips that wait]
    #[arg(long)]
    pub sync: bool,
}

impl RunArgs {
    /// The configuration in force: the file's, beaten by these flags, checked.
    pub fn configuration(&self) -> Result<Config, ConfigError> {
        let standard = PathBuf::from(config::DEFAULT_PATH);
        let mut config = match &self.config {
            Some(path) => Config::load(path)?,
            None if standard.exists() => Config::load(&standard)?,
            None => Config::default(),
        };
        if self.source.is_some() {
            config.camera.source.clone_from(&self.source);
        }
        if self.bundle.is_some() {
            config.model.bundle.clone_from(&self.bundle);
        }
        if self.socket.is_some() {
            config.results.socket.clone_from(&self.socket);
        }
        if let Some(listen) = &self.metrics {
            config.metrics.listen.clone_from(listen);
        }
        if self.view {
            config.view.enabled = true;
        }
        if self.interval.is_some() {
            config.keyframe.interval = self.interval;
        }
        if self.sync {
            config.keyframe.synchronous = Some(true);
        }
        config.check(std::path::Path::new("command line"))?;
        Ok(config)
    }
}

/// Everything `milad run` and `milad check` need to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where frames come from.
    pub source: String,
    /// Whether nobody named a source, so that this program chose one.
    pub source_was_chosen_here: bool,
    /// What is asked of the source.
    pub request: Request,
    /// A bundle's folder or name.
    pub bundle: String,
    /// Threads within a network.
    pub network_threads: usize,
    /// Whether frames are waited for.
    pub synchronous: bool,
    /// How the picture is turned.
    pub prepare: PrepareOptions,
    /// The results socket's path, where one is configured; else [`Settings::socket_path`] finds one.
    pub socket: Option<PathBuf>,
    /// The socket's permissions.
    pub socket_mode: u32,
    /// The group that owns the socket, where it exists.
    pub socket_group: &'static str,
}

/// The bundles that are looked for when none is named, the best first.
const DEFAULT_BUNDLES: [&str; 2] = ["street", "demo"];

impl Settings {
    /// Fills in what the configuration leaves open.
    pub fn resolve(config: &Config) -> Result<Settings, Refused> {
        let bundle = match &config.model.bundle {
            Some(bundle) => bundle.clone(),
            None => default_bundle()?,
        };
        let source = match &config.camera.source {
            Some(source) => source.clone(),
            None => default_source(&Places::system(), devices::is_camera, &bundle),
        };
        let spec: SourceSpec = source.parse().map_err(|error: SourceSpecError| Refused(error.to_string()))?;
        let request = Request {
            size: config.camera.size.map(|[width, height]| (width, height)),
            rate: config.camera.rate,
            format: config.camera.format.clone(),
            controls: config.camera.controls.clone(),
        };
        Ok(Settings {
            source_was_chosen_here: config.camera.source.is_none(),
            // What can wait is answered frame by frame: its results should not depend on the machine's speed.
            synchronous: config.keyframe.synchronous.unwrap_or(!spec.is_live()),
            source,
            request,
            bundle,
            network_threads: config.threads.network.unwrap_or(1),
            prepare: prepare_options(config),
            socket: config.results.socket.clone(),
            socket_mode: socket::MODE,
            socket_group: socket::GROUP,
        })
    }

    /// Where the results socket is to be bound. Not to be asked where a socket was passed: a service that writes nowhere has
    /// no place of its own to find.
    pub fn socket_path(&self) -> Result<PathBuf, SocketError> {
        match &self.socket {
            Some(socket) => Ok(socket.clone()),
            None => socket::default_path(),
        }
    }
}

/// The first camera; where there is none a rendered world, the one that the bundle is named after, or else the street.
fn default_source(places: &Places, is_camera: impl Fn(&Path) -> Result<bool, SourceError>, bundle: &str) -> String {
    match places.first(is_camera) {
        Ok(path) => format!("v4l2:{}", path.display()),
        Err(error) => {
            log::info!("{error}");
            let name = Path::new(bundle).file_name().and_then(|name| name.to_str());
            format!("scene:{}", name.and_then(|name| name.parse().ok()).unwrap_or(World::Street))
        }
    }
}

fn default_bundle() -> Result<String, Refused> {
    DEFAULT_BUNDLES
        .into_iter()
        .find(|name| SEARCH.iter().any(|folder| Path::new(folder).join(name).join("bundle.toml").is_file()))
        .map(str::to_owned)
        .ok_or_else(|| {
            Refused(format!(
                "no bundle is named, and none of {} is in {}; name one with --bundle or [model] bundle",
                DEFAULT_BUNDLES.join(", "),
                SEARCH.join(" or ")
            ))
        })
}

fn prepare_options(config: &Config) -> PrepareOptions {
    let camera = &config.camera;
    PrepareOptions {
        crop: camera.crop.map(|crop| crop.map(|value| value as usize)),
        flip_horizontal: matches!(camera.flip, Flip::Horizontal | Flip::Both),
        flip_vertical: matches!(camera.flip, Flip::Vertical | Flip::Both),
        rotate: (camera.rotate / 90) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::v4l2::find::machine::{CAM, Machine};

    #[test]
    fn the_first_camera_is_played_where_there_is_one_and_a_scene_elsewhere() {
        let machine = Machine::new("default-source");
        let source =
            |is_camera: fn(&Path) -> Result<bool, SourceError>| default_source(&machine.places, is_camera, "demo");
        assert_eq!(source(|_| Ok(true)), "scene:street");
        for (number, port) in [(10, "1-1"), (9, "1-2"), (2, "1-3")] {
            machine.plug(number, port, CAM, None);
        }
        assert_eq!(source(|_| Ok(true)), format!("v4l2:{}", machine.node(2).display()));
        // A webcam's second node has metadata, a board's first ones are codecs.
        assert_eq!(source(|path| Ok(!path.ends_with("video2"))), format!("v4l2:{}", machine.node(9).display()));
        assert_eq!(source(|_| Ok(false)), "scene:street");
        assert_eq!(source(devices::is_camera), "scene:street", "plain files are no cameras");
        for (bundle, scene) in [("room", "scene:room"), ("models/room/", "scene:room"), ("attic", "scene:street")] {
            assert_eq!(default_source(&machine.places, |_| Ok(false), bundle), scene, "{bundle}");
        }
    }

    #[test]
    fn only_sources_that_can_wait_are_waited_for() {
        for (source, synchronous) in [
            ("clip:a.y4m", true),
            ("clip:a.y4m?rate=max", true),
            ("clip:a.y4m?rate=25", false),
            ("clip:a.y4m?rate=25&loop=1", false),
            ("scene:", false),
            ("card:", false),
            ("pipe:", false),
            ("v4l2:/dev/video0", false),
        ] {
            let mut config = Config::default();
            config.camera.source = Some(source.to_owned());
            config.model.bundle = Some("any".to_owned());
            assert_eq!(Settings::resolve(&config).unwrap().synchronous, synchronous, "{source}");
            config.keyframe.synchronous = Some(!synchronous);
            assert_eq!(Settings::resolve(&config).unwrap().synchronous, !synchronous, "{source}: the user's word");
        }
    }

    #[test]
    fn a_flag_beats_the_file() {
        let folder = std::env::temp_dir().join(format!("milad-cli-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("milad.toml");
        std::fs::write(&file, "[keyframe]\ninterval = 7\n[camera]\nsource = \"card:\"\n").unwrap();
        let args = RunArgs { config: Some(file), interval: Some(3), ..RunArgs::default() };
        let config = args.configuration().unwrap();
        assert_eq!(config.keyframe.interval, Some(3));
        assert_eq!(config.camera.source.as_deref(), Some("card:"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_impossible_flag_is_refused_like_an_impossible_key() {
        let args = RunArgs { interval: Some(0), ..RunArgs::default() };
        let message = args.configuration().unwrap_err().to_string();
        assert_eq!(message, "command line: `keyframe.interval` is 0, expected 1 to 10000 frames");
    }
}

//! What the configuration comes to: every default filled in, every choice made, before anything is opened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::capture::Request;
use crate::config::{Config, Flip};
use crate::model::Spec;
use crate::prepare::PrepareOptions;
use crate::run::Refused;
use crate::telemetry::Health;

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
    /// The results socket.
    pub socket: PathBuf,
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
        let source = config.camera.source.clone().unwrap_or_else(default_source);
        let request = Request {
            size: config.camera.size.map(|[width, height]| (width, height)),
            rate: config.camera.rate,
            format: config.camera.format.clone(),
            controls: config.camera.controls.clone(),
        };
        let bundle = match &config.model.bundle {
            Some(bundle) => bundle.clone(),
            None => default_bundle()?,
        };
        let socket = match &config.results.socket {
            Some(socket) => socket.clone(),
            None => crate::publish::socket::default_path().map_err(|error| Refused(error.to_string()))?,
        };
        Ok(Settings {
            source_was_chosen_here: config.camera.source.is_none(),
            // A clip can wait for every frame, and its results should not depend on the machine's speed.
            synchronous: config.keyframe.synchronous.unwrap_or(source.starts_with("clip:")),
            source,
            request,
            bundle,
            network_threads: config.threads.network.unwrap_or(1),
            prepare: prepare_options(config),
            socket,
            socket_mode: 0o660,
            socket_group: "milad",
        })
    }

    /// What counts as fresh: a frame within a second, a keyframe within ten intervals and at least five seconds.
    pub fn health(&self, spec: &Spec) -> Health {
        let keyframes = Duration::from_secs_f64(10.0 * f64::from(spec.keyframe_interval) * spec.frame_interval_s);
        Health::new(Duration::from_secs(1), keyframes.max(Duration::from_secs(5)))
    }
}

/// The first camera, or the test card where there is none.
fn default_source() -> String {
    "card:".to_owned()
}

fn default_bundle() -> Result<String, Refused> {
    let folders = ["models", "/usr/share/milad/models"];
    DEFAULT_BUNDLES
        .into_iter()
        .find(|name| folders.iter().any(|folder| Path::new(folder).join(name).join("bundle.toml").is_file()))
        .map(str::to_owned)
        .ok_or_else(|| {
            Refused(format!(
                "no bundle is named, and none of {} is in {}; name one with --bundle or [model] bundle",
                DEFAULT_BUNDLES.join(", "),
                folders.join(" or ")
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

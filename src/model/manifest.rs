//! `bundle.toml`: read, every key known, every value in its range. Never touches the networks.

use std::path::Path;

use milad_kernels::pixel::Resize;
use serde::Deserialize;

use super::error::BundleError;
use super::spec::{Class, DepthEncoding, InputSpec, Spec, TaskKind, TaskSpec};

/// The schema that this program reads.
pub const SCHEMA: i64 = 1;

const TOP: &[&str] =
    &["schema", "name", "trained_on", "frame_interval_s", "keyframe_interval", "intrinsics", "input", "task", "files"];
const INPUT: &[&str] = &["width", "height", "mean", "std", "resize"];
const TASK: &[&str] = &["name", "kind", "width", "height", "classes", "encoding", "channels"];
const CLASS: &[&str] = &["name", "color"];
const FILES: &[&str] = &["slow", "fast"];
const FILE: &[&str] = &["sha256"];
/// The largest side of an input or a published map.
const MAX_SIDE: usize = 8192;
/// The most channels of a task.
const MAX_CHANNELS: usize = 256;

#[derive(Debug, Deserialize)]
struct RawManifest {
    schema: i64,
    name: String,
    trained_on: String,
    frame_interval_s: f64,
    keyframe_interval: u32,
    intrinsics: Option<[f64; 4]>,
    input: RawInput,
    task: Vec<RawTask>,
    #[serde(default)]
    files: RawFiles,
}

#[derive(Debug, Deserialize)]
struct RawInput {
    width: usize,
    height: usize,
    mean: [f64; 3],
    std: [f64; 3],
    resize: String,
}

#[derive(Debug, Deserialize)]
struct RawTask {
    name: String,
    kind: String,
    width: usize,
    height: usize,
    classes: Option<Vec<RawClass>>,
    encoding: Option<String>,
    channels: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct RawClass {
    name: String,
    color: String,
}

#[derive(Debug, Default, Deserialize)]
struct RawFiles {
    slow: Option<RawFile>,
    fast: Option<RawFile>,
}

#[derive(Debug, Deserialize)]
struct RawFile {
    sha256: Option<String>,
}

/// A checked `bundle.toml`.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    /// The description; its `sha256` is filled in by whoever reads the networks.
    pub spec: Spec,
    /// What it states of `slow.onnx`, in lower-case hexadecimal.
    pub slow_sha256: Option<String>,
    /// What it states of `fast.onnx`.
    pub fast_sha256: Option<String>,
}

impl Manifest {
    /// Reads `text`, the contents of `file` (which is only named, in errors).
    pub fn parse(file: &Path, text: &str) -> Result<Manifest, BundleError> {
        let manifest = |e: toml::de::Error| BundleError::Manifest { file: file.into(), reason: e.to_string() };
        let table: toml::Table = toml::from_str(text).map_err(manifest)?;
        check_keys(file, &table)?;
        if let Some(found) = table.get("schema").filter(|value| value.as_integer() != Some(SCHEMA)) {
            return Err(value(file, "schema", format!("{SCHEMA}, the one this program reads"), describe(found)));
        }
        let raw: RawManifest = toml::from_str(text).map_err(manifest)?;
        check(file, raw)
    }
}

fn check(file: &Path, raw: RawManifest) -> Result<Manifest, BundleError> {
    if raw.schema != SCHEMA {
        return Err(value(file, "schema", format!("{SCHEMA}, the one this program reads"), raw.schema));
    }
    if raw.name.is_empty() || raw.name.len() > 64 || !raw.name.chars().all(is_name) {
        return Err(value(file, "name", "1 to 64 letters, digits, `-`, `_` or `.`", quoted(&raw.name)));
    }
    if !(raw.frame_interval_s.is_finite() && raw.frame_interval_s > 0.0 && raw.frame_interval_s <= 60.0) {
        return Err(value(file, "frame_interval_s", "seconds, above 0 and at most 60", raw.frame_interval_s));
    }
    if raw.keyframe_interval == 0 {
        return Err(value(file, "keyframe_interval", "1 or more", 0));
    }
    if let Some([fx, fy, cx, cy]) = raw.intrinsics
        && !(fx.is_finite() && fx > 0.0 && fy.is_finite() && fy > 0.0 && cx.is_finite() && cy.is_finite())
    {
        return Err(value(
            file,
            "intrinsics",
            "[fx, fy, cx, cy] with fx and fy above 0",
            format!("{:?}", raw.intrinsics),
        ));
    }
    let input = check_input(file, raw.input)?;
    if raw.task.is_empty() {
        return Err(value(file, "task", "at least one [[task]]", "none"));
    }
    let mut tasks: Vec<TaskSpec> = Vec::with_capacity(raw.task.len());
    for task in raw.task {
        let task = check_task(file, task)?;
        if tasks.iter().any(|other| other.name == task.name) {
            return Err(value(file, "task.name", "a name for each task", format!("`{}` twice", task.name)));
        }
        tasks.push(task);
    }
    let hash = |which: &str, stated: Option<RawFile>| -> Result<Option<String>, BundleError> {
        let Some(text) = stated.and_then(|file| file.sha256) else { return Ok(None) };
        if text.len() != 64 || !text.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(value(file, &format!("files.{which}.sha256"), "64 hexadecimal digits", quoted(&text)));
        }
        Ok(Some(text.to_ascii_lowercase()))
    };
    Ok(Manifest {
        slow_sha256: hash("slow", raw.files.slow)?,
        fast_sha256: hash("fast", raw.files.fast)?,
        spec: Spec {
            name: raw.name,
            sha256: String::new(),
            trained_on: raw.trained_on,
            frame_interval_s: raw.frame_interval_s,
            keyframe_interval: raw.keyframe_interval,
            intrinsics: raw.intrinsics,
            input,
            tasks,
        },
    })
}

fn check_input(file: &Path, raw: RawInput) -> Result<InputSpec, BundleError> {
    check_side(file, "input.width", raw.width)?;
    check_side(file, "input.height", raw.height)?;
    if raw.mean.iter().any(|m| !m.is_finite()) {
        return Err(value(file, "input.mean", "three finite numbers", format!("{:?}", raw.mean)));
    }
    if raw.std.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
        return Err(value(file, "input.std", "three finite numbers above 0", format!("{:?}", raw.std)));
    }
    let resize = match raw.resize.as_str() {
        "stretch" => Resize::Stretch,
        "crop" => Resize::Crop,
        "letterbox" => Resize::Letterbox,
        other => return Err(value(file, "input.resize", "`stretch`, `crop` or `letterbox`", quoted(other))),
    };
    Ok(InputSpec { width: raw.width, height: raw.height, mean: raw.mean, std: raw.std, resize })
}

fn check_task(file: &Path, raw: RawTask) -> Result<TaskSpec, BundleError> {
    if raw.name.is_empty() || !raw.name.chars().all(|c| is_name(c) && c != '.') {
        return Err(value(file, "task.name", "letters, digits, `-` or `_`", quoted(&raw.name)));
    }
    if raw.name == milad_client::IMAGE {
        return Err(value(
            file,
            "task.name",
            "another name: the picture comes to clients as `image`",
            quoted(&raw.name),
        ));
    }
    let key = |name: &str| format!("task `{}`: {name}", raw.name);
    check_side(file, &key("width"), raw.width)?;
    check_side(file, &key("height"), raw.height)?;
    let foreign = |present: bool, name: &str, owner: &str| match present {
        true => {
            Err(value(file, &key(name), format!("none: only kind `{owner}` has it"), format!("kind `{}`", raw.kind)))
        }
        false => Ok(()),
    };
    if raw.kind != "segmentation" {
        foreign(raw.classes.is_some(), "classes", "segmentation")?;
    }
    if raw.kind != "depth" {
        foreign(raw.encoding.is_some(), "encoding", "depth")?;
    }
    if raw.kind != "raw" {
        foreign(raw.channels.is_some(), "channels", "raw")?;
    }
    let kind = match raw.kind.as_str() {
        "segmentation" => {
            let classes = raw.classes.unwrap_or_default();
            if classes.is_empty() || classes.len() > MAX_CHANNELS {
                return Err(value(file, &key("classes"), format!("1 to {MAX_CHANNELS} classes"), classes.len()));
            }
            let mut checked: Vec<Class> = Vec::with_capacity(classes.len());
            for class in classes {
                let class = check_class(file, &key("classes"), class)?;
                if checked.iter().any(|other| other.name == class.name) {
                    return Err(value(
                        file,
                        &key("classes"),
                        "a name for each class",
                        format!("`{}` twice", class.name),
                    ));
                }
                checked.push(class);
            }
            TaskKind::Segmentation { classes: checked }
        }
        "depth" => TaskKind::Depth {
            encoding: match raw.encoding.as_deref() {
                Some("metres") => DepthEncoding::Metres,
                Some("log") => DepthEncoding::Log,
                Some("inverse") => DepthEncoding::Inverse,
                other => {
                    let found = other.map_or("nothing".into(), quoted);
                    return Err(value(file, &key("encoding"), "`metres`, `log` or `inverse`", found));
                }
            },
        },
        "normals" => TaskKind::Normals,
        "raw" => match raw.channels {
            Some(channels) if (1..=MAX_CHANNELS).contains(&channels) => TaskKind::Raw { channels },
            other => {
                let found = other.map_or("nothing".into(), |n| n.to_string());
                return Err(value(file, &key("channels"), format!("1 to {MAX_CHANNELS}"), found));
            }
        },
        other => return Err(value(file, &key("kind"), "`segmentation`, `depth`, `normals` or `raw`", quoted(other))),
    };
    Ok(TaskSpec { name: raw.name, kind, width: raw.width, height: raw.height })
}

fn check_class(file: &Path, key: &str, raw: RawClass) -> Result<Class, BundleError> {
    let bytes = raw.color.strip_prefix('#').filter(|hex| hex.len() == 6 && hex.is_ascii());
    let color = bytes.and_then(|hex| u32::from_str_radix(hex, 16).ok()).map(|rgb| {
        let [_, r, g, b] = rgb.to_be_bytes();
        [r, g, b]
    });
    match color {
        Some(color) => Ok(Class { name: raw.name, color }),
        None => Err(value(file, &format!("{key}: color of `{}`", raw.name), "`#rrggbb`", quoted(&raw.color))),
    }
}

fn check_side(file: &Path, key: &str, side: usize) -> Result<(), BundleError> {
    if (1..=MAX_SIDE).contains(&side) { Ok(()) } else { Err(value(file, key, format!("1 to {MAX_SIDE} pixels"), side)) }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn describe(value: &toml::Value) -> String {
    match value {
        toml::Value::Integer(number) => number.to_string(),
        other => format!("a value of type {}", other.type_str()),
    }
}

fn quoted(text: &str) -> String {
    format!("`{text}`")
}

fn value(file: &Path, key: &str, expected: impl ToString, found: impl ToString) -> BundleError {
    BundleError::Value { file: file.into(), key: key.into(), expected: expected.to_string(), found: found.to_string() }
}

/// Refuses keys that mean nothing, in all tables.
fn check_keys(file: &Path, table: &toml::Table) -> Result<(), BundleError> {
    known(file, "", table, TOP)?;
    let tables = |key: &str| table.get(key).and_then(|v| v.as_table());
    if let Some(input) = tables("input") {
        known(file, "input.", input, INPUT)?;
    }
    for task in table.get("task").and_then(|v| v.as_array()).into_iter().flatten().filter_map(|v| v.as_table()) {
        known(file, "task.", task, TASK)?;
        let classes = task.get("classes").and_then(|v| v.as_array()).into_iter().flatten();
        for class in classes.filter_map(|v| v.as_table()) {
            known(file, "task.classes.", class, CLASS)?;
        }
    }
    if let Some(files) = tables("files") {
        known(file, "files.", files, FILES)?;
        for (name, stated) in files.iter().filter_map(|(name, v)| Some((name, v.as_table()?))) {
            known(file, &format!("files.{name}."), stated, FILE)?;
        }
    }
    Ok(())
}

fn known(file: &Path, prefix: &str, table: &toml::Table, keys: &[&str]) -> Result<(), BundleError> {
    let Some(key) = table.keys().find(|key| !keys.contains(&key.as_str())) else { return Ok(()) };
    let nearest = keys.iter().max_by(|a, b| strsim::jaro_winkler(key, a).total_cmp(&strsim::jaro_winkler(key, b)));
    Err(BundleError::UnknownKey {
        file: file.into(),
        key: format!("{prefix}{key}"),
        nearest: nearest.map(|nearest| format!("{prefix}{nearest}")),
    })
}

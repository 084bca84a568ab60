//! Labelled clips in folders, laid out as `milad scene` writes them: `000012.rgb.png` beside `.class.png`, `.depth.npy`,
//! `.normals.npy` and `.flow.npy`, and `camera.json` with the names of the classes.
//!
//! A kind of truth that the first picture has must be there for every picture, of the picture's size; what is there for
//! none is not scored.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use milad_scene::Truth;
use png::{BitDepth, ColorType, Transformations};

use super::clips::Kinds;
use crate::capture::source_spec::{ClipSpec, Pace};
use crate::capture::{self, Camera, Next, RawFrame, Request, Source, SourceSpec};
use crate::npy;
use crate::stop::Stop;

const PICTURE: &str = ".rgb.png";
const DESCRIPTION: &str = "camera.json";
/// A class index that means none.
pub const NO_CLASS: u8 = 255;

/// The clip in `folder`, or the clips in its folders, by name.
pub fn find(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !pictures(folder)?.is_empty() {
        return Ok(vec![folder.into()]);
    }
    let mut clips = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() && !pictures(&path)?.is_empty() {
            clips.push(path);
        }
    }
    clips.sort();
    ensure!(
        !clips.is_empty(),
        "{}: expected pictures called 000000.rgb.png with their truth, or folders of them, found none; \
         `milad scene --out FOLDER` (without --packed) writes such clips",
        folder.display()
    );
    Ok(clips)
}

/// Pictures of a clip, without the ending, in order.
pub fn pictures(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut stems: Vec<PathBuf> = entries(folder)?
        .into_iter()
        .filter_map(|path| Some(path.with_file_name(path.file_name()?.to_str()?.strip_suffix(PICTURE)?)))
        .collect();
    stems.sort();
    Ok(stems)
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot = || format!("{}: expected a folder of labelled clips", folder.display());
    let entries = std::fs::read_dir(folder).with_context(cannot)?;
    entries.map(|entry| Ok(entry.with_context(cannot)?.path())).collect()
}

/// `camera.json`, null where there is no such file.
fn description(folder: &Path) -> anyhow::Result<serde_json::Value> {
    let file = folder.join(DESCRIPTION);
    if !file.exists() {
        return Ok(serde_json::Value::Null);
    }
    let bytes = std::fs::read(&file).with_context(|| format!("{}: cannot be read", file.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{}: expected JSON", file.display()))
}

/// Names of the classes in `camera.json`; `None` where there is no such file, or none in it.
pub fn classes(folder: &Path) -> anyhow::Result<Option<Vec<String>>> {
    let json = description(folder)?;
    let Some(classes) = json.get("classes").and_then(|classes| classes.as_array()) else { return Ok(None) };
    let names = classes.iter().map(|class| Some(class.get("name")?.as_str()?.to_owned()));
    let names: Option<Vec<String>> = names.collect();
    let unnamed = || format!("{}: expected a name in each of `classes`", folder.join(DESCRIPTION).display());
    Ok(Some(names.with_context(unnamed)?))
}

/// A labelled clip that is being read.
pub struct Labelled {
    pictures: Box<dyn Source>,
    stems: Vec<PathBuf>,
    next: usize,
    kinds: Kinds,
}

impl Labelled {
    /// Opens the clip and looks which kinds of truth it has.
    pub fn open(folder: &Path, stop: &Stop) -> anyhow::Result<Labelled> {
        let clip = ClipSpec { path: folder.into(), pace: Pace::Max, repeat: false };
        let pictures_source = capture::open(&SourceSpec::Clip(clip), &Request::default(), stop)?;
        let stems = pictures(folder)?;
        let first = stems.first().with_context(|| format!("{}: no pictures", folder.display()))?;
        if let Some(frames) = description(folder)?.get("frames").and_then(serde_json::Value::as_u64) {
            ensure!(
                stems.len() as u64 == frames,
                "{}: expected {frames} pictures, as its camera.json says, found {}; copy or render the clip again",
                folder.display(),
                stems.len()
            );
        }
        let there = |ending: &str| with_ending(first, ending).exists();
        let kinds = Kinds {
            class: there("class.png"),
            depth: there("depth.npy"),
            normals: there("normals.npy"),
            flow: there("flow.npy"),
        };
        ensure!(
            kinds.class || kinds.depth || kinds.normals,
            "{}: expected truth beside the pictures ({}, .depth.npy or .normals.npy), found none; \
             `milad infer` takes clips without truth",
            folder.display(),
            with_ending(first, "class.png").file_name().unwrap_or_default().display()
        );
        Ok(Labelled { pictures: pictures_source, stems, next: 0, kinds })
    }

    /// The pictures' format.
    pub fn camera(&self) -> Arc<Camera> {
        self.pictures.camera()
    }

    /// What can be scored.
    pub fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// The next picture and its truth. Kinds that are not there: no class, NaN metres, no normal, no flow.
    pub fn next(&mut self, stop: &Stop, truth: &mut Truth) -> anyhow::Result<Option<RawFrame>> {
        let raw = match self.pictures.next(stop)? {
            Next::Frame(raw) => raw,
            Next::Bad { driver_sequence, reason } => bail!("frame {driver_sequence}: {reason}"),
            Next::End | Next::Stopped => return Ok(None),
        };
        let stem = self.stems.get(self.next).context("a picture came that was not there before")?;
        self.next += 1;
        let format = &self.pictures.camera().format;
        let (width, height) = (format.width, format.height);
        let pixels = width * height;
        truth.class = match self.kinds.class {
            true => read_classes(&with_ending(stem, "class.png"), width, height)?,
            false => vec![NO_CLASS; pixels],
        };
        let array = |kind: &str, there: bool, shape: &[usize], missing: f32| match there {
            true => read_array(&with_ending(stem, kind), shape),
            false => Ok(vec![missing; shape.iter().product()]),
        };
        truth.depth = array("depth.npy", self.kinds.depth, &[height, width], f32::NAN)?;
        truth.normals = array("normals.npy", self.kinds.normals, &[3, height, width], 0.0)?;
        truth.flow = array("flow.npy", self.kinds.flow, &[2, height, width], 0.0)?;
        Ok(Some(raw))
    }
}

fn with_ending(stem: &Path, ending: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn read_array(file: &Path, shape: &[usize]) -> anyhow::Result<Vec<f32>> {
    let array =
        npy::read(file).with_context(|| format!("{}: expected truth like the first picture's", file.display()))?;
    ensure!(
        array.shape == shape,
        "{}: expected an array of {shape:?}, as large as the picture, found {:?}",
        file.display(),
        array.shape
    );
    Ok(array.values)
}

/// Class indices from a PNG of palette indices or of grey levels, 8 bits each.
fn read_classes(file: &Path, width: usize, height: usize) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("{}: expected a class picture like the first one's", file.display());
    let opened = File::open(file).with_context(cannot)?;
    let mut decoder = png::Decoder::new(BufReader::new(opened));
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().with_context(cannot)?;
    let info = reader.info();
    let found = (info.width as usize, info.height as usize);
    let kind = (info.color_type, info.bit_depth);
    ensure!(
        found == (width, height),
        "{}: expected {width}×{height} like the picture, found {}×{}",
        file.display(),
        found.0,
        found.1
    );
    ensure!(
        matches!(kind, (ColorType::Indexed | ColorType::Grayscale, BitDepth::Eight)),
        "{}: expected class indices as an 8-bit palette or grey PNG, found {:?} of {:?} bits",
        file.display(),
        kind.0,
        kind.1
    );
    let mut classes = vec![0; width * height];
    reader.next_frame(&mut classes).with_context(cannot)?;
    Ok(classes)
}

//! The clips that are evaluated: rendered ones by seed, or labelled folders. Both give pictures as capture does, and truth.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use milad_kernels::pixel::{Colour, PixelFormat};
use milad_scene::{Clip, Options, Truth, World};
use tract_onnx::prelude::f16;

use super::labelled::{self, Labelled};
use crate::capture::pool::Pool;
use crate::capture::y4m::raw_camera;
use crate::capture::{Camera, Payload, RawFrame};
use crate::seeds::Seeds;
use crate::stop::Stop;

/// What is rendered.
#[derive(Debug, Clone)]
pub struct Rendered {
    pub world: World,
    pub seeds: Seeds,
    pub frames: u32,
    pub options: Options,
}

/// The clips of a run.
#[derive(Debug, Clone)]
pub enum Clips {
    /// By seed.
    Rendered(Rendered),
    /// By folder.
    Labelled(Vec<PathBuf>),
}

impl Clips {
    /// The clip in `folder`, or those in the folders in it.
    pub fn labelled(folder: &Path) -> anyhow::Result<Clips> {
        Ok(Clips::Labelled(labelled::find(folder)?))
    }

    /// How many clips.
    pub fn count(&self) -> usize {
        match self {
            Clips::Rendered(rendered) => rendered.seeds.count(),
            Clips::Labelled(folders) => folders.len(),
        }
    }

    /// Frames of all clips.
    pub fn frames(&self) -> anyhow::Result<u64> {
        match self {
            Clips::Rendered(rendered) => Ok((rendered.seeds.count() as u64).saturating_mul(u64::from(rendered.frames))),
            Clips::Labelled(folders) => {
                folders.iter().try_fold(0, |sum, folder| Ok(sum + labelled::pictures(folder)?.len() as u64))
            }
        }
    }

    /// The clip's name for messages.
    pub fn name(&self, index: usize) -> String {
        match self {
            Clips::Rendered(rendered) => {
                format!("{} seed {}", rendered.world, rendered.seeds.get(index).unwrap_or_default())
            }
            Clips::Labelled(folders) => folders.get(index).map(|f| f.display().to_string()).unwrap_or_default(),
        }
    }

    /// Names of the truth's classes; `None` where nothing tells them.
    pub fn classes(&self) -> anyhow::Result<Option<Vec<String>>> {
        let folders = match self {
            Clips::Rendered(rendered) => {
                return Ok(Some(rendered.world.classes().iter().map(|class| class.name.to_owned()).collect()));
            }
            Clips::Labelled(folders) => folders,
        };
        let Some(first) = folders.first() else { return Ok(None) };
        let classes = labelled::classes(first)?;
        for folder in folders {
            let others = labelled::classes(folder)?;
            let named = |classes: &Option<Vec<String>>| classes.as_ref().map_or("none".to_owned(), |c| c.join(", "));
            ensure!(
                others == classes,
                "{}: expected the classes of {} ({}), found {}; evaluate clips of one kind at a time",
                folder.display(),
                first.display(),
                named(&classes),
                named(&others)
            );
        }
        Ok(classes)
    }

    /// Opens a clip; `None` behind the last one.
    pub fn open(&self, index: usize, stop: &Stop) -> anyhow::Result<Option<OpenClip>> {
        match self {
            Clips::Rendered(rendered) => Ok(rendered.seeds.get(index).map(|seed| {
                let Options { width, height, .. } = rendered.options;
                let camera = raw_camera(
                    format!("{} seed {seed}", rendered.world),
                    "RGB3",
                    PixelFormat::Rgb24,
                    width,
                    height,
                    Colour::FULL_DEFAULT,
                );
                OpenClip {
                    camera: Arc::new(camera),
                    kinds: Kinds { class: true, depth: true, normals: true, flow: true },
                    content: Content::Rendered {
                        clip: Box::new(Clip::new(rendered.world, seed, &rendered.options)),
                        pool: Pool::new(2, width * height * 3),
                        next: 0,
                        end: rendered.frames,
                    },
                }
            })),
            Clips::Labelled(folders) => folders.get(index).map(|folder| OpenClip::labelled(folder, stop)).transpose(),
        }
    }
}

/// Which kinds of truth there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds {
    pub class: bool,
    pub depth: bool,
    pub normals: bool,
    pub flow: bool,
}

/// A clip that is being read.
pub struct OpenClip {
    pub camera: Arc<Camera>,
    pub kinds: Kinds,
    content: Content,
}

enum Content {
    Rendered { clip: Box<Clip>, pool: Pool, next: u32, end: u32 },
    Labelled(Box<Labelled>),
}

impl OpenClip {
    fn labelled(folder: &Path, stop: &Stop) -> anyhow::Result<OpenClip> {
        let labelled = Labelled::open(folder, stop)?;
        let (camera, kinds) = (labelled.camera(), labelled.kinds());
        Ok(OpenClip { camera, kinds, content: Content::Labelled(Box::new(labelled)) })
    }

    /// The next picture and its truth; `None` at the end.
    pub fn next(&mut self, stop: &Stop, truth: &mut Truth) -> anyhow::Result<Option<RawFrame>> {
        match &mut self.content {
            Content::Labelled(labelled) => labelled.next(stop, truth),
            Content::Rendered { next, end, .. } if *next >= *end => Ok(None),
            Content::Rendered { clip, pool, next, .. } => {
                let mut buffer = pool.take().context("no free buffer: a picture is still read")?;
                let bytes = buffer.capacity();
                buffer.resize(bytes, 0);
                clip.frame(*next, &mut buffer);
                clip.truth(*next, truth);
                as_written(truth);
                let sequence = u64::from(*next);
                *next += 1;
                if buffer.len() != self.camera.format.width * self.camera.format.height * 3 {
                    bail!("a picture of another size than {} bytes", buffer.len());
                }
                let payload = Payload::Pooled(buffer);
                Ok(Some(RawFrame { driver_sequence: sequence, captured_ns: 0, payload }))
            }
        }
    }
}

/// Truth as files hold it, float16, so that a rendered clip and the same clip written and read score alike.
fn as_written(truth: &mut Truth) {
    for values in [&mut truth.depth, &mut truth.normals, &mut truth.flow] {
        values.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
    }
}

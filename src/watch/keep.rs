//! What `milad watch` keeps: the stream as it came (`--record`), or each result's maps as files (`--save`).
//!
//! Nothing that is there already is written over by a recording, and no name of the daemon's leads out of the folder.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use milad_client::{ClassInfo, Dtype, Hello, IMAGE, MapInfo, Message, Received, TaskKind};

/// Where things are kept; nowhere by default.
#[derive(Debug, Default)]
pub struct Keep {
    record: Option<BufWriter<File>>,
    save: Option<PathBuf>,
    hello: Option<Hello>,
    results: u64,
    lost: u64,
}

impl Keep {
    /// Opens what was asked for.
    pub fn new(record: Option<&Path>, save: Option<&Path>) -> io::Result<Keep> {
        let record = record.map(File::create_new).transpose()?.map(BufWriter::new);
        save.map(fs::create_dir_all).transpose()?;
        Ok(Keep { record, save: save.map(Path::to_owned), hello: None, results: 0, lost: 0 })
    }

    /// Whether maps must be asked for.
    pub fn wants_maps(&self) -> bool {
        self.record.is_some() || self.save.is_some()
    }

    /// What was kept, for people. `None` where nothing was to be.
    pub fn told(&self) -> Option<String> {
        self.wants_maps()
            .then(|| format!("{} results kept, {} lost because this was too slow", self.results, self.lost))
    }

    /// Keeps a message. Returns whether it is one more result.
    pub fn take(&mut self, received: &Received) -> io::Result<bool> {
        if let Some(record) = &mut self.record {
            record.write_all(received.line.as_bytes())?;
            record.write_all(b"\n")?;
            record.write_all(&received.payload)?;
            // What is there when somebody pulls the plug is whole messages, but for the last.
            record.flush()?;
        }
        match &received.message {
            Message::Hello(hello) => self.hello = Some(hello.clone()),
            Message::Model(model) => {
                if let Some(hello) = &mut self.hello {
                    hello.tasks.clone_from(&model.tasks);
                }
            }
            // Those from before the request was in force have no maps to keep.
            Message::Result(result) if !result.maps.is_empty() || !self.wants_maps() => {
                self.results += 1;
                self.lost = self.lost.saturating_add(if self.results == 1 { 0 } else { result.dropped });
                if let Some(folder) = &self.save {
                    for info in &result.maps {
                        let name = folder.join(format!("{:06}.{}", result.sequence, plain(&info.task)));
                        self.save_map(&name, info, received.map(info).unwrap_or_default())?;
                    }
                }
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    }

    /// The camera as PNG, classes as PNG with their colours and as `.npy`, everything else as `.npy`.
    fn save_map(&self, name: &Path, info: &MapInfo, bytes: &[u8]) -> io::Result<()> {
        let file = |extension: &str| PathBuf::from(format!("{}.{extension}", name.display()));
        let (Some(&height), Some(&width)) = (info.shape.first(), info.shape.get(1)) else { return Ok(()) };
        if info.task == IMAGE {
            let encoder = png::Encoder::new(BufWriter::new(File::create(file("png"))?), width, height);
            return picture(encoder, png::ColorType::Rgb, bytes);
        }
        let task = self.hello.iter().flat_map(|hello| &hello.tasks).find(|task| task.name == info.task);
        if let Some(task) = task.filter(|task| task.kind == TaskKind::Segmentation && !task.classes.is_empty()) {
            let mut encoder = png::Encoder::new(BufWriter::new(File::create(file("png"))?), width, height);
            encoder.set_palette(palette(&task.classes));
            picture(encoder, png::ColorType::Indexed, bytes)?;
        }
        let kind = match info.dtype {
            Dtype::U8 => "|u1",
            Dtype::I8 => "|i1",
            Dtype::F32 => "<f4",
            Dtype::Unknown => return Ok(()),
        };
        let shape: Vec<usize> = info.shape.iter().map(|side| *side as usize).collect();
        fs::write(file("npy"), crate::npy::file(kind, &shape, bytes)?)
    }
}

/// Red, green and blue of each class.
fn palette(classes: &[ClassInfo]) -> Vec<u8> {
    classes.iter().flat_map(|class| super::colour(&class.color)).collect()
}

fn picture(mut encoder: png::Encoder<'_, impl Write>, colour: png::ColorType, bytes: &[u8]) -> io::Result<()> {
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(io::Error::other)?;
    writer.write_image_data(bytes).map_err(io::Error::other)?;
    writer.finish().map_err(io::Error::other)
}

/// A name that is one file's name.
fn plain(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    name.chars().map(|c| if allowed(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder() {
        assert_eq!(plain("../../etc/passwd"), "______etc_passwd");
        assert_eq!(plain("depth-2_x"), "depth-2_x");
    }
}

//! Which node a camera's name stands for, and which camera stands behind a node.
//!
//! `/dev/videoN` is a number that the next boot or the next plug gives to another camera, so a camera is remembered by
//! its link in `/dev/v4l/by-id` (made by udev) and by its USB ids in sysfs. Only the first
//! camera's search opens nodes, to tell cameras from the rest.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::source_spec::{CameraName, UsbName};
use super::super::{SourceError, devices};

/// The folders to look in; others in tests.
#[derive(Debug, Clone)]
pub struct Places {
    /// `/dev`.
    pub dev: PathBuf,
    /// `/dev/v4l/by-id`.
    pub by_id: PathBuf,
    /// `/sys/class/video4linux`.
    pub sysfs: PathBuf,
}

/// What a camera is known by when its number changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    by_id: Option<String>,
    usb: Option<UsbNode>,
    /// Ports of other cameras that looked just the same: what is there later is one of them, not this one.
    twins: Vec<PathBuf>,
}

impl Identity {
    /// This, with what is only known of `earlier`: udev and sysfs fill up a moment after the node is there.
    pub fn or(self, earlier: Identity) -> Identity {
        let twins = if self.usb.is_some() { self.twins } else { earlier.twins };
        Identity { by_id: self.by_id.or(earlier.by_id), usb: self.usb.or(earlier.usb), twins }
    }
}

/// One capture node of a USB device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct UsbNode {
    name: UsbName,
    /// The port, as sysfs names it (`1-1.2`): tells two cameras of one kind without serial numbers apart.
    port: PathBuf,
    /// Which of the device's video nodes: 0 is the picture, 1 usually metadata.
    index: u32,
}

impl Places {
    /// This machine's.
    pub fn system() -> Places {
        Places { dev: "/dev".into(), by_id: "/dev/v4l/by-id".into(), sysfs: "/sys/class/video4linux".into() }
    }

    /// The node that `name` stands for now.
    pub fn locate(&self, name: &CameraName) -> Result<PathBuf, SourceError> {
        match name {
            CameraName::First => self.first(devices::is_camera),
            CameraName::Path(path) => Ok(path.clone()),
            CameraName::ById(link) => {
                let path = self.by_id.join(link);
                if path.exists() {
                    return Ok(path);
                }
                let there = self.links();
                let there = if there.is_empty() { "nothing".to_owned() } else { there.join(", ") };
                Err(SourceError::Lost(format!(
                    "no camera {link:?} in {}: found {there}; plug it in, or see `milad devices` for names",
                    self.by_id.display()
                )))
            }
            CameraName::Usb(usb) => {
                let mut nodes: Vec<_> = self.usb_nodes().into_iter().filter(|(_, node)| usb.fits(&node.name)).collect();
                nodes.sort_by_key(|(path, node)| (node.index, number(path)));
                match nodes.first() {
                    Some((path, _)) => Ok(path.clone()),
                    None => Err(SourceError::Lost(format!(
                        "no camera {usb} on the USB bus; plug it in, or see `milad devices` for names"
                    ))),
                }
            }
        }
    }

    /// The camera with the lowest number. Where there is none, what could not be asked says why: it may be one.
    pub fn first(&self, is_camera: impl Fn(&Path) -> Result<bool, SourceError>) -> Result<PathBuf, SourceError> {
        let mut reason = None;
        for path in self.nodes() {
            match is_camera(&path) {
                Ok(true) => return Ok(path),
                Ok(false) => {}
                Err(error) => reason = reason.or(Some(error)),
            }
        }
        Err(SourceError::Lost(match reason {
            Some(error) => error.to_string(),
            None => {
                let dev = self.dev.display();
                format!("no camera in {dev}: plug one in, or see `milad devices` for what is there")
            }
        }))
    }

    /// What the camera behind `/dev/videoN` can be found again by. `None` for any other path (the user chose a name that
    /// stays) and for cameras that have neither link nor USB ids (they stay where they are).
    pub fn identity(&self, path: &Path) -> Option<Identity> {
        number(path)?;
        if path.parent() != Some(self.dev.as_path()) {
            return None;
        }
        let node = fs::canonicalize(path).ok()?;
        let by_id = self
            .links()
            .into_iter()
            .find(|link| fs::canonicalize(self.by_id.join(link)).is_ok_and(|target| target == node));
        let usb = self.usb_node(path);
        let twins = usb.iter().flat_map(|usb| self.like(usb)).map(|(_, node)| node.port);
        let twins = twins.filter(|port| usb.as_ref().is_some_and(|usb| *port != usb.port)).collect();
        (by_id.is_some() || usb.is_some()).then_some(Identity { by_id, usb, twins })
    }

    /// Where that camera is now. Never another camera that has its old number, nor its twin that has its old link: udev
    /// makes links from ids and serial number alone, so that cameras without one share a link, and the last one has it.
    pub fn find_again(&self, identity: &Identity) -> Result<PathBuf, SourceError> {
        let lost = |what: String| SourceError::Lost(format!("the camera is not there: {what}; plug it in again"));
        let link = identity.by_id.as_ref().and_then(|link| fs::canonicalize(self.by_id.join(link)).ok());
        let Some(usb) = &identity.usb else {
            let name = identity.by_id.as_deref().unwrap_or("");
            return link.ok_or_else(|| lost(format!("no {name:?} in {}", self.by_id.display())));
        };
        let same = self.like(usb);
        if let Some((path, _)) = same.iter().find(|(_, node)| node.port == usb.port) {
            return Ok(path.clone());
        }
        // A serial number is meant to be unique; where it is not, the newest link is the best word there is.
        let linked = |path: &Path| link.is_some() && fs::canonicalize(path).ok() == link;
        if usb.name.serial.is_some()
            && let Some((path, _)) = same.iter().find(|(path, _)| linked(path))
        {
            return Ok(path.clone());
        }
        match same.as_slice() {
            [] => Err(lost(format!("no {} on the USB bus", usb.name))),
            [(path, node)] if !identity.twins.contains(&node.port) => Ok(path.clone()),
            [_] => Err(lost(format!("the only {} left is another camera, at its own port", usb.name))),
            _ => Err(lost(format!("{} cameras are {} and none is at its port", same.len(), usb.name))),
        }
    }

    /// The same node of every USB device that can't be told from this one by its ids, itself included.
    fn like(&self, usb: &UsbNode) -> Vec<(PathBuf, UsbNode)> {
        let mut nodes = self.usb_nodes();
        nodes.retain(|(_, node)| usb.name.fits(&node.name) && usb.index == node.index);
        nodes
    }

    /// Names that find the camera behind `path` whatever its number: for lists and messages.
    pub fn stable_names(&self, path: &Path) -> Vec<CameraName> {
        let Some(identity) = self.identity(path) else { return Vec::new() };
        let usb = identity.usb.filter(|node| node.index == 0).map(|node| CameraName::Usb(node.name));
        identity.by_id.map(CameraName::ById).into_iter().chain(usb).collect()
    }

    /// Every `/dev/videoN`, by number.
    pub fn nodes(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = entries(&self.dev).into_iter().map(|name| self.dev.join(name)).collect();
        paths.retain(|path| number(path).is_some());
        paths.sort_by_key(|path| number(path));
        paths
    }

    fn links(&self) -> Vec<String> {
        entries(&self.by_id)
    }

    fn usb_nodes(&self) -> Vec<(PathBuf, UsbNode)> {
        let paths = entries(&self.sysfs).into_iter().map(|name| self.dev.join(name));
        paths.filter_map(|path| Some((path.clone(), self.usb_node(&path)?))).collect()
    }

    fn usb_node(&self, path: &Path) -> Option<UsbNode> {
        number(path)?;
        let class = self.sysfs.join(path.file_name()?);
        // `device` is the USB interface; its parent is the device with the ids.
        let device = fs::canonicalize(class.join("device")).ok()?.parent()?.to_owned();
        let hex = |file: &str| u16::from_str_radix(read(&device.join(file))?.as_str(), 16).ok();
        let name =
            UsbName { vendor: hex("idVendor")?, product: hex("idProduct")?, serial: read(&device.join("serial")) };
        let index = read(&class.join("index")).and_then(|text| text.parse().ok()).unwrap_or(0);
        Some(UsbNode { name, port: device.file_name()?.into(), index })
    }
}

impl UsbName {
    /// Whether `found` is such a device: a name without a serial number means any.
    fn fits(&self, found: &UsbName) -> bool {
        let serial = self.serial.is_none() || self.serial == found.serial;
        (self.vendor, self.product) == (found.vendor, found.product) && serial
    }
}

/// N of `…/videoN`.
fn number(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix("video")?.parse().ok()
}

fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
#[path = "find_machine.rs"]
pub(crate) mod machine;

#[cfg(test)]
#[path = "find_tests.rs"]
mod tests;

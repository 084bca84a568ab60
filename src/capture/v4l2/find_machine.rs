//! A made-up `/dev` and `/sys` that cameras are plugged into. For tests only; nothing of the real ones is touched.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::Places;

/// Vendor and product of a kind of camera.
pub(crate) const CAM: (&str, &str) = ("046d", "0825");

pub(crate) struct Machine {
    root: PathBuf,
    pub places: Places,
}

impl Machine {
    pub fn new(name: &str) -> Machine {
        let root = std::env::temp_dir().join(format!("milad-find-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let places = Places { dev: root.join("dev"), by_id: root.join("dev/v4l/by-id"), sysfs: root.join("sys/class") };
        fs::create_dir_all(&places.by_id).unwrap();
        fs::create_dir_all(&places.sysfs).unwrap();
        Machine { root: fs::canonicalize(root).unwrap(), places }
    }

    /// A USB camera `vendor:product` at `port` gets the number `n`.
    pub fn plug(&self, n: u32, port: &str, ids: (&str, &str), serial: Option<&str>) {
        let device = self.root.join("sys/devices").join(port);
        let interface = device.join(format!("{port}:1.0"));
        fs::create_dir_all(&interface).unwrap();
        fs::write(device.join("idVendor"), format!("{}\n", ids.0)).unwrap();
        fs::write(device.join("idProduct"), format!("{}\n", ids.1)).unwrap();
        if let Some(serial) = serial {
            fs::write(device.join("serial"), format!("{serial}\n")).unwrap();
        }
        let class = self.places.sysfs.join(format!("video{n}"));
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join("index"), "0\n").unwrap();
        symlink(&interface, class.join("device")).unwrap();
        fs::write(self.node(n), "").unwrap();
    }

    pub fn unplug(&self, n: u32) {
        fs::remove_dir_all(self.places.sysfs.join(format!("video{n}"))).unwrap();
        fs::remove_file(self.node(n)).unwrap();
    }

    pub fn link(&self, name: &str, n: u32) {
        let link = self.places.by_id.join(name);
        let _ = fs::remove_file(&link);
        symlink(self.node(n), link).unwrap();
    }

    pub fn node(&self, n: u32) -> PathBuf {
        self.places.dev.join(format!("video{n}"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

//! Cameras found again, on a made-up `/dev` and `/sys`.

use std::os::unix::fs::symlink;

use super::*;

struct Machine {
    root: PathBuf,
    places: Places,
}

impl Machine {
    fn new(name: &str) -> Machine {
        let root = std::env::temp_dir().join(format!("milad-find-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let places = Places { dev: root.join("dev"), by_id: root.join("dev/v4l/by-id"), sysfs: root.join("sys/class") };
        fs::create_dir_all(&places.by_id).unwrap();
        fs::create_dir_all(&places.sysfs).unwrap();
        Machine { root: fs::canonicalize(root).unwrap(), places }
    }

    /// A USB camera `vendor:product` at `port` gets the number `n`.
    fn plug(&self, n: u32, port: &str, ids: (&str, &str), serial: Option<&str>) {
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

    fn unplug(&self, n: u32) {
        fs::remove_dir_all(self.places.sysfs.join(format!("video{n}"))).unwrap();
        fs::remove_file(self.node(n)).unwrap();
    }

    fn link(&self, name: &str, n: u32) {
        let link = self.places.by_id.join(name);
        let _ = fs::remove_file(&link);
        symlink(self.node(n), link).unwrap();
    }

    fn node(&self, n: u32) -> PathBuf {
        self.places.dev.join(format!("video{n}"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

const CAM: (&str, &str) = ("046d", "0825");

fn lost(found: Result<PathBuf, SourceError>) -> String {
    match found {
        Err(SourceError::Lost(reason)) => reason,
        other => panic!("expected a lost camera, found {other:?}"),
    }
}

#[test]
fn a_camera_that_comes_back_under_another_number_is_followed() {
    let machine = Machine::new("renumbered");
    machine.plug(0, "1-1", CAM, Some("A"));
    let identity = machine.places.identity(&machine.node(0)).unwrap();
    machine.unplug(0);
    assert!(lost(machine.places.find_again(&identity)).contains("046d:0825:A"));
    machine.plug(0, "1-2", ("dead", "beef"), None);
    assert!(lost(machine.places.find_again(&identity)).contains("not there"), "another camera has its number");
    machine.plug(4, "1-3", CAM, Some("B"));
    assert!(lost(machine.places.find_again(&identity)).contains("not there"), "another serial number");
    machine.plug(2, "1-1", CAM, Some("A"));
    assert_eq!(machine.places.find_again(&identity).unwrap(), machine.node(2));
}

#[test]
fn two_cameras_of_one_kind_without_serials_are_told_apart_by_port() {
    let machine = Machine::new("twins");
    machine.plug(0, "1-1", CAM, None);
    machine.plug(1, "1-2", CAM, None);
    let identity = machine.places.identity(&machine.node(0)).unwrap();
    machine.unplug(0);
    machine.unplug(1);
    machine.plug(0, "1-2", CAM, None);
    machine.plug(1, "1-1", CAM, None);
    assert_eq!(machine.places.find_again(&identity).unwrap(), machine.node(1));
    machine.unplug(1);
    machine.plug(3, "1-4", CAM, None);
    assert!(lost(machine.places.find_again(&identity)).contains("none is at its port"));
}

#[test]
fn the_link_of_udev_is_followed_first() {
    let machine = Machine::new("by-id");
    machine.plug(0, "1-1", CAM, None);
    machine.link("usb-cam-index0", 0);
    let identity = machine.places.identity(&machine.node(0)).unwrap();
    machine.unplug(0);
    machine.plug(5, "1-7", CAM, None);
    machine.plug(6, "1-8", CAM, None);
    machine.link("usb-cam-index0", 6);
    let found = machine.places.find_again(&identity).unwrap();
    assert_eq!(found, fs::canonicalize(machine.node(6)).unwrap());
}

#[test]
fn names_lead_to_nodes() {
    let machine = Machine::new("names");
    machine.plug(7, "1-1", CAM, Some("A"));
    machine.link("usb-cam-index0", 7);
    let usb = |serial: Option<&str>| {
        CameraName::Usb(UsbName { vendor: 0x46d, product: 0x825, serial: serial.map(str::to_owned) })
    };
    assert_eq!(machine.places.locate(&usb(None)).unwrap(), machine.node(7));
    assert_eq!(machine.places.locate(&usb(Some("A"))).unwrap(), machine.node(7));
    assert!(lost(machine.places.locate(&usb(Some("B")))).contains("usb:046d:0825:B"));
    let link = machine.places.locate(&CameraName::ById("usb-cam-index0".into())).unwrap();
    assert_eq!(fs::canonicalize(link).unwrap(), fs::canonicalize(machine.node(7)).unwrap());
    assert!(lost(machine.places.locate(&CameraName::ById("other".into()))).contains("usb-cam-index0"));
    assert_eq!(machine.places.nodes(), [machine.node(7)]);
    assert_eq!(machine.places.stable_names(&machine.node(7)).len(), 2);
}

#[test]
fn a_camera_without_link_or_usb_stays_where_it_is() {
    let machine = Machine::new("platform");
    fs::write(machine.node(0), "").unwrap();
    assert_eq!(machine.places.identity(&machine.node(0)), None);
}

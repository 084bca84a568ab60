//! Cameras found again, on a made-up `/dev` and `/sys`.

use super::machine::{CAM, Machine};
use super::*;

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
fn a_twin_that_took_over_the_link_of_udev_is_not_followed() {
    let machine = Machine::new("by-id");
    machine.plug(0, "1-1", CAM, None);
    machine.link("usb-cam-index0", 0);
    let identity = machine.places.identity(&machine.node(0)).unwrap();
    machine.unplug(0);
    machine.plug(5, "1-7", CAM, None);
    machine.plug(6, "1-8", CAM, None);
    machine.link("usb-cam-index0", 6);
    assert!(lost(machine.places.find_again(&identity)).contains("none is at its port"));
    machine.unplug(5);
    assert_eq!(machine.places.find_again(&identity).unwrap(), machine.node(6), "one such camera: it was moved");
    machine.plug(7, "1-1", CAM, None);
    assert_eq!(machine.places.find_again(&identity).unwrap(), machine.node(7), "the port tells, not the link");
}

#[test]
fn a_twin_that_was_there_all_along_is_not_taken_for_the_lost_camera() {
    let machine = Machine::new("twin");
    machine.plug(0, "1-1", CAM, None);
    machine.plug(1, "1-2", CAM, None);
    machine.link("usb-cam-index0", 1);
    let identity = machine.places.identity(&machine.node(0)).unwrap();
    machine.unplug(0);
    assert!(lost(machine.places.find_again(&identity)).contains("another camera"));
    machine.plug(3, "1-1", CAM, None);
    assert_eq!(machine.places.find_again(&identity).unwrap(), machine.node(3));
}

#[test]
fn a_link_is_followed_between_equal_serials_but_never_to_another_kind() {
    let machine = Machine::new("serials");
    machine.plug(0, "1-1", CAM, Some("1"));
    machine.link("usb-cam_1-index0", 0);
    let identity = machine.places.identity(&machine.node(0)).unwrap();
    machine.unplug(0);
    machine.plug(5, "1-7", CAM, Some("1"));
    machine.plug(6, "1-8", CAM, Some("1"));
    machine.link("usb-cam_1-index0", 6);
    assert_eq!(machine.places.find_again(&identity).unwrap(), machine.node(6));
    machine.unplug(5);
    machine.unplug(6);
    machine.plug(7, "1-9", ("dead", "beef"), None);
    machine.link("usb-cam_1-index0", 7);
    assert!(lost(machine.places.find_again(&identity)).contains("046d:0825:1 on the USB bus"));
}

#[test]
fn what_was_not_there_yet_is_filled_in_and_what_is_gone_again_is_kept() {
    let machine = Machine::new("lag");
    machine.plug(0, "1-1", CAM, None);
    let early = machine.places.identity(&machine.node(0)).unwrap();
    machine.link("usb-cam-index0", 0);
    let late = machine.places.identity(&machine.node(0)).unwrap();
    assert_ne!(early, late);
    assert_eq!(early.clone().or(late.clone()), late);
    assert_eq!(late.clone().or(early), late);
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

#[test]
fn the_first_camera_is_the_one_with_the_lowest_number() {
    let machine = Machine::new("first");
    let first = |is_camera: fn(&Path) -> Result<bool, SourceError>| machine.places.first(is_camera);
    assert!(lost(first(|_| Ok(true))).contains("plug one in"));
    for number in [10, 9, 2] {
        fs::write(machine.node(number), "").unwrap();
    }
    assert_eq!(first(|_| Ok(true)).unwrap(), machine.node(2));
    assert_eq!(first(|path| Ok(!path.ends_with("video2"))).unwrap(), machine.node(9));
    assert!(lost(first(|_| Ok(false))).contains("milad devices"));
    let closed = |path: &Path| Err(SourceError::Unusable(format!("no permission to read {}", path.display())));
    assert!(
        lost(machine.places.first(closed)).contains(&format!("no permission to read {}", machine.node(2).display()))
    );
}

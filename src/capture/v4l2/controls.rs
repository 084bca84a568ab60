//! Camera controls by name, spelled as `v4l2-ctl --list-ctrls` spells them (`exposure_time_absolute`).

use std::collections::BTreeMap;

use v4l::v4l_sys as sys;

use super::super::SourceError;
use super::device::Device;
use super::{errors, ioctl};

/// A control that can be set to a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The driver's number.
    pub id: u32,
    /// As `v4l2-ctl` spells it.
    pub name: String,
    /// Smallest value.
    pub minimum: i64,
    /// Largest value.
    pub maximum: i64,
    /// What the driver starts with.
    pub default: i64,
}

/// The device's controls that take a number, and the camera's error where it could not tell all of them.
pub fn list(device: &Device) -> (Vec<Description>, Option<SourceError>) {
    let numbers = [
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER,
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_BOOLEAN,
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_MENU,
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_BUTTON,
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER64,
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_BITMASK,
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER_MENU,
    ];
    let closed = sys::V4L2_CTRL_FLAG_DISABLED | sys::V4L2_CTRL_FLAG_READ_ONLY;
    let (controls, failed) = ioctl::controls(device.fd());
    let open = controls.into_iter().filter(|control| numbers.contains(&control.type_) && control.flags & closed == 0);
    let descriptions = open.map(|control| Description {
        id: control.id,
        name: spelled(&control.name.map(|letter| letter as u8)),
        minimum: control.minimum,
        maximum: control.maximum,
        default: control.default_value,
    });
    (descriptions.collect(), failed.map(|error| errors::refused(&device.path, "VIDIOC_QUERY_EXT_CTRL", &error)))
}

/// Sets what the configuration asks for. Unknown names and values out of range are mistakes of the configuration; a name that is not among those
/// that a camera told before it failed may be one that it could not tell.
pub fn set(device: &Device, wanted: &BTreeMap<String, i64>) -> Result<(), SourceError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let (there, failed) = list(device);
    if let Some(failed) =
        failed.filter(|_| wanted.keys().any(|name| !there.iter().any(|control| control.name == *name)))
    {
        return Err(failed);
    }
    for (name, value) in wanted {
        let control = find(&there, name, *value)
            .map_err(|words| SourceError::Unusable(format!("{}: {words}", device.path.display())))?;
        device
            .set_control(control.id, *value)
            .map_err(|e| errors::refused(&device.path, &format!("control {name} = {value}"), &e))?;
    }
    Ok(())
}

fn find<'a>(there: &'a [Description], name: &str, value: i64) -> Result<&'a Description, String> {
    let Some(control) = there.iter().find(|control| control.name == name) else {
        let near = there
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(&a.name, name).total_cmp(&strsim::jaro_winkler(&b.name, name)));
        let hint = near.map_or("it has none".to_owned(), |near| format!("did you mean {:?}?", near.name));
        return Err(format!("the camera has no control {name:?}; {hint}"));
    };
    if value < control.minimum || value > control.maximum {
        let Description { minimum, maximum, .. } = control;
        return Err(format!("control {name} = {value}: expected {minimum} to {maximum}"));
    }
    Ok(control)
}

/// Letters and digits in lower case, runs of anything else as one underscore.
fn spelled(name: &[u8]) -> String {
    let mut spelled = String::new();
    for letter in ioctl::text(name).chars() {
        if letter.is_ascii_alphanumeric() {
            spelled.push(letter.to_ascii_lowercase());
        } else if !spelled.ends_with('_') && !spelled.is_empty() {
            spelled.push('_');
        }
    }
    spelled.trim_end_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_v4l2_ctl_does() {
        assert_eq!(spelled(b"Exposure Time, Absolute\0"), "exposure_time_absolute");
        assert_eq!(spelled(b"White Balance (Auto)\0"), "white_balance_auto");
    }

    #[test]
    fn a_wrong_name_gets_the_nearest_and_a_wrong_value_the_range() {
        let there = [Description { id: 1, name: "brightness".into(), minimum: 0, maximum: 255, default: 128 }];
        assert!(find(&there, "brightnes", 1).unwrap_err().contains("did you mean \"brightness\"?"));
        assert!(find(&there, "brightness", 256).unwrap_err().contains("0 to 255"));
        assert_eq!(find(&there, "brightness", 255).unwrap().id, 1);
        assert!(find(&[], "gain", 1).unwrap_err().contains("it has none"));
    }
}

//! What the kernel's answers mean for a camera, in words: what was expected, what was found, what to do.

use std::io;
use std::path::Path;

use super::super::SourceError;

/// How CSI cameras are brought in: their nodes give raw sensor data that only libcamera can make pictures of.
pub const CSI_ADVICE: &str = "start it as `rpicam-vid -t 0 --codec yuv420 --width 640 --height 480 --framerate 30 -o - | \
                              ffmpeg -loglevel error -f rawvideo -pix_fmt yuv420p -s 640x480 -r 30 -i - -f yuv4mpegpipe - | \
                              milad run --source pipe:`";

/// The camera could not be opened.
pub fn opening(path: &Path, error: &io::Error) -> SourceError {
    let path = path.display();
    let lost = SourceError::Lost;
    match error.raw_os_error() {
        Some(libc::ENOENT) => {
            lost(format!("no such device: {path}; plug the camera in, or see `milad devices` for those that are there"))
        }
        Some(libc::ENODEV | libc::ENXIO) => {
            lost(format!("{path} is there, but no camera behind it ({error}); plug the camera in again"))
        }
        // The rights of a fresh node are set by udev a moment after it appears, so this may heal.
        Some(libc::EACCES | libc::EPERM) => lost(format!(
            "no permission to read and write {path}; add the user to the group `video`, or under systemd state \
             SupplementaryGroups=video and DeviceAllow=char-81 rw"
        )),
        Some(libc::EBUSY) => busy(&path.to_string()),
        Some(libc::EISDIR) => {
            SourceError::Unusable(format!("{path} is a folder; expected a device such as /dev/video0"))
        }
        _ => lost(format!("can't open {path}: {error}")),
    }
}

/// It was open, but the kernel refused `call`.
pub fn refused(path: &Path, call: &str, error: &io::Error) -> SourceError {
    let path = path.display();
    match error.raw_os_error() {
        Some(libc::EBUSY) => busy(&path.to_string()),
        Some(libc::ENODEV | libc::ENXIO) => {
            SourceError::Lost(format!("{path} was unplugged ({call}: {error}); plug the camera in again"))
        }
        Some(libc::ENOSPC) => SourceError::Lost(format!(
            "the USB bus has no bandwidth left for {path} ({call}: {error}); use another port, a smaller size or MJPEG"
        )),
        Some(libc::ENOMEM) => SourceError::Lost(format!(
            "no memory for the buffers of {path} ({call}: {error}); use a smaller size, or give the kernel more CMA"
        )),
        _ => SourceError::Lost(format!("{path} refused {call}: {error}")),
    }
}

/// It says that it is a camera, but not what pictures it gives.
pub fn no_formats(path: &Path) -> SourceError {
    SourceError::Lost(format!(
        "{} offers no format at all, expected one at least; plug the camera in again",
        path.display()
    ))
}

/// Somebody else streams from it.
fn busy(path: &str) -> SourceError {
    SourceError::Lost(format!("{path} is in use by another program; `fuser {path}` names it"))
}

/// It is no camera at all.
pub fn not_a_camera(path: &Path, found: &str) -> SourceError {
    SourceError::Unusable(format!(
        "{} is not a capture device: expected a video camera, found {found}; see `milad devices`",
        path.display()
    ))
}

/// It belongs to a camera pipeline that libcamera has to drive.
pub fn needs_libcamera(path: &Path, driver: &str) -> SourceError {
    SourceError::Unusable(format!(
        "{} (driver {driver}) is part of a CSI camera and needs libcamera: it gives raw sensor data, not pictures; {CSI_ADVICE}",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_own_words_and_only_mistakes_are_final() {
        let at = Path::new("/dev/video0");
        for (code, words, finality) in [
            (libc::ENOENT, "no such device: /dev/video0", false),
            (libc::ENODEV, "no camera behind it", false),
            (libc::EACCES, "group `video`", false),
            (libc::EBUSY, "in use by another program", false),
            (libc::EISDIR, "is a folder", true),
        ] {
            let error = opening(at, &io::Error::from_raw_os_error(code));
            assert_eq!(matches!(error, SourceError::Unusable(_)), finality, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
        let error = refused(at, "VIDIOC_STREAMON", &io::Error::from_raw_os_error(libc::ENOSPC));
        assert!(error.to_string().contains("bandwidth"), "{error}");
    }
}

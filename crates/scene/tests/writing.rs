//! Clips in folders: whole or not at all, in the layouts that the documentation states.
#![cfg(feature = "write")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use milad_scene::{Clip, Options, Truth, World, write};
use std::fs;
use std::path::{Path, PathBuf};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let folder = std::env::temp_dir().join(format!("milad-scene-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Scratch(folder)
    }
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn small() -> Clip {
    Clip::new(World::Street, 6, &Options { width: 40, height: 24, ..Options::default() })
}

/// An .npy file's header and data.
fn npy(path: &Path) -> (String, Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!((10 + length) % 64, 0, "data must be aligned");
    (String::from_utf8(bytes[10..10 + length].to_vec()).unwrap(), bytes[10 + length..].to_vec())
}

/// A float16 by its definition, as a check on the writer's own conversion.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = ((bits >> 10) & 31, f32::from(bits & 1023));
    let size = match exponent {
        31 => f32::INFINITY,
        0 => fraction * 2f32.powi(-24),
        e => (1.0 + fraction / 1024.0) * 2f32.powi(i32::from(e) - 15),
    };
    if bits & 0x8000 != 0 { -size } else { size }
}

#[test]
fn packed_clips_hold_what_the_clip_gives() {
    let scratch = Scratch::new("packed");
    let place = scratch.0.join("0000006");
    let clip = small();
    let mut told = Vec::new();
    write::packed(&clip, 3, true, &place, |n| told.push(n)).unwrap();
    assert_eq!(told, [0, 1, 2]);
    assert_eq!(scratch.names(), ["0000006"]);
    let mut rgb = vec![0; 40 * 24 * 3];
    clip.frame(2, &mut rgb);
    let mut truth = Truth::default();
    clip.truth(2, &mut truth);
    for (name, kind, shape) in [
        ("rgb", "|u1", "(3, 24, 40, 3,)"),
        ("class", "|u1", "(3, 24, 40,)"),
        ("depth", "<f2", "(3, 24, 40,)"),
        ("normals", "|i1", "(3, 3, 24, 40,)"),
        ("flow", "<f2", "(3, 2, 24, 40,)"),
    ] {
        let (header, data) = npy(&place.join(format!("{name}.npy")));
        assert!(header.contains(kind) && header.contains(shape), "{name}: {header}");
        let last = &data[data.len() / 3 * 2..];
        match name {
            "rgb" => assert_eq!(last, rgb),
            "class" => assert_eq!(last, truth.class),
            "normals" => {
                for (&byte, &value) in last.iter().zip(&truth.normals) {
                    assert!((f32::from(byte as i8) / 127.0 - value).abs() < 0.5 / 127.0 + 1e-6);
                }
            }
            _ => {
                let values = if name == "depth" { &truth.depth } else { &truth.flow };
                for (bytes, &value) in last.chunks_exact(2).zip(values) {
                    let read = half(u16::from_le_bytes([bytes[0], bytes[1]]));
                    assert!(read == value || (read - value).abs() <= value.abs() / 2048.0 + 1e-7, "{read} {value}");
                }
            }
        }
    }
    let json = fs::read_to_string(place.join("camera.json")).unwrap();
    for part in [
        "\"world\":\"street\"",
        "\"seed\":6",
        "\"frames\":3",
        "\"quality\":\"training\",\"cuts\":false",
        "\"name\":\"sky\",\"color\":\"#4682b4\"",
    ] {
        assert!(json.contains(part), "{part} in {json}");
    }
    assert_eq!(json.matches("\n [[").count(), 3, "a pose a frame");
}

#[test]
fn readable_clips_have_a_file_for_each_frame_and_kind() {
    let scratch = Scratch::new("readable");
    let place = scratch.0.join("clip");
    write::clip(&small(), 2, &place, |_| ()).unwrap();
    let names = Scratch(place.clone()).names();
    let mut expected = vec!["camera.json".to_string()];
    for n in 0..2 {
        for kind in ["class.png", "depth.npy", "flow.npy", "normals.npy", "rgb.png"] {
            expected.push(format!("{n:06}.{kind}"));
        }
    }
    expected.sort();
    assert_eq!(names, expected);
}

#[test]
fn nothing_half_written_looks_whole_and_nothing_is_replaced() {
    let scratch = Scratch::new("whole");
    let place = scratch.0.join("clip");
    let clip = small();
    // Interrupted by a failure: the folder with the frames so far vanishes under the writer.
    let done = write::packed(&clip, 3, false, &place, |n| {
        if n == 1 {
            for entry in fs::read_dir(&scratch.0).unwrap() {
                fs::remove_dir_all(entry.unwrap().path()).unwrap();
            }
        }
    });
    assert!(done.is_err());
    assert!(scratch.names().is_empty(), "{:?}", scratch.names());
    // An empty folder may be given; one with files may not.
    fs::create_dir(&place).unwrap();
    write::packed(&clip, 1, false, &place, |_| ()).unwrap();
    let error = write::packed(&clip, 1, false, &place, |_| ()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    assert!(place.join("rgb.npy").exists());
    assert_eq!(scratch.names(), ["clip"]);
}

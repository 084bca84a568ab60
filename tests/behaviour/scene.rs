//! `milad scene`: clips are written whole, once, and only where nothing else is.

use std::path::Path;
use std::process::Output;

use crate::support::{folder, milad};

fn scene(arguments: &[&str], out: &Path) -> Output {
    milad().arg("scene").args(["--width", "32", "--height", "16", "--out"]).arg(out).args(arguments).output().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_clip_has_a_file_for_each_frame_and_kind() {
    let folder = folder();
    let clip = folder.join("clip");
    let output = scene(&["--world", "street", "--seed", "3", "--frames", "2"], &clip);
    assert!(output.status.success(), "{}", said(&output));
    let kinds = ["class.png", "depth.npy", "flow.npy", "normals.npy", "rgb.png"];
    let mut expected: Vec<_> = (0..2).flat_map(|n| kinds.map(|kind| format!("{n:06}.{kind}"))).collect();
    expected.push("camera.json".to_owned());
    assert_eq!(names(&clip), expected);
    assert_eq!(names(&folder), ["clip"], "nothing unfinished is left");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_folder_with_other_files_is_left_alone() {
    let folder = folder();
    std::fs::write(folder.join("thesis.txt"), "years of work").unwrap();
    let output = scene(&["--world", "room", "--seed", "3", "--frames", "1"], &folder);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("expected a new or an empty folder"), "{}", said(&output));
    assert_eq!(names(&folder), ["thesis.txt"]);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn many_clips_are_taken_up_again_where_they_were_left() {
    let folder = folder();
    let flags = ["--world", "street", "--seeds", "12..15", "--frames", "2", "--packed", "--jobs", "2"];
    assert!(scene(&flags, &folder).status.success());
    assert_eq!(names(&folder), ["0000012", "0000013", "0000014"]);
    assert_eq!(names(&folder.join("0000012")), ["camera.json", "class.npy", "depth.npy", "normals.npy", "rgb.npy"]);
    std::fs::remove_dir_all(folder.join("0000013")).unwrap();
    let kept = std::fs::metadata(folder.join("0000012/rgb.npy")).unwrap().modified().unwrap();
    let output = scene(&flags, &folder);
    assert!(said(&output).contains("1 clips written, 2 were there"), "{}", said(&output));
    assert_eq!(std::fs::metadata(folder.join("0000012/rgb.npy")).unwrap().modified().unwrap(), kept);
    assert_eq!(names(&folder), ["0000012", "0000013", "0000014"]);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn clips_of_another_kind_are_not_taken_for_these() {
    let folder = folder();
    let flags = |frames| ["--world", "street", "--seeds", "0..1", "--frames", frames, "--packed"];
    assert!(scene(&flags("2"), &folder).status.success());
    let output = scene(&flags("3"), &folder);
    assert_eq!(output.status.code(), Some(1));
    let expected =
        "expected street seed 0, 3 frames of 32×16, training quality, found street seed 0, 2 frames of 32×16";
    assert!(said(&output).contains(expected), "{}", said(&output));
    for (other, words) in
        [(&["--quality", "live"][..], "live quality, found"), (&["--cuts"], "training quality, with cuts, found")]
    {
        let output = scene(&[&flags("2")[..], other].concat(), &folder);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    let output = scene(&["--world", "street", "--seeds", "0..1", "--frames", "2"], &folder);
    assert!(said(&output).contains("found one without 000000.rgb.png"), "{}", said(&output));
    let output = scene(&[&flags("2")[..], &["--flow"]].concat(), &folder);
    assert!(said(&output).contains("with flow"), "{}", said(&output));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_cannot_be_rendered_is_refused_in_a_sentence() {
    let folder = folder();
    for (flags, hint) in [
        (&["--world", "street", "--seeds", "5..5", "--frames", "1"][..], "A..B"),
        (&["--world", "strasse", "--seed", "5", "--frames", "1"], "street-shifted"),
        (&["--world", "street", "--seed", "5", "--frames", "0"], "1..=1000000"),
        (&["--world", "street", "--frames", "1"], "--seed"),
        (&["--world", "street", "--seed", "5", "--frames", "1", "--quality", "best"], "live or training"),
    ] {
        let output = scene(flags, &folder.join("clip"));
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        assert!(said(&output).contains(hint), "{flags:?}: {}", said(&output));
    }
    assert!(names(&folder).is_empty());
    std::fs::remove_dir_all(folder).unwrap();
}

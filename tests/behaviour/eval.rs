//! `milad eval`: what it says, and what it refuses. That its numbers are right is shown in tests/python/test_eval.py.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::{bundle, folder, milad};

fn eval(arguments: &[&str]) -> Output {
    milad().args(["eval", "--bundle", bundle("fast-keys").to_str().unwrap()]).args(arguments).output().unwrap()
}

/// A rendered clip of the size of the tiny bundles.
fn clip(out: &Path, frames: &str) {
    let flags = ["scene", "--world", "street", "--seed", "5", "--width", "64", "--height", "32", "--frames", frames];
    assert!(milad().args(flags).arg("--out").arg(out).output().unwrap().status.success());
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn report(arguments: &[&str]) -> Value {
    let output = eval(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

const STREET: [&str; 6] = ["--world", "street", "--seeds", "0..3", "--frames", "8"];

#[test]
fn every_mode_scores_the_same_frames() {
    for mode in ["mila", "slow", "fast", "copy"] {
        let report = report(&[&STREET[..], &["--mode", mode, "--interval", "3", "--latency", "2"]].concat());
        assert_eq!((&report["mode"], &report["frames"]), (&mode.into(), &24.into()));
        // Of 8 frames the first two have no keyframe in force; 3 and 6 are keyframes.
        assert_eq!((&report["all"]["frames"], &report["non_key"]["frames"]), (&18.into(), &12.into()), "{mode}");
        let ages: Vec<_> =
            report["by_age"].as_array().unwrap().iter().map(|age| (&age["age"], &age["frames"])).collect();
        assert_eq!(ages, [(&2.into(), &6.into()), (&3.into(), &6.into()), (&4.into(), &6.into())], "{mode}");
        assert_eq!(report["streaming"]["frames"], 12, "{mode}");
    }
}

#[test]
fn the_slow_network_is_the_whole_of_its_own_cost() {
    let cost = |mode| report(&[&STREET[..], &["--mode", mode, "--interval", "4"]].concat())["cost"].clone();
    assert_eq!(cost("slow")["ratio"], 1.0);
    assert_eq!(cost("copy")["ratio"], 0.25);
    assert_eq!((&cost("mila")["fast_runs"], &cost("mila")["slow_runs"]), (&24.into(), &6.into()));
}

#[test]
fn sums_do_not_depend_on_the_number_of_jobs() {
    let numbers = |jobs| {
        let mut report = report(&[&STREET[..], &["--jobs", jobs]].concat());
        // Times are of the machine.
        report["cost"] = Value::Null;
        report.to_string()
    };
    assert_eq!(numbers("1"), numbers("3"));
}

#[test]
fn a_table_is_for_people() {
    let output = eval(&STREET);
    let text = String::from_utf8(output.stdout).unwrap();
    for words in
        ["mode mila: street seeds 0..3, 8 frames each", "mIoU %", "AbsRel", "age 0", "MMAC a frame", "not scored"]
    {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
}

#[test]
fn kinds_of_truth_that_a_clip_lacks_are_not_scored() {
    let folder = folder();
    clip(&folder.join("clip"), "4");
    for n in 0..4 {
        std::fs::remove_file(folder.join(format!("clip/{n:06}.normals.npy"))).unwrap();
        std::fs::remove_file(folder.join(format!("clip/{n:06}.flow.npy"))).unwrap();
    }
    let report = report(&["--clips", folder.to_str().unwrap()]);
    let tasks = report["all"]["tasks"].as_array().unwrap();
    let normals = tasks.iter().find(|task| task["name"] == "normals").unwrap();
    assert_eq!((&normals["pixels"], &normals["mean_deg"]), (&0.into(), &Value::Null));
    assert_eq!(report["consistency"], Value::Array(vec![]));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_clip_that_cannot_be_scored_is_refused_in_a_sentence() {
    let refused = |change: &dyn Fn(&Path), hint: &str| {
        let folder = folder();
        clip(&folder, "3");
        change(&folder);
        let output = eval(&["--clips", folder.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{hint}: {}", said(&output));
        assert!(said(&output).contains(hint), "{hint}: {}", said(&output));
        assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
        std::fs::remove_dir_all(folder).unwrap();
    };
    let remove = |folder: &Path, endings: &[&str]| {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if endings.iter().any(|ending| path.to_str().unwrap().ends_with(ending)) {
                std::fs::remove_file(path).unwrap();
            }
        }
    };
    refused(&|folder| remove(folder, &[".npy", ".class.png"]), "expected truth beside the pictures");
    refused(&|folder| remove(folder, &[".rgb.png"]), "expected pictures called 000000.rgb.png");
    refused(
        &|folder| remove(folder, &["000002.depth.npy"]),
        "000002.depth.npy: expected truth like the first picture's",
    );
    refused(&|folder| remove(folder, &["000001.rgb.png"]), "expected 3 pictures, as its camera.json says, found 2");
    refused(&|folder| remove(folder, &["000001.class.png"]), "000001.class.png: expected a class picture");
    let swap = |folder: &Path| std::fs::copy(folder.join("000001.flow.npy"), folder.join("000001.depth.npy")).map(drop);
    refused(
        &|folder| swap(folder).unwrap(),
        "expected an array of [32, 64], as large as the picture, found [2, 32, 64]",
    );
    let swap = |folder: &Path| std::fs::copy(folder.join("000001.rgb.png"), folder.join("000001.class.png")).map(drop);
    refused(&|folder| swap(folder).unwrap(), "expected class indices as an 8-bit palette or grey PNG, found Rgb");
    let other = |folder: &Path| std::fs::write(folder.join("camera.json"), r#"{"classes":[{"name":"cat"}]}"#);
    refused(&|folder| other(folder).unwrap(), "expected classes of the truth (cat), found none of them in the bundle");
}

#[test]
fn what_cannot_be_evaluated_is_refused_in_a_sentence() {
    for (flags, code, hint) in [
        (&["--world", "street", "--seeds", "4..4", "--frames", "8"][..], 2, "A..B"),
        (&["--world", "attic", "--seeds", "0..1", "--frames", "8"], 2, "room-shifted"),
        (&["--world", "street", "--seeds", "0..1"], 2, "--frames"),
        (&["--seeds", "0..1", "--frames", "8"], 1, "not named after a world"),
        (&["--world", "street", "--seeds", "0..1", "--frames", "8", "--latency", "8"], 1, "nothing to score"),
        (&["--clips", "tests/bundles"], 1, "`milad scene --out FOLDER`"),
        (&["--clips", "no/such/folder"], 1, "expected a folder of labelled clips"),
        (&[], 2, "--seeds"),
    ] {
        let output = eval(flags);
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {}", said(&output));
        assert!(said(&output).contains(hint), "{flags:?}: {}", said(&output));
    }
}

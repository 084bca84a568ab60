//! Bundles run on clips and against the clock: `milad infer` and `milad bench`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::{bundle, folder, milad};

const BUNDLES: [&str; 6] = ["plain", "task-specific", "multi-frame", "fast-keys", "plain-qdq", "fast-keys-qdq"];

/// A Y4M clip of `frames` pictures of 64×32 with something in them.
fn clip(frames: usize) -> PathBuf {
    let mut bytes = b"YUV4MPEG2 W64 H32 F25:1 C420jpeg\n".to_vec();
    for frame in 0..frames {
        bytes.extend(b"FRAME\n");
        bytes.extend((0..64 * 32 * 3 / 2).map(|i| ((i * 7 + frame * 31) % 251) as u8));
    }
    let file = folder().join("clip.y4m");
    fs::write(&file, bytes).unwrap();
    file
}

fn infer(name: &str, clip: &Path, out: &Path, more: &[&str]) -> Output {
    let mut command = milad();
    command.arg("infer").arg("--bundle").arg(bundle(name)).arg("--clip").arg(clip).arg("--out").arg(out).args(more);
    command.output().unwrap()
}

fn succeeded(output: Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}");
    words
}

fn failed(output: Output, words: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    for word in words {
        assert!(message.contains(word), "expected “{word}” in: {message}");
    }
}

/// Contents by file name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn infer_writes_the_same_bytes_again_and_on_any_number_of_threads() {
    let clip = clip(7);
    for name in BUNDLES {
        let results = [&["--threads", "1"][..], &["--threads", "1"], &["--threads", "4"]].map(|threads| {
            let out = folder().join("out");
            succeeded(infer(name, &clip, &out, &[threads, &["--interval", "3", "--latency", "1"]].concat()));
            files(&out)
        });
        assert!(results[0].len() > 7 * 3, "{name}: {} files", results[0].len());
        assert!(results[0] == results[1], "{name}: two runs differ");
        assert!(results[0] == results[2], "{name}: 1 and 4 threads differ");
    }
}

#[test]
fn infer_says_when_the_latency_takes_the_place_of_the_interval() {
    let clip = clip(7);
    let [longer, shorter] =
        [["--interval", "2", "--latency", "3"], ["--interval", "3", "--latency", "2"]].map(|more| {
            let out = folder().join("out");
            let words = succeeded(infer("plain", &clip, &out, &more));
            let keyframes: Vec<_> = files(&out).into_keys().filter(|name| name.contains(".slow.task.depth.")).collect();
            (words, keyframes.iter().map(|name| name[..6].parse().unwrap()).collect::<Vec<usize>>())
        });
    let notice = "keyframes every 3 frames instead of every 2";
    assert!(longer.0.contains(notice), "{}", longer.0);
    assert!(!shorter.0.contains("instead of"), "{}", shorter.0);
    assert_eq!((longer.1, shorter.1), (vec![0, 3, 6], vec![0, 3, 6]));
}

#[test]
fn every_frame_and_every_keyframe_has_its_files_and_nothing_else_is_there() {
    let out = folder().join("out");
    succeeded(infer("fast-keys", &clip(5), &out, &["--interval", "2"]));
    let files = files(&out);
    let of = |part: &str| -> Vec<&str> {
        files.keys().filter(|name| name.contains(part)).map(|name| name.split('.').next().unwrap()).collect()
    };
    assert_eq!(of(".fast.task.depth.npy"), ["000000", "000001", "000002", "000003", "000004"]);
    assert_eq!(of(".fast.next.key.depth.npy").len(), 5);
    assert_eq!(of(".slow.task.depth.npy"), ["000000", "000002", "000004"]);
    assert!(files.keys().all(|name| name.ends_with(".npy")));
    assert!(files.values().all(|bytes| bytes.starts_with(b"\x93NUMPY\x01\x00")));
}

#[test]
fn a_latency_beyond_the_interval_spaces_the_keyframes() {
    let out = folder().join("out");
    succeeded(infer("plain", &clip(9), &out, &["--interval", "2", "--latency", "4"]));
    let files = files(&out);
    let keyframes: Vec<_> = files.keys().filter(|name| name.contains(".slow.task.depth.")).collect();
    assert_eq!(keyframes, ["000000.slow.task.depth.npy", "000004.slow.task.depth.npy", "000008.slow.task.depth.npy"]);
}

#[test]
fn memory_comes_into_force_after_the_latency() {
    let clip = clip(6);
    let run = |latency: &str| {
        let out = folder().join("out");
        succeeded(infer("plain", &clip, &out, &["--interval", "6", "--latency", latency]));
        files(&out)
    };
    let (at_once, later, never) = (run("0"), run("2"), run("6"));
    let task =
        |results: &BTreeMap<String, Vec<u8>>, frame: usize| results[&format!("{frame:06}.fast.task.depth.npy")].clone();
    for frame in 0..6 {
        let expected = if frame < 2 { &never } else { &at_once };
        assert!(task(&later, frame) == task(expected, frame), "frame {frame}");
        assert!(task(&at_once, frame) != task(&never, frame), "frame {frame}: memory makes no difference");
    }
}

#[test]
fn a_folder_with_something_in_it_is_left_alone_unless_forced() {
    let (out, clip) = (folder(), clip(2));
    fs::write(out.join("notes.txt"), "mine").unwrap();
    fs::write(out.join("000099.fast.task.old.npy"), "an earlier run").unwrap();
    failed(infer("plain", &clip, &out, &[]), &["expected an empty folder", "2 files", "--force"]);
    assert_eq!(files(&out).len(), 2);
    succeeded(infer("plain", &clip, &out, &["--force"]));
    let files = files(&out);
    assert_eq!(files["notes.txt"], b"mine");
    assert!(!files.contains_key("000099.fast.task.old.npy"), "results of two runs in one folder");
    assert!(files.contains_key("000001.fast.task.depth.npy"));
}

#[test]
fn a_clip_that_breaks_off_is_an_error_that_names_the_frame() {
    let file = clip(3);
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 100]).unwrap();
    let out = folder().join("out");
    failed(infer("plain", &file, &out, &[]), &["clip.y4m", "frame 2", "cut off"]);
    assert!(files(&out).keys().all(|name| name.ends_with(".npy")), "what is there is whole");
}

#[test]
fn what_cannot_be_run_says_why() {
    let out = folder().join("out");
    failed(infer("plain", Path::new("/nowhere.y4m"), &out, &[]), &["/nowhere.y4m"]);
    failed(infer("plain", &clip(1), &out, &["--interval", "0"]), &["--interval"]);
    let none = infer("no-such", &clip(1), &out, &[]);
    assert_eq!(none.status.code(), Some(78));
    failed(none, &["no-such", "bundle.toml"]);
    assert!(!out.exists(), "nothing was run, so nothing is made");
}

#[test]
fn bench_tells_time_and_work_by_node_and_what_runs_in_float() {
    for (name, quantised) in [("plain", false), ("plain-qdq", true)] {
        let mut command = milad();
        let output = command.args(["bench", "--json", "--frames", "3", "--bundle"]).arg(bundle(name)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(report["peak"]["flops"].as_f64().unwrap() > 1e8);
        assert_eq!(report["float_though_quantised"].as_array().unwrap().len(), 0, "{report}");
        assert_eq!(report["integer"]["macs"].as_u64().unwrap() > 0, quantised);
        let networks = report["networks"].as_array().unwrap();
        let names: Vec<_> = networks.iter().map(|network| network["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["fast", "slow"]);
        let fast = &networks[0];
        // T = 1, 8×16, r = 3, Cq + Cv = 8 + 16.
        assert_eq!(fast["attention_macs"].as_u64(), Some(8 * 16 * 49 * 24));
        let nodes = fast["nodes"].as_array().unwrap();
        let attention = nodes.iter().find(|node| node["operator"] == "InterFrameLocalAttention").unwrap();
        assert_eq!(attention["macs"], fast["attention_macs"]);
        assert!(attention["median_us"].as_f64().unwrap() > 0.0);
    }
    let table = milad().args(["bench", "--frames", "2", "--bundle"]).arg(bundle("plain-qdq")).output().unwrap();
    let words = String::from_utf8(table.stdout).unwrap();
    assert!(words.contains("nothing that is quantised runs in float") && words.contains("in integers:"), "{words}");
}

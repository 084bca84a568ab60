//! What the program makes of pipes, clips, scenes and cards that play, end, stall, change or are damaged.

use std::io::Write;
use std::path::PathBuf;
use std::process::ChildStdin;
use std::time::Duration;

use crate::support::{Daemon, Ended, account, bundle, folder, line, root};

fn picture(name: &str) -> Vec<u8> {
    std::fs::read(root().join("tests/data").join(name)).unwrap()
}

/// `milad run` on a source, with a tiny bundle.
fn play(source: &str, flags: &[&str]) -> Daemon {
    let bundle = bundle("plain");
    let arguments = ["--source", source, "--bundle", bundle.to_str().unwrap()];
    Daemon::start(&[&arguments, flags].concat())
}

/// How it ended: its exit status and its log.
fn end(daemon: Daemon) -> (Option<i32>, String) {
    let Ended { status, stderr } = daemon.ended();
    (status.code(), stderr)
}

/// All that the program must answer for: every frame is published or counted as dropped.
fn assert_balanced(log: &str) {
    assert_eq!(account(log, "captured"), account(log, "published") + account(log, "dropped"), "{log}");
}

/// A folder of files in a folder that is removed with it.
struct Clip(PathBuf);

impl Clip {
    fn new(files: &[(&str, &[u8])]) -> Clip {
        let clip = folder();
        for (name, bytes) in files {
            std::fs::write(clip.join(name), bytes).unwrap();
        }
        Clip(clip)
    }

    fn source(&self) -> String {
        format!("clip:{}?rate=max", self.0.display())
    }
}

impl Drop for Clip {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn header(pipe: &mut ChildStdin, width: usize, height: usize) {
    writeln!(pipe, "YUV4MPEG2 W{width} H{height} F30:1 C420jpeg").unwrap();
}

fn frames(pipe: &mut ChildStdin, width: usize, height: usize, count: usize) {
    for _ in 0..count {
        pipe.write_all(&[b"FRAME\n", vec![90; width * height * 3 / 2].as_slice()].concat()).unwrap();
    }
    pipe.flush().unwrap();
}

#[test]
fn a_pipe_plays_until_its_writer_is_done() {
    let mut daemon = play("pipe:", &["--sync"]);
    let mut pipe = daemon.stdin();
    header(&mut pipe, 64, 48);
    frames(&mut pipe, 64, 48, 7);
    drop(pipe);
    let (status, log) = end(daemon);
    assert_eq!((status, account(&log, "captured"), account(&log, "published")), (Some(0), 7, 7), "{log}");
}

#[test]
fn a_pipe_that_ends_within_a_frame_has_one_bad_frame() {
    let mut daemon = play("pipe:", &["--sync"]);
    let mut pipe = daemon.stdin();
    header(&mut pipe, 64, 48);
    frames(&mut pipe, 64, 48, 2);
    pipe.write_all(b"FRAME\nabc").unwrap();
    drop(pipe);
    let (status, log) = end(daemon);
    assert_eq!((status, account(&log, "captured"), account(&log, "published")), (Some(0), 3, 2), "{log}");
    assert!(log.contains("dropped{capture,corrupt}=1"), "{log}");
    assert!(log.contains("ended within a frame: 3 of 4608 bytes"), "{log}");
}

#[test]
fn a_pipe_that_changes_size_is_lost_and_up_again_in_the_new_size() {
    let mut daemon = play("pipe:", &["--sync"]);
    let mut pipe = daemon.stdin();
    header(&mut pipe, 64, 48);
    frames(&mut pipe, 64, 48, 3);
    header(&mut pipe, 32, 16);
    frames(&mut pipe, 32, 16, 2);
    drop(pipe);
    let (status, log) = end(daemon);
    assert!(log.contains("restarted with 32×16 C420jpeg; it was 64×48 C420jpeg"), "{log}");
    assert!(log.contains("32×16, epoch 2"), "{log}");
    assert_eq!((status, account(&log, "captured")), (Some(0), 5), "{log}");
    assert_balanced(&log);
}

#[test]
fn a_pipe_that_stalls_is_lost_and_goes_on_without_losing_a_byte() {
    let mut daemon = play("pipe:", &["--sync"]);
    let mut pipe = daemon.stdin();
    header(&mut pipe, 64, 48);
    frames(&mut pipe, 64, 48, 1);
    pipe.write_all(b"FRAME\n").unwrap();
    pipe.write_all(&[90; 1000]).unwrap();
    std::thread::sleep(Duration::from_millis(3000));
    pipe.write_all(&[90; 3608]).unwrap();
    drop(pipe);
    let (status, log) = end(daemon);
    assert!(log.contains("no complete frame within 2.0 s"), "{log}");
    assert_eq!((status, account(&log, "captured")), (Some(0), 2), "{log}");
    assert_balanced(&log);
}

#[test]
fn what_is_not_y4m_ends_the_program_with_the_reason() {
    for (bytes, reason) in [
        (&b"RIFF0000AVI "[..], "expected YUV4MPEG2, found \"RIFF0000AVI \""),
        (b"", "ended before a Y4M header"),
        (b"YUV4MPEG2 W64 H48 C420p10\n", "C\"420p10\" is not supported"),
        (b"YUV4MPEG2 W2 H1 Cmono\nFRAME\nabGARBAGE", "expected FRAME, found \"GARBAGE\""),
    ] {
        let mut daemon = play("pipe:", &[]);
        daemon.stdin().write_all(bytes).unwrap();
        let (status, log) = end(daemon);
        assert_eq!(status, Some(78), "{log}");
        assert!(log.contains(reason), "{log}");
    }
}

#[test]
fn truncated_and_corrupt_jpegs_are_counted_and_the_others_published() {
    let whole = picture("frame-420.jpg");
    let truncated = &whole[..whole.len() * 4 / 5];
    let mut corrupt = whole.clone();
    corrupt[whole.len() * 3 / 4..][..8].fill(0xff);
    let ends_early = [truncated, &[0xff, 0xd9]].concat();
    let clip = Clip::new(&[
        ("0.jpg", &whole),
        ("1.jpg", truncated),
        ("2.jpg", &whole),
        ("3.jpg", &corrupt),
        ("4.jpg", &ends_early),
        ("5.jpg", &whole),
    ]);
    let (status, log) = end(play(&clip.source(), &[]));
    assert_eq!((status, account(&log, "captured"), account(&log, "published")), (Some(0), 6, 3), "{log}");
    assert!(log.contains("dropped{prepare,corrupt}=3"), "{log}");
}

#[test]
fn clips_that_cannot_be_played_end_the_program_with_the_files_name() {
    let mixed = Clip::new(&[("1.jpg", &picture("frame-420.jpg")), ("2.jpg", &picture("frame-odd.jpg"))]);
    let missing = format!("clip:{}/missing.y4m", mixed.0.display());
    for (clip, reason) in
        [(missing, "missing.y4m: No such file"), (mixed.source(), "2.jpg: 37×23, but the first picture has 64×48")]
    {
        let (status, log) = end(play(&clip, &[]));
        assert_eq!(status, Some(78), "{log}");
        assert!(log.contains(reason), "{log}");
    }
}

#[test]
fn a_scene_plays_and_tells_its_lens() {
    let mut daemon = play("scene:room?seed=3&width=64&height=32", &[]);
    daemon.wait_until("the scene is up", |daemon| daemon.stderr().contains("camera rendered room, seed 3 is up"));
    let hello = line(&mut daemon.connect());
    let intrinsics: Vec<f64> = serde_json::from_value(hello["camera"]["intrinsics"].clone()).unwrap();
    assert_eq!(intrinsics[2..], [32.0, 16.0], "{hello}");
    assert_eq!(hello["camera"]["interval_ns"], 33_333_333);
    let ended = daemon.stop();
    assert!(ended.status.success());
    assert_balanced(&ended.stderr);
}

#[test]
fn the_card_plays_in_every_format_as_many_frames_as_are_asked_for() {
    for format in ["YUYV", "UYVY", "NV12", "YU12", "422P", "RGB24", "GREY"] {
        let source = format!("card:?width=64&height=48&rate=200&format={format}");
        let (status, log) = end(play(&source, &["--frames", "3"]));
        assert_eq!(status, Some(0), "{log}");
        assert_balanced(&log);
        assert!(account(&log, "published") > 0, "{log}");
    }
}

//! What the program makes of pipes, clips and cards that play, end, stall, change or are damaged.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::Duration;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A folder that is removed afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("milad-sources-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn picture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(ROOT).join("tests/data").join(name)).unwrap()
}

/// `milad run` on a source, with a tiny bundle, writing all that it logs.
fn start(folder: &Folder, source: &str, flags: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_milad"))
        .args(["run", "--metrics", "off", "--source", source, "--bundle"])
        .arg(Path::new(ROOT).join("tests/bundles/plain"))
        .arg("--socket")
        .arg(folder.0.join("results.sock"))
        .args(flags)
        .env("RUST_LOG", "info")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// How it ended: its exit status and its log.
fn end(child: Child) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// One number of the account that the program logs at its end; what never happened isn't in it.
fn counted(log: &str, what: &str) -> u64 {
    let account = log.lines().find(|line| line.contains("account: ")).unwrap_or_else(|| panic!("no account in\n{log}"));
    account.split(' ').find_map(|word| word.strip_prefix(what)?.strip_prefix('=')?.parse().ok()).unwrap_or(0)
}

/// All that the program must answer for: every frame is published or counted as dropped.
fn assert_balanced(log: &str) {
    let account = log.lines().find(|line| line.contains("account: ")).unwrap();
    let dropped: u64 = account
        .split(' ')
        .filter_map(|word| word.strip_prefix("dropped{")?.split_once("}=")?.1.parse::<u64>().ok())
        .sum();
    assert_eq!(counted(log, "captured"), counted(log, "published") + dropped, "{log}");
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
    let folder = Folder::new("pipe");
    let mut child = start(&folder, "pipe:", &["--sync"]);
    let mut pipe = child.stdin.take().unwrap();
    header(&mut pipe, 64, 48);
    frames(&mut pipe, 64, 48, 7);
    drop(pipe);
    let (status, log) = end(child);
    assert_eq!((status, counted(&log, "captured"), counted(&log, "published")), (Some(0), 7, 7), "{log}");
}

#[test]
fn a_pipe_that_ends_within_a_frame_has_one_bad_frame() {
    let folder = Folder::new("cut");
    let mut child = start(&folder, "pipe:", &["--sync"]);
    let mut pipe = child.stdin.take().unwrap();
    header(&mut pipe, 64, 48);
    frames(&mut pipe, 64, 48, 2);
    pipe.write_all(b"FRAME\nabc").unwrap();
    drop(pipe);
    let (status, log) = end(child);
    assert_eq!((status, counted(&log, "captured"), counted(&log, "published")), (Some(0), 3, 2), "{log}");
    assert_eq!(counted(&log, "dropped{capture,corrupt}"), 1, "{log}");
    assert!(log.contains("ended within a frame: 3 of 4608 bytes"), "{log}");
}

#[test]
fn a_pipe_that_changes_size_is_lost_and_up_again_in_the_new_size() {
    let folder = Folder::new("size");
    let mut child = start(&folder, "pipe:", &["--sync"]);
    let mut pipe = child.stdin.take().unwrap();
    header(&mut pipe, 64, 48);
    frames(&mut pipe, 64, 48, 3);
    header(&mut pipe, 32, 16);
    frames(&mut pipe, 32, 16, 2);
    drop(pipe);
    let (status, log) = end(child);
    assert!(log.contains("restarted with 32×16 C420jpeg; it was 64×48 C420jpeg"), "{log}");
    assert!(log.contains("32×16, epoch 2"), "{log}");
    assert_eq!((status, counted(&log, "captured")), (Some(0), 5), "{log}");
    assert_balanced(&log);
}

#[test]
fn a_pipe_that_stalls_is_lost_and_goes_on_without_losing_a_byte() {
    let folder = Folder::new("stall");
    let mut child = start(&folder, "pipe:", &["--sync"]);
    let mut pipe = child.stdin.take().unwrap();
    header(&mut pipe, 64, 48);
    frames(&mut pipe, 64, 48, 1);
    pipe.write_all(b"FRAME\n").unwrap();
    pipe.write_all(&[90; 1000]).unwrap();
    std::thread::sleep(Duration::from_millis(3000));
    pipe.write_all(&[90; 3608]).unwrap();
    drop(pipe);
    let (status, log) = end(child);
    assert!(log.contains("no complete frame within 2.0 s"), "{log}");
    assert_eq!((status, counted(&log, "captured")), (Some(0), 2), "{log}");
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
        let folder = Folder::new("garbage");
        let mut child = start(&folder, "pipe:", &[]);
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        let (status, log) = end(child);
        assert_eq!(status, Some(78), "{log}");
        assert!(log.contains(reason), "{log}");
    }
}

#[test]
fn truncated_and_corrupt_jpegs_are_counted_and_the_others_published() {
    let folder = Folder::new("jpegs");
    let whole = picture("frame-420.jpg");
    let mut corrupt = whole.clone();
    let middle = corrupt.len() * 3 / 4;
    corrupt[middle..middle + 8].fill(0xff);
    let mut ends_early = whole[..whole.len() * 4 / 5].to_vec();
    ends_early.extend_from_slice(&[0xff, 0xd9]);
    let clip = folder.0.join("clip");
    std::fs::create_dir(&clip).unwrap();
    let files =
        [&whole, &whole[..whole.len() * 4 / 5], &whole, &corrupt, &ends_early, &whole].map(|bytes| bytes as &[u8]);
    for (i, bytes) in files.into_iter().enumerate() {
        std::fs::write(clip.join(format!("{i}.jpg")), bytes).unwrap();
    }
    let (status, log) = end(start(&folder, &format!("clip:{}?rate=max", clip.display()), &[]));
    assert_eq!((status, counted(&log, "captured"), counted(&log, "published")), (Some(0), 6, 3), "{log}");
    assert_eq!(counted(&log, "dropped{prepare,corrupt}"), 3, "{log}");
}

#[test]
fn clips_that_cannot_be_played_end_the_program_with_the_files_name() {
    let folder = Folder::new("clips");
    let missing = folder.0.join("missing.y4m");
    let mixed = folder.0.join("mixed");
    std::fs::create_dir(&mixed).unwrap();
    std::fs::write(mixed.join("1.jpg"), picture("frame-420.jpg")).unwrap();
    std::fs::write(mixed.join("2.jpg"), picture("frame-odd.jpg")).unwrap();
    for (clip, reason) in
        [(missing, "missing.y4m: No such file"), (mixed, "2.jpg: 37×23, but the first picture has 64×48")]
    {
        let (status, log) = end(start(&folder, &format!("clip:{}?rate=max", clip.display()), &[]));
        assert_eq!(status, Some(78), "{log}");
        assert!(log.contains(reason), "{log}");
    }
}

#[test]
fn the_card_plays_in_every_format_as_many_frames_as_are_asked_for() {
    for format in ["YUYV", "UYVY", "NV12", "YU12", "422P", "RGB24", "GREY"] {
        let folder = Folder::new("card");
        let source = format!("card:?width=64&height=48&rate=200&format={format}");
        let (status, log) = end(start(&folder, &source, &["--frames", "3"]));
        assert_eq!(status, Some(0), "{log}");
        assert_balanced(&log);
        assert!(counted(&log, "published") > 0, "{log}");
    }
}

//! Clips that can be played, and clips that can't.

use std::path::PathBuf;

use super::*;

/// A folder that is removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("milad-clip-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.join(name), bytes).unwrap();
    }

    fn png(&self, name: &str, (width, height): (u32, u32), colour: ColorType, depth: png::BitDepth, data: &[u8]) {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(colour);
        encoder.set_depth(depth);
        if colour == ColorType::Indexed {
            encoder.set_palette(vec![0, 0, 0, 10, 20, 30]);
        }
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        self.write(name, &bytes);
    }

    fn open(&self, name: &str, repeat: bool) -> Result<Clip, SourceError> {
        Clip::open(&ClipSpec { path: self.0.join(name), pace: Pace::Max, repeat }, &Stop::new().unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

use png::{BitDepth, ColorType};

fn bytes(next: Result<Next, SourceError>) -> Vec<u8> {
    match next.unwrap() {
        Next::Frame(frame) => frame.payload.memory_planes()[0].to_vec(),
        other => panic!("{other:?}"),
    }
}

fn unusable<T: std::fmt::Debug>(result: Result<T, SourceError>) -> String {
    match result {
        Err(SourceError::Unusable(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_y4m_clip_plays_to_its_end_with_times_from_its_rate() {
    let folder = Folder::new("plays");
    folder.write("a.y4m", b"YUV4MPEG2 W2 H1 F10:1 Cmono\nFRAME\nabFRAME Ixyz\ncdFRAME\nef");
    let (stop, mut clip) = (Stop::new().unwrap(), folder.open("a.y4m", false).unwrap());
    let camera = clip.camera();
    assert_eq!((camera.name.as_str(), camera.live, camera.interval_ns), ("a.y4m", false, 100_000_000));
    for (i, expected) in [b"ab", b"cd", b"ef"].into_iter().enumerate() {
        let Next::Frame(frame) = clip.next(&stop).unwrap() else { panic!() };
        assert_eq!(frame.payload.memory_planes()[0], expected);
        assert_eq!((frame.driver_sequence, frame.captured_ns), (i as u64, clip.start_ns + i as u64 * 100_000_000));
    }
    for _ in 0..2 {
        assert!(matches!(clip.next(&stop), Ok(Next::End)));
    }
}

#[test]
fn a_repeated_clip_starts_again_and_counts_on() {
    let folder = Folder::new("repeats");
    folder.write("a.y4m", b"YUV4MPEG2 W2 H1 Cmono\nFRAME\nabFRAME\ncd");
    folder.write("empty.y4m", b"YUV4MPEG2 W2 H1 Cmono\n");
    let (stop, mut clip) = (Stop::new().unwrap(), folder.open("a.y4m", true).unwrap());
    for i in 0..7u64 {
        let Next::Frame(frame) = clip.next(&stop).unwrap() else { panic!() };
        assert_eq!(
            (frame.driver_sequence, frame.payload.memory_planes()[0]),
            (i, [b"ab", b"cd"][i as usize % 2].as_slice())
        );
    }
    // Nothing to repeat.
    assert!(matches!(folder.open("empty.y4m", true).unwrap().next(&stop), Ok(Next::End)));
}

#[test]
fn clips_that_cannot_be_read_name_the_file_and_the_reason() {
    let folder = Folder::new("unreadable");
    let stop = Stop::new().unwrap();
    assert!(unusable(folder.open("missing.y4m", false)).contains("missing.y4m: No such file"));
    folder.write("noise.y4m", b"RIFFabcd");
    assert!(unusable(folder.open("noise.y4m", false)).contains("noise.y4m: not Y4M: expected YUV4MPEG2"));
    folder.write("long.y4m", &[b"YUV4MPEG2 ".as_slice(), &[b'x'; 5000]].concat());
    assert!(unusable(folder.open("long.y4m", false)).contains("more than 1024 bytes"));
    folder.write("none.y4m", b"");
    assert!(unusable(folder.open("none.y4m", false)).contains("ended before a Y4M header"));
    folder.write("cut.y4m", b"YUV4MPEG2 W2 H1 Cmono\nFRAME\nabFRAME\nc");
    let mut clip = folder.open("cut.y4m", false).unwrap();
    assert_eq!(bytes(clip.next(&stop)), b"ab");
    assert!(unusable(clip.next(&stop)).contains("cut.y4m: frame 1 is cut off: 1 of 2 bytes"));
    folder.write("stray.y4m", b"YUV4MPEG2 W2 H1 Cmono\nFRAME\nabcdFRAME\nef");
    let mut clip = folder.open("stray.y4m", false).unwrap();
    assert_eq!(bytes(clip.next(&stop)), b"ab");
    assert!(unusable(clip.next(&stop)).contains("not Y4M: expected FRAME, found \"cdFRAME"));
    assert!(unusable(folder.open(".", false)).contains("no .png, .jpg or .jpeg"));
}

#[test]
fn pngs_of_every_kind_become_rgb_in_the_order_of_their_names() {
    let folder = Folder::new("kinds");
    folder.png("000002.png", (2, 1), ColorType::Grayscale, BitDepth::Eight, &[7, 8]);
    folder.png("000001.png", (2, 1), ColorType::Rgb, BitDepth::Eight, &[1, 2, 3, 4, 5, 6]);
    folder.png("000003.png", (2, 1), ColorType::Rgba, BitDepth::Eight, &[1, 2, 3, 255, 4, 5, 6, 0]);
    folder.png("000004.png", (2, 1), ColorType::Indexed, BitDepth::One, &[0b0100_0000]);
    folder.png("000005.png", (2, 1), ColorType::Rgb, BitDepth::Sixteen, &[1, 99, 2, 99, 3, 99, 4, 99, 5, 99, 6, 99]);
    folder.png("000006.png", (2, 1), ColorType::GrayscaleAlpha, BitDepth::Eight, &[7, 1, 8, 2]);
    folder.write("camera.json", b"{}");
    let (stop, mut clip) = (Stop::new().unwrap(), folder.open(".", false).unwrap());
    assert_eq!(clip.camera().format.encoding, super::super::Encoding::Raw(milad_kernels::pixel::PixelFormat::Rgb24));
    for expected in [
        [1, 2, 3, 4, 5, 6],
        [7, 7, 7, 8, 8, 8],
        [1, 2, 3, 4, 5, 6],
        [0, 0, 0, 10, 20, 30],
        [1, 2, 3, 4, 5, 6],
        [7, 7, 7, 8, 8, 8],
    ] {
        assert_eq!(bytes(clip.next(&stop)), expected);
    }
    assert!(matches!(clip.next(&stop), Ok(Next::End)));
}

#[test]
fn a_rendered_clips_truth_is_not_taken_for_frames() {
    let folder = Folder::new("truth");
    folder.png("000000.class.png", (2, 1), ColorType::Grayscale, BitDepth::Eight, &[7, 8]);
    folder.png("000000.rgb.png", (2, 1), ColorType::Rgb, BitDepth::Eight, &[1, 2, 3, 4, 5, 6]);
    let (stop, mut clip) = (Stop::new().unwrap(), folder.open(".", false).unwrap());
    assert_eq!(bytes(clip.next(&stop)), [1, 2, 3, 4, 5, 6]);
    assert!(matches!(clip.next(&stop), Ok(Next::End)));
}

#[test]
fn folders_of_mixed_damaged_or_differing_pictures_name_the_picture() {
    let folder = Folder::new("mixed");
    let stop = Stop::new().unwrap();
    folder.png("1.png", (2, 1), ColorType::Grayscale, BitDepth::Eight, &[7, 8]);
    folder.png("2.png", (1, 2), ColorType::Grayscale, BitDepth::Eight, &[7, 8]);
    let mut clip = folder.open(".", false).unwrap();
    bytes(clip.next(&stop));
    assert!(unusable(clip.next(&stop)).contains("2.png: 1×2, but the first picture has 2×1"));
    let whole = std::fs::read(folder.0.join("1.png")).unwrap();
    for cut in 0..whole.len() {
        folder.write("2.png", &whole[..cut]);
        let mut clip = folder.open(".", false).unwrap();
        bytes(clip.next(&stop));
        assert!(unusable(clip.next(&stop)).contains("2.png"), "cut at {cut}");
    }
    std::fs::remove_file(folder.0.join("2.png")).unwrap();
    folder.write("2.jpg", include_bytes!("../../tests/data/frame-420.jpg"));
    let mut clip = folder.open(".", false).unwrap();
    bytes(clip.next(&stop));
    assert!(unusable(clip.next(&stop)).contains("2.jpg: PNG and JPEG in one folder"));
    folder.write("0.png", b"not a PNG");
    assert!(unusable(folder.open(".", false)).contains("0.png"));
}

#[test]
fn jpegs_are_handed_on_as_they_are() {
    let folder = Folder::new("jpegs");
    let stop = Stop::new().unwrap();
    let picture = include_bytes!("../../tests/data/frame-420.jpg");
    folder.write("1.jpg", picture);
    folder.write("2.JPEG", include_bytes!("../../tests/data/frame-444.jpg"));
    folder.write("3.jpg", include_bytes!("../../tests/data/frame-odd.jpg"));
    let mut clip = folder.open(".", false).unwrap();
    assert_eq!((clip.camera().format.width, clip.camera().format.height), (64, 48));
    assert_eq!(bytes(clip.next(&stop)), picture);
    bytes(clip.next(&stop));
    assert!(unusable(clip.next(&stop)).contains("3.jpg: 37×23, but the first picture has 64×48"));
}

#[test]
fn a_paced_clip_waits_and_can_be_stopped() {
    let folder = Folder::new("paced");
    folder.write("a.y4m", b"YUV4MPEG2 W2 H1 Cmono\nFRAME\nabFRAME\ncdFRAME\nef");
    let stop = Stop::new().unwrap();
    let spec = ClipSpec { path: folder.0.join("a.y4m"), pace: Pace::Fixed(200.0), repeat: false };
    let mut clip = Clip::open(&spec, &stop).unwrap();
    assert!(clip.camera().live);
    for _ in 0..3 {
        let Next::Frame(frame) = clip.next(&stop).unwrap() else { panic!() };
        assert!(monotonic_ns() >= frame.captured_ns);
    }
    let mut slow = Clip::open(&ClipSpec { pace: Pace::Fixed(0.001), ..spec }, &stop).unwrap();
    bytes(slow.next(&stop));
    stop.set();
    assert!(matches!(slow.next(&stop), Ok(Next::Stopped)));
}

#[test]
fn an_end_that_is_asked_for_while_it_is_opened_is_no_failure() {
    let folder = Folder::new("stopped");
    folder.write("a.y4m", b"YUV4MPEG2 W2 H1 Cmono\nFRAME\nab");
    let stop = Stop::new().unwrap();
    stop.set();
    let spec = ClipSpec { path: folder.0.join("a.y4m"), pace: Pace::Max, repeat: false };
    let opened = Clip::open(&spec, &stop);
    assert!(matches!(opened, Err(SourceError::Stopped)), "{opened:?}");
}

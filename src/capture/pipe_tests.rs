//! Pipes that play, end, stall, start anew or carry something else.

use std::io::Write;
use std::os::fd::OwnedFd;

use super::*;

const HEADER: &[u8] = b"YUV4MPEG2 W4 H2 F25:1 Cmono\n";
const PATIENCE: Duration = Duration::from_millis(50);

fn pipe() -> (Y4mReader, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    (Y4mReader::new(OwnedFd::from(reader)), writer)
}

fn parking() -> &'static Parking {
    Box::leak(Box::default())
}

fn open(reader: Y4mReader, parking: &'static Parking) -> Result<Pipe, SourceError> {
    let mut pipe = Pipe::with_reader(reader, parking, PATIENCE, &Stop::new().unwrap())?;
    pipe.deadline = PATIENCE;
    Ok(pipe)
}

fn frame(pipe: &mut Pipe) -> (u64, Vec<u8>) {
    match pipe.next(&Stop::new().unwrap()) {
        Ok(Next::Frame(frame)) => (frame.driver_sequence, frame.payload.memory_planes()[0].to_vec()),
        other => panic!("{other:?}"),
    }
}

fn lost<T: std::fmt::Debug>(result: Result<T, SourceError>) -> String {
    match result {
        Err(SourceError::Lost(reason)) => reason,
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
fn frames_come_as_they_are_written_and_the_end_is_an_end() {
    let (reader, mut writer) = pipe();
    writer.write_all(HEADER).unwrap();
    writer.write_all(b"FRAME\nabcdefghFRAME Ip\nijklmnop").unwrap();
    let (before, mut pipe) = (crate::clock::monotonic_ns(), open(reader, parking()).unwrap());
    let camera = pipe.camera();
    assert_eq!((camera.live, camera.counts, camera.interval_ns), (true, false, 40_000_000));
    match pipe.next(&Stop::new().unwrap()) {
        Ok(Next::Frame(frame)) => assert!((before..=crate::clock::monotonic_ns()).contains(&frame.captured_ns)),
        other => panic!("{other:?}"),
    }
    assert_eq!(frame(&mut pipe), (1, b"ijklmnop".to_vec()));
    drop(writer);
    for _ in 0..2 {
        assert!(matches!(pipe.next(&Stop::new().unwrap()), Ok(Next::End)));
    }
}

#[test]
fn bytes_may_come_one_by_one() {
    let (reader, mut writer) = pipe();
    let stream = [HEADER, b"FRAME\nabcdefghFRAME\nijklmnop"].concat();
    let slow = std::thread::spawn(move || {
        for byte in stream {
            writer.write_all(&[byte]).unwrap();
            std::thread::yield_now();
        }
    });
    let mut pipe = Pipe::with_reader(reader, parking(), Duration::from_secs(20), &Stop::new().unwrap()).unwrap();
    assert_eq!(frame(&mut pipe), (0, b"abcdefgh".to_vec()));
    assert_eq!(frame(&mut pipe), (1, b"ijklmnop".to_vec()));
    assert!(matches!(pipe.next(&Stop::new().unwrap()), Ok(Next::End)));
    slow.join().unwrap();
}

#[test]
fn an_end_within_a_frame_is_a_bad_frame_and_then_the_end() {
    for part in ["FRAME\nabc", "FRAME", "FRAME\n"] {
        let (reader, mut writer) = pipe();
        writer.write_all(&[HEADER, part.as_bytes()].concat()).unwrap();
        drop(writer);
        let mut pipe = open(reader, parking()).unwrap();
        match pipe.next(&Stop::new().unwrap()) {
            Ok(Next::Bad { driver_sequence: 0, reason }) => assert!(reason.contains("of 8 bytes"), "{reason}"),
            other => panic!("{part:?}: {other:?}"),
        }
        assert!(matches!(pipe.next(&Stop::new().unwrap()), Ok(Next::End)));
    }
}

#[test]
fn a_stalled_pipe_is_lost_and_goes_on_where_it_was() {
    let (reader, mut writer) = pipe();
    let parking = parking();
    writer.write_all(&[HEADER, b"FRAME\nabc"].concat()).unwrap();
    let mut stalled = open(reader, parking).unwrap();
    assert!(lost(stalled.next(&Stop::new().unwrap())).contains("no complete frame within"));
    drop(stalled);
    // Still nothing: lost again, and still nothing forgotten.
    assert!(lost(open(take_parked(parking).unwrap(), parking)).contains("nothing came for"));
    writer.write_all(b"defghFRAME\nijklmnop").unwrap();
    let mut pipe = open(take_parked(parking).unwrap(), parking).unwrap();
    assert_eq!(frame(&mut pipe).1, b"abcdefgh");
    assert_eq!(frame(&mut pipe).1, b"ijklmnop");
}

#[test]
fn a_stall_within_a_line_goes_on_too() {
    let (reader, mut writer) = pipe();
    let parking = parking();
    writer.write_all(&HEADER[..9]).unwrap();
    assert!(lost(open(reader, parking)).contains("nothing came for"));
    writer.write_all(&[&HEADER[9..], b"FRA"].concat()).unwrap();
    let mut stalled = open(take_parked(parking).unwrap(), parking).unwrap();
    assert!(lost(stalled.next(&Stop::new().unwrap())).contains("no complete frame"));
    drop(stalled);
    writer.write_all(b"ME\nabcdefgh").unwrap();
    assert_eq!(frame(&mut open(take_parked(parking).unwrap(), parking).unwrap()).1, b"abcdefgh");
}

#[test]
fn a_new_header_is_a_loss_and_its_frames_follow_in_the_new_size() {
    let (reader, mut writer) = pipe();
    let parking = parking();
    writer.write_all(&[HEADER, b"FRAME\nabcdefghYUV4MPEG2 W2 H1 C444\nFRAME\nuvwxyz"].concat()).unwrap();
    let mut first = open(reader, parking).unwrap();
    frame(&mut first);
    let reason = lost(first.next(&Stop::new().unwrap()));
    assert_eq!(reason, "pipe: restarted with 2×1 C444; it was 4×2 Cmono");
    drop(first);
    let mut second = open(take_parked(parking).unwrap(), parking).unwrap();
    assert_eq!((second.camera().format.width, second.camera().format.height), (2, 1));
    assert_eq!(frame(&mut second), (0, b"uvwxyz".to_vec()));
}

#[test]
fn what_is_not_y4m_is_said_at_once() {
    for (bytes, reason) in [
        (&b"\x00\x01\x02"[..], "expected YUV4MPEG2, found \"\\x00\\x01\\x02\""),
        (b"YUV4MPEG2 W4\n", "no height"),
        (b"YUV4MPEG2 W4 H4 C420p12\n", "not supported"),
        (b"", "ended before a Y4M header"),
        (b"YUV4MP", "ended within its header"),
    ] {
        let (reader, mut writer) = pipe();
        writer.write_all(bytes).unwrap();
        drop(writer);
        let error = unusable(open(reader, parking()));
        assert!(error.contains(reason), "{error}");
    }
    let (reader, mut writer) = pipe();
    writer.write_all(&[HEADER, b"FRAME\nabcdefghGARBAGE"].concat()).unwrap();
    let mut pipe = open(reader, parking()).unwrap();
    frame(&mut pipe);
    assert!(unusable(pipe.next(&Stop::new().unwrap())).contains("expected FRAME, found \"GARBAGE\""));
}

#[test]
fn a_header_without_end_takes_no_memory() {
    let (reader, mut writer) = pipe();
    writer.write_all(b"YUV4MPEG2 ").unwrap();
    let endless = std::thread::spawn(move || while writer.write_all(&[b'x'; 4096]).is_ok() {});
    assert!(
        unusable(Pipe::with_reader(reader, parking(), Duration::from_secs(20), &Stop::new().unwrap()))
            .contains("more than 1024 bytes")
    );
    // The parked reader is leaked with its parking, so the writer would wait for ever: it is left behind.
    drop(endless);
}

#[test]
fn stopping_ends_every_wait() {
    let stop = Stop::new().unwrap();
    let (reader, mut writer) = pipe();
    writer.write_all(HEADER).unwrap();
    let mut pipe = Pipe::with_reader(reader, parking(), Duration::from_secs(100), &stop).unwrap();
    let switch = stop.clone();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        switch.set();
    });
    pipe.deadline = Duration::from_secs(100);
    assert!(matches!(pipe.next(&stop), Ok(Next::Stopped)));
    stopper.join().unwrap();
}

#[test]
fn an_end_that_is_asked_for_while_it_is_opened_is_no_failure() {
    let (reader, mut writer) = pipe();
    let (parking, stop) = (parking(), Stop::new().unwrap());
    stop.set();
    let opened = Pipe::with_reader(reader, parking, Duration::from_secs(60), &stop);
    assert!(matches!(opened, Err(SourceError::Stopped)), "{opened:?}");
    writer.write_all(HEADER).unwrap();
    open(take_parked(parking).unwrap(), parking).unwrap();
}

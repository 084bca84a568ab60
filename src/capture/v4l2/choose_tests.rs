//! What is asked for, on made-up menus.

use super::super::menu::Sizes;
use super::*;

/// Format, width, height, frames a second.
struct Card(Vec<(&'static [u8; 4], u32, u32, u32)>);

impl Menu for Card {
    fn formats(&self) -> Vec<u32> {
        let mut formats: Vec<u32> = self.0.iter().map(|mode| u32::from_le_bytes(*mode.0)).collect();
        formats.dedup();
        formats
    }

    fn sizes(&self, format: u32) -> Vec<Sizes> {
        let modes = self.0.iter().filter(|mode| u32::from_le_bytes(*mode.0) == format && mode.1 > 0);
        modes.map(|mode| Sizes::One((mode.1, mode.2))).collect()
    }

    fn intervals(&self, format: u32, size: (u32, u32)) -> Vec<Intervals> {
        let modes = self.0.iter().filter(|mode| u32::from_le_bytes(*mode.0) == format && (mode.1, mode.2) == size);
        modes.map(|mode| Intervals::One(Interval { numerator: 1, denominator: mode.3 })).collect()
    }
}

fn best(card: &Card, request: &Request) -> (String, u32, u32, Option<f64>) {
    let mode = modes(card, request).unwrap()[0];
    (mode.format.name(), mode.size.0, mode.size.1, mode.interval.and_then(Interval::rate))
}

fn want(size: (u32, u32), rate: f64) -> Request {
    Request { size: Some(size), rate: Some(rate), ..Request::default() }
}

#[test]
fn raw_is_taken_where_it_reaches_size_and_rate_and_mjpeg_where_only_it_does() {
    let webcam = Card(vec![
        (b"MJPG", 1280, 720, 30),
        (b"MJPG", 640, 480, 30),
        (b"YUYV", 640, 480, 30),
        (b"YUYV", 1280, 720, 10),
    ]);
    assert_eq!(best(&webcam, &Request::default()), ("YUYV".into(), 640, 480, Some(30.0)));
    assert_eq!(best(&webcam, &want((1280, 720), 30.0)), ("MJPG".into(), 1280, 720, Some(30.0)));
    assert_eq!(best(&webcam, &want((1280, 720), 10.0)), ("YUYV".into(), 1280, 720, Some(10.0)));
}

#[test]
fn the_smallest_size_that_covers_is_next_best_then_the_largest() {
    let card = Card(vec![(b"YUYV", 320, 240, 30), (b"YUYV", 800, 600, 30), (b"YUYV", 1920, 1080, 30)]);
    assert_eq!(best(&card, &want((640, 480), 30.0)).1, 800);
    assert_eq!(best(&card, &want((4000, 3000), 30.0)).1, 1920);
}

#[test]
fn cheaper_layouts_come_first_and_grey_last() {
    let card = Card(vec![(b"GREY", 640, 480, 60), (b"YUYV", 640, 480, 25), (b"NM12", 640, 480, 25)]);
    assert_eq!(best(&card, &Request::default()).0, "NM12");
    let grey = Card(vec![(b"GREY", 640, 480, 60), (b"MJPG", 320, 240, 5)]);
    assert_eq!(best(&grey, &Request::default()).0, "MJPG");
}

#[test]
fn the_rate_taken_is_the_slowest_that_reaches_the_wanted_one() {
    let card = Card(vec![(b"YUYV", 640, 480, 60), (b"YUYV", 640, 480, 30), (b"YUYV", 640, 480, 15)]);
    assert_eq!(best(&card, &want((640, 480), 20.0)).3, Some(30.0));
    assert_eq!(best(&card, &want((640, 480), 120.0)).3, Some(60.0));
}

#[test]
fn a_range_of_intervals_gives_the_wanted_rate_within_its_ends() {
    let one = |n, d| Interval { numerator: n, denominator: d };
    let range = [Intervals::Range { shortest: one(1, 60), longest: one(1, 5) }];
    let rate = |wanted| nearest_interval(&range, wanted).unwrap().rate().unwrap();
    assert!((rate(29.97) - 29.97).abs() < 1e-9);
    assert_eq!(rate(100.0), 60.0);
    assert_eq!(rate(1.0), 5.0);
}

#[test]
fn a_driver_that_tells_no_sizes_is_asked_for_the_wanted_one() {
    let card = Card(vec![(b"UYVY", 0, 0, 0)]);
    assert_eq!(best(&card, &want((320, 200), 10.0)), ("UYVY".into(), 320, 200, None));
}

#[test]
fn a_format_asked_for_is_the_only_one_in_question() {
    let card = Card(vec![(b"YUYV", 640, 480, 30), (b"MJPG", 640, 480, 30)]);
    let request = Request { format: Some("mjpeg".into()), ..Request::default() };
    assert_eq!(best(&card, &request).0, "MJPG");
    let request = Request { format: Some("NV12".into()), ..Request::default() };
    let Err(NoMode::NoCommonFormat(words)) = modes(&card, &request) else { panic!("no refusal") };
    assert!(words.contains("NV12") && words.contains("YUYV, MJPG"), "{words}");
}

#[test]
fn nothing_in_common_says_both_sides() {
    let Err(NoMode::NoCommonFormat(words)) = modes(&Card(vec![(b"H264", 640, 480, 30)]), &Request::default()) else {
        panic!("no refusal")
    };
    assert!(words.contains("H264") && words.contains("YUYV"), "{words}");
    assert_eq!(modes(&Card(vec![(b"BA81", 640, 480, 30)]), &Request::default()), Err(NoMode::SensorData));
}

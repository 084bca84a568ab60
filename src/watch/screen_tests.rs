//! What a person sees.

use milad_client::{CameraMessage, Dropped, Named, Share};

use super::super::terminal::Abilities;
use super::*;

const CAN: Abilities = Abilities { colours: Colours::None, unicode: true };
const TERMINAL: Terminal = Terminal { rows: None, columns: 80, can: CAN };

const SECOND: u64 = 1_000_000_000;

fn text(screen: &Screen, now_ns: u64) -> String {
    let state: Vec<String> = screen.state(now_ns, 80).iter().map(|line| line.text(Colours::None)).collect();
    [state, screen.tasks(80, Colours::None)].concat().join("\n")
}

fn watching(results: u64) -> Screen {
    let mut screen = Screen::default();
    for i in 0..results {
        let share = [("road".into(), Share(0.31)), ("evil\x1b[2J".into(), Share(0.69))].into_iter().collect();
        screen.take(Message::Result(ResultMessage {
            sequence: i,
            dropped: 1,
            captured_ns: SECOND + i * SECOND / 20,
            published_ns: SECOND + i * SECOND / 20,
            tasks: Named(vec![("seg".into(), Statistics::Segmentation { share })]),
            ..ResultMessage::default()
        }));
    }
    screen
}

#[test]
fn the_rate_and_the_losses_are_those_of_the_results() {
    let line = watching(41).line(3 * SECOND);
    assert!(
        line.starts_with("frame 40 age 0.00 s rate 20.0/s latency 0.0 ms keyframe none dropped 41 seg road=31%"),
        "{line}"
    );
}

#[test]
fn a_small_terminal_keeps_the_top_of_the_screen() {
    let mut screen = watching(41);
    let whole = screen.full(3 * SECOND, &TERMINAL, &[]);
    let small = screen.full(3 * SECOND, &Terminal { rows: Some(4), ..TERMINAL }, &[]);
    assert_eq!(small.matches("\r\n").count(), 3);
    let first = |text: &str| text.split("\x1b[?7l").nth(1).and_then(|text| text.lines().next()).map(str::to_owned);
    assert_eq!(first(&small), first(&whole));
}

#[test]
fn an_old_result_is_called_old() {
    let screen = watching(3);
    assert!(!text(&screen, 2 * SECOND).contains("NOTHING NEW"));
    let old = text(&screen, 12 * SECOND);
    assert!(old.contains("captured 10.90 s ago · NOTHING NEW") && old.contains("rate      0.0/s"), "{old}");
}

#[test]
fn a_lost_camera_is_told_until_it_is_back() {
    let mut screen = watching(1);
    let mut camera = CameraMessage { state: CameraState::Lost, epoch: 1, reason: Some("gone".into()), camera: None };
    screen.take(Message::Camera(camera.clone()));
    assert!(text(&screen, 0).contains("LOST: gone") && screen.line(0).contains("CAMERA LOST: gone"));
    camera.state = CameraState::Up;
    camera.camera = Some(CameraInfo { name: "cam".into(), width: 4, height: 2, ..CameraInfo::default() });
    screen.take(Message::Camera(camera));
    assert!(text(&screen, 0).contains("camera    cam · 4×2") && !text(&screen, 0).contains("LOST"));
}

#[test]
fn nothing_from_the_daemon_steers_the_terminal() {
    let mut screen = watching(1);
    assert!(!text(&screen, 0).contains('\x1b') && !screen.line(0).contains('\x1b'));
    screen.take(Message::Bye { reason: "\x1b]0;x\x07".into() });
    assert!(!screen.goodbye().contains('\x1b'));
    // Its own sequences are only those of a screen.
    assert!(
        screen.full(0, &TERMINAL, &[]).starts_with("\x1b[2J\x1b[H")
            && screen.full(0, &TERMINAL, &[]).starts_with("\x1b[H\x1b[?7l")
    );
}

#[test]
fn drops_are_told_by_stage_and_cause() {
    let mut screen = watching(1);
    let dropped = vec![Dropped { stage: "fast".into(), cause: "replaced".into(), frames: 12 }];
    let account = AccountMessage { captured: 20, published: 7, in_flight: 1, driver_gaps: 3, dropped };
    screen.take(Message::Account(account));
    let expected =
        "frames    captured 20 · published 7 · in flight 1 · driver gaps 3\n          dropped 12 fast/replaced";
    assert!(text(&screen, 0).contains(expected), "{}", text(&screen, 0));
}

#[test]
fn classes_stand_in_as_many_columns_as_the_terminal_has_room_for() {
    let screen = watching(1);
    let (wide, narrow) = (screen.tasks(80, Colours::None), screen.tasks(60, Colours::None));
    assert_eq!((wide.len(), narrow.len()), (2, 3));
    assert!(wide[1].starts_with("  road          31.0 % █████") && wide[1].contains("69.0 %"), "{wide:?}");
}

#[test]
fn pictures_are_shown_of_what_is_seen_now_and_of_nothing_else() {
    let picture = Picture::plain("camera", (64, 32), [9, 9, 9]);
    let terminal = Terminal { rows: Some(60), can: Abilities { colours: Colours::True, ..CAN }, ..TERMINAL };
    let mut screen = watching(3);
    let shows =
        |screen: &mut Screen, now_ns| screen.full(now_ns, &terminal, std::slice::from_ref(&picture)).contains('▀');
    assert!(shows(&mut screen, 2 * SECOND));
    assert!(!shows(&mut screen, 12 * SECOND), "an old one");
    let camera = CameraMessage { state: CameraState::Lost, epoch: 1, reason: None, camera: None };
    screen.take(Message::Camera(camera));
    assert!(!shows(&mut screen, 2 * SECOND), "one of a camera that is gone");
}

#[test]
fn while_nobody_answers_the_screen_says_so_and_nothing_else() {
    let path = Path::new("/run/milad/results.sock");
    let text = waiting("milad closed the connection: the daemon stops\x1b[H", path, 7, &TERMINAL);
    assert!(text.starts_with("\x1b[2J\x1b[H\x1b[?7lmilad     NO CONNECTION for 7 s\x1b[K\r\n"), "{text:?}");
    assert!(
        text.contains("the daemon stops\u{fffd}[H") && text.contains("/run/milad/results.sock · Ctrl-C ends"),
        "{text:?}"
    );
    let plain = Terminal { can: Abilities { unicode: false, ..CAN }, ..TERMINAL };
    assert!(waiting("é", path, 7, &plain).is_ascii());
    let mut screen = watching(41);
    assert!(!screen.full(3 * SECOND, &TERMINAL, &[]).is_ascii() && screen.full(3 * SECOND, &plain, &[]).is_ascii());
}

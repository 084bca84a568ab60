//! What holds for every clip, judged from outside: frames in any order, any size, cuts, flow that finds what it points at.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use milad_scene::{Clip, Options, Quality, Truth, World};

fn options(width: usize, height: usize) -> Options {
    Options { width, height, ..Options::default() }
}

fn picture(clip: &Clip, n: u32) -> Vec<u8> {
    let mut rgb = vec![0; clip.options().width * clip.options().height * 3];
    clip.frame(n, &mut rgb);
    rgb
}

fn truth(clip: &Clip, n: u32) -> Truth {
    let mut truth = Truth::default();
    clip.truth(n, &mut truth);
    truth
}

fn difference(a: &[u8], b: &[u8]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a.abs_diff(b))).sum::<f64>() / a.len() as f64
}

#[test]
fn frames_do_not_depend_on_what_was_asked_before() {
    for world in World::ALL {
        let fresh = |n| picture(&Clip::new(world, 9, &Options { cuts: true, ..options(64, 32) }), n);
        let clip = Clip::new(world, 9, &Options { cuts: true, ..options(64, 32) });
        for n in [700, 3, 150, 3, 9_000_000] {
            let _ = truth(&clip, n / 2);
            assert_eq!(picture(&clip, n), fresh(n), "{world} frame {n}");
        }
    }
}

#[test]
fn truth_does_not_depend_on_quality() {
    for world in World::ALL {
        let [a, b] = [Quality::Live, Quality::Training]
            .map(|quality| truth(&Clip::new(world, 4, &Options { quality, ..options(96, 48) }), 31));
        assert_eq!(a, b, "{world}");
    }
}

#[test]
fn any_size_works() {
    for (width, height) in [(1, 1), (33, 17), (8, 200), (0, 0)] {
        for quality in [Quality::Live, Quality::Training] {
            let clip = Clip::new(World::Street, 1, &Options { quality, ..options(width, height) });
            let (width, height) = (width.max(1), height.max(1));
            assert_eq!(picture(&clip, 5).len(), width * height * 3);
            let truth = truth(&clip, 5);
            assert_eq!(truth.class.len(), width * height);
            assert_eq!(truth.normals.len(), 3 * width * height);
            assert_eq!(truth.flow.len(), 2 * width * height);
        }
    }
    // A buffer of the wrong size is no reason to fail.
    let clip = Clip::new(World::Street, 1, &options(16, 8));
    clip.frame(0, &mut [0; 10]);
    clip.frame(0, &mut [0; 1000]);
}

#[test]
fn cuts_change_the_place_and_nothing_else_does() {
    for world in World::ALL {
        let live = Options { quality: Quality::Live, ..options(48, 24) };
        let cutting = Clip::new(world, 2, &Options { cuts: true, ..live });
        let plain = Clip::new(world, 2, &live);
        let jumps = |clip: &Clip| {
            let frames: Vec<_> = (0..220).map(|n| picture(clip, n)).collect();
            let steps: Vec<f64> = frames.windows(2).map(|pair| difference(&pair[0], &pair[1])).collect();
            let mut sorted = steps.clone();
            sorted.sort_by(f64::total_cmp);
            let usual = sorted[sorted.len() / 2];
            steps.iter().filter(|&&step| step > 1.6 * usual + 6.0).count()
        };
        assert_eq!(jumps(&plain), 0, "{world} without cuts");
        assert_eq!(jumps(&cutting), 2, "{world} with cuts");
        assert_eq!(cutting.camera(), plain.camera());
    }
}

/// Flow is checked against the next frame's own truth: class and depth there must be what moved there, moving things
/// included, but for what gets hidden.
#[test]
fn flow_leads_to_the_same_thing_in_the_next_frame() {
    for world in World::ALL {
        let (mut right, mut all, mut moved) = (0u32, 0u32, 0u32);
        for seed in 0..6 {
            let clip = Clip::new(world, seed, &options(256, 128));
            let (now, next) = (truth(&clip, 20), truth(&clip, 21));
            let pixels = now.class.len();
            for i in 0..pixels {
                let (x, y) = ((i % 256) as f32 + 0.5 + now.flow[i], (i / 256) as f32 + 0.5 + now.flow[pixels + i]);
                if !(0.0..256.0).contains(&x) || !(0.0..128.0).contains(&y) {
                    continue;
                }
                let there = y as usize * 256 + x as usize;
                all += 1;
                moved += u32::from((now.flow[i].abs() + now.flow[pixels + i].abs()) > 0.75);
                right += u32::from(now.class[i] == next.class[there]);
            }
        }
        assert!(moved * 3 > all, "{world}: {moved} of {all} move");
        assert!(f64::from(right) > 0.96 * f64::from(all), "{world}: {right} of {all}");
    }
}

#[test]
fn streets_go_on_for_days() {
    let clip = Clip::new(World::Street, 5, &options(128, 64));
    let day = 30 * 86_400;
    let truth = truth(&clip, 3 * day);
    // Straight down the road there is road, as near as at the start.
    let bottom = 63 * 128 + 64;
    assert_eq!(truth.class[bottom], 0);
    assert!((1.5..6.0).contains(&truth.depth[bottom]), "{}", truth.depth[bottom]);
    assert!(truth.depth.iter().all(|z| *z > 0.0));
    let classes = (0..8).filter(|c| truth.class.contains(c)).count();
    assert!(classes >= 4, "{classes} classes in sight");
}

//! The same bytes on every machine. The golden digests pin what training saw: a change of
//! a world changes them on purpose, and `MILAD_GOLDEN=write cargo test -p milad-scene` writes them anew.

use milad_scene::{Clip, Options, Pose, Quality, Truth, World};
use std::fmt::Write as _;
use std::path::Path;

/// FNV-1a, 64 bits.
struct Digest(u64);

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    }
    fn floats(&mut self, values: &[f32]) {
        values.iter().for_each(|value| self.add(&value.to_bits().to_le_bytes()));
    }
}

/// One line of digests: picture, class, depth, normals, flow, pose.
fn line(clip: &Clip, n: u32) -> String {
    let mut truth = Truth::default();
    let mut rgb = vec![0; clip.options().width * clip.options().height * 3];
    clip.frame(n, &mut rgb);
    clip.truth(n, &mut truth);
    let Pose(rows) = clip.pose(n);
    let mut text = format!("{} seed {} frame {n} {:?}:", clip.world(), clip.seed(), clip.options().quality);
    let mut digest = |fill: &dyn Fn(&mut Digest)| {
        let mut digest = Digest(0xcbf2_9ce4_8422_2325);
        fill(&mut digest);
        let _ = write!(text, " {:016x}", digest.0);
    };
    digest(&|d| d.add(&rgb));
    digest(&|d| d.add(&truth.class));
    digest(&|d| d.floats(&truth.depth));
    digest(&|d| d.floats(&truth.normals));
    digest(&|d| d.floats(&truth.flow));
    digest(&|d| rows.iter().flatten().for_each(|value| d.add(&value.to_bits().to_le_bytes())));
    text
}

#[test]
fn golden_digests() {
    let mut lines = String::from("# picture class depth normals flow pose, FNV-1a 64\n");
    for world in World::ALL {
        for quality in [Quality::Live, Quality::Training] {
            for seed in [0, 1, 2_000_003] {
                let clip = Clip::new(world, seed, &Options { quality, ..Options::default() });
                for n in [0, 1234] {
                    lines.push_str(&line(&clip, n));
                    lines.push('\n');
                }
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scene/golden.txt");
    if std::env::var("MILAD_GOLDEN").is_ok_and(|value| value == "write") {
        std::fs::write(&path, &lines).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (expected, found) in golden.lines().zip(lines.lines()) {
        assert_eq!(found, expected, "other bytes than {} holds: MILAD_GOLDEN=write if on purpose", path.display());
    }
    assert_eq!(golden.lines().count(), lines.lines().count());
}

#[test]
fn another_seed_is_another_place() {
    for world in World::ALL {
        let small = Options { width: 64, height: 32, ..Options::default() };
        let pictures = [1, 2, 1 + (1 << 32)].map(|seed| {
            let mut rgb = vec![0; 64 * 32 * 3];
            Clip::new(world, seed, &small).frame(0, &mut rgb);
            rgb
        });
        assert!(pictures[0] != pictures[1] && pictures[0] != pictures[2], "{world}");
    }
}

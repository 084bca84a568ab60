//! Temporal consistency: a prediction against the one before it, carried along by the true flow (as Liu et al., ECCV 2020,
//! do with estimated flow). Truth says which pixels are the same piece of the world; whether the class is right does not matter.
//!
//! Pixel p of the earlier frame goes to the nearest pixel of p + flow(p). It is compared there unless that lies outside the
//! picture, or the piece is hidden in the later frame: several pieces go to one pixel and another one is nearer, or the
//! later truth has another class there, or a depth that is off by more than [`DEPTH_FACTOR`].

use super::confusion::Confusion;

/// How much the depth of one piece may change from frame to frame: fast motion towards a near thing, not another thing.
const DEPTH_FACTOR: f32 = 1.25;

/// A frame's truth as far as it is needed here; maps of `width` × `height`.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Pixels a row.
    pub width: usize,
    /// The true class.
    pub class: &'a [u8],
    /// Metres, infinite for the sky.
    pub depth: &'a [f32],
    /// `[2, H, W]`: pixels to the next frame, x then y.
    pub flow: &'a [f32],
}

/// Follows pixels from frame to frame; keeps its tables.
#[derive(Debug, Default)]
pub struct Follower {
    /// For each pixel of the later frame: the nearest pixel that goes there, plus 1; 0: none.
    origin: Vec<usize>,
}

impl Follower {
    /// Pairs (pixel of the earlier frame, pixel of the later one) that show the same piece of the world.
    pub fn pairs<'a>(&'a mut self, earlier: View<'_>, later: View<'a>) -> impl Iterator<Item = (usize, usize)> + 'a {
        let pixels = earlier.class.len();
        let (width, height) = (earlier.width, pixels / earlier.width.max(1));
        self.origin.clear();
        self.origin.resize(pixels, 0);
        let (dx, dy) = earlier.flow.split_at(pixels.min(earlier.flow.len()));
        for (from, (&dx, &dy)) in dx.iter().zip(dy).enumerate() {
            let place = |at: usize, by: f32, side: usize| {
                let at = (at as f32 + by).round();
                (at >= 0.0 && at < side as f32).then_some(at as usize)
            };
            let (x, y) = (place(from % width, dx, width), place(from / width, dy, height));
            let (Some(x), Some(y)) = (x, y) else { continue };
            let to = y * width + x;
            let (class, depth) = (earlier.class[from], earlier.depth[from]);
            let same = class == later.class.get(to).copied().unwrap_or(class.wrapping_add(1))
                && similar(depth, later.depth.get(to).copied().unwrap_or(f32::NAN));
            let nearer = self.origin[to] == 0 || depth < earlier.depth[self.origin[to] - 1];
            if same && nearer {
                self.origin[to] = from + 1;
            }
        }
        self.origin.iter().enumerate().filter_map(|(to, &from)| Some((from.checked_sub(1)?, to)))
    }

    /// Counts the classes predicted earlier (row) and later (column) for the same pieces.
    pub fn compare(
        &mut self,
        (earlier, earlier_view): (&[u8], View<'_>),
        (later, later_view): (&[u8], View<'_>),
        confusion: &mut Confusion,
    ) {
        for (from, to) in self.pairs(earlier_view, later_view) {
            if let (Some(&a), Some(&b)) = (earlier.get(from), later.get(to)) {
                confusion.count(usize::from(a), usize::from(b));
            }
        }
    }
}

fn similar(a: f32, b: f32) -> bool {
    if a.is_infinite() || b.is_infinite() {
        return a == b;
    }
    a <= b * DEPTH_FACTOR && b <= a * DEPTH_FACTOR
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 6;

    fn pairs(earlier: View, later: View) -> Vec<(usize, usize)> {
        Follower::default().pairs(earlier, later).collect()
    }

    #[test]
    fn pixels_are_followed_to_where_the_flow_takes_them() {
        // One row moves by two pixels and a bit; the last two leave the picture.
        let flow = [vec![2.3; WIDTH], vec![0.4; WIDTH]].concat();
        let view = View { width: WIDTH, class: &[1; WIDTH], depth: &[5.0; WIDTH], flow: &flow };
        assert_eq!(pairs(view, view), [(0, 2), (1, 3), (2, 4), (3, 5)]);
    }

    #[test]
    fn of_two_pieces_that_meet_the_nearer_one_is_seen() {
        let flow = [vec![1.0, 0.0, 0.0, 0.0, 0.0, 0.0], vec![0.0; WIDTH]].concat();
        let depth = [4.0, 4.9, 9.0, 9.0, 9.0, 9.0];
        let earlier = View { width: WIDTH, class: &[1; WIDTH], depth: &depth, flow: &flow };
        let later = View { depth: &[9.0, 4.0, 9.0, 9.0, 9.0, 9.0], ..earlier };
        assert_eq!(pairs(earlier, later), [(0, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
    }

    #[test]
    fn what_is_hidden_by_something_else_is_left_out() {
        let flow = vec![0.0; 2 * WIDTH];
        let sky = f32::INFINITY;
        let earlier =
            View { width: WIDTH, class: &[1, 1, 1, 2, 2, 2], depth: &[8.0, 8.0, 8.0, sky, sky, 8.0], flow: &flow };
        // Another class; another depth; the same; the sky twice, once hidden; nothing where something was.
        let later = View { class: &[3, 1, 1, 2, 2, 2], depth: &[8.0, 4.0, 7.5, sky, 8.0, sky], ..earlier };
        assert_eq!(pairs(earlier, later), [(2, 2), (3, 3)]);
    }

    #[test]
    fn agreement_is_counted_whatever_the_truth_is() {
        let flow = vec![0.0; 2 * WIDTH];
        let view = View { width: WIDTH, class: &[1; WIDTH], depth: &[5.0; WIDTH], flow: &flow };
        let mut confusion = Confusion::new(3);
        Follower::default().compare((&[0, 0, 0, 2, 2, 2], view), (&[0, 0, 2, 2, 2, 2], view), &mut confusion);
        assert_eq!(confusion.iou(0), Some(2.0 / 3.0));
        assert_eq!(confusion.iou(2), Some(3.0 / 4.0));
    }
}

//! The memory plan of a region: one block for all its maps, in which maps that are never needed at the same time share bytes.
//!
//! Greedy by size, as TensorFlow Lite's arena planner does (Pisarchyk and Lee, *Efficient Memory Management for Deep Neural Net Inference*, 2020,
//! section 5.2): the largest map first, each at the lowest place where it meets no map that lives at the same time.

/// When a map is there: from the step that writes it to the last step that reads it, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub first: usize,
    pub last: usize,
    pub bytes: usize,
}

/// Where each map starts, and how long the block is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub offsets: Vec<usize>,
    pub bytes: usize,
}

/// Maps start at multiples of this: a cache line.
const ALIGNMENT: usize = 64;

/// Places maps of these lifetimes.
pub(crate) fn plan(lifetimes: &[Lifetime]) -> Plan {
    let mut order: Vec<usize> = (0..lifetimes.len()).collect();
    order.sort_by_key(|&index| lifetimes.get(index).map(|life| (std::cmp::Reverse(life.bytes), life.first)));
    let mut offsets = vec![0; lifetimes.len()];
    let mut placed: Vec<(usize, Lifetime)> = vec![];
    for index in order {
        let Some(&life) = lifetimes.get(index) else { continue };
        let mut offset = 0;
        // Sorted by offset: the first gap that is wide enough.
        for &(at, other) in placed.iter().filter(|(_, other)| other.first <= life.last && life.first <= other.last) {
            if offset + life.bytes <= at {
                break;
            }
            offset = offset.max((at + other.bytes).next_multiple_of(ALIGNMENT));
        }
        if let Some(place) = offsets.get_mut(index) {
            *place = offset;
        }
        let at = placed.partition_point(|&(other, _)| other <= offset);
        placed.insert(at, (offset, life));
    }
    let bytes = placed.iter().map(|(offset, life)| offset + life.bytes).max().unwrap_or(0);
    Plan { offsets, bytes }
}

/// Which maps have their bytes to themselves, so that what is written around them stays.
pub(crate) fn alone(lifetimes: &[Lifetime], plan: &Plan) -> Vec<bool> {
    let spans: Vec<(usize, usize)> =
        plan.offsets.iter().zip(lifetimes).map(|(&offset, life)| (offset, offset + life.bytes)).collect();
    let meets = |a: &(usize, usize), b: &(usize, usize)| a.0 < b.1 && b.0 < a.1;
    spans
        .iter()
        .enumerate()
        .map(|(index, span)| spans.iter().enumerate().all(|(other, with)| other == index || !meets(span, with)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(first: usize, last: usize, bytes: usize) -> Lifetime {
        Lifetime { first, last, bytes }
    }

    #[test]
    fn maps_that_live_together_never_share_a_byte() {
        // Pseudo-random lifetimes.
        let mut state = 7u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % below) as usize
        };
        for _ in 0..200 {
            let lives: Vec<Lifetime> = (0..12)
                .map(|_| {
                    let first = next(20);
                    life(first, first + next(6), 1 + next(5000))
                })
                .collect();
            let plan = plan(&lives);
            for (i, a) in lives.iter().enumerate() {
                assert!(plan.offsets[i].is_multiple_of(ALIGNMENT) && plan.offsets[i] + a.bytes <= plan.bytes);
                for (j, b) in lives.iter().enumerate().skip(i + 1) {
                    let together = a.first <= b.last && b.first <= a.last;
                    let apart =
                        plan.offsets[i] + a.bytes <= plan.offsets[j] || plan.offsets[j] + b.bytes <= plan.offsets[i];
                    assert!(!together || apart, "{lives:?} {plan:?}");
                }
            }
        }
    }

    #[test]
    fn a_chain_takes_the_room_of_two_maps() {
        let lives: Vec<Lifetime> = (0..10).map(|step| life(step, step + 1, 640)).collect();
        let plan = plan(&lives);
        assert_eq!(plan.bytes, 2 * 640);
        assert!(alone(&lives, &plan).iter().all(|alone| !alone));
        let far = [life(0, 1, 64), life(1, 2, 64)];
        assert_eq!(alone(&far, &super::plan(&far)), [true, true]);
    }
}

//! Tensors for the tests: numbers without a pattern, and codes in a layout with a border that must survive.

use milad_kernels::int8::{Kernel, Layout, Plane, PlaneMut};

/// Kernels of this CPU.
pub fn kernels() -> impl Iterator<Item = Kernel> {
    Kernel::ALL.into_iter().filter(|kernel| kernel.available())
}

/// Marsaglia's xorshift: the same numbers everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    /// In −1 … 1.
    pub fn real(&mut self) -> f32 {
        self.next() as f32 / (1u64 << 31) as f32 - 1.0
    }
}

/// A tensor in memory, with what surrounds the codes filled with something recognisable.
pub struct Tensor {
    pub layout: Layout,
    pub bytes: Vec<u8>,
}

impl Tensor {
    pub fn new(layout: Layout, zero_point: u8, mut code: impl FnMut(usize, usize, usize) -> u8) -> Tensor {
        // The padding between channels and the slack hold anything.
        let mut bytes: Vec<u8> = (0..layout.bytes()).map(|i| (i * 37 + 11) as u8).collect();
        let mut plane = PlaneMut::new(layout, &mut bytes).unwrap();
        plane.write_border(zero_point);
        for row in 0..layout.height() {
            for column in 0..layout.width() {
                for (channel, value) in plane.pixel_mut(row, column).iter_mut().enumerate() {
                    *value = code(channel, row, column);
                }
            }
        }
        Tensor { layout, bytes }
    }

    pub fn random(layout: Layout, zero_point: u8, random: &mut Random) -> Tensor {
        // Extremes more often than chance would have them.
        Tensor::new(layout, zero_point, |_, _, _| match random.below(8) {
            0 => 0,
            1 => 255,
            _ => random.next() as u8,
        })
    }

    pub fn plane(&self) -> Plane<'_> {
        Plane::new(self.layout, &self.bytes).unwrap()
    }

    /// The code at a place that may lie outside: None there.
    pub fn at(&self, channel: usize, row: isize, column: isize) -> Option<u8> {
        let inside = |at: isize, size: usize| usize::try_from(at).ok().filter(|&at| at < size);
        let (row, column) = (inside(row, self.layout.height())?, inside(column, self.layout.width())?);
        Some(self.plane().pixel(row, column)[channel])
    }
}

/// Runs an operator on an output, once whole and once row ranges at a time; nothing but the codes may change, and these must be `expected`.
pub fn check(
    what: &str,
    layout: Layout,
    expected: impl Fn(usize, usize, usize) -> u8,
    mut run: impl FnMut(&mut PlaneMut),
) {
    for cuts in [vec![], vec![1], vec![layout.height() / 3, layout.height() / 2]] {
        let before = vec![0xa5; layout.bytes()];
        let mut bytes = before.clone();
        let mut rest = PlaneMut::new(layout, &mut bytes).unwrap();
        for cut in &cuts {
            let (mut part, after) = rest.split_at_row(*cut);
            run(&mut part);
            rest = after;
        }
        run(&mut rest);
        let plane = Plane::new(layout, &bytes).unwrap();
        for row in 0..layout.height() {
            for column in 0..layout.width() {
                for (channel, &found) in plane.pixel(row, column).iter().enumerate() {
                    let expected = expected(channel, row, column);
                    assert_eq!(
                        found, expected,
                        "{what}, {layout:?}, cuts {cuts:?}: channel {channel}, row {row}, column {column}"
                    );
                }
            }
        }
        // Blank out what may change, and all else must be as before.
        let padded = layout.channels().next_multiple_of(4);
        let first = plane.pixel(0, 0).as_ptr().addr() - bytes.as_ptr().addr();
        for row in 0..layout.height() {
            for column in 0..layout.width() {
                let start = first + row * layout.row_stride() + column * layout.pixel_stride();
                bytes[start..start + padded].fill(0xa5);
            }
        }
        assert!(bytes == before, "{what}, {layout:?}: something beside the tensor was written");
    }
}

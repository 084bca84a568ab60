//! What a region in float does, as loops over numbers at fixed distances.

use milad_kernels::int8::{Add, Quantisation};

/// Axes of a loop nest; shorter shapes are filled up in front.
pub(super) const RANK: usize = 4;

/// A function of one number.
pub(super) type Function = Box<dyn Fn(f32) -> f32 + Send + Sync>;

/// Which numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Those of an input of the region.
    Input(usize),
    /// Those of its block.
    Block,
}

/// Where the numbers of a tensor lie: the first one, and how far the next one is along each axis. 0 repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    pub source: Source,
    pub offset: usize,
    pub strides: [usize; RANK],
}

/// Of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
}

pub(super) enum Operation {
    Copy(View),
    Unary(Function, View),
    /// To codes, which are numbers here, too.
    Quantise(Quantisation, View),
    Dequantise(Quantisation, View),
    Binary(Binary, View, View),
    /// Of two tensors of codes, to codes.
    AddCodes(Add, View, View),
    /// Over the axes that are longer than 1 here.
    Mean(View, [usize; RANK]),
    /// Of matrices, on the last two axes: rows of the first, as long as this, with columns of the second.
    Product(View, View, usize),
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Operation::Copy(view) => f.debug_tuple("Copy").field(view).finish(),
            Operation::Unary(_, view) => f.debug_tuple("Unary").field(view).finish(),
            Operation::Quantise(to, view) => f.debug_tuple("Quantise").field(to).field(view).finish(),
            Operation::Dequantise(from, view) => f.debug_tuple("Dequantise").field(from).field(view).finish(),
            Operation::Binary(kind, a, b) => f.debug_tuple("Binary").field(kind).field(a).field(b).finish(),
            Operation::AddCodes(_, a, b) => f.debug_tuple("AddCodes").field(a).field(b).finish(),
            Operation::Mean(view, over) => f.debug_tuple("Mean").field(view).field(over).finish(),
            Operation::Product(a, b, depth) => f.debug_tuple("Product").field(a).field(b).field(depth).finish(),
        }
    }
}

/// One operation and where its result goes: into the block, behind everything that it reads there.
#[derive(Debug)]
pub(super) struct Step {
    operation: Operation,
    shape: [usize; RANK],
    /// Where the tensor begins that it writes, or a part of.
    start: usize,
    /// Of its first number, from `start`.
    offset: usize,
    strides: [usize; RANK],
}

impl Step {
    pub fn new(
        mut operation: Operation,
        mut shape: [usize; RANK],
        start: usize,
        offset: usize,
        mut strides: [usize; RANK],
    ) -> Step {
        match &mut operation {
            Operation::Copy(a) | Operation::Unary(_, a) | Operation::Quantise(_, a) | Operation::Dequantise(_, a) => {
                merge(&mut shape, &mut [&mut strides, &mut a.strides])
            }
            Operation::Binary(_, a, b) | Operation::AddCodes(_, a, b) => {
                merge(&mut shape, &mut [&mut strides, &mut a.strides, &mut b.strides])
            }
            Operation::Mean(..) | Operation::Product(..) => {}
        }
        Step { operation, shape, start, offset, strides }
    }

    /// `None` when something lies outside of what is there.
    pub fn run(&self, inputs: &[&[f32]], block: &mut [f32]) -> Option<()> {
        let (before, output) = block.split_at_mut_checked(self.start)?;
        let before: &[f32] = before;
        let from = |view: &View| match view.source {
            Source::Input(index) => inputs.get(index).copied()?.get(view.offset..),
            Source::Block => before.get(view.offset..),
        };
        let to = output.get_mut(self.offset..)?;
        match &self.operation {
            Operation::Copy(view) => self.unary(to, from(view)?, view, |x| x),
            Operation::Unary(function, view) => self.unary(to, from(view)?, view, function),
            Operation::Quantise(quantisation, view) => {
                self.unary(to, from(view)?, view, |x| quantisation.quantise(x).into())
            }
            Operation::Dequantise(quantisation, view) => {
                self.unary(to, from(view)?, view, |code| quantisation.dequantise(code as u8))
            }
            Operation::Binary(kind, a, b) => {
                let read = [(from(a)?, a), (from(b)?, b)];
                match kind {
                    Binary::Add => self.binary(to, read, |a, b| a + b),
                    Binary::Subtract => self.binary(to, read, |a, b| a - b),
                    Binary::Multiply => self.binary(to, read, |a, b| a * b),
                    Binary::Divide => self.binary(to, read, |a, b| a / b),
                }
            }
            Operation::AddCodes(add, a, b) => {
                let read = [(from(a)?, a), (from(b)?, b)];
                self.binary(to, read, |a, b| add.code(a as u8, b as u8).into())
            }
            Operation::Mean(view, over) => self.mean(to, from(view)?, view, *over),
            Operation::Product(a, b, depth) => self.product(to, [(from(a)?, a), (from(b)?, b)], *depth),
        }
    }

    fn unary(&self, to: &mut [f32], from: &[f32], view: &View, function: impl Fn(f32) -> f32) -> Option<()> {
        let count = self.shape[RANK - 1];
        rows(self.shape, |row| {
            let to = to.get_mut(at(row, &self.strides)..)?.get_mut(..count)?;
            let line = Line::new(from, at(row, &view.strides), view.strides[RANK - 1], count)?;
            match line {
                Line::Dense(from) => to.iter_mut().zip(from).for_each(|(to, &from)| *to = function(from)),
                line => to.iter_mut().enumerate().for_each(|(i, to)| *to = function(line.get(i))),
            }
            Some(())
        })
    }

    fn binary(&self, to: &mut [f32], read: [(&[f32], &View); 2], function: impl Fn(f32, f32) -> f32) -> Option<()> {
        let count = self.shape[RANK - 1];
        rows(self.shape, |row| {
            let to = to.get_mut(at(row, &self.strides)..)?.get_mut(..count)?;
            let [Some(a), Some(b)] =
                read.map(|(from, view)| Line::new(from, at(row, &view.strides), view.strides[RANK - 1], count))
            else {
                return None;
            };
            match (a, b) {
                (Line::Dense(a), Line::Dense(b)) => {
                    to.iter_mut().zip(a).zip(b).for_each(|((to, &a), &b)| *to = function(a, b));
                }
                (Line::Dense(a), Line::Apart(&[b], _)) => {
                    to.iter_mut().zip(a).for_each(|(to, &a)| *to = function(a, b))
                }
                (a, b) => to.iter_mut().enumerate().for_each(|(i, to)| *to = function(a.get(i), b.get(i))),
            }
            Some(())
        })
    }

    /// Summed in float64, one number after the other, so that it is the same on every machine.
    fn mean(&self, to: &mut [f32], from: &[f32], view: &View, over: [usize; RANK]) -> Option<()> {
        let count = over.iter().product::<usize>() as f64;
        let (mut over, mut inner) = (over, view.strides);
        merge(&mut over, &mut [&mut inner]);
        let places = self.shape[RANK - 1];
        rows(self.shape, |row| {
            for place in 0..places {
                let from = from.get(at(row, &view.strides) + place * view.strides[RANK - 1]..)?;
                let mut sum = 0.0f64;
                rows(over, |row| {
                    let line = Line::new(from, at(row, &inner), inner[RANK - 1], over[RANK - 1])?;
                    (0..over[RANK - 1]).for_each(|i| sum += f64::from(line.get(i)));
                    Some(())
                })?;
                *to.get_mut(at(row, &self.strides) + place * self.strides[RANK - 1])? = (sum / count) as f32;
            }
            Some(())
        })
    }

    fn product(&self, to: &mut [f32], [(a, left), (b, right)]: [(&[f32], &View); 2], depth: usize) -> Option<()> {
        let [.., height, width] = self.shape;
        for row in 0..height {
            let a = Line::new(a, row * left.strides[RANK - 2], left.strides[RANK - 1], depth)?;
            for column in 0..width {
                let b = Line::new(b, column * right.strides[RANK - 1], right.strides[RANK - 2], depth)?;
                let to = to.get_mut(row * self.strides[RANK - 2] + column * self.strides[RANK - 1])?;
                *to = (0..depth).map(|k| a.get(k) * b.get(k)).sum();
            }
        }
        Some(())
    }
}

/// The numbers that one pass of the innermost loop reads.
#[derive(Clone, Copy)]
enum Line<'a> {
    Dense(&'a [f32]),
    Apart(&'a [f32], usize),
}

impl<'a> Line<'a> {
    fn new(from: &'a [f32], start: usize, stride: usize, count: usize) -> Option<Line<'a>> {
        let numbers = from.get(start..=start + count.checked_sub(1)? * stride)?;
        Some(if stride == 1 { Line::Dense(numbers) } else { Line::Apart(numbers, stride) })
    }

    fn get(self, index: usize) -> f32 {
        let number = match self {
            Line::Dense(numbers) => numbers.get(index),
            Line::Apart(numbers, stride) => numbers.get(index * stride),
        };
        // Never missing: `new` has seen the last one.
        number.copied().unwrap_or(f32::NAN)
    }
}

/// Calls `row` for each place of all axes but the last.
fn rows(shape: [usize; RANK], mut row: impl FnMut([usize; RANK - 1]) -> Option<()>) -> Option<()> {
    for i in 0..shape[0] {
        for j in 0..shape[1] {
            for k in 0..shape[2] {
                row([i, j, k])?;
            }
        }
    }
    Some(())
}

fn at(row: [usize; RANK - 1], strides: &[usize; RANK]) -> usize {
    row.iter().zip(strides).map(|(place, stride)| place * stride).sum()
}

/// Makes the innermost loop longer: an axis whose numbers follow on those of the next one, in every tensor, becomes one with it.
fn merge(shape: &mut [usize; RANK], tensors: &mut [&mut [usize; RANK]]) {
    const LAST: usize = RANK - 1;
    for _ in 0..LAST {
        let follows = |strides: &[usize; RANK]| strides[LAST - 1] == strides[LAST] * shape[LAST];
        if shape[LAST - 1] != 1 && !tensors.iter().all(|strides| follows(strides)) {
            return;
        }
        shape[LAST - 1] *= shape[LAST];
        for strides in &mut *tensors {
            strides[LAST - 1] = strides[LAST];
            strides.rotate_right(1);
            strides[0] = 0;
        }
        shape.rotate_right(1);
        shape[0] = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(offset: usize, strides: [usize; RANK]) -> View {
        View { source: Source::Input(0), offset, strides }
    }

    /// Numbers 0, 1, 2 … as input, 24 in a block.
    fn run(operation: Operation, shape: [usize; RANK], strides: [usize; RANK]) -> Vec<f32> {
        let input: Vec<f32> = (0..64u8).map(f32::from).collect();
        let mut block = vec![-1.0; 24];
        Step::new(operation, shape, 0, 0, strides).run(&[&input], &mut block).unwrap();
        block
    }

    #[test]
    fn axes_that_follow_on_each_other_become_one() {
        let (mut shape, mut a, mut b) = ([2, 3, 4, 5], [60, 20, 5, 1], [60, 20, 5, 1]);
        merge(&mut shape, &mut [&mut a, &mut b]);
        assert_eq!((shape, a), ([1, 1, 1, 120], [0, 0, 0, 1]));
        // Channel by channel one number: rows of a channel.
        let (mut shape, mut a, mut b) = ([1, 3, 4, 5], [60, 20, 5, 1], [3, 1, 0, 0]);
        merge(&mut shape, &mut [&mut a, &mut b]);
        assert_eq!((shape, a, b), ([1, 1, 3, 20], [0, 60, 20, 1], [0, 3, 1, 0]));
    }

    #[test]
    fn copies_transpose_and_leave_what_is_beside_them() {
        let block = run(Operation::Copy(view(1, [0, 0, 1, 10])), [1, 1, 2, 3], [0, 0, 4, 1]);
        assert_eq!(block[..8], [1.0, 11.0, 21.0, -1.0, 2.0, 12.0, 22.0, -1.0]);
    }

    #[test]
    fn what_is_shorter_is_repeated() {
        let (matrix, row, column) = (view(0, [0, 0, 3, 1]), view(10, [0, 0, 0, 1]), view(20, [0, 0, 1, 0]));
        let sum = run(Operation::Binary(Binary::Add, matrix, row), [1, 1, 2, 3], [0, 0, 3, 1]);
        assert_eq!(sum[..6], [10.0, 12.0, 14.0, 13.0, 15.0, 17.0]);
        let product = run(Operation::Binary(Binary::Multiply, column, matrix), [1, 1, 2, 3], [0, 0, 3, 1]);
        assert_eq!(product[..6], [0.0, 20.0, 40.0, 63.0, 84.0, 105.0]);
        let difference = run(Operation::Binary(Binary::Subtract, matrix, column), [1, 1, 2, 3], [0, 0, 3, 1]);
        assert_eq!(difference[..6], [-20.0, -19.0, -18.0, -18.0, -17.0, -16.0]);
    }

    #[test]
    fn means_are_over_any_axes() {
        // [2, 3, 4], over the middle.
        let block = run(Operation::Mean(view(0, [0, 12, 4, 1]), [1, 1, 3, 1]), [1, 2, 1, 4], [0, 4, 4, 1]);
        assert_eq!(block[..8], [4.0, 5.0, 6.0, 7.0, 16.0, 17.0, 18.0, 19.0]);
        let block = run(Operation::Mean(view(0, [0, 12, 4, 1]), [1, 1, 3, 4]), [1, 2, 1, 1], [0, 1, 1, 1]);
        assert_eq!(block[..2], [5.5, 17.5]);
    }

    #[test]
    fn products_of_matrices_read_either_way_round() {
        // [[0, 1], [2, 3]] · [[0, 1, 2], [3, 4, 5]].
        let (a, b) = (view(0, [0, 0, 2, 1]), view(0, [0, 0, 3, 1]));
        let block = run(Operation::Product(a, b, 2), [1, 1, 2, 3], [0, 0, 3, 1]);
        assert_eq!(block[..6], [3.0, 4.0, 5.0, 9.0, 14.0, 19.0]);
        // With the second one's transpose: [[0, 2, 4], [1, 3, 5]].
        let block = run(Operation::Product(a, view(0, [0, 0, 1, 2]), 2), [1, 1, 2, 3], [0, 0, 3, 1]);
        assert_eq!(block[..6], [1.0, 3.0, 5.0, 3.0, 13.0, 23.0]);
    }

    #[test]
    fn what_lies_outside_is_no_step() {
        let step = Step::new(Operation::Copy(view(60, [0, 0, 0, 1])), [1, 1, 1, 8], 0, 0, [0, 0, 0, 1]);
        assert_eq!(step.run(&[&[0.0; 64]], &mut [0.0; 24]), None);
        let step = Step::new(Operation::Copy(view(0, [0, 0, 0, 1])), [1, 1, 1, 8], 20, 0, [0, 0, 0, 1]);
        assert_eq!(step.run(&[&[0.0; 64]], &mut [0.0; 24]), None);
    }
}

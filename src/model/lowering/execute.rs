//! One run of a region: its steps in order, in one block of memory that was sized at load. Allocates nothing.

use std::ops::Range;

use milad_kernels::int8::{AlignedBytes, Error, Kernel, Layout, Plane, PlaneMut, dequantise, quantise};

use super::compile::{Action, Compiled, Map, Place, Run};

/// Multiply-accumulates below which a step is not worth a second thread.
const WORTH_SPLITTING: u64 = 500_000;

/// What comes in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Incoming<'a> {
    Float(&'a [f32]),
    /// `[C, H, W]`, or a plane as another region left it.
    Bytes(&'a [u8]),
    /// `[C, H, W]`.
    Signed(&'a [i8]),
}

/// What goes out.
#[derive(Debug)]
pub(crate) enum Outgoing<'a> {
    Float(&'a mut [f32]),
    /// `[C, H, W]`.
    Bytes(&'a mut [u8]),
    /// `[C, H, W]`.
    Signed(&'a mut [i8]),
    /// As it lies here, border and all.
    Plane(&'a mut [u8]),
}

/// A region's working memory.
#[derive(Debug, Clone)]
pub(crate) struct Arena(AlignedBytes);

impl Arena {
    /// For `region`, with the borders that nothing overwrites in place.
    pub fn new(region: &Compiled) -> Result<Arena, Error> {
        let mut bytes = AlignedBytes::new(region.arena_bytes);
        for map in region.maps.iter().filter(|map| !map.shared) {
            if let Place::Arena(range) = &map.place
                && let Some(range) = bytes.get_mut(range.clone()).filter(|range| !range.is_empty())
            {
                PlaneMut::new(map.layout, range)?.write_border(map.quantisation.zero_point);
            }
        }
        Ok(Arena(bytes))
    }
}

/// Runs `region`; `done` is told the index of each run after it.
pub(crate) fn execute(
    region: &Compiled,
    arena: &mut Arena,
    incoming: &[Incoming],
    outgoing: &mut [Outgoing],
    mut done: impl FnMut(usize),
) -> Result<(), Error> {
    for (index, run) in region.runs.iter().enumerate() {
        match &run.action {
            Action::Leave(number) | Action::Real(_, number) => {
                let map = run.inputs.first().and_then(|&map| region.maps.get(map)).ok_or_else(missing)?;
                let around = Around { before: &arena.0, gap: arena.0.len()..arena.0.len(), after: &[] };
                let plane = Plane::new(map.layout, around.bytes(map, incoming)?)?;
                match (&run.action, outgoing.get_mut(*number).ok_or_else(missing)?) {
                    (Action::Real(conv, _), Outgoing::Float(numbers)) => conv.run_real(plane, numbers)?,
                    (Action::Real(..), _) => return Err(missing()),
                    (_, to) => leave(map, plane, to)?,
                }
            }
            _ => step(region, run, &mut arena.0, incoming)?,
        }
        done(index);
    }
    Ok(())
}

fn missing() -> Error {
    Error::Shape("expected a tensor that is not there".into())
}

/// The block without the bytes that are being written.
#[derive(Debug, Clone)]
struct Around<'a> {
    before: &'a [u8],
    gap: Range<usize>,
    after: &'a [u8],
}

impl<'a> Around<'a> {
    /// A map's bytes, for reading.
    fn bytes(&self, map: &Map, incoming: &[Incoming<'a>]) -> Result<&'a [u8], Error> {
        let found = match &map.place {
            Place::Input(number) => match incoming.get(*number) {
                Some(&Incoming::Bytes(bytes)) => Some(bytes),
                _ => None,
            },
            Place::Arena(range) if range.start >= self.gap.end => {
                self.after.get(range.start - self.gap.end..range.end - self.gap.end)
            }
            Place::Arena(range) => self.before.get(range.clone()),
        };
        found.ok_or_else(missing)
    }
}

/// One step: its inputs for reading, its output for writing, all in the same block.
fn step(region: &Compiled, run: &Run, arena: &mut [u8], incoming: &[Incoming]) -> Result<(), Error> {
    let map = region.maps.get(run.output).ok_or_else(missing)?;
    let Place::Arena(range) = &map.place else { return Err(missing()) };
    let (before, rest) = arena.split_at_mut_checked(range.start).ok_or_else(missing)?;
    let (own, after) = rest.split_at_mut_checked(range.len()).ok_or_else(missing)?;
    let around = Around { before, gap: range.clone(), after };
    let read = |index: usize| -> Result<Plane, Error> {
        let map = run.inputs.get(index).and_then(|&map| region.maps.get(map)).ok_or_else(missing)?;
        Plane::new(map.layout, around.bytes(map, incoming)?)
    };
    let mut output = PlaneMut::new(map.layout, own)?;
    if map.shared {
        output.write_border(map.quantisation.zero_point);
    }
    match &run.action {
        Action::Enter(number) => enter(map, *incoming.get(*number).ok_or_else(missing)?, &mut output),
        Action::Picture(number, table) => match *incoming.get(*number).ok_or_else(missing)? {
            Incoming::Bytes(pixels) => table.run(pixels, &mut output),
            _ => Err(missing()),
        },
        Action::Mix(number, mix) => match *incoming.get(*number).ok_or_else(missing)? {
            Incoming::Float(planes) => mix.run(Kernel::selected(), map.quantisation, planes, &mut output),
            _ => Err(missing()),
        },
        Action::Leave(_) | Action::Real(..) => Ok(()),
        Action::Concat(parts) => {
            for (index, (lookup, layout)) in parts.iter().enumerate() {
                lookup.run(read(index)?, &mut PlaneMut::new(*layout, own)?)?;
            }
            Ok(())
        }
        action => {
            let first = read(0)?;
            let second = if run.inputs.len() > 1 { Some(read(1)?) } else { None };
            match region.pool.get().filter(|_| run.macs >= WORTH_SPLITTING) {
                Some(pool) => split(pool, action, first, second, output),
                None => compute(action, first, second, &mut output),
            }
        }
    }
}

/// The rows that `output` is for; the same bytes however they are split.
fn compute(action: &Action, first: Plane, second: Option<Plane>, output: &mut PlaneMut) -> Result<(), Error> {
    match (action, second) {
        (Action::Conv(conv), residual) => conv.run(first, residual, output),
        (Action::Lookup(lookup), _) => lookup.run(first, output),
        (Action::Add(add), Some(second)) => add.run(first, second, output),
        (Action::Multiply(multiply), Some(second)) => multiply.run(first, second, output),
        (Action::MaxPool(pool), _) => pool.run(first, output),
        (Action::AveragePool(pool), _) => pool.run(first, output),
        (Action::Resize(resize), _) => resize.run(first, output),
        _ => Err(missing()),
    }
}

/// Rows in equal parts, one a thread.
fn split(
    pool: &rayon::ThreadPool,
    action: &Action,
    first: Plane,
    second: Option<Plane>,
    output: PlaneMut,
) -> Result<(), Error> {
    let threads = pool.current_num_threads().max(1);
    let (start, rows) = (output.rows().start, output.rows().len());
    let failed = std::sync::Mutex::new(None);
    pool.in_place_scope(|scope| {
        let mut rest = output;
        for part in 1..=threads {
            let (mut mine, later) = rest.split_at_row(start + rows * part / threads);
            rest = later;
            let failed = &failed;
            let mut work = move || {
                if let Err(error) = compute(action, first, second, &mut mine) {
                    // A poisoned lock still holds what was said last.
                    *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
                }
            };
            match part == threads {
                true => work(),
                false => scope.spawn(move |_| work()),
            }
        }
    });
    failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
}

fn enter(map: &Map, incoming: Incoming, output: &mut PlaneMut) -> Result<(), Error> {
    match incoming {
        Incoming::Float(numbers) => {
            // There may be more channels behind those that are wanted.
            let count = map.layout.channels() * map.layout.height() * map.layout.width();
            quantise(Kernel::selected(), map.quantisation, numbers.get(..count).unwrap_or(numbers), output)
        }
        Incoming::Bytes(bytes) => gather(&map.layout, bytes, output, |byte| byte),
        Incoming::Signed(bytes) => gather(&map.layout, bytes, output, |byte| (byte as u8).wrapping_add(128)),
    }
}

/// `[C, H, W]` to pixels.
fn gather<T: Copy>(layout: &Layout, from: &[T], output: &mut PlaneMut, code: impl Fn(T) -> u8) -> Result<(), Error> {
    let [height, width, channels] = [layout.height(), layout.width(), layout.channels()];
    if from.len() != height * width * channels {
        return Err(missing());
    }
    for (row, column) in (0..height).flat_map(|row| (0..width).map(move |column| (row, column))) {
        let pixel = output.pixel_mut(row, column).iter_mut();
        let values = from.iter().skip(row * width + column).step_by(height * width);
        pixel.zip(values).for_each(|(to, &from)| *to = code(from));
    }
    Ok(())
}

/// Pixels to `[C, H, W]`.
fn scatter<T>(plane: Plane, to: &mut [T], value: impl Fn(u8) -> T) -> Result<(), Error> {
    let [height, width, channels] = [plane.layout().height(), plane.layout().width(), plane.layout().channels()];
    if to.len() != height * width * channels {
        return Err(missing());
    }
    for (row, column) in (0..height).flat_map(|row| (0..width).map(move |column| (row, column))) {
        let values = to.iter_mut().skip(row * width + column).step_by(height * width);
        values.zip(plane.pixel(row, column)).for_each(|(to, &code)| *to = value(code));
    }
    Ok(())
}

fn leave(map: &Map, plane: Plane, outgoing: &mut Outgoing) -> Result<(), Error> {
    match outgoing {
        Outgoing::Float(numbers) => dequantise(Kernel::selected(), map.quantisation, plane, numbers),
        Outgoing::Plane(to) => plane.copy_to(to),
        Outgoing::Bytes(to) => scatter(plane, to, |code| code),
        Outgoing::Signed(to) => scatter(plane, to, |code| code.wrapping_sub(128) as i8),
    }
}

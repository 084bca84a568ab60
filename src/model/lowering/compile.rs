//! A region with packed weights and placed maps: everything that can be settled before the first frame is settled here.

use std::ops::Range;
use std::sync::OnceLock;

use milad_kernels::int8::{
    Add, AveragePool, Conv, ConvSpec, Error, ImageTable, Kernel, Layout, Lookup, MaxPool, Mean, Mix, Multiply, Output,
    Quantisation, Resize, Window,
};
use milad_kernels::pixel::Normalise;

use super::arena::{self, Lifetime};
use super::program::{Convolution, Edge, Form, Operation, Part, Region, Step, Value, ValueId, Way, tensors};

/// A region that can run.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub name: String,
    /// What comes in, in the order of the node's inputs.
    pub inputs: Vec<Port>,
    /// What goes out, in the order of the node's outputs.
    pub outputs: Vec<Port>,
    pub maps: Vec<Map>,
    pub runs: Vec<Run>,
    /// Bytes of the block that all maps share.
    pub arena_bytes: usize,
    /// Bytes of packed weights.
    pub weight_bytes: usize,
    /// Threads that share the rows of large steps; set once, before the first frame.
    pub pool: OnceLock<std::sync::Arc<rayon::ThreadPool>>,
}

/// A tensor at the edge.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    pub tensor: String,
    pub form: Form,
    pub map: usize,
    /// Channels of the tensor, where they are not the map's.
    pub planes: Option<usize>,
    /// Which of the node's inputs or outputs it is, or is in.
    pub slot: usize,
    /// Where in it, if it is a part.
    pub part: Option<Part>,
}

/// Where a value lies.
#[derive(Debug, Clone)]
pub(crate) struct Map {
    pub layout: Layout,
    pub quantisation: Quantisation,
    pub signed: bool,
    pub place: Place,
    /// Other maps use these bytes in between: the border is written anew each time.
    pub shared: bool,
}

/// Where a map's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the region's own block.
    Arena(Range<usize>),
    /// In the tensor that came in there.
    Input(usize),
}

/// One thing to do.
#[derive(Debug)]
pub(crate) struct Run {
    pub name: String,
    pub word: &'static str,
    /// `None` where there is no choice of kernels.
    pub kernel: Option<Kernel>,
    pub macs: u64,
    pub action: Action,
    pub inputs: Vec<usize>,
    /// A map; of no meaning for [`Action::Leave`] and [`Action::Real`].
    pub output: usize,
}

/// What there is to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Input number … is quantised or copied into its map.
    Enter(usize),
    /// Input number … is the picture, whose bytes are looked up into its map.
    Picture(usize, ImageTable),
    /// Input number … is mixed and quantised into its map.
    Mix(usize, Mix),
    /// The map goes out as output number ….
    Leave(usize),
    /// With the addition that follows, where there is a second input.
    Conv(Box<Conv>),
    /// Its sums go out as numbers, as output number ….
    Real(Box<Conv>, usize),
    Lookup(Lookup),
    Add(Add),
    Multiply(Multiply),
    /// For each input: its requantisation and the channels that it takes.
    Concat(Vec<(Lookup, Layout)>),
    MaxPool(MaxPool),
    AveragePool(AveragePool),
    Resize(Resize),
}

/// What a kernel refused: the step's name and the kernel's words.
#[derive(Debug)]
pub(crate) struct Unsuited {
    pub step: String,
    pub error: Error,
}

/// An action with its kernel and the bytes of its weights, of one step.
type Made = (Action, Option<Kernel>, usize);

/// Makes the operation of a step; also asked before regions are formed, whether there is a kernel for it.
pub(crate) fn make(kernel: Kernel, values: &[Value], step: &Step, add: Option<&Step>) -> Result<Made, Error> {
    let missing = || Error::Shape("a step without its values".into());
    let value = |id: ValueId| values.get(id).ok_or_else(missing);
    let first = value(*step.inputs.first().ok_or_else(missing)?)?;
    let output = value(step.output)?;
    let bounds = step.clamp[0]..=step.clamp[1];
    let both = || -> Result<[Quantisation; 2], Error> {
        Ok([first.quantisation, value(*step.inputs.get(1).ok_or_else(missing)?)?.quantisation])
    };
    let action = match &step.operation {
        Operation::Conv(conv) => {
            let residual = add.map(|add| residual(values, step, add).ok_or_else(missing)).transpose()?;
            let [low, high] = step.clamp;
            let codes = Output::Codes { quantisation: output.quantisation, low, high, residual };
            let made = Conv::new(kernel, &specification(conv, first, output, codes))?;
            let (kernel, bytes) = (made.kernel(), made.bytes());
            return Ok((Action::Conv(Box::new(made)), Some(kernel), bytes));
        }
        Operation::Real(conv, [low, high]) => {
            let real = Output::Real { low: *low, high: *high };
            let made = Conv::new(kernel, &specification(conv, first, output, real))?;
            let (kernel, bytes) = (made.kernel(), made.bytes());
            // Where it goes is known when the region's outputs are.
            return Ok((Action::Real(Box::new(made), usize::MAX), Some(kernel), bytes));
        }
        Operation::Table(table) => Action::Lookup(Lookup::new(kernel, **table)?),
        Operation::Add => {
            return Ok((Action::Add(Add::new(kernel, both()?, output.quantisation, bounds)?), Some(kernel), 0));
        }
        Operation::Multiply => {
            return Ok((
                Action::Multiply(Multiply::new(kernel, both()?, output.quantisation, bounds)?),
                Some(kernel),
                0,
            ));
        }
        Operation::Concat => {
            // Where it goes is known when the output's layout is.
            let whole = Layout::new(output.height, output.width, output.channels, 0)?;
            Action::Concat(slices(kernel, values, step, whole)?)
        }
        Operation::MaxPool(window) => Action::MaxPool(MaxPool::new(*window)?),
        Operation::AveragePool(window, counts) => Action::AveragePool(AveragePool::new(
            *window,
            *counts,
            Mean::Pooled,
            first.quantisation,
            output.quantisation,
        )?),
        Operation::GlobalAverage(mean) => {
            let window = Window::whole(first.height, first.width);
            Action::AveragePool(AveragePool::new(window, false, *mean, first.quantisation, output.quantisation)?)
        }
        Operation::Resize(mode, coordinates) => {
            let (from, to) = ([first.height, first.width], [output.height, output.width]);
            let scales = [first.quantisation, output.quantisation];
            let resize = Resize::new(kernel, from, to, *mode, *coordinates, scales)?;
            return Ok((Action::Resize(resize), Some(kernel), 0));
        }
    };
    Ok((action, None, 0))
}

fn specification<'a>(conv: &'a Convolution, input: &Value, output: &Value, result: Output) -> ConvSpec<'a> {
    let window = &conv.window;
    ConvSpec {
        input_channels: input.channels,
        output_channels: output.channels,
        kernel: window.size,
        stride: window.stride,
        dilation: window.dilation,
        pads: window.pads,
        groups: conv.groups,
        input: input.quantisation,
        weights: &conv.weights,
        weight_scales: &conv.scales,
        bias: Some(&conv.bias),
        output: result,
    }
}

fn residual(values: &[Value], conv: &Step, add: &Step) -> Option<milad_kernels::int8::Residual> {
    let other = add.inputs.iter().position(|&input| input != conv.output)?;
    Some(milad_kernels::int8::Residual {
        input: values.get(*add.inputs.get(other)?)?.quantisation,
        leads: other == 0,
        output: values.get(add.output)?.quantisation,
        low: add.clamp[0],
        high: add.clamp[1],
    })
}

/// The channels of `whole` that each input of a concatenation takes.
fn slices(kernel: Kernel, values: &[Value], step: &Step, whole: Layout) -> Result<Vec<(Lookup, Layout)>, Error> {
    let mut first = 0;
    let output = values.get(step.output).map(|value| value.quantisation);
    let slice = |input: &ValueId| {
        let (Some(value), Some(output)) = (values.get(*input), output) else {
            return Err(Error::Shape("a concatenation without its values".into()));
        };
        let lookup = Lookup::requantise(kernel, value.quantisation, output)?;
        let mut table = *lookup.table();
        table.iter_mut().for_each(|code| *code = (*code).clamp(step.clamp[0], step.clamp[1]));
        let layout = whole.channels_from(first, value.channels)?;
        first += value.channels;
        Ok((Lookup::new(kernel, table)?, layout))
    };
    step.inputs.iter().map(slice).collect()
}

fn ports(edges: &[Edge]) -> Vec<Port> {
    let tensors = tensors(edges);
    let port = |edge: &Edge| Port {
        tensor: edge.tensor.clone(),
        form: edge.form,
        map: edge.value,
        planes: match &edge.way {
            Way::Plain => None,
            Way::Mixed(mix) => Some(mix.inputs()),
            Way::Leading(channels) => Some(*channels),
        },
        slot: tensors.iter().position(|tensor| *tensor == edge.tensor).unwrap_or(0),
        part: edge.part,
    };
    edges.iter().map(port).collect()
}

/// Compiles `region` for `kernel`.
pub(crate) fn compile(kernel: Kernel, region: &Region, normalise: &Normalise) -> Result<Compiled, Unsuited> {
    let selected = kernel;
    let (mut runs, mut weight_bytes) = (vec![], 0);
    let mut entered = vec![false; region.values.len()];
    let fused = fusions(region);
    let (inputs, outputs) = (ports(&region.inputs), ports(&region.outputs));
    for (index, step) in region.steps.iter().enumerate() {
        if fused.iter().any(|fusion| fusion.conv == index) {
            continue;
        }
        let fusion = fused.iter().find(|fusion| fusion.add == index);
        let conv = fusion.and_then(|fusion| region.steps.get(fusion.conv));
        let unsuited = |error| Unsuited { step: step.name.clone(), error };
        let (made, mut reads) = match conv {
            Some(conv) => (make(kernel, &region.values, conv, Some(step)), conv.inputs.clone()),
            None => (make(kernel, &region.values, step, None), step.inputs.clone()),
        };
        let (mut action, kernel, bytes) = made.map_err(unsuited)?;
        reads.extend(fusion.map(|fusion| fusion.other));
        for (number, port) in inputs.iter().enumerate().filter(|(_, port)| reads.contains(&port.map)) {
            if let Some(seen) = entered.get_mut(port.map).filter(|seen| !**seen) {
                *seen = true;
                match region.inputs.get(number).map(|edge| edge.way.clone()) {
                    _ if port.form == Form::Plane => {}
                    _ if port.form == Form::Picture => {
                        let to = region.values.get(port.map).map(|value| value.quantisation);
                        let to = to.ok_or_else(|| unsuited(Error::Shape("a picture without a value".into())))?;
                        let table = ImageTable::new(selected, to, |colour, byte| normalise.number(colour, byte));
                        let action = Action::Picture(number, table.map_err(unsuited)?);
                        runs.push(edge_run("look up", &port.tensor, action, port.map));
                    }
                    Some(Way::Mixed(mix)) => {
                        runs.push(edge_run("mix", &port.tensor, Action::Mix(number, mix), port.map));
                    }
                    _ => runs.push(edge_run("quantise", &port.tensor, Action::Enter(number), port.map)),
                }
            }
        }
        let name = conv.map_or_else(|| step.name.clone(), |conv| format!("{} + {}", conv.name, step.name));
        let word = conv.map_or(step.operation.word(), |conv| conv.operation.word());
        let macs = conv.map_or(step.macs, |conv| conv.macs);
        weight_bytes += bytes;
        if let Action::Real(_, to) = &mut action {
            let port = outputs.iter().position(|port| port.map == step.output);
            *to = port.ok_or_else(|| unsuited(Error::Shape("numbers that nothing reads".into())))?;
            runs.push(Run { name, word, kernel, macs, action, inputs: reads, output: usize::MAX });
            continue;
        }
        runs.push(Run { name, word, kernel, macs, action, inputs: reads, output: step.output });
        for (number, port) in outputs.iter().enumerate().filter(|(_, port)| port.map == step.output) {
            let value = region.values.get(port.map).map_or("", |value| &value.name);
            runs.push(match port.form {
                Form::Plane => edge_run("copy", value, Action::Leave(number), port.map),
                _ => edge_run("dequantise", &port.tensor, Action::Leave(number), port.map),
            });
        }
    }
    let unsuited = |error| Unsuited { step: region.name.clone(), error };
    let (maps, arena_bytes) = place(region, &inputs, &runs).map_err(unsuited)?;
    for run in &mut runs {
        if let (Action::Concat(parts), Some(map)) = (&mut run.action, maps.get(run.output)) {
            let mut first = 0;
            for (_, layout) in parts {
                let count = layout.channels();
                *layout = map.layout.channels_from(first, count).map_err(unsuited)?;
                first += count;
            }
        }
    }
    let name = region.name.clone();
    Ok(Compiled { name, inputs, outputs, maps, runs, arena_bytes, weight_bytes, pool: OnceLock::new() })
}

fn edge_run(word: &'static str, tensor: &str, action: Action, map: usize) -> Run {
    let tensor = tensor.split('\u{1f}').next().unwrap_or(tensor);
    let (inputs, output) = match action {
        Action::Leave(_) => (vec![map], usize::MAX),
        _ => (vec![], map),
    };
    Run { name: tensor.into(), word, kernel: None, macs: 0, action, inputs, output }
}

/// A convolution whose only reader is an addition: indices of both, and the addition's other input.
struct Fusion {
    conv: usize,
    add: usize,
    other: ValueId,
}

fn fusions(region: &Region) -> Vec<Fusion> {
    let mut fusions: Vec<Fusion> = vec![];
    for (add, step) in region.steps.iter().enumerate().filter(|(_, step)| step.operation == Operation::Add) {
        let &[a, b] = step.inputs.as_slice() else { continue };
        let fusion = [(a, b), (b, a)].into_iter().find_map(|(sum, other)| {
            let conv = region.steps.iter().position(|conv| conv.output == sum)?;
            let is_conv = matches!(region.steps.get(conv)?.operation, Operation::Conv(_));
            let readers = region.steps.iter().flat_map(|step| &step.inputs).filter(|&&input| input == sum).count();
            let leaves = region.outputs.iter().any(|edge| edge.value == sum);
            let size = |id: ValueId| region.values.get(id).map(|value| [value.height, value.width]);
            (is_conv && readers == 1 && !leaves && sum != other && size(sum) == size(other)).then_some(Fusion {
                conv,
                add,
                other,
            })
        });
        fusions.extend(fusion);
    }
    fusions
}

/// Layouts, borders and places of all values.
fn place(region: &Region, inputs: &[Port], runs: &[Run]) -> Result<(Vec<Map>, usize), Error> {
    let count = region.values.len();
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; count];
    for (at, run) in runs.iter().enumerate() {
        for &map in run.inputs.iter().chain([&run.output]) {
            if let Some(life) = lives.get_mut(map) {
                *life = Some(life.map_or((at, at), |(first, _)| (first, at)));
            }
        }
    }
    let crossing = |map: usize| inputs.iter().position(|port| port.map == map && port.form == Form::Plane);
    let mut layouts = vec![];
    for (map, value) in region.values.iter().enumerate() {
        let border = region.borders.get(map).copied().unwrap_or(0);
        layouts.push(Layout::new(value.height, value.width, value.channels, border)?);
    }
    // Planes that came in have a place already; values without a life (fused away) need none.
    let own: Vec<usize> =
        (0..count).filter(|&map| crossing(map).is_none() && lives.get(map).is_some_and(Option::is_some)).collect();
    let lifetime = |&map: &usize| {
        let (first, last) = lives.get(map).copied().flatten().unwrap_or((0, 0));
        Lifetime { first, last, bytes: layouts.get(map).map_or(0, Layout::bytes) }
    };
    let lifetimes: Vec<Lifetime> = own.iter().map(lifetime).collect();
    let plan = arena::plan(&lifetimes);
    let alone = arena::alone(&lifetimes, &plan);
    let maps = region.values.iter().zip(layouts).enumerate().map(|(map, (value, layout))| {
        let at = own.iter().position(|&own| own == map);
        let start = at.and_then(|at| plan.offsets.get(at)).copied().unwrap_or(0);
        let place = match (at, crossing(map)) {
            (_, Some(input)) => Place::Input(input),
            (Some(_), None) => Place::Arena(start..start + layout.bytes()),
            (None, None) => Place::Arena(0..0),
        };
        let shared = at.and_then(|at| alone.get(at)).is_some_and(|alone| !alone);
        Map { layout, quantisation: value.quantisation, signed: value.signed, place, shared }
    });
    Ok((maps.collect(), plan.bytes))
}

//! Which output feeds which input: by name, checked against shapes and types, settled before anything runs.

use std::collections::HashSet;
use std::path::Path;

use tract_onnx::prelude::*;

use super::error::BundleError;
use super::facts::Facts;
use super::onnx::{Network, node_name, stated, words};
use super::spec::{Spec, TaskKind};

/// The picture.
pub(crate) const IMAGE: &str = "image";
/// Ages of the keyframes.
pub(crate) const AGE: &str = "age";
/// What an output of `fast.onnx` that feeds its memory input of the same name starts with.
const NEXT: &str = "next.";
/// Which keyframes are there.
pub(crate) const VALID: &str = "valid";

/// Where a memory input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Giver {
    /// Output of `slow.onnx`, by index.
    Slow(usize),
    /// Output of `fast.onnx`, by its index among the keys (see [`Wiring::keys`]).
    Fast(usize),
}

/// A memory input of `fast.onnx`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MemoryInput {
    pub name: String,
    /// `[T, …]`.
    pub shape: Vec<usize>,
    pub giver: Giver,
}

/// The whole wiring of a bundle.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wiring {
    /// In the order of `fast.onnx`.
    pub memory: Vec<MemoryInput>,
    /// T: how many keyframes the memory holds.
    pub keyframes: usize,
    /// Whether `fast.onnx` has the input `age`.
    pub age: bool,
    /// Whether `fast.onnx` has the input `valid`.
    pub valid: bool,
    /// Outputs of `fast.onnx` that are memory.
    pub keys: Vec<usize>,
    /// `task.*` outputs in the order of the specification, by network.
    pub slow_tasks: Vec<usize>,
    pub fast_tasks: Vec<usize>,
    /// Outputs `confidence`, `confidence.*` of `fast.onnx`.
    pub confidence: Vec<usize>,
}

struct Wirer<'a> {
    spec: &'a Spec,
    slow: &'a Network,
    fast: &'a Network,
    slow_facts: &'a Facts,
    fast_facts: &'a Facts,
}

/// Checks that inputs state fixed shapes of the right type; must hold before facts can be inferred.
pub(crate) fn check_inputs(spec: &Spec, network: &Network, is_slow: bool) -> Result<(), BundleError> {
    let image = [1, 3, spec.input.height, spec.input.width];
    let mut has_image = false;
    for input in network.inputs() {
        let name = input.name.as_str();
        let expected = match name {
            IMAGE => words(DatumType::F32, &image),
            AGE | VALID => "float32 [T]".into(),
            _ => "float32 [T, …], all sides fixed".into(),
        };
        let (datum, shape) = stated(input)
            .map_err(|found| complaint(&network.file, name, &expected, &found, "export with fixed sizes"))?;
        if is_slow && name != IMAGE {
            let advice = "feed the slow network with the picture alone";
            return Err(complaint(&network.file, name, "the one input `image`", "another input", advice));
        }
        let fits = match name {
            IMAGE => shape == image,
            AGE | VALID => shape.len() == 1,
            _ => shape.len() >= 2,
        };
        if datum != DatumType::F32 || !fits {
            let advice = match name {
                IMAGE => "make [input] of bundle.toml and the exported size agree",
                _ => "correct the export",
            };
            return Err(complaint(&network.file, name, &expected, &words(datum, &shape), advice));
        }
        has_image |= name == IMAGE;
    }
    if !has_image {
        let found = network.inputs().map(|input| format!("`{}`", input.name)).collect::<Vec<_>>().join(", ");
        let found = if found.is_empty() { "no input".into() } else { format!("the inputs {found}") };
        let expected = format!("an input {}", words(DatumType::F32, &image));
        return Err(complaint(&network.file, IMAGE, &expected, &found, "name the picture `image` at export"));
    }
    Ok(())
}

/// Wires `fast` to `slow`.
pub(crate) fn wire(
    spec: &Spec,
    (slow, slow_facts): (&Network, &Facts),
    (fast, fast_facts): (&Network, &Facts),
) -> Result<Wiring, BundleError> {
    Wirer { spec, slow, fast, slow_facts, fast_facts }.wire()
}

impl Wirer<'_> {
    fn wire(&self) -> Result<Wiring, BundleError> {
        let mut wiring = Wiring {
            slow_tasks: self.tasks(self.slow, self.slow_facts)?,
            fast_tasks: self.tasks(self.fast, self.fast_facts)?,
            ..Wiring::default()
        };
        let mut states: Option<(String, usize)> = None;
        for input in self.fast.inputs().filter(|input| input.name != IMAGE) {
            let (_, shape) = self.fast_facts.get(&input.name).cloned().unwrap_or((DatumType::F32, vec![]));
            let keyframes = shape.first().copied().unwrap_or(0);
            match &states {
                Some((first, expected)) if *expected != keyframes => {
                    let expected = format!("T = {expected} keyframes, as `{first}` has");
                    return Err(self.fast(&input.name, &expected, &format!("{shape:?}"), "give all memory the same T"));
                }
                _ => states = Some((input.name.clone(), keyframes)),
            }
            match input.name.as_str() {
                AGE => wiring.age = true,
                VALID => wiring.valid = true,
                name => {
                    let memory = self.memory(name, shape, &mut wiring.keys)?;
                    wiring.memory.push(memory);
                }
            }
        }
        wiring.keyframes = states.map_or(1, |(_, keyframes)| keyframes);
        for network in [self.slow, self.fast] {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if let Some(name) = network.output_names().iter().find(|name| !name.chars().all(plain)) {
                let expected = "a name of letters, digits, `.`, `-` and `_`: files are named after it";
                return Err(complaint(&network.file, name, expected, "other characters", "rename it at export"));
            }
        }
        for (index, name) in self.fast.output_names().into_iter().enumerate() {
            match () {
                () if name.starts_with("task.") || wiring.keys.contains(&index) => {}
                () if is_signal(&name, "confidence") => wiring.confidence.push(index),
                // Written by `infer`; the daemon has no use for it.
                () if is_signal(&name, "border") => {}
                () => return Err(self.nobody(self.fast, &name)),
            }
        }
        for (index, name) in self.slow.output_names().into_iter().enumerate() {
            let used = wiring.memory.iter().any(|memory| memory.giver == Giver::Slow(index));
            if !(name.starts_with("task.") || used) {
                return Err(self.nobody(self.slow, &name));
            }
        }
        for &index in &wiring.keys {
            self.check_independent(index)?;
        }
        Ok(wiring)
    }

    /// The output of the same name of the slow network, or else `next.` and the same name of the fast one.
    fn memory(&self, name: &str, shape: Vec<usize>, keys: &mut Vec<usize>) -> Result<MemoryInput, BundleError> {
        let next = format!("{NEXT}{name}");
        let find = |network: &Network, name: &str| network.output_names().iter().position(|output| output == name);
        let (network, facts, output, giver) = match (find(self.slow, name), find(self.fast, &next)) {
            (Some(_), Some(_)) => {
                let found = format!("`{name}` of {} and `{next}` of {}", base(&self.slow.file), base(&self.fast.file));
                return Err(self.fast(name, "one output that feeds it", &found, "remove one of them"));
            }
            (Some(index), None) => (self.slow, self.slow_facts, name, Giver::Slow(index)),
            (None, Some(index)) => {
                keys.push(index);
                (self.fast, self.fast_facts, next.as_str(), Giver::Fast(keys.len() - 1))
            }
            (None, None) => {
                let mut outputs = self.slow.output_names();
                outputs.extend(self.fast.output_names());
                let expected = format!(
                    "an output `{name}` of slow.onnx, or else `{next}` of fast.onnx (or the name `image`, `age` or `valid`)"
                );
                let found = format!("the outputs {}", list(&outputs));
                return Err(self.fast(name, &expected, &found, "give input and output the same name at export"));
            }
        };
        let mut expected = shape.clone();
        if let Some(keyframes) = expected.first_mut() {
            *keyframes = 1;
        }
        match facts.get(output) {
            Some((DatumType::F32, found)) if *found == expected => Ok(MemoryInput { name: name.into(), shape, giver }),
            other => {
                let found = other.map_or("an unknown shape".into(), |(datum, shape)| words(*datum, shape));
                let expected = format!(
                    "{}, because {} reads `{name}` {} as memory",
                    words(DatumType::F32, &expected),
                    base(&self.fast.file),
                    words(DatumType::F32, &shape)
                );
                Err(complaint(&network.file, output, &expected, &found, "make both networks agree on the shape"))
            }
        }
    }

    fn tasks(&self, network: &Network, facts: &Facts) -> Result<Vec<usize>, BundleError> {
        let outputs = network.output_names();
        for output in outputs.iter().filter_map(|output| output.strip_prefix("task.")) {
            if !self.spec.tasks.iter().any(|task| task.name == output) {
                let found = format!("the tasks {}", list(self.spec.tasks.iter().map(|task| &task.name)));
                let advice = "add the task to bundle.toml, or leave the output out at export";
                let expected = "a [[task]] of this name in bundle.toml";
                return Err(complaint(&network.file, &format!("task.{output}"), expected, &found, advice));
            }
        }
        let find = |task: &super::TaskSpec| {
            let name = format!("task.{}", task.name);
            let channels = match &task.kind {
                TaskKind::Segmentation { classes } => classes.len(),
                TaskKind::Depth { .. } => 1,
                TaskKind::Normals => 3,
                TaskKind::Raw { channels } => *channels,
            };
            let expected = format!("float32 [1, {channels}, h, w]");
            let Some(index) = outputs.iter().position(|output| *output == name) else {
                let found = format!("the outputs {}", list(&outputs));
                let expected = format!("an output {expected}");
                return Err(complaint(&network.file, &name, &expected, &found, "both networks give every task"));
            };
            match facts.get(&name) {
                Some((DatumType::F32, shape)) if matches!(shape[..], [1, c, _, _] if c == channels) => Ok(index),
                other => {
                    let found = other.map_or("an unknown shape".into(), |(datum, shape)| words(*datum, shape));
                    let advice = "make bundle.toml and the network agree on kind and channels";
                    Err(complaint(&network.file, &name, &expected, &found, advice))
                }
            }
        };
        self.spec.tasks.iter().map(find).collect()
    }

    /// Refuses a memory output of the fast network that follows from what the memory holds.
    fn check_independent(&self, output: usize) -> Result<(), BundleError> {
        let Some(output) = self.fast.graph.output.get(output) else { return Ok(()) };
        let remembered: HashSet<&str> =
            self.fast.inputs().map(|input| input.name.as_str()).filter(|&name| name != IMAGE).collect();
        let producers = self.fast.producers();
        let mut seen: HashSet<&str> = HashSet::new();
        let mut open: Vec<(&str, Vec<String>)> = vec![(&output.name, vec![])];
        while let Some((name, through)) = open.pop() {
            if remembered.contains(name) {
                return Err(BundleError::MemoryDependsOnMemory {
                    file: self.fast.file.clone(),
                    tensor: output.name.clone(),
                    input: name.into(),
                    through: through.into_iter().rev().collect(),
                });
            }
            let Some(node) = producers.get(name).and_then(|&index| self.fast.graph.node.get(index)) else { continue };
            for input in node.input.iter().filter(|input| !input.is_empty()) {
                if seen.insert(input) {
                    let mut through = through.clone();
                    through.push(node_name(node).into());
                    open.push((input, through));
                }
            }
        }
        Ok(())
    }

    fn nobody(&self, network: &Network, name: &str) -> BundleError {
        let expected =
            "`task.<name>`, memory that fast.onnx takes as an input, or (fast.onnx only) `confidence…` or `border…`";
        complaint(&network.file, name, expected, "an output that nothing takes", "rename it, or leave it out at export")
    }

    fn fast(&self, name: &str, expected: &str, found: &str, advice: &str) -> BundleError {
        complaint(&self.fast.file, name, expected, found, advice)
    }
}

fn is_signal(name: &str, signal: &str) -> bool {
    name.strip_prefix(signal).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn list(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect();
    names.join(", ")
}

fn base(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn complaint(file: &Path, tensor: &str, expected: &str, found: &str, advice: &str) -> BundleError {
    BundleError::Tensor {
        file: file.into(),
        tensor: tensor.into(),
        expected: expected.into(),
        found: found.into(),
        advice: advice.into(),
    }
}

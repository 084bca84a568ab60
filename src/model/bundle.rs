//! A bundle on disk becomes two checked networks. Everything that can be wrong with it is found here, before the first frame.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use milad_kernels::int8::Kernel;
use milad_kernels::pixel::Normalise;
use tract_onnx::pb::GraphProto;
use tract_onnx::tract_hir::internal::TypedModel;

use super::caught::caught;
use super::engine::{Fast, Memory, RunError, Slow, blank};
use super::error::BundleError;
use super::facts::{self, Facts, Macs};
use super::hoist::{self, Source};
use super::ila;
use super::kept::Kept;
use super::lowering::picture::Picture;
use super::lowering::{self, Lowered};
use super::manifest::Manifest;
use super::network::{FastNetwork, SlowNetwork};
use super::onnx::{self, Network};
use super::plan::{self, Plan};
use super::spec::{InputSpec, Spec};
use super::wiring::{self, Wiring};
use super::{Image, check};

/// Where bundles are looked for by name, in this order.
pub const SEARCH: [&str; 2] = ["models", "/usr/share/milad/models"];

/// How large a bundle may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of each network file.
    pub file_bytes: u64,
    /// Multiply-accumulates of `slow.onnx`, once a keyframe.
    pub slow_macs: u64,
    /// Multiply-accumulates of `fast.onnx`, on every frame.
    pub fast_macs: u64,
    /// Whether quantised parts run in integers; in float as the engine does it when not, to compare.
    pub lowering: bool,
}

impl Default for Limits {
    /// Far above what a board can run, far below what would exhaust it.
    fn default() -> Limits {
        Limits { file_bytes: 256 << 20, slow_macs: 50_000_000_000, fast_macs: 5_000_000_000, lowering: true }
    }
}

/// A checked bundle.
#[derive(Debug)]
pub struct Bundle {
    spec: Arc<Spec>,
    folder: PathBuf,
    wiring: Arc<Wiring>,
    slow: TypedModel,
    main: TypedModel,
    prelude: Option<TypedModel>,
    prelude_inputs: Vec<usize>,
    frontier: Vec<Source>,
    slow_outputs: Vec<String>,
    fast_outputs: Vec<String>,
    report: LoadReport,
}

/// What was loaded: for the log, `check`, `bench` and the model's metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadReport {
    /// Multiply-accumulates of the fast network on every frame, attention included.
    pub macs_fast: u64,
    /// Multiply-accumulates of what depends on memory alone: once a keyframe, beside the slow network.
    pub macs_prelude: u64,
    /// Multiply-accumulates of the slow network.
    pub macs_slow: u64,
    /// Multiply-accumulates of attention, part of `macs_fast`.
    pub macs_ila: u64,
    /// The attention kernel in use; `none` for a bundle without attention.
    pub kernel: &'static str,
    /// What runs in integers.
    pub integer: IntegerReport,
    /// `file: node (operator): reason` for each quantised node that runs in float.
    pub float_nodes: Vec<String>,
    /// How long reading, checking and planning took.
    pub loading: Duration,
}

/// What of a bundle runs in integers.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct IntegerReport {
    /// The integer kernels in use.
    pub kernel: &'static str,
    /// Connected parts of the networks that run as one operator each.
    pub regions: usize,
    /// Multiply-accumulates in them, of both networks and of what depends on memory alone.
    pub macs: u64,
    /// Bytes of all maps' memory.
    pub arena_bytes: usize,
    /// Bytes of packed weights.
    pub weight_bytes: usize,
}

impl IntegerReport {
    fn add(&mut self, lowered: &Lowered) {
        for region in &lowered.regions {
            self.regions += 1;
            self.macs += region.runs.iter().map(|run| run.macs).sum::<u64>();
            self.arena_bytes += region.arena_bytes;
            self.weight_bytes += region.weight_bytes;
        }
    }
}

/// A bundle ready to run.
pub struct Model {
    /// The bundle's description.
    pub spec: Arc<Spec>,
    /// Runs on every frame.
    pub fast: Box<dyn Fast>,
    /// Runs on keyframes.
    pub slow: Box<dyn Slow>,
    /// The memory before the first keyframe.
    pub initial: Memory,
    /// What was loaded.
    pub report: LoadReport,
}

/// A bundle ready to run, for programs that want every output (`infer`, `bench`).
#[derive(Debug)]
pub struct Networks {
    /// The bundle's description.
    pub spec: Arc<Spec>,
    /// Runs on every frame.
    pub fast: FastNetwork,
    /// Runs on keyframes.
    pub slow: SlowNetwork,
    /// The memory before the first keyframe.
    pub initial: Memory,
    /// What was loaded.
    pub report: LoadReport,
}

impl Bundle {
    /// Loads the bundle at a path, or of a bare name in [`SEARCH`], with all checks.
    pub fn load(name_or_path: &str) -> Result<Bundle, BundleError> {
        Bundle::load_with(&find(name_or_path)?, &Limits::default())
    }

    /// As [`Bundle::load`], with everything in float: what to compare the integers with.
    pub fn load_float(name_or_path: &str) -> Result<Bundle, BundleError> {
        Bundle::load_with(&find(name_or_path)?, &Limits { lowering: false, ..Limits::default() })
    }

    /// Loads the bundle in `folder`, no larger than `limits`.
    pub fn load_with(folder: &Path, limits: &Limits) -> Result<Bundle, BundleError> {
        caught(folder, || Bundle::read(folder, limits))
    }

    fn read(folder: &Path, limits: &Limits) -> Result<Bundle, BundleError> {
        let start = Instant::now();
        let file = |name: &str| folder.join(name);
        let manifest_bytes = onnx::read(&file("bundle.toml"), 1 << 20)?;
        let text = std::str::from_utf8(&manifest_bytes).map_err(|error| BundleError::Manifest {
            file: file("bundle.toml"),
            reason: format!("expected UTF-8 text, found other bytes at {}", error.valid_up_to()),
        })?;
        let Manifest { mut spec, slow_sha256, fast_sha256 } = Manifest::parse(&file("bundle.toml"), text)?;
        let (mut slow, slow_digest) = read_network(&file("slow.onnx"), slow_sha256, limits)?;
        let (fast, fast_digest) = read_network(&file("fast.onnx"), fast_sha256, limits)?;
        let digests = [onnx::sha256(&manifest_bytes), slow_digest, fast_digest].concat();
        spec.sha256 = onnx::hexadecimal(&onnx::sha256(&digests));

        let reader = ila::onnx();
        check::check(&slow, &reader)?;
        check::check(&fast, &reader)?;
        lowering::check(&slow)?;
        lowering::check(&fast)?;
        wiring::check_inputs(&spec, &slow, true)?;
        wiring::check_inputs(&spec, &fast, false)?;
        let slow_facts = facts::infer(&slow, &reader)?;
        let fast_facts = facts::infer(&fast, &reader)?;
        let slow_macs = facts::count(&slow, &slow_facts, &slow.graph.node)?;
        let fast_macs = facts::count(&fast, &fast_facts, &fast.graph.node)?;
        within("slow.onnx", &slow, slow_macs, limits.slow_macs)?;
        within("fast.onnx", &fast, fast_macs, limits.fast_macs)?;
        let wiring = wiring::wire(&spec, (&slow, &slow_facts), (&fast, &fast_facts))?;

        let split = hoist::split(&fast, &fast_facts, &wiring);
        let main_macs = facts::count(&fast, &fast_facts, &split.main.node)?;
        let kernel = Kernel::selected();
        let InputSpec { width, height, mean, std, .. } = spec.input;
        let picture = Picture { normalise: Arc::new(Normalise::new(mean, std)), height, width };
        let lower = |network: &Network, graph: GraphProto, facts: &Facts| match limits.lowering {
            true => lowering::lower(network, graph, facts, kernel, &picture.normalise),
            false => Lowered::nothing(network, graph),
        };
        let main = lower(&fast, split.main, &fast_facts)?;
        let prelude = split.prelude.map(|graph| lower(&fast, graph, &fast_facts)).transpose()?;
        let (slow_outputs, fast_outputs) = (slow.output_names(), fast.output_names());
        let slow_graph = std::mem::take(&mut slow.graph);
        let lowered_slow = lower(&slow, slow_graph, &slow_facts)?;
        let mut integer = IntegerReport { kernel: kernel.name(), ..IntegerReport::default() };
        let mut float_nodes = Vec::new();
        let parts = [("slow.onnx", Some(&lowered_slow)), ("fast.onnx", Some(&main)), ("fast.onnx", prelude.as_ref())];
        for (name, part) in parts.into_iter().filter_map(|(name, part)| Some((name, part?))) {
            integer.add(part);
            float_nodes.extend(part.float.iter().map(|node| format!("{name}: {node}")));
        }
        let mut engine = ila::onnx();
        lowering::operator::register(&mut engine);
        lowering::picture::register(&mut engine);
        let main = plan::optimise(&fast, main, &engine, &picture)?;
        let prelude = prelude.map(|graph| plan::optimise(&fast, graph, &engine, &picture)).transpose()?;
        let report = LoadReport {
            macs_fast: main_macs.all,
            macs_prelude: fast_macs.all.saturating_sub(main_macs.all),
            macs_slow: slow_macs.all,
            macs_ila: main_macs.attention,
            kernel: kernel_name(&main).map_err(|error| BundleError::engine(&fast.file, error))?,
            integer,
            float_nodes,
            loading: Duration::ZERO,
        };
        let slow = plan::optimise(&slow, lowered_slow, &engine, &picture)?;
        Ok(Bundle {
            spec: Arc::new(spec),
            folder: folder.into(),
            wiring: Arc::new(wiring),
            slow,
            main,
            prelude,
            prelude_inputs: split.prelude_inputs,
            frontier: split.frontier,
            slow_outputs,
            fast_outputs,
            report: LoadReport { loading: start.elapsed(), ..report },
        })
    }

    /// What it says of itself.
    pub fn spec(&self) -> &Arc<Spec> {
        &self.spec
    }

    /// Where it was found.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What was loaded.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// Makes it ready to run, each network on `threads` threads.
    pub fn into_model(self, threads: usize) -> Result<Model, BundleError> {
        let Networks { spec, fast, slow, initial, report } = self.into_networks(threads)?;
        Ok(Model { spec, fast: Box::new(fast), slow: Box::new(slow), initial, report })
    }

    /// As [`Bundle::into_model`], with the networks' own types. Each network runs once, on a black picture: what fails
    /// only while running fails here, and the first frame finds everything warm.
    pub fn into_networks(self, threads: usize) -> Result<Networks, BundleError> {
        caught(&self.folder.clone(), || self.ready(threads))
    }

    fn ready(self, threads: usize) -> Result<Networks, BundleError> {
        let start = Instant::now();
        let (slow_file, fast_file) = (self.folder.join("slow.onnx"), self.folder.join("fast.onnx"));
        let plan = |name, file: &Path, model| {
            Plan::new(name, model, threads).map_err(|error| BundleError::engine(file, error))
        };
        let prelude = match self.prelude {
            Some(model) => Some((plan("prelude", &fast_file, model)?, self.prelude_inputs)),
            None => None,
        };
        let mut slow = SlowNetwork::new(
            plan("slow", &slow_file, self.slow)?,
            prelude,
            self.frontier,
            self.wiring.clone(),
            self.slow_outputs,
        );
        let mut fast = FastNetwork {
            plan: plan("fast", &fast_file, self.main)?,
            wiring: self.wiring,
            frame_interval_s: self.spec.frame_interval_s,
            output_names: self.fast_outputs,
            slots: Kept::default(),
        };
        let refused = |file: &Path| {
            let file = file.to_path_buf();
            move |error: RunError| BundleError::Engine { file, reason: format!("a first run failed: {}", error.reason) }
        };
        let image = blank(&self.spec.input).map_err(|error| BundleError::engine(&slow_file, error))?;
        let image = Image::from(image);
        let initial = slow.initial().map_err(refused(&fast_file))?;
        let keys = fast.run(&image, &initial, 0).map_err(refused(&fast_file))?.keys;
        let first = slow.run(&image, keys, 0).map_err(refused(&slow_file))?;
        fast.run(&image, &first.memory, 0).map_err(refused(&fast_file))?;
        slow.reset();
        super::memory::give_back();
        let report = LoadReport { loading: self.report.loading + start.elapsed(), ..self.report };
        Ok(Networks { spec: self.spec, fast, slow, initial, report })
    }

    /// Names of the nodes that the frame's plan runs, for tests.
    #[cfg(test)]
    pub(crate) fn main_nodes(&self) -> Vec<String> {
        self.main.nodes().iter().map(|node| node.name.clone()).collect()
    }
}

/// The folder of a bundle.
fn find(name_or_path: &str) -> Result<PathBuf, BundleError> {
    let path = Path::new(name_or_path);
    let mut looked: Vec<PathBuf> = vec![];
    let mut components = path.components();
    // A bare name, and nothing that climbs out of the folders that are searched.
    if let (Some(Component::Normal(name)), None, false) =
        (components.next(), components.next(), name_or_path.ends_with('/'))
    {
        looked.extend(SEARCH.iter().map(|folder| Path::new(folder).join(name)));
    }
    looked.push(path.into());
    match looked.iter().find(|folder| folder.is_dir()) {
        Some(folder) => Ok(folder.clone()),
        None => Err(BundleError::NotFound { name: name_or_path.into(), looked }),
    }
}

fn read_network(file: &Path, stated: Option<String>, limits: &Limits) -> Result<(Network, [u8; 32]), BundleError> {
    let bytes = onnx::read(file, limits.file_bytes)?;
    let digest = onnx::sha256(&bytes);
    match stated {
        Some(expected) if expected != onnx::hexadecimal(&digest) => {
            Err(BundleError::Hash { file: file.into(), expected, found: onnx::hexadecimal(&digest) })
        }
        _ => Ok((Network::decode(file, &bytes)?, digest)),
    }
}

fn within(name: &str, network: &Network, found: Macs, limit: u64) -> Result<(), BundleError> {
    if found.all <= limit {
        return Ok(());
    }
    Err(BundleError::TooLarge {
        file: network.file.clone(),
        what: format!("multiply-accumulates of {name}"),
        limit: limit.to_string(),
        found: found.all.to_string(),
        advice: "use a smaller network or a smaller input",
    })
}

fn kernel_name(model: &TypedModel) -> Result<&'static str, tract_onnx::prelude::TractError> {
    let attention = model.nodes().iter().find_map(|node| node.op().downcast_ref::<ila::Ila>());
    attention.map_or(Ok("none"), ila::Ila::kernel_name)
}

//! Quantised parts of a network become integer operators before the engine sees the graph.
//!
//! A file in QDQ form says what each tensor's bytes mean, but an engine that takes it by the word dequantises, computes in float and
//! quantises again. Here every DequantizeLinear → operator → QuantizeLinear becomes one *step* on bytes ([`sandwich`]), connected steps
//! become one *region* ([`regions`]), and a region becomes one operator of the engine ([`operator`]), which runs its steps one after the other in
//! one block of memory ([`arena`], [`compile`], [`execute`]). The engine's plan stays the executor of the whole: regions, attention, and what has
//! no integer form, which runs in float as before and is named; what is small of that becomes regions of its own ([`float`]). See docs/adr/0011.
//!
//! | module | what it does |
//! |---|---|
//! | `constants`, `attributes`, `linear`, `weights` | read the file; refuse scales and zero-points that are none |
//! | `sandwich`, `convolution`, `tables` | operators between quantised tensors → steps |
//! | `regions` | steps → regions, and the graph around them |
//! | `entries` | small nodes in float at a region's edge, done on the way in |
//! | `program` | values, steps and edges: what a region computes, as plain data |
//! | `compile`, `arena`, `execute` | a region with packed weights and placed maps, and its run |
//! | `float` | small operators in float that run as one |
//! | `operator`, `picture` | the region as a node of the engine's plan; what networks are fed |

mod arena;
mod attributes;
pub(crate) mod compile;
mod constants;
mod convolution;
mod entries;
mod execute;
pub(crate) mod float;
mod linear;
pub(crate) mod operator;
pub(crate) mod picture;
pub(crate) mod program;
mod regions;
mod sandwich;
mod tables;
#[cfg(test)]
mod tests;
mod weights;

use std::sync::Arc;

use milad_kernels::int8::Kernel;
use milad_kernels::pixel::Normalise;
use tract_onnx::pb::GraphProto;

use super::error::BundleError;
use super::facts::Facts;
use super::onnx::{Network, node_name};
use super::wiring::IMAGE;
pub(crate) use compile::Compiled;

/// The type of the operator that a region becomes.
pub(crate) const OPERATOR: &str = "IntegerRegion";

/// Why a node is no step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Refusal {
    /// It runs in float; the reason, for people.
    Float(String),
    /// The file is wrong: no engine could make sense of it.
    Bad { tensor: String, expected: String, found: String, advice: &'static str },
}

/// A refusal of the file.
pub(crate) fn bad(tensor: &str, expected: String, found: String, advice: &'static str) -> Refusal {
    Refusal::Bad { tensor: tensor.into(), expected, found, advice }
}

impl Refusal {
    fn into_error(self, network: &Network) -> BundleError {
        let (tensor, expected, found, advice) = match self {
            Refusal::Bad { tensor, expected, found, advice } => (tensor, expected, found, advice),
            Refusal::Float(reason) => (String::new(), "a quantised network".into(), reason, "export it again"),
        };
        BundleError::Tensor { file: network.file.clone(), tensor, expected, found, advice: advice.into() }
    }
}

/// A graph whose integer parts are operators of ours.
#[derive(Debug, Clone)]
pub(crate) struct Lowered {
    pub graph: GraphProto,
    pub regions: Vec<Arc<Compiled>>,
    /// Small operators in float that run as one.
    pub floats: Vec<Arc<float::Region>>,
    /// Quantised nodes that run in float nevertheless: name, operator and why.
    pub float: Vec<String>,
}

impl Lowered {
    /// As it is: everything in float, but for the picture that it is fed.
    pub fn nothing(network: &Network, mut graph: GraphProto) -> Result<Lowered, BundleError> {
        picture::feed(&mut graph, &mut []).map_err(|found| no_picture(network, found))?;
        Ok(Lowered { graph, regions: vec![], floats: vec![], float: vec![] })
    }
}

fn no_picture(network: &Network, found: String) -> BundleError {
    BundleError::Tensor {
        file: network.file.clone(),
        tensor: IMAGE.into(),
        expected: "float32 [1, 3, H, W]".into(),
        found,
        advice: "export the network with a picture of numbers".into(),
    }
}

/// Refuses scales and zero-points that are none, whether they are in a part that is lowered or not.
pub(crate) fn check(network: &Network) -> Result<(), BundleError> {
    linear::check(&network.graph).map_err(|refusal| refusal.into_error(network))
}

/// Lowers `graph`, a part of `network`, for `kernel`. It is fed the prepared picture, whose bytes stand for what `normalise` says.
pub(crate) fn lower(
    network: &Network,
    graph: GraphProto,
    facts: &Facts,
    kernel: Kernel,
    normalise: &Normalise,
) -> Result<Lowered, BundleError> {
    let found = sandwich::analyse(&graph, facts, kernel).map_err(|refusal| refusal.into_error(network))?;
    let mut grouped = regions::group(&graph, facts, &found);
    picture::feed(&mut grouped.graph, &mut grouped.regions).map_err(|found| no_picture(network, found))?;
    let regions = grouped.regions.iter().map(|region| compile::compile(kernel, region, normalise).map(Arc::new));
    let regions = regions.collect::<Result<Vec<_>, _>>().map_err(|unsuited| BundleError::Operator {
        file: network.file.clone(),
        node: unsuited.step,
        operator: OPERATOR.into(),
        domain: super::ila::DOMAIN.into(),
        reason: unsuited.error.to_string(),
    })?;
    let name = |(index, reason): &(usize, String)| {
        let node = graph.node.get(*index)?;
        grouped.kept.contains(index).then(|| format!("{} ({}): {reason}", node_name(node), node.op_type))
    };
    let float = found.float.iter().filter_map(name).collect();
    // A network without quantisation is the engine's, whose convolutions take in what follows them.
    let (graph, floats) = match regions.is_empty() {
        true => (grouped.graph, vec![]),
        false => float::group(grouped.graph, facts),
    };
    Ok(Lowered { graph, regions, floats, float })
}

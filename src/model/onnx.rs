//! An ONNX file as a graph: read, hashed, its names in order. Knows nothing of bundles.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, ValueInfoProto, tensor_proto::DataType, type_proto};
use tract_onnx::prelude::*;

use super::error::BundleError;

/// One network file.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    /// Where it came from, for messages.
    pub file: PathBuf,
    /// Everything but the graph: opset imports, metadata.
    pub header: ModelProto,
    /// The graph.
    pub graph: GraphProto,
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read(file: &Path, limit: u64) -> Result<Vec<u8>, BundleError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => BundleError::Missing { file: file.into() },
        _ => BundleError::Unreadable { file: file.into(), source },
    };
    let opened = fs::File::open(file).map_err(unreadable)?;
    let metadata = opened.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "expected a regular file");
        return Err(BundleError::Unreadable { file: file.into(), source });
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a file that grew in the meantime is told from one that fits.
    opened.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(BundleError::TooLarge {
            file: file.into(),
            what: "size".into(),
            limit: format!("{limit} bytes"),
            found: format!("{} bytes", metadata.len().max(bytes.len() as u64)),
            advice: "use a smaller network",
        });
    }
    Ok(bytes)
}

/// SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Lower-case hexadecimal.
pub(crate) fn hexadecimal(digest: &[u8]) -> String {
    let mut text = String::with_capacity(digest.len() * 2);
    for byte in digest {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl Network {
    /// Decodes `bytes`, the contents of `file`.
    pub fn decode(file: &Path, bytes: &[u8]) -> Result<Network, BundleError> {
        let not_onnx = |found: String| BundleError::NotOnnx { file: file.into(), found };
        if bytes.is_empty() {
            return Err(not_onnx("an empty file".into()));
        }
        let mut header = tract_onnx::onnx()
            .proto_model_for_read(&mut &*bytes)
            .map_err(|e| not_onnx(format!("bytes that are no protobuf of a model ({})", e.root_cause())))?;
        match header.graph.take() {
            Some(mut graph) if !graph.output.is_empty() => {
                // Optional inputs that are left out at the end need no name; the engine counts names.
                for node in &mut graph.node {
                    let named = node.input.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
                    node.input.truncate(named);
                }
                Ok(Network { file: file.into(), header, graph })
            }
            Some(_) => Err(not_onnx("a model without outputs".into())),
            None => Err(not_onnx("a model without a graph".into())),
        }
    }

    /// The network with another graph, as one message again.
    pub fn with_graph(&self, graph: GraphProto) -> ModelProto {
        ModelProto { graph: Some(graph), ..self.header.clone() }
    }

    /// Inputs that are fed, in the file's order: initializers may be listed as inputs too, and are not.
    pub fn inputs(&self) -> impl Iterator<Item = &ValueInfoProto> {
        let constants: HashSet<&str> = self.graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        self.graph.input.iter().filter(move |input| !constants.contains(input.name.as_str()))
    }

    /// Names of the outputs, in the file's order.
    pub fn output_names(&self) -> Vec<String> {
        self.graph.output.iter().map(|output| output.name.clone()).collect()
    }

    /// Which node gives which tensor.
    pub fn producers(&self) -> HashMap<&str, usize> {
        let nodes = self.graph.node.iter().enumerate();
        nodes.flat_map(|(i, node)| node.output.iter().map(move |name| (name.as_str(), i))).collect()
    }
}

/// A node as people call it.
pub(crate) fn node_name(node: &NodeProto) -> &str {
    match node.output.iter().find(|name| !name.is_empty()) {
        Some(output) if node.name.is_empty() => output,
        _ => &node.name,
    }
}

/// The type and the fixed shape that the file states for an input. `Err` says in words what it states instead.
pub(crate) fn stated(info: &ValueInfoProto) -> Result<(DatumType, Vec<usize>), String> {
    let Some(type_proto::Value::TensorType(tensor)) = info.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return Err("no tensor type".into());
    };
    let datum = DataType::try_from(tensor.elem_type)
        .map_err(|_| format!("element type {}", tensor.elem_type))
        .and_then(|t| DatumType::try_from(t).map_err(|_| format!("element type {}", t.as_str_name())))?;
    let shape = tensor.shape.as_ref().ok_or("no shape")?;
    let sides = shape.dim.iter().map(|dimension| match &dimension.value {
        Some(Dimension::DimValue(n)) if *n > 0 => Ok(*n as usize),
        Some(Dimension::DimValue(n)) => Err(format!("a side of {n}")),
        Some(Dimension::DimParam(name)) => Err(format!("a free side `{name}`")),
        None => Err("a free side".into()),
    });
    Ok((datum, sides.collect::<Result<_, String>>()?))
}

/// `f32 [1, 3, 32, 64]`
pub(crate) fn words(datum: DatumType, shape: &[usize]) -> String {
    let name = match datum {
        DatumType::F32 => "float32".into(),
        other => format!("{other:?}").to_lowercase(),
    };
    format!("{name} {shape:?}")
}

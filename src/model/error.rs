//! What can be wrong with a bundle. Every message says which file, which tensor, what was expected, what was found, and what to do.

use std::io;
use std::path::PathBuf;

/// Why a bundle can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// No folder of that name.
    #[error("no bundle `{name}`: looked for {}; give the path of a folder with bundle.toml, slow.onnx and fast.onnx", places(.looked))]
    NotFound {
        /// As it was asked for.
        name: String,
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// The folder lacks a file.
    #[error("{}: missing; a bundle is a folder with bundle.toml, slow.onnx and fast.onnx: copy the whole folder again", .file.display())]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// A file can't be read.
    #[error("{}: cannot be read: {source}{}", .file.display(), readable_words(.source))]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// `bundle.toml` has a key that means nothing.
    #[error("{}: unknown key `{key}`{}; remove it or correct its name (docs/BUNDLE.md lists the keys)", .file.display(), nearest_words(.nearest))]
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// The key with the table it stands in.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// `bundle.toml` has a wrong value, or lacks one.
    #[error("{}: {key}: expected {expected}, found {found}", .file.display())]
    Value {
        /// The file.
        file: PathBuf,
        /// The key with the table it stands in.
        key: String,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// `bundle.toml` is no TOML, or a value has another type.
    #[error("{}: {reason}", .file.display())]
    Manifest {
        /// The file.
        file: PathBuf,
        /// The parser's words, with line and column.
        reason: String,
    },
    /// A network is no ONNX file.
    #[error("{}: expected an ONNX model, found {found}; export the network again", .file.display())]
    NotOnnx {
        /// The file.
        file: PathBuf,
        /// What it looks like.
        found: String,
    },
    /// The contents are not the ones that `bundle.toml` states.
    #[error("{}: expected SHA-256 {expected} (bundle.toml), found {found}; the file is damaged or was replaced: copy the bundle again, or correct bundle.toml", .file.display())]
    Hash {
        /// The file.
        file: PathBuf,
        /// As `bundle.toml` states it.
        expected: String,
        /// As it is.
        found: String,
    },
    /// Bigger than the budget.
    #[error("{}: {what}: expected at most {limit}, found {found}; {advice}", .file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// What is too large.
        what: String,
        /// The budget.
        limit: String,
        /// What it takes.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// A node that can't run here.
    #[error("{}: node `{node}`: operator {operator} (domain `{domain}`): {reason}", .file.display())]
    Operator {
        /// The file.
        file: PathBuf,
        /// The node's name, or its first output's.
        node: String,
        /// The operator.
        operator: String,
        /// Its domain; empty for standard ONNX.
        domain: String,
        /// What was expected, and what to do.
        reason: String,
    },
    /// A tensor with a wrong name, shape, type or contents.
    #[error("{}: tensor `{tensor}`: expected {expected}, found {found}; {advice}", .file.display())]
    Tensor {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
        /// What to do.
        advice: String,
    },
    /// What the fast network keeps of a keyframe depends on earlier keyframes.
    #[error(
        "{}: output `{tensor}` is memory, so it must follow from `image` alone, but it depends on input `{input}` (through {}); \
         compute it before anything that reads memory, or let slow.onnx give it",
        .file.display(), chain(.through)
    )]
    MemoryDependsOnMemory {
        /// The file.
        file: PathBuf,
        /// The output.
        tensor: String,
        /// The memory input that it depends on.
        input: String,
        /// Nodes on the way from input to output.
        through: Vec<String>,
    },
    /// The inference engine refuses the network.
    #[error("{}: the inference engine refuses this network: {reason}", .file.display())]
    Engine {
        /// The file.
        file: PathBuf,
        /// The engine's words, outermost first.
        reason: String,
    },
}

fn places(looked: &[PathBuf]) -> String {
    looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn nearest_words(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|key| format!(", the nearest known one is `{key}`")).unwrap_or_default()
}

/// What helps where the system forbids it: the service's user is not the one who tried the bundle out.
fn readable_words(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the user that milad runs as, for the service one of its own, must be allowed to read it: chmod -R a+rX on the bundle"
        }
        _ => "",
    }
}

fn chain(nodes: &[String]) -> String {
    if nodes.is_empty() {
        return "nothing in between".into();
    }
    nodes.iter().map(|node| format!("`{node}`")).collect::<Vec<_>>().join(" → ")
}

/// A shape or attribute that an operator of ours refuses; found again inside the engine's error chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node `{node}`, {tensor}: expected {expected}, found {found}")]
pub(crate) struct Complaint {
    pub node: String,
    pub tensor: String,
    pub expected: String,
    pub found: String,
}

impl BundleError {
    /// Words an engine error: our own operators' complaints keep their form, everything else is quoted.
    pub(crate) fn engine(file: &std::path::Path, error: tract_onnx::prelude::TractError) -> BundleError {
        if let Some(complaint) = error.chain().find_map(|cause| cause.downcast_ref::<Complaint>()) {
            return BundleError::Tensor {
                file: file.into(),
                tensor: format!("{} ({})", complaint.tensor, complaint.node),
                expected: complaint.expected.clone(),
                found: complaint.found.clone(),
                advice: "correct the export".into(),
            };
        }
        let words: Vec<_> = error.chain().map(|cause| cause.to_string()).collect();
        BundleError::Engine { file: file.into(), reason: words.join(": ") }
    }
}

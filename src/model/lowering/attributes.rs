//! Attributes of a node with the defaults of the ONNX standard.

use tract_onnx::pb::{AttributeProto, NodeProto};

/// A node's attributes by name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes<'a>(pub &'a NodeProto);

impl<'a> Attributes<'a> {
    fn get(self, name: &str) -> Option<&'a AttributeProto> {
        self.0.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub fn integer(self, name: &str, default: i64) -> i64 {
        self.get(name).map_or(default, |attribute| attribute.i)
    }

    pub fn float(self, name: &str, default: f32) -> f32 {
        self.get(name).map_or(default, |attribute| attribute.f)
    }

    pub fn integers(self, name: &str) -> Option<&'a [i64]> {
        self.get(name).map(|attribute| attribute.ints.as_slice())
    }

    pub fn text(self, name: &str, default: &'static str) -> &'a str {
        self.get(name).and_then(|attribute| std::str::from_utf8(&attribute.s).ok()).unwrap_or(default)
    }
}

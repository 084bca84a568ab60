//! What reads or gives quantised tensors and became no step, with the reason.

use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::DatumType;

use super::{Finder, output};

impl Finder<'_> {
    /// What reads or gives quantised tensors and became no step.
    pub(super) fn leftovers(&mut self) {
        let taken = self.taken();
        for (index, node) in self.graph.node.iter().enumerate() {
            let is_plumbing = matches!(node.op_type.as_str(), "QuantizeLinear" | "DequantizeLinear" | "Constant");
            let reads_values = self.takes_values(node)
                || node.input.iter().any(|name| self.facts.contains_key(name) && self.value_of_bytes(name).is_some());
            let is_ours = node.domain == crate::model::ila::DOMAIN;
            let is_weighted = matches!(node.op_type.as_str(), "Conv" | "ConvTranspose" | "MatMul" | "Gemm")
                && node.input.get(1).is_some_and(|name| self.reader.quantised(name).is_ok_and(|found| found.is_some()));
            if taken.contains(&index) || is_plumbing || is_ours || !(reads_values || is_weighted) {
                continue;
            }
            let reason = self.reasons.remove(&index).unwrap_or_else(|| self.why(node));
            self.found.float.push((index, reason));
        }
    }

    fn why(&self, node: &NodeProto) -> String {
        match node.input.iter().take(1).find(|name| !self.found.views.contains_key(name.as_str())) {
            Some(name) if self.facts.get(name).is_some_and(|(datum, _)| *datum == DatumType::F32) => {
                format!("its input `{name}` is not quantised")
            }
            _ => format!("its output `{}` is not quantised", output(node)),
        }
    }
}

//! What an `InterFrameLocalAttention` node says of itself, and whether its inputs fit.

use tract_onnx::pb::NodeProto;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::tract_hir::internal::*;

use super::super::error::Complaint;
use super::super::onnx::{node_name, words};
use super::Geometry;

/// The widest window, in positions to each side.
const MAX_RADIUS: i64 = 64;

/// Attributes, and where the optional inputs and outputs are among those that are there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Attributes {
    pub node: String,
    pub heads: usize,
    pub radius: usize,
    /// Bits of the float32, so that nodes can be compared.
    scale: Option<u32>,
    pub bias: Option<usize>,
    pub null: Option<usize>,
    pub valid: Option<usize>,
    pub confidence: Option<usize>,
    pub border: Option<usize>,
}

impl Attributes {
    /// Reads `node`.
    pub fn read(node: &NodeProto) -> Result<Attributes, Complaint> {
        let complain = |what: &str, expected: &str, found: String| Complaint {
            node: node_name(node).into(),
            tensor: what.into(),
            expected: expected.into(),
            found,
        };
        let (mut radius, mut heads, mut scale) = (None, 1, None);
        for attribute in &node.attribute {
            let kind = AttributeType::try_from(attribute.r#type).unwrap_or(AttributeType::Undefined);
            match (attribute.name.as_str(), kind) {
                ("radius", AttributeType::Int) if (0..=MAX_RADIUS).contains(&attribute.i) => {
                    radius = Some(attribute.i as usize);
                }
                ("radius", _) => {
                    let found = format!("{} {}", kind.as_str_name(), attribute.i);
                    return Err(complain("attribute radius", &format!("an integer from 0 to {MAX_RADIUS}"), found));
                }
                ("heads", AttributeType::Int) if (1..=1024).contains(&attribute.i) => heads = attribute.i as usize,
                ("heads", _) => {
                    let found = format!("{} {}", kind.as_str_name(), attribute.i);
                    return Err(complain("attribute heads", "an integer from 1", found));
                }
                ("scale", AttributeType::Float) if attribute.f.is_finite() => scale = Some(attribute.f.to_bits()),
                ("scale", _) => {
                    let found = format!("{} {}", kind.as_str_name(), attribute.f);
                    return Err(complain("attribute scale", "a finite float", found));
                }
                (other, _) => {
                    return Err(complain("attributes", "radius, heads and scale only", format!("`{other}`")));
                }
            }
        }
        let radius = radius.ok_or_else(|| complain("attribute radius", "an integer from 0", "nothing".into()))?;
        let place = |names: &[String], index: usize| {
            names.get(index).filter(|name| !name.is_empty())?;
            Some(names.iter().take(index).filter(|name| !name.is_empty()).count())
        };
        Ok(Attributes {
            node: node_name(node).into(),
            heads,
            radius,
            scale,
            bias: place(&node.input, 3),
            null: place(&node.input, 4),
            valid: place(&node.input, 5),
            confidence: place(&node.output, 1),
            border: place(&node.output, 2),
        })
    }

    /// The softmax scale; `None` for 1/√(Cq/g).
    pub fn scale(&self) -> Option<f32> {
        self.scale.map(f32::from_bits)
    }

    /// How many outputs are there: y, and those asked for.
    pub fn output_count(&self) -> usize {
        1 + usize::from(self.confidence.is_some()) + usize::from(self.border.is_some())
    }

    /// Multiply-accumulates of a frame: (2r+1)²·(Cq+Cv)·H·W·T.
    pub fn macs(&self, geometry: &Geometry) -> u64 {
        let window = (2 * self.radius as u64 + 1).pow(2);
        let factors =
            [geometry.query_channels + geometry.value_channels, geometry.height, geometry.width, geometry.keyframes];
        factors.into_iter().fold(window, |product, factor| product.saturating_mul(factor as u64))
    }

    /// The sizes that the inputs have, if they fit together.
    pub fn geometry(&self, inputs: &[&TypedFact]) -> Result<Geometry, Complaint> {
        let complain = |tensor: &str, expected: String, found: String| Complaint {
            node: self.node.clone(),
            tensor: format!("input {tensor}"),
            expected,
            found,
        };
        let shape = |index: Option<usize>, name: &str| -> Result<Option<&[usize]>, Complaint> {
            let Some(index) = index else { return Ok(None) };
            let expected = || "float32 of a fixed shape".to_string();
            let fact = inputs.get(index).ok_or_else(|| complain(name, expected(), "nothing".into()))?;
            match fact.shape.as_concrete() {
                Some(shape) if fact.datum_type == DatumType::F32 => Ok(Some(shape)),
                Some(shape) => Err(complain(name, expected(), words(fact.datum_type, shape))),
                None => Err(complain(name, expected(), format!("{fact:?}"))),
            }
        };
        let q = shape(Some(0), "q")?.unwrap_or_default();
        let &[1, query_channels, height, width] = q else {
            return Err(complain("q", "[1, Cq, H, W]".into(), format!("{q:?}")));
        };
        let v = shape(Some(2), "v")?.unwrap_or_default();
        let &[keyframes, value_channels, ..] = v else {
            return Err(complain("v", "[T, Cv, H, W]".into(), format!("{v:?}")));
        };
        let equals = |name: &str, found: Option<&[usize]>, expected: &[usize]| match found {
            Some(found) if found != expected => Err(complain(name, format!("{expected:?}"), format!("{found:?}"))),
            _ => Ok(()),
        };
        equals("v", Some(v), &[keyframes, value_channels, height, width])?;
        equals("k", shape(Some(1), "k")?, &[keyframes, query_channels, height, width])?;
        let (heads, window) = (self.heads, (2 * self.radius + 1).pow(2));
        equals("bias", shape(self.bias, "bias")?, &[heads, window])?;
        equals("null", shape(self.null, "null")?, &[heads])?;
        equals("valid", shape(self.valid, "valid")?, &[keyframes])?;
        for (name, channels) in [("q", query_channels), ("v", value_channels)] {
            if channels == 0 || !channels.is_multiple_of(heads) {
                return Err(complain(name, format!("channels in {heads} equal heads"), format!("{channels} channels")));
            }
        }
        if keyframes == 0 || height == 0 || width == 0 {
            return Err(complain("v", "no empty side".into(), format!("{v:?}")));
        }
        Ok(Geometry { query_channels, value_channels, height, width, keyframes })
    }
}

//! Functions of one number as tables of 256 bytes: what QuantizeLinear(f(DequantizeLinear(byte))) gives for each byte.

use milad_kernels::int8::Quantisation;
use tract_onnx::pb::NodeProto;

use super::Refusal;
use super::attributes::Attributes;
use super::weights::Reader;

/// A function of one number, in float64 so that the last digit does not depend on a library's float32 form.
pub(crate) type Function = Box<dyn Fn(f64) -> f64 + Send + Sync>;

/// What `node` computes from its input `picture` (an index), if it is a function of one number at a time. `None` for other operators.
pub(crate) fn function(reader: &Reader, node: &NodeProto, picture: usize) -> Result<Option<Function>, Refusal> {
    let attributes = Attributes(node);
    let parameter = |name: &str, default: f32| f64::from(attributes.float(name, default));
    let function: Function = match node.op_type.as_str() {
        "Relu" => Box::new(|x| x.max(0.0)),
        "Clip" => {
            let [low, high] = bounds(reader, node)?;
            Box::new(move |x| x.max(low.into()).min(high.into()))
        }
        "LeakyRelu" => {
            let alpha = parameter("alpha", 0.01);
            Box::new(move |x| if x < 0.0 { alpha * x } else { x })
        }
        "Elu" => {
            let alpha = parameter("alpha", 1.0);
            Box::new(move |x| if x < 0.0 { alpha * x.exp_m1() } else { x })
        }
        "Sigmoid" => Box::new(sigmoid),
        "Tanh" => Box::new(f64::tanh),
        "Softplus" => Box::new(|x| x.exp().ln_1p()),
        "Exp" => Box::new(f64::exp),
        "Abs" => Box::new(f64::abs),
        "Neg" => Box::new(|x| -x),
        "HardSigmoid" => {
            let (alpha, beta) = (parameter("alpha", 0.2), parameter("beta", 0.5));
            Box::new(move |x| (alpha * x + beta).clamp(0.0, 1.0))
        }
        "HardSwish" => Box::new(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        "PRelu" if picture == 0 => {
            let Some(slope) = other(reader, node, picture)? else { return Ok(None) };
            Box::new(move |x| if x < 0.0 { slope * x } else { x })
        }
        kind @ ("Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" | "Pow") if node.input.len() == 2 => {
            let Some(constant) = other(reader, node, picture)? else { return Ok(None) };
            match (kind, picture) {
                ("Add", _) => Box::new(move |x| x + constant),
                ("Mul", _) => Box::new(move |x| x * constant),
                ("Max", _) => Box::new(move |x| x.max(constant)),
                ("Min", _) => Box::new(move |x| x.min(constant)),
                ("Sub", 0) => Box::new(move |x| x - constant),
                ("Sub", _) => Box::new(move |x| constant - x),
                ("Div", 0) if constant != 0.0 => Box::new(move |x| x / constant),
                _ => return Ok(None),
            }
        }
        "Identity" | "Dropout" => Box::new(|x| x),
        _ => return Ok(None),
    };
    Ok(Some(function))
}

/// The table of `function` between two quantisations.
pub(crate) fn table(function: &dyn Fn(f64) -> f64, from: Quantisation, to: Quantisation) -> Box<[u8; 256]> {
    let mut table = Box::new([0; 256]);
    for (byte, entry) in table.iter_mut().enumerate() {
        *entry = to.quantise(function(f64::from(from.dequantise(byte as u8))) as f32);
    }
    table
}

/// The bounds of a Relu or Clip node.
pub(crate) fn bounds(reader: &Reader, node: &NodeProto) -> Result<[f32; 2], Refusal> {
    if node.op_type == "Relu" {
        return Ok([0.0, f32::INFINITY]);
    }
    let attributes = Attributes(node);
    let bound = |index: usize, attribute: &str, none: f32| match node.input.get(index).filter(|name| !name.is_empty()) {
        // Before operator set 11 they were attributes.
        None => Ok(attributes.float(attribute, none)),
        Some(name) => {
            let number = reader.scalar(name)?;
            number.ok_or_else(|| Refusal::Float(format!("its bound `{name}` is computed while running")))
        }
    };
    Ok([bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?])
}

/// The constant number at the other input.
fn other(reader: &Reader, node: &NodeProto, picture: usize) -> Result<Option<f64>, Refusal> {
    let name = node.input.get(1 - picture.min(1)).map_or("", String::as_str);
    Ok(reader.scalar(name)?.map(f64::from))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_the_float_function_between_the_quantisations() {
        let (from, to) =
            (Quantisation { scale: 0.05, zero_point: 128 }, Quantisation { scale: 1.0 / 255.0, zero_point: 0 });
        let table = table(&sigmoid, from, to);
        // A half of 255 is 127.5, less what 1/255 was rounded up in float32.
        assert_eq!((table[128], table[0], table[255]), (127, 0, 255));
        assert!(table.is_sorted());
        let same = super::table(&|x| x, from, from);
        assert!(same.iter().enumerate().all(|(byte, &entry)| byte == usize::from(entry)));
    }
}

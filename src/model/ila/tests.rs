//! The operator in a plan, against the definition written out in float64.

use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, attribute_proto::AttributeType};
use tract_onnx::prelude::*;

use super::super::tests::toy::{attention, encode, info, integer};

/// `y` and `confidence` of one head, straight from the definition.
#[allow(clippy::too_many_arguments)]
fn definition(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    null: f32,
    valid: &[f32],
    h: i64,
    w: i64,
    r: i64,
    scale: f64,
) -> (Vec<f64>, Vec<f64>) {
    let (area, c) = ((h * w) as usize, q.len() / (h * w) as usize);
    let cv = v.len() / valid.len() / area;
    let (mut y, mut confidence) = (vec![0.0; cv * area], vec![0.0; area]);
    for p in 0..area {
        let (py, px) = (p as i64 / w, p as i64 % w);
        let mut logits = vec![];
        for t in (0..valid.len()).filter(|&t| valid[t] != 0.0) {
            for (dy, dx) in (-r..=r).flat_map(|dy| (-r..=r).map(move |dx| (dy, dx))) {
                let (ny, nx) = (py + dy, px + dx);
                if (0..h).contains(&ny) && (0..w).contains(&nx) {
                    let n = (ny * w + nx) as usize;
                    let dot: f64 =
                        (0..c).map(|i| f64::from(q[i * area + p]) * f64::from(k[(t * c + i) * area + n])).sum();
                    logits.push((dot * scale, t, n));
                }
            }
        }
        let null = f64::from(null).exp();
        let total: f64 = logits.iter().map(|(logit, ..)| logit.exp()).sum::<f64>() + null;
        for (logit, t, n) in logits {
            (0..cv).for_each(|i| y[i * area + p] += logit.exp() / total * f64::from(v[(t * cv + i) * area + n]));
        }
        confidence[p] = 1.0 - null / total;
    }
    (y, confidence)
}

#[test]
fn a_node_with_left_out_inputs_and_outputs_gives_what_is_defined() {
    let (h, w, c, cv) = (3i64, 5i64, 4i64, 2i64);
    let scale =
        AttributeProto { name: "scale".into(), r#type: AttributeType::Float as i32, f: 0.7, ..Default::default() };
    let node = NodeProto {
        attribute: vec![integer("radius", 1), scale],
        ..attention(&["q", "k", "v", "", "null", "valid"], &["y", "confidence"])
    };
    let graph = GraphProto {
        input: vec![
            info("q", &[1, c, h, w]),
            info("k", &[2, c, h, w]),
            info("v", &[2, cv, h, w]),
            info("null", &[1]),
            info("valid", &[2]),
        ],
        output: vec![info("confidence", &[1, 1, h, w]), info("y", &[1, cv, h, w])],
        node: vec![node],
        ..Default::default()
    };
    let model = super::onnx().model_for_read(&mut encode(&graph).as_slice()).unwrap();
    let mut state = model.into_optimized().unwrap().into_runnable().unwrap().spawn().unwrap();
    let number = |i: i64, seed: i64| ((i * 31 + seed * 17) % 23) as f32 / 11.0 - 1.0;
    let tensor = |shape: [i64; 4], seed| -> (Vec<f32>, TValue) {
        let numbers: Vec<f32> = (0..shape.iter().product()).map(|i| number(i, seed)).collect();
        let tensor = Tensor::from_shape(&shape.map(|side| side as usize), &numbers).unwrap();
        (numbers, tensor.into_tvalue())
    };
    let ((q, tq), (k, tk), (v, tv)) = (tensor([1, c, h, w], 1), tensor([2, c, h, w], 2), tensor([2, cv, h, w], 3));
    for valid in [[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]] {
        let inputs = tvec![tq.clone(), tk.clone(), tv.clone(), tensor1(&[0.3f32]).into(), tensor1(&valid).into()];
        let outputs = state.run(inputs).unwrap();
        let (y, confidence) = definition(&q, &k, &v, 0.3, &valid, h, w, 1, 0.7);
        for (found, expected) in outputs.iter().zip([confidence, y]) {
            let found = found.try_as_plain_ram().unwrap().as_slice::<f32>().unwrap();
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-5, "{valid:?}: expected {expected}, found {found}");
            }
        }
    }
}

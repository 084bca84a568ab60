//! Local attention as its definition reads, in f64, one position at a time; and inputs for it.

use milad_kernels::ila::Shape;

#[derive(Clone)]
pub struct Inputs {
    pub q: Vec<f32>,
    pub k: Vec<f32>,
    pub v: Vec<f32>,
    pub bias: Option<Vec<f32>>,
    pub null: Option<Vec<f32>>,
    pub valid: Option<Vec<f32>>,
}

pub struct Outputs {
    pub y: Vec<f32>,
    pub confidence: Vec<f32>,
    pub border: Vec<f32>,
}

/// Numbers in −1 … 1 by a seed; the last keyframe is invalid when there is more than one.
pub fn random(shape: &Shape, seed: u64) -> Inputs {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut numbers = |count: usize| -> Vec<f32> {
        let mut next = || {
            // xorshift64* (Vigna 2016).
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    };
    let positions = shape.positions();
    let (t, g) = (shape.keyframes, shape.heads);
    Inputs {
        q: numbers(shape.query_channels * positions),
        k: numbers(t * shape.query_channels * positions),
        v: numbers(t * shape.value_channels * positions),
        bias: Some(numbers(g * shape.window() * shape.window())),
        null: Some(numbers(g)),
        valid: Some((0..t).map(|i| if t > 1 && i == t - 1 { 0.0 } else { 1.0 }).collect()),
    }
}

pub fn reference(shape: &Shape, scale: Option<f32>, inputs: &Inputs) -> Outputs {
    let &Shape { heads, query_channels, value_channels, height, width, keyframes, radius } = shape;
    let (cq, cv, positions) = (query_channels / heads, value_channels / heads, shape.positions());
    let scale = scale.map_or(1.0 / (cq as f64).sqrt(), f64::from);
    let r = radius as isize;
    let mut out = Outputs {
        y: vec![0.0; value_channels * positions],
        confidence: vec![1.0; heads * positions],
        border: vec![0.0; heads * positions],
    };
    for head in 0..heads {
        for p in 0..positions {
            let (y, x) = ((p / width) as isize, (p % width) as isize);
            // (logit, position of the value, keyframe, on the rim)
            let mut looked_at = Vec::new();
            for t in 0..keyframes {
                if inputs.valid.as_ref().is_some_and(|valid| valid[t] == 0.0) {
                    continue;
                }
                for (i, (dy, dx)) in (-r..=r).flat_map(|dy| (-r..=r).map(move |dx| (dy, dx))).enumerate() {
                    let (ky, kx) = (y + dy, x + dx);
                    if ky < 0 || kx < 0 || ky >= height as isize || kx >= width as isize {
                        continue;
                    }
                    let at = ky as usize * width + kx as usize;
                    let dot: f64 = (head * cq..(head + 1) * cq)
                        .map(|c| {
                            f64::from(inputs.q[c * positions + p])
                                * f64::from(inputs.k[(t * query_channels + c) * positions + at])
                        })
                        .sum();
                    let bias =
                        inputs.bias.as_ref().map_or(0.0, |b| f64::from(b[head * shape.window() * shape.window() + i]));
                    looked_at.push((scale * dot + bias, at, t, dy.abs() == r || dx.abs() == r));
                }
            }
            let null = inputs.null.as_ref().map(|null| f64::from(null[head]));
            let max = looked_at.iter().map(|l| l.0).chain(null).fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = looked_at.iter().map(|l| (l.0 - max).exp()).collect();
            let null = null.map_or(0.0, |null| (null - max).exp());
            let total = weights.iter().sum::<f64>() + null;
            for c in head * cv..(head + 1) * cv {
                let sum: f64 = looked_at
                    .iter()
                    .zip(&weights)
                    .map(|(l, w)| w * f64::from(inputs.v[(l.2 * value_channels + c) * positions + l.1]))
                    .sum();
                out.y[c * positions + p] = if looked_at.is_empty() { 0.0 } else { (sum / total) as f32 };
            }
            out.confidence[head * positions + p] = (1.0 - null / total) as f32;
            let rim: f64 = looked_at.iter().zip(&weights).filter(|(l, _)| l.3).map(|(_, w)| w).sum();
            out.border[head * positions + p] = (rim / total) as f32;
        }
    }
    out
}

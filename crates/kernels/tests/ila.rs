//! Local attention on every instruction set that this machine has, against the formula written down naively in f64.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ila_reference;

use ila_reference::{Inputs, Outputs, random, reference};
use milad_kernels::cpu::Isa;
use milad_kernels::ila::{Attention, Shape, ShapeError};

/// heads, Cq, Cv, H, W, T, r
type Row = [usize; 7];

fn shape([heads, query_channels, value_channels, height, width, keyframes, radius]: Row) -> Shape {
    Shape { heads, query_channels, value_channels, height, width, keyframes, radius }
}

/// Odd sizes, widths around every number of lanes, radii 0 to 6 and beyond the map, heads, keyframes, unequal and odd channels.
const SHAPES: &[Row] = &[
    [1, 1, 1, 1, 1, 1, 0],
    [1, 3, 2, 1, 1, 1, 3],
    [1, 4, 4, 5, 3, 1, 1],
    [1, 4, 4, 3, 5, 2, 6],
    [1, 8, 8, 17, 23, 1, 3],
    [3, 9, 15, 17, 23, 2, 2],
    [3, 6, 3, 17, 23, 3, 1],
    [1, 5, 7, 2, 33, 1, 4],
    [1, 32, 32, 6, 16, 1, 4],
    [1, 7, 13, 9, 31, 1, 5],
    [1, 6, 25, 7, 32, 2, 6],
    [2, 4, 2, 4, 15, 1, 0],
    [1, 3, 1, 1, 40, 1, 2],
    [1, 2, 3, 40, 1, 1, 2],
    [2, 2, 4, 3, 4, 3, 9],
    [1, 16, 24, 8, 17, 1, 1],
];

fn isas() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.available())
}

/// Runs `inputs` and fails where it differs from the reference by more than `tolerance`.
fn compare(isa: Isa, shape: Shape, scale: Option<f32>, inputs: &Inputs, tolerance: f64) {
    let expected = reference(&shape, scale, inputs);
    let actual = run(isa, shape, scale, inputs);
    for (name, expected, actual) in [
        ("y", &expected.y, &actual.y),
        ("confidence", &expected.confidence, &actual.confidence),
        ("border", &expected.border, &actual.border),
    ] {
        assert_eq!(expected.len(), actual.len());
        for (i, (&e, &a)) in expected.iter().zip(actual).enumerate() {
            let difference = (f64::from(e) - f64::from(a)).abs();
            assert!(difference <= tolerance, "{isa} {shape:?} {name}[{i}]: expected {e}, found {a}");
        }
    }
}

fn run(isa: Isa, shape: Shape, scale: Option<f32>, inputs: &Inputs) -> Outputs {
    let mut attention = Attention::new(isa, shape, scale).unwrap();
    let (keys, values) = (shape.query_channels * shape.positions(), shape.value_channels * shape.positions());
    for t in 0..shape.keyframes {
        attention.pack(t, &inputs.k[t * keys..][..keys], &inputs.v[t * values..][..values]).unwrap();
    }
    let shares = shape.heads * shape.positions();
    // NaN everywhere: what is not written shows.
    let mut out =
        Outputs { y: vec![f32::NAN; values], confidence: vec![f32::NAN; shares], border: vec![f32::NAN; shares] };
    attention
        .run(
            &inputs.q,
            inputs.bias.as_deref(),
            inputs.null.as_deref(),
            inputs.valid.as_deref(),
            &mut out.y,
            Some(&mut out.confidence),
            Some(&mut out.border),
        )
        .unwrap();
    let mut y = vec![f32::NAN; values];
    attention
        .run(&inputs.q, inputs.bias.as_deref(), inputs.null.as_deref(), inputs.valid.as_deref(), &mut y, None, None)
        .unwrap();
    assert!(y.iter().zip(&out.y).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa} {shape:?}: shares change y");
    out
}

#[test]
fn every_instruction_set_agrees_with_the_formula() {
    for isa in isas() {
        for (seed, &row) in SHAPES.iter().enumerate() {
            let shape = shape(row);
            for options in 0..8 {
                let mut inputs = random(&shape, seed as u64 * 8 + options);
                if options & 1 == 0 {
                    inputs.bias = None;
                }
                if options & 2 == 0 {
                    inputs.null = None;
                }
                if options & 4 == 0 {
                    inputs.valid = None;
                }
                compare(isa, shape, None, &inputs, 2e-6);
                compare(isa, shape, Some(1.7), &inputs, 1e-5);
            }
        }
    }
}

#[test]
fn what_the_environment_forces_is_there_and_runs() {
    let forced = milad_kernels::cpu::forced().unwrap();
    let isa = Isa::selected();
    assert_eq!(isa, forced.unwrap_or_else(Isa::best));
    assert!(isas().any(|tested| tested == isa));
    assert_eq!(Attention::new(isa, shape([1; 7]), None).unwrap().kernel_name(), isa.name());
}

#[test]
fn nothing_valid_gives_zero() {
    for isa in isas() {
        let shape = shape([2, 4, 6, 5, 19, 2, 2]);
        for with_null in [false, true] {
            let mut inputs = random(&shape, 5);
            inputs.valid = Some(vec![0.0; 2]);
            if !with_null {
                inputs.null = None;
            }
            let out = run(isa, shape, None, &inputs);
            assert!(out.y.iter().all(|&y| y == 0.0));
            assert!(out.border.iter().all(|&b| b == 0.0));
            assert!(out.confidence.iter().all(|&c| c == if with_null { 0.0 } else { 1.0 }));
        }
    }
}

#[test]
fn an_invalid_keyframe_is_not_looked_at_even_when_it_is_nan() {
    for isa in isas() {
        let shape = shape([1, 4, 4, 6, 18, 3, 2]);
        let mut inputs = random(&shape, 6);
        inputs.valid = Some(vec![1.0, 0.0, 1.0]);
        let size = 4 * shape.positions();
        inputs.k[size..2 * size].fill(f32::NAN);
        inputs.v[size..2 * size].fill(f32::NAN);
        compare(isa, shape, None, &inputs, 2e-6);
    }
}

#[test]
fn huge_logits_and_a_bias_of_minus_infinity_do_not_overflow() {
    for isa in isas() {
        let shape = shape([1, 4, 4, 9, 21, 1, 2]);
        let mut inputs = random(&shape, 7);
        // One channel and small integers times a power of two: logits up to 4.6e35, exact in f32.
        for x in inputs.q.iter_mut().chain(&mut inputs.k) {
            *x = (*x * 4.0).round() * 1.0e17;
        }
        let positions = shape.positions();
        inputs.q[positions..].fill(0.0);
        inputs.bias = None;
        compare(isa, shape, Some(1.0), &inputs, 1e-5);
        let mut inputs = random(&shape, 8);
        let bias = inputs.bias.as_mut().unwrap();
        bias.iter_mut().step_by(3).for_each(|b| *b = f32::NEG_INFINITY);
        compare(isa, shape, None, &inputs, 2e-6);
        inputs.bias.as_mut().unwrap().fill(f32::NEG_INFINITY);
        assert!(run(isa, shape, None, &inputs).y.iter().all(|&y| y == 0.0));
        inputs.null = None;
        assert!(run(isa, shape, None, &inputs).y.iter().all(|&y| y == 0.0));
    }
}

#[test]
fn a_nan_stays_where_it_is_looked_at() {
    for isa in isas() {
        let shape = shape([1, 4, 4, 12, 40, 1, 2]);
        let clean = random(&shape, 9);
        let expected = run(isa, shape, None, &clean);
        let (y, x) = (6, 17);
        for tensor in 0..3 {
            let mut inputs = clean.clone();
            let map = [&mut inputs.q, &mut inputs.k, &mut inputs.v];
            map.into_iter().nth(tensor).unwrap()[y * 40 + x] = f32::NAN;
            let actual = run(isa, shape, None, &inputs);
            let reach = if tensor == 0 { 0 } else { 2 };
            for py in 0..12usize {
                for px in 0..40usize {
                    let i = py * 40 + px;
                    if py.abs_diff(y) <= reach && px.abs_diff(x) <= reach {
                        assert!(actual.y[i].is_nan(), "{isa}: tensor {tensor} at {py},{px}");
                    } else {
                        assert_eq!(
                            actual.y[i].to_bits(),
                            expected.y[i].to_bits(),
                            "{isa}: tensor {tensor} at {py},{px}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn wrong_sizes_are_told() {
    let good = [2, 4, 6, 5, 7, 2, 1];
    for (at, value, message) in [
        (0, 0, "heads: expected at least 1, found 0"),
        (3, 0, "height: expected at least 1, found 0"),
        (5, 0, "keyframes: expected at least 1, found 0"),
        (1, 5, "q and k: expected channels in a multiple of 2 heads, found 5"),
        (2, 7, "v: expected channels in a multiple of 2 heads, found 7"),
        (4, usize::MAX / 2, "fits into memory"),
        (6, usize::MAX / 2, "fits into memory"),
    ] {
        let mut row = good;
        row[at] = value;
        let error = Attention::new(Isa::Portable, shape(row), None).err().unwrap().to_string();
        assert!(error.contains(message), "{error}");
    }
    // On 32 bits as well.
    assert!(Attention::new(Isa::Portable, shape([1, 64, 64, 96, 160, 2, 4]), None).is_ok());
    assert!(matches!(Attention::new(Isa::Portable, shape(good), Some(f32::NAN)), Err(ShapeError::Scale(_))));
    for isa in Isa::ALL.into_iter().filter(|isa| !isa.available()) {
        assert!(matches!(Attention::new(isa, shape(good), None), Err(ShapeError::Unavailable(_))));
    }

    let mut attention = Attention::new(Isa::Portable, shape(good), None).unwrap();
    let (q, v) = (vec![0.0; 4 * 35], vec![0.0; 6 * 35]);
    let mut y = v.clone();
    let error = |result: Result<(), ShapeError>| result.unwrap_err().to_string();
    assert!(error(attention.pack(2, &q, &v)).contains("keyframe 2: expected a number below 2"));
    assert!(error(attention.pack(0, &v, &v)).contains("k: expected 140 elements, found 210"));
    assert!(error(attention.pack(0, &q, &q)).contains("v: expected 210 elements, found 140"));
    assert!(error(attention.run(&v, None, None, None, &mut y, None, None)).contains("q: expected 140"));
    let mut small = vec![0.0; 3];
    assert!(error(attention.run(&q, None, None, None, &mut small, None, None)).contains("y: expected 210"));
    assert!(error(attention.run(&q, Some(&[0.0; 9]), None, None, &mut y, None, None)).contains("bias: expected 18"));
    assert!(error(attention.run(&q, None, Some(&[0.0; 1]), None, &mut y, None, None)).contains("null: expected 2"));
    assert!(error(attention.run(&q, None, None, Some(&[0.0; 1]), &mut y, None, None)).contains("valid: expected 2"));
    let result = attention.run(&q, None, None, None, &mut y, Some(&mut small), None);
    assert!(error(result).contains("confidence: expected 70"));
    let result = attention.run(&q, None, None, None, &mut y, None, Some(&mut small));
    assert!(error(result).contains("border: expected 70"));
}

//! How long a frame's pixels take: preparation and maps against the straightforward way, in the same run.
//!
//! `cargo bench -p milad-kernels --bench pixels`. The straightforward way converts every pixel to float RGB planes and
//! resizes those (maps: upsamples every class's plane, then looks for the largest), with the same filters.

use std::hint::black_box;
use std::time::Instant;

use milad_kernels::cpu::Isa;
use milad_kernels::maps::{DepthEncoding, Quantiles, Upsampler, count_at_most, count_classes};
use milad_kernels::pixel::prepare::{Preparer, Target};
use milad_kernels::pixel::{Colour, Picture, PixelFormat, Resize, plane_sizes};

const CAMERA: (usize, usize) = (640, 480);
const INPUT: (usize, usize) = (256, 128);
const LOGITS: (usize, usize, usize) = (8, 16, 32);

fn main() {
    println!("{:<44} {:>9} {:>12} {:>7}", "", "ms", "two-step ms", "times");
    for format in [PixelFormat::Yuyv, PixelFormat::Nv12, PixelFormat::Rgb24] {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
            prepare(isa, format);
        }
    }
    segmentation();
    maps();
}

/// The median of many runs, in milliseconds.
fn median_ms(mut run: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..101)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn report(name: &str, ours: f64, plain: f64) {
    println!("{name:<44} {ours:>9.3} {plain:>12.3} {:>7.1}", plain / ours);
}

fn noise(n: usize) -> impl Iterator<Item = u32> {
    (0..n).scan(1u32, |seed, _| {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some(*seed >> 8)
    })
}

fn prepare(isa: Isa, format: PixelFormat) {
    let ((width, height), (out_width, out_height)) = (CAMERA, INPUT);
    let (sizes, _) = plane_sizes(format, width, height);
    let planes: Vec<Vec<u8>> =
        sizes.iter().map(|(row, rows)| noise(row * rows).map(|v| (v >> 16) as u8).collect()).collect();
    let colour = Colour::unsaid(format);
    let picture = Picture {
        format,
        colour,
        width,
        height,
        planes: [&planes[0], &planes[1], &planes[2]],
        strides: sizes.map(|(row, _)| row),
    };
    let target = Target {
        width: out_width,
        height: out_height,
        fill: [0; 3],
        resize: Resize::Stretch,
        crop: None,
        flip_horizontal: false,
        flip_vertical: false,
        rotate: 0,
    };
    let mut preparer = match Preparer::with_isa(isa, format, colour, width, height, &target) {
        Ok(preparer) => preparer,
        Err(problem) => return println!("{problem}"),
    };
    let mut out = vec![0u8; 4 * out_width * out_height];
    let ours = median_ms(|| {
        let _ = preparer.run(black_box(&picture), black_box(&mut out));
    });
    let mut rgb = vec![0f32; 3 * width * height];
    let across = triangle(width, out_width);
    let down = triangle(height, out_height);
    let mut rows = vec![0f32; out_height * width];
    let mut plain = vec![0f32; 3 * out_width * out_height];
    let two_step = median_ms(|| {
        convert(black_box(&picture), &mut rgb);
        for c in 0..3 {
            let plane = &rgb[c * width * height..][..width * height];
            for (y, (first, weights)) in down.iter().enumerate() {
                let row = &mut rows[y * width..][..width];
                row.fill(0.0);
                for (k, weight) in weights.iter().enumerate() {
                    let from = &plane[(first + k) * width..][..width];
                    row.iter_mut().zip(from).for_each(|(sum, v)| *sum += weight * v);
                }
            }
            for y in 0..out_height {
                for (x, (first, weights)) in across.iter().enumerate() {
                    let from = &rows[y * width + first..];
                    let sum: f32 = weights.iter().zip(from).map(|(w, v)| w * v).sum();
                    plain[(c * out_height + y) * out_width + x] = (sum - 0.45) / 0.225;
                }
            }
        }
        black_box(&plain);
    });
    report(&format!("prepare {width}x{height} {format:?} -> {out_width}x{out_height} ({isa})"), ours, two_step);
}

/// Full-resolution RGB, clamped, chroma repeated.
fn convert(picture: &Picture, rgb: &mut [f32]) {
    let (width, height) = (picture.width, picture.height);
    for y in 0..height {
        for x in 0..width {
            let at = y * width + x;
            if picture.format == PixelFormat::Rgb24 {
                for c in 0..3 {
                    rgb[c * width * height + at] =
                        f32::from(picture.planes[0][y * picture.strides[0] + 3 * x + c]) / 255.0;
                }
                continue;
            }
            let (luma, cb, cr) = if picture.format == PixelFormat::Yuyv {
                let pair = &picture.planes[0][y * picture.strides[0] + x / 2 * 4..][..4];
                (pair[x % 2 * 2], pair[1], pair[3])
            } else {
                let pair = &picture.planes[1][y / 2 * picture.strides[1] + x / 2 * 2..][..2];
                (picture.planes[0][y * picture.strides[0] + x], pair[0], pair[1])
            };
            let luma = (f32::from(luma) - 16.0) / 219.0;
            let (cb, cr) = ((f32::from(cb) - 128.0) / 224.0, (f32::from(cr) - 128.0) / 224.0);
            rgb[at] = (luma + 1.402 * cr).clamp(0.0, 1.0);
            rgb[width * height + at] = (luma - 0.344_136 * cb - 0.714_136 * cr).clamp(0.0, 1.0);
            rgb[2 * width * height + at] = (luma + 1.772 * cb).clamp(0.0, 1.0);
        }
    }
}

fn triangle(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = from as f32 / to as f32;
    (0..to)
        .map(|i| {
            let centre = (i as f32 + 0.5) * scale;
            let weight = |x: usize| (1.0 - (x as f32 + 0.5 - centre).abs() / scale).max(0.0);
            let first = (0..from).find(|x| weight(*x) > 0.0).unwrap_or(0);
            let weights: Vec<f32> = (first..from).map(weight).take_while(|w| *w > 0.0).collect();
            let sum: f32 = weights.iter().sum();
            (first, weights.iter().map(|w| w / sum).collect())
        })
        .collect()
}

fn segmentation() {
    let ((classes, height, width), (out_width, out_height)) = (LOGITS, INPUT);
    let logits: Vec<f32> = noise(classes * height * width).map(|v| v as f32 / 1e6).collect();
    let mut labels = vec![0u8; out_width * out_height];
    let Ok(mut upsampler) = Upsampler::new(height, width, out_height, out_width) else { return };
    let ours = median_ms(|| {
        let _ = upsampler.segmentation(black_box(&logits), classes, black_box(&mut labels));
    });
    let mut planes = vec![0f32; classes * out_width * out_height];
    let mut plain = vec![0u8; out_width * out_height];
    let two_step = median_ms(|| {
        for (source, out) in logits.chunks_exact(height * width).zip(planes.chunks_exact_mut(out_width * out_height)) {
            for y in 0..out_height {
                let (y0, y1, fy) = place(y, height, out_height);
                for x in 0..out_width {
                    let (x0, x1, fx) = place(x, width, out_width);
                    let column = |x: usize| source[y0 * width + x] * (1.0 - fy) + source[y1 * width + x] * fy;
                    out[y * out_width + x] = column(x0) * (1.0 - fx) + column(x1) * fx;
                }
            }
        }
        for (i, label) in plain.iter_mut().enumerate() {
            let value = |class: usize| planes[class * out_width * out_height + i];
            *label = (0..classes).fold(0, |best, class| if value(class) > value(best) { class } else { best }) as u8;
        }
        black_box(&plain);
    });
    report(&format!("argmax {classes}x{height}x{width} -> {out_height}x{out_width}"), ours, two_step);
}

/// Maps and their numbers, of predictions a quarter as large.
fn maps() {
    let (out_width, out_height) = INPUT;
    let (height, width) = (out_height / 4, out_width / 4);
    let Ok(mut up) = Upsampler::new(height, width, out_height, out_width) else { return };
    let values: Vec<f32> = noise(8 * height * width).map(|v| v as f32 / 16_777_216.0 + 1.0).collect();
    let (mut labels, mut metres) = (vec![0u8; out_width * out_height], vec![0f32; out_width * out_height]);
    let mut directions = vec![0i8; 3 * out_width * out_height];
    let mut quantiles = Quantiles::new(metres.len());
    let mut counts = [0; 8];
    let plane = height * width;
    let mut time = |name: &str, run: &mut dyn FnMut(&mut Upsampler)| {
        let ms = median_ms(|| run(black_box(&mut up)));
        println!("{name:<44} {ms:>9.4}");
    };
    time("8 logits at a quarter -> classes", &mut |up| drop(up.segmentation(&values, 8, &mut labels)));
    time("depth from its logarithm", &mut |up| drop(up.depth(&values[..plane], DepthEncoding::Log, &mut metres)));
    time("normals", &mut |up| drop(up.normals(&values[..3 * plane], &mut directions)));
    time("shares of classes", &mut |_| count_classes(&labels, &mut counts));
    time("normals that point up", &mut |_| {
        black_box(count_at_most(&directions[..out_width * out_height], -110));
    });
    time("quantiles of depth", &mut |_| {
        black_box(quantiles.of(&metres, [0.001, 0.05, 0.5, 0.95]));
    });
}

fn place(i: usize, from: usize, to: usize) -> (usize, usize, f32) {
    let position = ((i as f32 + 0.5) * from as f32 / to as f32 - 0.5).clamp(0.0, (from - 1) as f32);
    let left = position as usize;
    (left, (left + 1).min(from - 1), position - left as f32)
}

//! Maps as small coloured pictures, two pixels a character: the upper half of a block in one colour on another.

use milad_client::{Dtype, Map, Statistics, TaskInfo, TaskKind};

use super::terminal::Colours;

/// The upper half of a character's place.
const HALF: char = '▀';

/// A map in colours.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// What it shows.
    pub name: String,
    width: usize,
    height: usize,
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    /// A map as people see it; without a task it is the camera's picture. `None` where it is gone, or nothing to look at.
    pub fn of(name: &str, task: Option<&TaskInfo>, told: Option<&Statistics>, map: &Map<'_>) -> Option<Picture> {
        let pixels: Vec<[u8; 3]> = match (task, task.map(|task| task.kind), map.dtype()) {
            (None, _, Dtype::U8) => map.to_u8().ok()?.as_chunks::<3>().0.to_vec(),
            (Some(task), Some(TaskKind::Segmentation), Dtype::U8) => {
                let colours: Vec<_> = task.classes.iter().map(|class| super::colour(&class.color)).collect();
                let of = |class: u8| colours.get(usize::from(class)).copied().unwrap_or_default();
                map.to_u8().ok()?.into_iter().map(of).collect()
            }
            (_, Some(TaskKind::Depth), Dtype::F32) => {
                let (near, far) = range(told);
                map.to_f32().ok()?.into_iter().map(|metres| warmth(metres, near, far)).collect()
            }
            (_, Some(TaskKind::Normals), Dtype::I8) => {
                let all = map.to_i8().ok()?;
                let plane = all.len() / 3;
                let (x, rest) = all.split_at_checked(plane)?;
                let (y, z) = rest.split_at_checked(plane)?;
                // Right is red, up is green, towards us is blue.
                let shade = |v: i8| (128 + i16::from(v)).clamp(0, 255) as u8;
                let of = |((x, y), z): ((&i8, &i8), &i8)| match (x, y, z) {
                    (0, 0, 0) => [0; 3],
                    _ => [shade(*x), shade(y.saturating_neg()), shade(z.saturating_neg())],
                };
                x.iter().zip(y).zip(z).map(of).collect()
            }
            _ => return None,
        };
        let sides = if task.is_none() { map.shape().get(..2)? } else { map.shape().last_chunk::<2>()? };
        let &[height, width] = sides else { return None };
        let (width, height) = (width as usize, height as usize);
        let name = if task.is_none() { "camera" } else { name };
        (width * height == pixels.len() && !pixels.is_empty()).then(|| Picture {
            name: name.to_owned(),
            width,
            height,
            pixels,
        })
    }

    /// A picture of one colour.
    #[cfg(test)]
    pub fn plain(name: &str, (width, height): (usize, usize), colour: [u8; 3]) -> Picture {
        Picture { name: name.to_owned(), width, height, pixels: vec![colour; width * height] }
    }

    /// Rows of text that it needs when it is so many characters wide.
    pub fn rows(&self, columns: usize) -> usize {
        (columns * self.height).div_ceil(2 * self.width).max(1)
    }

    /// How wide it can be in so many rows.
    pub fn columns(&self, rows: usize) -> usize {
        rows * 2 * self.width / self.height
    }

    /// One row of text, without colours of its own left behind.
    pub fn row(&self, row: usize, columns: usize, colours: Colours) -> String {
        let rows = 2 * self.rows(columns);
        let (mut out, mut before) = (String::new(), String::new());
        for column in 0..columns {
            let half = |row: usize| self.mean(cut(column, columns, self.width), cut(row, rows, self.height));
            let sequence = colours.sequence(half(2 * row), half(2 * row + 1));
            if sequence != before {
                out.push_str(&sequence);
                before = sequence;
            }
            out.push(HALF);
        }
        out.push_str("\x1b[0m");
        out
    }

    /// The mean colour of a rectangle.
    fn mean(&self, (left, right): (usize, usize), (top, bottom): (usize, usize)) -> [u8; 3] {
        let mut sum = [0u32; 3];
        for y in top..bottom {
            for pixel in self.pixels.get(y * self.width + left..y * self.width + right).unwrap_or_default() {
                sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u32::from(*value));
            }
        }
        let count = ((right - left) * (bottom - top)).max(1) as u32;
        sum.map(|sum| (sum / count) as u8)
    }
}

/// The part of `length` pixels that belongs to place `i` of `places`: at least one pixel.
fn cut(i: usize, places: usize, length: usize) -> (usize, usize) {
    let start = (i * length / places).min(length.saturating_sub(1));
    (start, ((i + 1) * length / places).clamp(start + 1, length.max(start + 1)))
}

/// From which metres to which there are colours.
fn range(told: Option<&Statistics>) -> (f32, f32) {
    match told {
        Some(Statistics::Depth { nearest: Some(nearest), p95: Some(far), .. }) if *far > 0.0 => {
            let near = nearest.max(0.01);
            (near, far.max(near * 1.1))
        }
        _ => (1.0, 100.0),
    }
}

/// Near is warm. Turbo, by the polynomial of its authors (Mikhailov and Ruilova, 2019); black: no answer.
fn warmth(metres: f32, near: f32, far: f32) -> [u8; 3] {
    const TURBO: [[f32; 6]; 3] = [
        [0.135_721_38, 4.615_392_6, -42.660_324, 132.131_08, -152.942_4, 59.286_38],
        [0.091_402_61, 2.194_188_4, 4.842_966_6, -14.185_033, 4.277_298_6, 2.829_566],
        [0.106_673_3, 12.641_946, -60.582_05, 110.362_77, -89.903_11, 27.348_25],
    ];
    if !metres.is_finite() {
        return [0; 3];
    }
    let place = 1.0 - ((metres.max(f32::MIN_POSITIVE).ln() - near.ln()) / (far.ln() - near.ln())).clamp(0.0, 1.0);
    TURBO.map(|c| {
        let value = c.into_iter().rev().fold(0.0, |sum, c| sum * place + c);
        // The cast ends at 0 and at 255.
        (value * 255.0) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Picture {
        let mut pixels = vec![[200, 0, 0]; 8];
        pixels.extend([[0, 0, 100]; 8]);
        Picture { name: "camera".into(), width: 4, height: 4, pixels }
    }

    #[test]
    fn halves_of_a_character_are_pixels_above_each_other() {
        assert_eq!((picture().rows(4), picture().rows(1), picture().columns(2)), (2, 1, 4));
        let colours = Colours::True;
        assert_eq!(picture().row(0, 2, colours), "\x1b[38;2;200;0;0;48;2;0;0;100m▀▀\x1b[0m");
        assert_eq!(picture().row(0, 4, colours), "\x1b[38;2;200;0;0;48;2;200;0;0m▀▀▀▀\x1b[0m");
    }

    #[test]
    fn every_pixel_is_in_one_place() {
        for (places, length) in [(3, 7), (7, 7), (5, 128)] {
            let parts: Vec<_> = (0..places).map(|i| cut(i, places, length)).collect();
            assert_eq!((parts[0].0, parts[places - 1].1), (0, length));
            assert!(parts.windows(2).all(|pair| pair[0].1 == pair[1].0), "{parts:?}");
        }
        // More places than pixels: each shows one.
        assert!((0..9).map(|i| cut(i, 9, 4)).all(|(start, end)| end == start + 1 && end <= 4));
    }

    #[test]
    fn near_is_warm_far_is_cold_and_no_answer_is_black() {
        let ([r, _, b], [far_r, _, far_b]) = (warmth(2.0, 1.0, 100.0), warmth(60.0, 1.0, 100.0));
        assert!(r > 200 && b < 80 && far_b > far_r, "{r} {b} {far_r} {far_b}");
        assert_eq!(warmth(f32::INFINITY, 1.0, 100.0), [0; 3]);
        assert_eq!(warmth(0.0, 1.0, 100.0), warmth(1.0, 1.0, 100.0));
    }
}

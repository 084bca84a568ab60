//! Predictions → published maps and the few numbers that every result carries.
//!
//! Statistics are computed on the published map, so that a client with the map can compute the same. Once warm nothing
//! is allocated: maps, tables and scratch are kept.

use milad_client::{Named, Share, Statistics};
use milad_kernels::maps::{DepthEncoding as KernelDepth, Quantiles, Upsampler, count_at_most, count_classes};

use super::picture::without_gaps;
use super::plane::{IMAGE_TASK, Plane, Values};
use crate::model::engine::Image;
use crate::model::{DepthEncoding, InputSpec, Prediction, Spec, TaskKind, TaskSpec};

/// −y of a unit vector × 127 from which a normal points up within 30°: 127 · cos 30° = 109.99.
const UP: i8 = 110;
/// The quantile of depth that is called nearest: robust against a few wrong pixels (32 of a 256×128 map).
const NEAREST: f64 = 0.001;

/// A prediction that does not fit its task's description.
#[derive(Debug, thiserror::Error)]
#[error("task {task}: {reason}")]
pub struct DigestError {
    /// Which task.
    pub task: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Makes maps and statistics, frame after frame, in the same buffers.
#[derive(Debug)]
pub struct Digest {
    tasks: Vec<Task>,
    /// One a task, and behind them the image's, once somebody wanted it.
    planes: Vec<Plane>,
    input: InputSpec,
    has_image: bool,
    quantiles: Quantiles,
}

#[derive(Debug)]
struct Task {
    spec: TaskSpec,
    /// For predictions of `[height, width]`; made at the first one.
    upsampler: Option<(usize, usize, Upsampler)>,
}

impl Digest {
    /// For the tasks of a bundle.
    pub fn new(spec: &Spec) -> Digest {
        let planes = spec.tasks.iter().enumerate().map(|(task, spec)| {
            let pixels = spec.width * spec.height;
            let (channels, values) = match &spec.kind {
                TaskKind::Segmentation { .. } => (1, Values::U8(vec![0; pixels].into())),
                TaskKind::Depth { .. } => (1, Values::F32(vec![0.0; pixels].into())),
                TaskKind::Normals => (3, Values::I8(vec![0; 3 * pixels].into())),
                TaskKind::Raw { channels } => (*channels, Values::F32(vec![0.0; channels * pixels].into())),
            };
            Plane { task, channels, height: spec.height, width: spec.width, values }
        });
        let largest = spec.tasks.iter().map(|task| task.width * task.height).max().unwrap_or(0);
        Digest {
            planes: planes.collect(),
            input: spec.input.clone(),
            has_image: false,
            tasks: spec.tasks.iter().map(|spec| Task { spec: spec.clone(), upsampler: None }).collect(),
            quantiles: Quantiles::new(largest),
        }
    }

    /// Makes the maps of a prediction, and writes every task's statistics into `statistics`, which is best handed in again
    /// each time. On an error all planes give back the room that they were lent.
    pub fn run(&mut self, prediction: &Prediction, statistics: &mut Named<Statistics>) -> Result<(), DigestError> {
        let done = self.make(prediction, statistics);
        if done.is_err() {
            self.planes.iter_mut().for_each(|plane| plane.values.lend(None));
        }
        done
    }

    fn make(&mut self, prediction: &Prediction, statistics: &mut Named<Statistics>) -> Result<(), DigestError> {
        if prediction.tasks.len() != self.tasks.len() {
            let reason = format!("expected {} predictions, found {}", self.tasks.len(), prediction.tasks.len());
            return Err(DigestError { task: "*".into(), reason });
        }
        if !self.matches(statistics) {
            statistics.0 = self.tasks.iter().map(|task| (task.spec.name.clone(), empty(&task.spec.kind))).collect();
        }
        let outputs = self.tasks.iter_mut().zip(&mut self.planes).zip(statistics.0.iter_mut());
        for (((task, plane), (_, statistics)), tensor) in outputs.zip(&prediction.tasks) {
            let fail = |reason: String| DigestError { task: task.spec.name.clone(), reason };
            let tensor = tensor.to_plain_array_view::<f32>().map_err(|error| fail(error.to_string()))?;
            let &[1, channels, height, width] = tensor.shape() else {
                return Err(fail(format!("expected a prediction [1, C, h, w], found {:?}", tensor.shape())));
            };
            let Some(values) = tensor.as_slice() else {
                return Err(fail("its numbers are not contiguous".into()));
            };
            let fits = matches!(&task.upsampler, Some((h, w, _)) if (*h, *w) == (height, width));
            if !fits {
                let made = Upsampler::new(height, width, task.spec.height, task.spec.width);
                task.upsampler = Some((height, width, made.map_err(|error| fail(error.to_string()))?));
            }
            let Some((_, _, upsampler)) = &mut task.upsampler else { continue };
            let done = match (&task.spec.kind, &mut plane.values) {
                (TaskKind::Segmentation { .. }, Values::U8(out)) => upsampler.segmentation(values, channels, out),
                (TaskKind::Depth { encoding }, Values::F32(out)) => upsampler.depth(values, kernel(*encoding), out),
                (TaskKind::Normals, Values::I8(out)) => upsampler.normals(values, out),
                (TaskKind::Raw { .. }, Values::F32(out)) => upsampler.raw(values, channels, out),
                // Planes are made of the same description.
                _ => continue,
            };
            done.map_err(|error| fail(error.to_string()))?;
            update(statistics, &plane.values, &mut self.quantiles);
        }
        Ok(())
    }

    /// Whether the picture that the networks saw has a plane behind the maps.
    pub fn with_picture(&mut self, wanted: bool) {
        self.has_image = wanted;
        if !wanted {
            self.give_back();
        } else if self.planes.len() == self.tasks.len() {
            let InputSpec { width, height, .. } = self.input;
            let values = Values::U8(vec![0; 3 * width * height].into());
            self.planes.push(Plane { task: IMAGE_TASK, channels: 3, height, width, values });
        }
    }

    /// Makes that plane, where there is one. A picture that can't be read leaves none.
    pub fn picture(&mut self, image: &Image) {
        let place = self.planes.get_mut(self.tasks.len()).filter(|_| self.has_image);
        let Some(Plane { values: Values::U8(out), .. }) = place else { return };
        let pixels = image.as_plain_ram().and_then(|plain| plain.as_slice::<u8>().ok());
        self.has_image = pixels.map(|pixels| without_gaps(pixels, out)).is_some();
        if !self.has_image {
            self.give_back();
        }
    }

    /// The picture is not made where it was lent room: so it is no part of what readers find there.
    fn give_back(&mut self) {
        self.planes.iter_mut().skip(self.tasks.len()).for_each(|plane| plane.values.lend(None));
    }

    /// The maps of the last run in the order of the tasks, and the picture where there is one.
    pub fn planes(&self) -> &[Plane] {
        self.planes.get(..self.tasks.len() + usize::from(self.has_image)).unwrap_or(&self.planes)
    }

    /// The same before a run, to be lent room, and behind it.
    pub fn planes_mut(&mut self) -> &mut [Plane] {
        let count = self.planes.len().min(self.tasks.len() + usize::from(self.has_image));
        self.planes.get_mut(..count).unwrap_or_default()
    }

    /// Whether `statistics` are of the same tasks, so that only numbers change.
    fn matches(&self, statistics: &Named<Statistics>) -> bool {
        statistics.len() == self.tasks.len()
            && statistics.0.iter().zip(&self.tasks).all(|((name, statistics), task)| {
                *name == task.spec.name
                    && match (&task.spec.kind, statistics) {
                        (TaskKind::Segmentation { classes }, Statistics::Segmentation { share }) => {
                            share.iter().map(|(name, _)| name).eq(classes.iter().map(|class| class.name.as_str()))
                        }
                        (TaskKind::Depth { .. }, Statistics::Depth { .. })
                        | (TaskKind::Normals, Statistics::Normals { .. })
                        | (TaskKind::Raw { .. }, Statistics::Raw {}) => true,
                        _ => false,
                    }
            })
    }
}

fn kernel(encoding: DepthEncoding) -> KernelDepth {
    match encoding {
        DepthEncoding::Metres => KernelDepth::Metres,
        DepthEncoding::Log => KernelDepth::Log,
        DepthEncoding::Inverse => KernelDepth::Inverse,
    }
}

fn empty(kind: &TaskKind) -> Statistics {
    match kind {
        TaskKind::Segmentation { classes } => {
            Statistics::Segmentation { share: classes.iter().map(|c| (c.name.clone(), Share::default())).collect() }
        }
        TaskKind::Depth { .. } => Statistics::Depth { p5: None, p50: None, p95: None, nearest: None },
        TaskKind::Normals => Statistics::Normals { up: 0.0 },
        TaskKind::Raw { .. } => Statistics::Raw {},
    }
}

fn update(statistics: &mut Statistics, values: &Values, quantiles: &mut Quantiles) {
    match (statistics, values) {
        (Statistics::Segmentation { share }, Values::U8(map)) => {
            let mut counts = [0; 256];
            let counts = counts.get_mut(..share.len()).unwrap_or_default();
            count_classes(map, counts);
            for ((_, share), count) in share.0.iter_mut().zip(counts) {
                share.0 = *count as f32 / map.len().max(1) as f32;
            }
        }
        (Statistics::Normals { up }, Values::I8(map)) => {
            let pixels = map.len() / 3;
            // The second channel is y, which points down.
            let y = map.get(pixels..2 * pixels).unwrap_or_default();
            *up = count_at_most(y, -UP) as f32 / pixels.max(1) as f32;
        }
        (Statistics::Depth { p5, p50, p95, nearest }, Values::F32(map)) => {
            [*nearest, *p5, *p50, *p95] = quantiles.of(map, [NEAREST, 0.05, 0.5, 0.95]);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use milad_kernels::pixel::Resize;
    use milad_ring::PlaneWriter;
    use tract_onnx::prelude::{IntoTValue, IntoTensor, TValue, Tensor, tvec};

    use super::*;
    use crate::model::{Class, InputSpec};

    fn spec(kind: TaskKind, width: usize, height: usize) -> Spec {
        Spec {
            name: String::new(),
            sha256: String::new(),
            trained_on: String::new(),
            frame_interval_s: 0.1,
            keyframe_interval: 1,
            intrinsics: None,
            input: InputSpec { width, height, mean: [0.0; 3], std: [1.0; 3], resize: Resize::Stretch },
            tasks: vec![TaskSpec { name: "task".into(), kind, width, height }],
        }
    }

    fn tensor(shape: &[usize], values: &[f32]) -> TValue {
        Tensor::from_shape(shape, values).unwrap().into_tvalue()
    }

    /// Digests a map that is as large as it is published.
    fn digested(kind: TaskKind, width: usize, channels: usize, values: &[f32]) -> (Statistics, Values) {
        let height = values.len() / width / channels;
        let mut digest = Digest::new(&spec(kind, width, height));
        let mut statistics = Named::default();
        let prediction = Prediction { tasks: tvec![tensor(&[1, channels, height, width], values)] };
        digest.run(&prediction, &mut statistics).unwrap();
        (statistics.get("task").unwrap().clone(), digest.planes()[0].values.clone())
    }

    #[test]
    fn depth_quantiles_are_values_of_their_rank_among_the_finite_ones() {
        // 0…1000 in an order that is no order: rank and value are the same number.
        let mut values: Vec<f32> = (0..1001).map(|i| (i * 367 % 1001) as f32).collect();
        values.extend([f32::INFINITY, f32::NAN, f32::INFINITY]);
        let (statistics, _) = digested(TaskKind::Depth { encoding: DepthEncoding::Metres }, 1004, 1, &values);
        let expected = Statistics::Depth { p5: Some(50.0), p50: Some(500.0), p95: Some(950.0), nearest: Some(1.0) };
        assert_eq!(statistics, expected);
    }

    #[test]
    fn quantiles_equal_those_of_a_sorted_list_for_every_small_count() {
        for count in 1..60usize {
            let values: Vec<f32> = (0..count).map(|i| ((i * 7919) % 13) as f32).collect();
            let mut sorted = values.clone();
            sorted.sort_by(f32::total_cmp);
            let at = |q: f64| Some(sorted[((count - 1) as f64 * q).floor() as usize]);
            let (statistics, _) = digested(TaskKind::Depth { encoding: DepthEncoding::Metres }, count, 1, &values);
            let expected = Statistics::Depth { p5: at(0.05), p50: at(0.5), p95: at(0.95), nearest: at(0.001) };
            assert_eq!(statistics, expected, "{values:?}");
        }
    }

    #[test]
    fn depth_without_a_finite_value_has_no_quantiles() {
        let kind = TaskKind::Depth { encoding: DepthEncoding::Inverse };
        let (statistics, _) = digested(kind, 4, 1, &[0.0, f32::NAN, 0.0, -1.0]);
        assert_eq!(statistics, Statistics::Depth { p5: None, p50: None, p95: None, nearest: None });
    }

    #[test]
    fn shares_count_the_pixels_of_the_published_map() {
        let classes = ["a", "b", "c"].map(|name| Class { name: name.into(), color: [0; 3] }).to_vec();
        // By channel; the winners are a, b, b, a.
        let logits = [9.0, 0.0, 0.0, 5.0, 1.0, 9.0, 2.0, 4.0, 0.0, 0.0, 1.0, 4.0];
        let (statistics, map) = digested(TaskKind::Segmentation { classes }, 2, 3, &logits);
        assert_eq!(map, Values::U8(vec![0, 1, 1, 0].into()));
        let share = [("a", 0.5), ("b", 0.5), ("c", 0.0)].map(|(name, share)| (name.to_owned(), Share(share)));
        assert_eq!(statistics, Statistics::Segmentation { share: share.into_iter().collect() });
    }

    #[test]
    fn a_picture_that_is_not_wanted_or_can_not_be_read_gives_back_the_room_that_it_was_lent() {
        let mut digest = Digest::new(&spec(TaskKind::Normals, 4, 4));
        let writer = PlaneWriter::new("test", 2, 48).unwrap();
        let lend = |digest: &mut Digest| {
            digest.with_picture(true);
            digest.planes_mut()[1].values.lend(writer.room(0));
            assert!(writer.room(0).is_none());
        };
        lend(&mut digest);
        digest.with_picture(false);
        assert!(writer.room(0).is_some() && digest.planes_mut().len() == 1);
        lend(&mut digest);
        digest.picture(&tensor(&[1], &[0.5]).into_tensor().into());
        assert!(writer.room(0).is_some() && digest.planes_mut().len() == 1);
    }

    #[test]
    fn up_is_against_y_within_thirty_degrees() {
        let angles = [0.0f32, 29.0, 31.0, 90.0, 180.0].map(f32::to_radians);
        let (x, y) = (angles.map(f32::sin), angles.map(|angle| -angle.cos()));
        let (statistics, _) = digested(TaskKind::Normals, 5, 3, &[x, y, [0.0; 5]].concat());
        assert_eq!(statistics, Statistics::Normals { up: 0.4 });
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_the_next_one_is_not() {
        let kind = TaskKind::Depth { encoding: DepthEncoding::Metres };
        let mut digest = Digest::new(&spec(kind, 4, 4));
        let mut statistics = Named::default();
        for wrong in [tensor(&[1, 2, 2, 2], &[0.0; 8]), tensor(&[1, 4], &[0.0; 4])] {
            let error = digest.run(&Prediction { tasks: tvec![wrong] }, &mut statistics).unwrap_err();
            assert!(error.to_string().starts_with("task task: "), "{error}");
        }
        assert!(digest.run(&Prediction::default(), &mut statistics).is_err());
        let writer = PlaneWriter::new("test", 2, 64).unwrap();
        digest.planes_mut()[0].values.lend(writer.room(0));
        assert!(writer.room(0).is_none() && digest.run(&Prediction::default(), &mut statistics).is_err());
        assert!(writer.room(0).is_some(), "it was given back");
        let fits = Prediction { tasks: tvec![tensor(&[1, 1, 2, 2], &[1.0; 4])] };
        digest.run(&fits, &mut statistics).unwrap();
        assert_eq!(digest.planes()[0].values, Values::F32(vec![1.0; 16].into()));
    }
}

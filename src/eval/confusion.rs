//! Classes against classes: one confusion matrix over everything that was compared, and the IoU that follows from it.

/// Pixels by class of the truth (row) and class of the prediction (column).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

impl Confusion {
    /// Nothing counted yet, for `classes` classes.
    pub fn new(classes: usize) -> Confusion {
        Confusion { classes, counts: vec![0; classes * classes] }
    }

    /// Counts one pixel. A class that does not exist is not counted.
    pub fn count(&mut self, truth: usize, prediction: usize) {
        if truth < self.classes && prediction < self.classes {
            self.counts[truth * self.classes + prediction] += 1;
        }
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Confusion) {
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count += other;
        }
    }

    /// Pixels counted.
    pub fn pixels(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Rows, for people who want to compute something else.
    pub fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.counts.chunks_exact(self.classes.max(1))
    }

    /// Intersection over union of one class: true positives / (in the truth or predicted). `None` where it is neither.
    pub fn iou(&self, class: usize) -> Option<f64> {
        let row: u64 = self.rows().nth(class)?.iter().sum();
        let column: u64 = self.rows().filter_map(|row| row.get(class)).sum();
        let hit = *self.rows().nth(class)?.get(class)?;
        let union = row + column - hit;
        (union > 0).then(|| hit as f64 / union as f64)
    }

    /// Mean IoU over those of `classes` that occur, 0…1; `None` where none does.
    pub fn mean_iou(&self, classes: impl IntoIterator<Item = usize>) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0u32);
        for iou in classes.into_iter().filter_map(|class| self.iou(class)) {
            sum += iou;
            count += 1;
        }
        (count > 0).then(|| sum / f64::from(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iou_is_the_intersection_of_pixel_sets_over_their_union() {
        let truth: Vec<usize> = (0..600).map(|i| i * i % 7 % 4).collect();
        let prediction: Vec<usize> = (0..600).map(|i| if i % 3 == 0 { i % 4 } else { truth[i] }).collect();
        let mut confusion = Confusion::new(5);
        truth.iter().zip(&prediction).for_each(|(t, p)| confusion.count(*t, *p));
        let mut ious = vec![];
        for class in 0..5 {
            let both = (0..600).filter(|&i| truth[i] == class && prediction[i] == class).count();
            let either = (0..600).filter(|&i| truth[i] == class || prediction[i] == class).count();
            let expected = (either > 0).then(|| both as f64 / either as f64);
            assert_eq!(confusion.iou(class), expected, "{class}");
            ious.extend(expected);
        }
        assert!(ious.len() < 5, "one class occurs nowhere and has no part in the mean");
        let mean = ious.iter().sum::<f64>() / ious.len() as f64;
        assert!((confusion.mean_iou(0..5).unwrap() - mean).abs() < 1e-12);
        assert_eq!(confusion.pixels(), 600);
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let (mut whole, mut first, mut second) = (Confusion::new(3), Confusion::new(3), Confusion::new(3));
        for i in 0..90 {
            let (truth, prediction) = (i % 3, i / 2 % 3);
            whole.count(truth, prediction);
            if i % 5 < 2 { &mut first } else { &mut second }.count(truth, prediction);
        }
        first.merge(&second);
        assert_eq!(first, whole);
    }

    #[test]
    fn what_no_class_is_counts_nowhere() {
        let mut confusion = Confusion::new(2);
        confusion.count(2, 0);
        confusion.count(0, 255);
        assert_eq!(confusion.pixels(), 0);
        assert_eq!((confusion.iou(0), confusion.mean_iou(0..2)), (None, None));
    }
}

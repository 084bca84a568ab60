//! Confusion matrix and mean intersection over union, for the gates.

/// Counts of pixels by true class (rows) and answered class.
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

impl Confusion {
    pub fn new(classes: usize) -> Confusion {
        Confusion { classes, counts: vec![0; classes * classes] }
    }

    pub fn add(&mut self, truth: &[u8], answer: &[u8]) {
        assert_eq!(truth.len(), answer.len());
        for (&t, &a) in truth.iter().zip(answer) {
            self.counts[usize::from(t) * self.classes + usize::from(a)] += 1;
        }
    }

    /// Both together.
    pub fn with(&self, other: &Confusion) -> Confusion {
        let counts = self.counts.iter().zip(&other.counts).map(|(a, b)| a + b).collect();
        Confusion { classes: self.classes, counts }
    }

    /// Mean over classes of intersection over union, in per cent.
    pub fn mean_iou(&self) -> f64 {
        let n = self.classes;
        let sum: f64 = (0..n)
            .map(|c| {
                let row: u64 = (0..n).map(|k| self.counts[c * n + k]).sum();
                let column: u64 = (0..n).map(|k| self.counts[k * n + c]).sum();
                let both = self.counts[c * n + c];
                both as f64 / (row + column - both) as f64
            })
            .sum();
        100.0 * sum / n as f64
    }
}

#[test]
fn a_small_case_by_hand() {
    let mut confusion = Confusion::new(2);
    confusion.add(&[0, 0, 0, 1], &[0, 0, 1, 1]);
    // Class 0: 2 of 3; class 1: 1 of 2.
    assert!((confusion.mean_iou() - 100.0 * (2.0 / 3.0 + 0.5) / 2.0).abs() < 1e-9);
}

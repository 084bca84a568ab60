//! The last results in numbers: their rate, their latency, a small plot.

use std::collections::VecDeque;

use milad_client::ResultMessage;

/// Results that are remembered.
const RESULTS: usize = 60;
/// Heights of a bar.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last results, the newest last.
#[derive(Debug, Default)]
pub struct Window {
    /// When each was published, nanoseconds, and its latency in milliseconds.
    results: VecDeque<(u64, f64)>,
}

impl Window {
    /// One more.
    pub fn take(&mut self, result: &ResultMessage) {
        if self.results.len() == RESULTS {
            self.results.pop_front();
        }
        self.results.push_back((result.published_ns, result.latency_ms.total));
    }

    /// What was is over.
    pub fn clear(&mut self) {
        self.results.clear();
    }

    /// Results a second.
    pub fn rate(&self) -> Option<f64> {
        let span = self.results.back()?.0.saturating_sub(self.results.front()?.0);
        (span > 0).then(|| (self.results.len() - 1) as f64 * 1e9 / span as f64)
    }

    /// The median latency and the highest, milliseconds.
    pub fn latency(&self) -> Option<(f64, f64)> {
        let mut all: Vec<f64> = self.results.iter().map(|(_, latency)| *latency).collect();
        all.sort_by(f64::total_cmp);
        Some((*all.get(all.len() / 2)?, *all.last()?))
    }

    /// The latencies as bars from zero, the newest last.
    pub fn plot(&self, width: usize) -> String {
        let shown = self.results.iter().skip(self.results.len().saturating_sub(width)).map(|(_, latency)| *latency);
        let highest = shown.clone().fold(f64::MIN_POSITIVE, f64::max);
        let bar = |latency: f64| BARS.get((latency / highest * 7.99) as usize).copied().unwrap_or(' ');
        shown.map(bar).collect()
    }
}

#[cfg(test)]
mod tests {
    use milad_client::Latency;

    use super::*;

    #[test]
    fn the_last_results_count_and_no_others() {
        let mut window = Window::default();
        assert_eq!((window.rate(), window.latency(), window.plot(9)), (None, None, String::new()));
        for i in 0..100u64 {
            let latency_ms = Latency { total: if i < 50 { 999.0 } else { i as f64 }, ..Latency::default() };
            window.take(&ResultMessage { published_ns: i * 50_000_000, latency_ms, ..ResultMessage::default() });
        }
        assert_eq!(window.rate(), Some(20.0));
        for _ in 0..10 {
            window.take(&ResultMessage::default());
        }
        assert_eq!(window.latency().map(|(_, worst)| worst), Some(99.0));
        window.clear();
        for total in [0.0, 50.0, 100.0] {
            let latency_ms = Latency { total, ..Latency::default() };
            window.take(&ResultMessage { latency_ms, ..ResultMessage::default() });
        }
        assert_eq!(window.latency(), Some((50.0, 100.0)));
        assert_eq!((window.plot(9), window.plot(2)), ("▁▄█".to_owned(), "▄█".to_owned()));
    }
}

//! A recorder for the `metrics` crate with a fixed set of series, and its rendering as Prometheus text.
//!
//! It never grows: what is not in [`super::families`] is recorded nowhere.

use std::fmt::Write;
use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::cells::{CounterCell, GaugeCell, HistogramCell};
use super::families::{self, FAMILIES, Family, Kind, label_sets};

#[derive(Debug)]
enum Cell {
    Counter(Arc<CounterCell>),
    Gauge(Arc<GaugeCell>),
    Histogram(Arc<HistogramCell>),
    InFlight,
}

/// All series of [`super::families`], at zero.
#[derive(Debug)]
pub struct Registry {
    families: Vec<(Family, Vec<(String, Cell)>)>,
}

impl Default for Registry {
    fn default() -> Self {
        let cell = |kind| match kind {
            Kind::Counter => Cell::Counter(Arc::default()),
            Kind::Gauge => Cell::Gauge(Arc::default()),
            Kind::InFlight => Cell::InFlight,
            Kind::Histogram(bounds) => Cell::Histogram(Arc::new(HistogramCell::new(bounds))),
        };
        let series = |family: &Family| label_sets(family.labels).into_iter().map(|l| (l, cell(family.kind))).collect();
        Registry { families: FAMILIES.iter().map(|family| (*family, series(family))).collect() }
    }
}

impl Registry {
    /// The cell of a key; the labels' order is that of the table.
    fn find(&self, key: &Key) -> Option<&Cell> {
        let mut labels = String::new();
        for label in key.labels() {
            let comma = if labels.is_empty() { "" } else { "," };
            // Writing to a string does not fail.
            let _ = write!(labels, "{comma}{}=\"{}\"", label.key(), label.value());
        }
        let (_, series) = self.families.iter().find(|(family, _)| family.name == key.name())?;
        series.iter().find(|(l, _)| *l == labels).map(|(_, cell)| cell)
    }

    /// The counters' values by family and series, read from the table's end to its beginning: what a frame comes to later is
    /// read first, so that no frame is seen published that is not seen captured.
    fn counts(&self) -> Vec<Vec<u64>> {
        let read = |cell: &Cell| if let Cell::Counter(cell) = cell { cell.value() } else { 0 };
        let families = self.families.iter().rev();
        let mut counts: Vec<Vec<u64>> =
            families.map(|(_, series)| series.iter().map(|(_, cell)| read(cell)).collect()).collect();
        counts.reverse();
        counts
    }

    fn in_flight(&self, counts: &[Vec<u64>]) -> u64 {
        let total = |name| {
            let families = self.families.iter().zip(counts);
            families.filter(|((family, _), _)| family.name == name).flat_map(|(_, counts)| counts).sum::<u64>()
        };
        total(families::CAPTURED).saturating_sub(total(families::PUBLISHED) + total(families::DROPPED))
    }

    /// Appends all series in Prometheus' text format 0.0.4.
    pub fn render(&self, out: &mut String) {
        let counts = self.counts();
        let in_flight = self.in_flight(&counts);
        for ((family, series), counts) in self.families.iter().zip(&counts) {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge | Kind::InFlight => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            header(out, family.name, family.help, kind);
            for ((labels, cell), count) in series.iter().zip(counts) {
                match cell {
                    Cell::Counter(_) => sample(out, family.name, labels, count),
                    Cell::InFlight => sample(out, family.name, labels, in_flight),
                    Cell::Gauge(cell) => sample(out, family.name, labels, Number(cell.value())),
                    Cell::Histogram(cell) => histogram(out, family.name, labels, cell),
                }
            }
        }
    }
}

/// A family's two comment lines.
pub(super) fn header(out: &mut String, name: &str, help: &str, kind: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// One line; `labels` without braces.
pub(super) fn sample(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        _ => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

fn histogram(out: &mut String, name: &str, labels: &str, cell: &HistogramCell) {
    let comma = if labels.is_empty() { "" } else { "," };
    // The sum first: it may miss a value that a count already has, but never the other way round for long.
    let sum = cell.sum();
    let mut count = 0;
    for (bound, cumulative) in cell.cumulative() {
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{}\"}} {cumulative}", Number(bound));
        count = cumulative;
    }
    let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    let _ = writeln!(out, "{name}_sum{braces} {}\n{name}_count{braces} {count}", Number(sum));
}

/// A float as Prometheus writes it.
pub(super) struct Number(pub f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            v if v.is_nan() => f.write_str("NaN"),
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            v => write!(f, "{v}"),
        }
    }
}

impl Recorder for Registry {
    // The table has the descriptions.
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.find(key) {
            Some(Cell::Counter(cell)) => Counter::from_arc(cell.clone()),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.find(key) {
            Some(Cell::Gauge(cell)) => Gauge::from_arc(cell.clone()),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.find(key) {
            Some(Cell::Histogram(cell)) => Histogram::from_arc(cell.clone()),
            _ => Histogram::noop(),
        }
    }
}

//! Which of the offered modes to ask for: a pure ranking, no device touched.
//!
//! The wanted size comes first, then the wanted rate, then what is cheapest to read and decode. So a raw format is taken
//! where it reaches size and rate, MJPEG where only it does, and grey only where there is no colour at all.

use super::super::source_spec::Request;
use super::formats::{FORMATS, Format, fourcc};
use super::menu::{Interval, Intervals, Menu};
use milad_kernels::pixel::PixelFormat;

use super::super::Encoding;

/// What is asked for where the user says nothing: small enough for any board, and what every camera has.
pub const DEFAULT_SIZE: (u32, u32) = (640, 480);
/// See [`DEFAULT_SIZE`].
pub const DEFAULT_RATE: f64 = 30.0;

/// A mode to ask for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mode {
    /// How frames are to come.
    pub format: Format,
    /// Pixels a row, rows.
    pub size: (u32, u32),
    /// `None` where the driver tells no intervals.
    pub interval: Option<Interval>,
}

/// Why there is nothing to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoMode {
    /// In words: what was expected, what was found.
    NoCommonFormat(String),
    /// Only raw sensor data is offered.
    SensorData,
}

/// The modes that come into question, best first.
pub fn modes(menu: &impl Menu, request: &Request) -> Result<Vec<Mode>, NoMode> {
    let offered = menu.formats();
    let known: Vec<Format> = offered.iter().filter_map(|format| Format::of(*format)).collect();
    let names = |formats: &[u32]| match formats {
        [] => "no format".to_owned(),
        _ => formats.iter().map(|format| fourcc(*format)).collect::<Vec<_>>().join(", "),
    };
    if known.is_empty() {
        if super::device::Device::gives_sensor_data_only(&offered) {
            return Err(NoMode::SensorData);
        }
        let ours = FORMATS.map(|format| format.name()).join(", ");
        return Err(NoMode::NoCommonFormat(format!(
            "no common format: milad reads {ours}; the camera gives {}",
            names(&offered)
        )));
    }
    let usable: Vec<Format> = match &request.format {
        None => known,
        Some(name) => known.into_iter().filter(|format| format.is_called(name)).collect(),
    };
    if usable.is_empty() {
        return Err(NoMode::NoCommonFormat(format!(
            "the camera does not give the format asked for, {:?}; it gives {}",
            request.format.as_deref().unwrap_or(""),
            names(&offered)
        )));
    }
    let size = request.size.unwrap_or(DEFAULT_SIZE);
    let rate = request.rate.unwrap_or(DEFAULT_RATE);
    let mut ranked = Vec::new();
    for format in usable {
        let mut sizes: Vec<_> = menu.sizes(format.pixelformat()).iter().map(|sizes| sizes.nearest(size)).collect();
        if sizes.is_empty() {
            sizes.push(size);
        }
        sizes.sort_unstable();
        sizes.dedup();
        for offered in sizes {
            let intervals = menu.intervals(format.pixelformat(), offered);
            let interval = nearest_interval(&intervals, rate);
            // Unknown rates are taken to be the wanted one: S_PARM and the frames themselves will tell.
            let reached = interval.and_then(Interval::rate).unwrap_or(rate);
            let key = (is_grey(&format), size_cost(offered, size), (1.0 - reached / rate).max(0.0), format.rank());
            ranked.push((key, Mode { format, size: offered, interval }));
        }
    }
    ranked.sort_by(|(a, _), (b, _)| {
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2)).then(a.3.cmp(&b.3))
    });
    Ok(ranked.into_iter().map(|(_, mode)| mode).collect())
}

fn is_grey(format: &Format) -> bool {
    format.encoding == Encoding::Raw(PixelFormat::Grey)
}

/// 0 for the wanted size; then the sizes that cover it, smallest first; then the others, largest first.
fn size_cost(offered: (u32, u32), wanted: (u32, u32)) -> f64 {
    let area = |size: (u32, u32)| f64::from(size.0) * f64::from(size.1);
    let larger = area(offered) / area(wanted).max(1.0);
    if offered.0 >= wanted.0 && offered.1 >= wanted.1 {
        return larger - 1.0;
    }
    let covered =
        (f64::min(offered.0.into(), wanted.0.into()) * f64::min(offered.1.into(), wanted.1.into())) / area(wanted);
    1e12 + 1.0 - covered
}

/// The slowest interval that still reaches `rate` (within 2 %, for 29.97), else the fastest.
fn nearest_interval(offered: &[Intervals], rate: f64) -> Option<Interval> {
    let wanted = Interval { numerator: 1000, denominator: (rate * 1000.0).round().max(1.0) as u32 };
    let candidates = offered.iter().map(|intervals| match *intervals {
        Intervals::One(one) => one,
        Intervals::Range { shortest, longest } => match (shortest.rate(), longest.rate()) {
            (Some(fastest), _) if rate > fastest => shortest,
            (_, Some(slowest)) if rate < slowest => longest,
            _ => wanted,
        },
    });
    let reaches = |interval: &Interval| interval.rate().is_some_and(|r| r >= rate * 0.98);
    let speed = |interval: &Interval| interval.rate().unwrap_or(0.0);
    let all: Vec<Interval> = candidates.collect();
    let enough = all.iter().copied().filter(reaches).min_by(|a, b| speed(a).total_cmp(&speed(b)));
    enough.or_else(|| all.iter().copied().max_by(|a, b| speed(a).total_cmp(&speed(b))))
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;

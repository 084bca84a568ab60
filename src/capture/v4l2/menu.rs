//! What a camera offers: formats, sizes, frame intervals. Read from the driver, or made up in tests.

use v4l::v4l_sys as sys;

use super::super::SourceError;
use super::device::Device;
use super::{errors, ioctl};

/// Frame sizes of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// One size.
    One((u32, u32)),
    /// All from `min` to `max` in steps of `step`.
    Range {
        /// Smallest width and height.
        min: (u32, u32),
        /// Largest width and height.
        max: (u32, u32),
        /// Distance between widths and between heights; 1 where any will do.
        step: (u32, u32),
    },
}

/// Seconds from frame to frame, as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Of the fraction.
    pub numerator: u32,
    /// Of the fraction.
    pub denominator: u32,
}

impl Interval {
    /// Frames a second; `None` for the fractions that mean none.
    pub fn rate(self) -> Option<f64> {
        (self.numerator > 0 && self.denominator > 0).then(|| f64::from(self.denominator) / f64::from(self.numerator))
    }

    /// Nanoseconds from frame to frame; 0 for the fractions that mean nothing.
    pub fn ns(self) -> u64 {
        match self.rate() {
            Some(_) => u64::from(self.numerator) * 1_000_000_000 / u64::from(self.denominator),
            None => 0,
        }
    }
}

/// Frame intervals of a format at a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intervals {
    /// One interval.
    One(Interval),
    /// All from the shortest to the longest.
    Range {
        /// The fastest.
        shortest: Interval,
        /// The slowest.
        longest: Interval,
    },
}

/// What is on offer.
pub trait Menu {
    /// The drivers' format numbers.
    fn formats(&self) -> Vec<u32>;
    /// The sizes of a format; empty where the driver does not tell.
    fn sizes(&self, format: u32) -> Vec<Sizes>;
    /// The intervals of a format at a size; empty where the driver does not tell.
    fn intervals(&self, format: u32, size: (u32, u32)) -> Vec<Intervals>;
}

/// A driver's own answers.
pub struct DriverMenu<'a> {
    device: &'a Device,
    formats: Vec<u32>,
}

impl<'a> DriverMenu<'a> {
    /// Asks for the formats. A camera that fails over that, or knows of none, is lost rather than of the wrong kind: no
    /// configuration would help, and it may do better when it is plugged in again.
    pub fn read(device: &'a Device, buffer_type: u32) -> Result<DriverMenu<'a>, SourceError> {
        let formats = ioctl::formats(device.fd(), buffer_type)
            .map_err(|error| errors::refused(&device.path, "VIDIOC_ENUM_FMT", &error))?;
        if formats.is_empty() {
            return Err(errors::no_formats(&device.path));
        }
        Ok(DriverMenu { device, formats: formats.iter().map(|format| format.pixelformat).collect() })
    }
}

impl Menu for DriverMenu<'_> {
    fn formats(&self) -> Vec<u32> {
        self.formats.clone()
    }

    fn sizes(&self, format: u32) -> Vec<Sizes> {
        let sizes = ioctl::frame_sizes(self.device.fd(), format);
        sizes.iter().filter_map(read_size).filter(|size| size.is_sensible()).collect()
    }

    fn intervals(&self, format: u32, size: (u32, u32)) -> Vec<Intervals> {
        let intervals = ioctl::frame_intervals(self.device.fd(), format, size.0, size.1);
        intervals.iter().filter_map(read_interval).filter(|interval| interval.is_sensible()).collect()
    }
}

impl Sizes {
    fn is_sensible(&self) -> bool {
        match *self {
            Sizes::One((width, height)) => width > 0 && height > 0,
            Sizes::Range { min, max, .. } => min.0 > 0 && min.1 > 0 && min.0 <= max.0 && min.1 <= max.1,
        }
    }

    /// The offered size that is nearest to `wanted`: the next larger one of a range, where there is one.
    pub fn nearest(&self, wanted: (u32, u32)) -> (u32, u32) {
        let snap = |wanted: u32, min: u32, max: u32, step: u32| {
            let above = wanted.clamp(min, max) - min;
            let snapped = u64::from(min) + u64::from(above).next_multiple_of(u64::from(step.max(1)));
            if snapped > u64::from(max) { max - (max - min) % step.max(1) } else { snapped as u32 }
        };
        match *self {
            Sizes::One(size) => size,
            Sizes::Range { min, max, step } => {
                (snap(wanted.0, min.0, max.0, step.0), snap(wanted.1, min.1, max.1, step.1))
            }
        }
    }
}

impl Intervals {
    fn is_sensible(&self) -> bool {
        match self {
            Intervals::One(one) => one.rate().is_some(),
            Intervals::Range { shortest, longest } => match (shortest.rate(), longest.rate()) {
                (Some(fast), Some(slow)) => fast >= slow,
                _ => false,
            },
        }
    }
}

fn read_size(item: &sys::v4l2_frmsizeenum) -> Option<Sizes> {
    // SAFETY: `type_` says which field of the union the driver wrote, and every bit pattern is valid in each.
    unsafe {
        match item.type_ {
            sys::v4l2_frmsizetypes_V4L2_FRMSIZE_TYPE_DISCRETE => {
                let one = item.__bindgen_anon_1.discrete;
                Some(Sizes::One((one.width, one.height)))
            }
            sys::v4l2_frmsizetypes_V4L2_FRMSIZE_TYPE_STEPWISE | sys::v4l2_frmsizetypes_V4L2_FRMSIZE_TYPE_CONTINUOUS => {
                let range = item.__bindgen_anon_1.stepwise;
                Some(Sizes::Range {
                    min: (range.min_width, range.min_height),
                    max: (range.max_width, range.max_height),
                    step: (range.step_width.max(1), range.step_height.max(1)),
                })
            }
            _ => None,
        }
    }
}

fn read_interval(item: &sys::v4l2_frmivalenum) -> Option<Intervals> {
    let interval = |f: sys::v4l2_fract| Interval { numerator: f.numerator, denominator: f.denominator };
    // SAFETY: as above.
    unsafe {
        match item.type_ {
            sys::v4l2_frmivaltypes_V4L2_FRMIVAL_TYPE_DISCRETE => {
                Some(Intervals::One(interval(item.__bindgen_anon_1.discrete)))
            }
            sys::v4l2_frmivaltypes_V4L2_FRMIVAL_TYPE_STEPWISE | sys::v4l2_frmivaltypes_V4L2_FRMIVAL_TYPE_CONTINUOUS => {
                let range = item.__bindgen_anon_1.stepwise;
                Some(Intervals::Range { shortest: interval(range.min), longest: interval(range.max) })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_gives_the_next_larger_size_on_its_grid() {
        let range = Sizes::Range { min: (32, 16), max: (1920, 1080), step: (16, 8) };
        assert_eq!(range.nearest((640, 480)), (640, 480));
        assert_eq!(range.nearest((641, 481)), (656, 488));
        assert_eq!(range.nearest((1, 1)), (32, 16));
        assert_eq!(range.nearest((9999, 9999)), (1920, 1080));
        let uneven = Sizes::Range { min: (10, 10), max: (25, 25), step: (10, 0) };
        assert_eq!(uneven.nearest((24, 24)), (20, 24));
    }
}

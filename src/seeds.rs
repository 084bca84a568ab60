//! A range of seeds as it is typed: `A..B` is every seed from A up to, and not including, B.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// At least one seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds(Range<u64>);

impl Seeds {
    /// How many.
    pub fn count(&self) -> usize {
        usize::try_from(self.0.end - self.0.start).unwrap_or(usize::MAX)
    }

    /// The seed at a place in the range.
    pub fn get(&self, index: usize) -> Option<u64> {
        self.0.start.checked_add(index as u64).filter(|seed| self.0.contains(seed))
    }

    /// First seed, and the one after the last.
    pub fn ends(&self) -> [u64; 2] {
        [self.0.start, self.0.end]
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seeds, String> {
        let expected = "expected A..B, the seeds from A up to but not including B, as in 0..8";
        let number = |text: &str| text.parse::<u64>().ok();
        let Some((first, end)) = text.split_once("..").and_then(|(a, b)| Some((number(a)?, number(b)?))) else {
            return Err(expected.to_owned());
        };
        match first < end {
            true => Ok(Seeds(first..end)),
            false => Err(format!("these are no seeds: {expected}")),
        }
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.0.start, self.0.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_and_printed() {
        let seeds: Seeds = "7..9".parse().unwrap();
        assert_eq!((seeds.count(), seeds.ends(), seeds.to_string().as_str()), (2, [7, 9], "7..9"));
        assert_eq!([0, 1, 2].map(|i| seeds.get(i)), [Some(7), Some(8), None]);
    }

    #[test]
    fn what_is_no_range_says_what_would_be() {
        for text in ["", "7", "7..", "..9", "9..7", "7..7", "a..b", "-1..3", "1..99999999999999999999", "1..=3"] {
            assert!(text.parse::<Seeds>().unwrap_err().contains("A..B"), "{text}");
        }
    }
}

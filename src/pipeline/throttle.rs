//! Says the same thing at most every few seconds: a failure on every frame must not fill the journal.

use std::time::{Duration, Instant};

/// From message to message.
const PAUSE: Duration = Duration::from_secs(5);

/// Lets a message through at most every [`PAUSE`], and counts what it held back.
#[derive(Debug, Default)]
pub struct Throttle {
    last: Option<Instant>,
    held_back: u64,
}

impl Throttle {
    /// Calls `say` with how many messages were held back since the last one, unless it is too early.
    pub fn say(&mut self, say: impl FnOnce(HeldBack)) {
        self.say_at(Instant::now(), say);
    }

    fn say_at(&mut self, now: Instant, say: impl FnOnce(HeldBack)) {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            self.held_back += 1;
            return;
        }
        self.last = Some(now);
        say(HeldBack(std::mem::take(&mut self.held_back)));
    }
}

/// How many messages of the same kind were not said. Prints nothing when there were none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBack(u64);

impl std::fmt::Display for HeldBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " (and {count} more like it)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_counted_in_the_next_message() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let mut said = Vec::new();
        for seconds in [0, 1, 4, 5, 6, 11] {
            throttle.say_at(start + Duration::from_secs(seconds), |held| said.push((seconds, held.to_string())));
        }
        let said: Vec<_> = said.iter().map(|(at, held)| (*at, held.as_str())).collect();
        assert_eq!(said, [(0, ""), (5, " (and 2 more like it)"), (11, " (and 1 more like it)")]);
    }
}

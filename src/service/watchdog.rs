//! The service manager's watchdog, fed by stages that get their work done or have none, never by a timer alone.

use std::sync::Arc;
use std::time::Duration;

use super::notify;
use crate::clock::monotonic_ns;
use crate::pulse::{Pulses, Stuck};
use crate::telemetry::Health;

/// A piece of work may take this share of the watchdog's time: what is left is enough to say why before the end.
const SHARE: u32 = 2;
/// Stages look around once a second while nothing comes: less time than this would call that hanging.
const SHORTEST: Duration = Duration::from_secs(4);
/// The watchdog is fed this many times within its time.
const FEEDS: u32 = 4;

/// Feeds the watchdog where there is one.
#[derive(Debug)]
pub struct Watchdog {
    time: Option<Duration>,
    pulses: Pulses,
    health: Arc<Health>,
    starved: bool,
}

impl Watchdog {
    /// As `$WATCHDOG_USEC` and `$WATCHDOG_PID` say.
    pub fn new(pulses: Pulses, health: Arc<Health>) -> Watchdog {
        let time = sd_notify::watchdog_enabled();
        if let Some(time) = time.filter(|time| *time < SHORTEST) {
            log::warn!(
                "WatchdogSec is {:.1} s: with less than {} s a daemon that waits looks hung",
                time.as_secs_f64(),
                SHORTEST.as_secs()
            );
        }
        Watchdog { time, pulses, health, starved: false }
    }

    /// How long to wait until [`Watchdog::feed`] is due again, at most.
    pub fn pause(&self, otherwise: Duration) -> Duration {
        self.time.map_or(otherwise, |time| otherwise.min(time / FEEDS))
    }

    /// Feeds it, unless a stage is stuck: that is logged once, and the service manager is asked to act at once.
    pub fn feed(&mut self) {
        let Some(time) = self.time else { return };
        match self.complaint(time / SHARE) {
            None => {
                self.starved = false;
                notify::watchdog();
            }
            Some(_) if self.starved => {}
            Some(complaint) => {
                self.starved = true;
                log::error!("{complaint}");
                notify::hanging(&complaint);
            }
        }
    }

    /// What is wrong, if anything is. A stage is named where one is at work for too long; one that hangs elsewhere shows by
    /// frames that nobody answers.
    fn complaint(&self, limit: Duration) -> Option<String> {
        let stalled = Duration::from_nanos(self.health.stalled_ns(monotonic_ns()));
        let (what, since) = match self.pulses.stuck(limit) {
            Some(Stuck { stage, since }) => (format!("stage {} has been at one piece of work", stage.name()), since),
            None if stalled > limit => ("captured frames have been waiting for an answer".to_owned(), stalled),
            None => return None,
        };
        let (since, limit) = (since.as_secs_f64(), limit.as_secs_f64());
        Some(format!("{what} for {since:.1} s, {limit:.1} s are allowed: asking the service manager for a restart"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pulse::rest_during;
    use crate::telemetry::Stage;

    #[test]
    fn the_pause_is_a_part_of_the_watchdogs_time() {
        let with =
            |time| Watchdog { time, pulses: Pulses::default(), health: Arc::new(Health::default()), starved: false };
        assert_eq!(with(None).pause(Duration::from_secs(5)), Duration::from_secs(5));
        assert_eq!(with(Some(Duration::from_secs(8))).pause(Duration::from_secs(5)), Duration::from_secs(2));
        assert_eq!(with(Some(Duration::from_secs(60))).pause(Duration::from_secs(5)), Duration::from_secs(5));
    }

    #[test]
    fn a_stuck_stage_starves_it() {
        let pulses = Pulses::default();
        let health = Arc::new(Health::default());
        let watchdog = Watchdog { time: None, pulses: pulses.clone(), health: health.clone(), starved: false };
        pulses.keep(Stage::Slow);
        std::thread::sleep(Duration::from_millis(3));
        health.progress(monotonic_ns());
        assert_eq!(watchdog.complaint(Duration::from_secs(60)), None);
        let said = watchdog.complaint(Duration::from_millis(2)).unwrap();
        assert!(said.starts_with("stage slow has been at one piece of work for 0.0 s"), "{said}");
        let said = rest_during(None, || {
            std::thread::sleep(Duration::from_millis(3));
            watchdog.complaint(Duration::from_millis(2)).unwrap()
        });
        assert!(said.starts_with("captured frames have been waiting for an answer"), "{said}");
    }
}

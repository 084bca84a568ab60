//! SIGHUP: the configuration is read again, and every key that changed is answered: applied, or needs a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cli::RunArgs;
use crate::config::Config;
use crate::telemetry::Metrics;

/// What became of a key that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is in force from now on.
    Applied,
    /// It takes a restart.
    NeedsRestart,
}

/// What to do on SIGHUP. A configuration that is refused changes nothing.
pub fn reloader(
    args: RunArgs,
    mut current: Config,
    interval: Arc<AtomicU32>,
    metrics: Metrics,
) -> impl FnMut() + Send + 'static {
    move || match args.configuration() {
        Ok(new) => {
            for (key, answer) in answers(&current, &new) {
                match answer {
                    Answer::Applied => log::info!("reload: {key} applied"),
                    Answer::NeedsRestart => log::warn!("reload: {key} needs a restart"),
                }
            }
            if let Some(frames) = new.keyframe.interval {
                interval.store(frames, Ordering::Relaxed);
                metrics.keyframe_interval(frames);
            }
            current = new;
            metrics.reload(true);
        }
        Err(error) => {
            log::error!("reload refused, nothing changed: {error}");
            metrics.reload(false);
        }
    }
}

/// Every key that differs, with what becomes of it.
pub fn answers(old: &Config, new: &Config) -> Vec<(&'static str, Answer)> {
    let removed = old.keyframe.interval.is_some() && new.keyframe.interval.is_none();
    let interval = if removed { Answer::NeedsRestart } else { Answer::Applied };
    let differences = [
        ("camera", old.camera != new.camera, Answer::NeedsRestart),
        ("model", old.model != new.model, Answer::NeedsRestart),
        ("keyframe.interval", old.keyframe.interval != new.keyframe.interval, interval),
        ("keyframe.synchronous", old.keyframe.synchronous != new.keyframe.synchronous, Answer::NeedsRestart),
        ("results", old.results != new.results, Answer::NeedsRestart),
        ("metrics", old.metrics != new.metrics, Answer::NeedsRestart),
        ("threads", old.threads != new.threads, Answer::NeedsRestart),
    ];
    differences.into_iter().filter(|(_, differs, _)| *differs).map(|(key, _, answer)| (key, answer)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_key_is_answered() {
        let old = Config::default();
        let mut new = Config::default();
        new.keyframe.interval = Some(3);
        new.camera.rate = Some(10.0);
        assert_eq!(answers(&old, &old), []);
        assert_eq!(answers(&old, &new), [("camera", Answer::NeedsRestart), ("keyframe.interval", Answer::Applied)]);
    }
}

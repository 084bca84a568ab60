//! SIGHUP: the configuration is read again, and every key that changed is answered: applied, or needs a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::notify;
use crate::config::Config;
use crate::settings::RunArgs;
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
    mut in_force: Config,
    interval: Arc<AtomicU32>,
    metrics: Metrics,
) -> impl FnMut() + Send + 'static {
    move || {
        notify::reloading();
        match args.configuration() {
            Ok(new) => {
                let answers = answers(&in_force, &new);
                if answers.is_empty() {
                    log::info!("reload: nothing differs from what is in force");
                }
                for (key, answer) in answers {
                    match answer {
                        Answer::Applied => log::info!("reload: {key} applied"),
                        Answer::NeedsRestart => {
                            log::warn!("reload: {key} needs a restart (`milad check` tells whether it would be taken)")
                        }
                    }
                }
                if let Some(frames) = new.keyframe.interval {
                    interval.store(frames, Ordering::Relaxed);
                    metrics.keyframe_interval(frames);
                    // Only what is in force is remembered: a key that waits for a restart is answered again next time.
                    in_force.keyframe.interval = Some(frames);
                }
                metrics.reload(true);
            }
            Err(error) => {
                log::error!("reload refused, nothing changed: {error}");
                metrics.reload(false);
            }
        }
        notify::reloaded();
    }
}

/// Every key whose value is not the one in force, with what becomes of it.
pub fn answers(in_force: &Config, new: &Config) -> Vec<(&'static str, Answer)> {
    macro_rules! differing {
        ($($table:ident . $key:ident),*) => {
            [$((concat!(stringify!($table), ".", stringify!($key)), in_force.$table.$key != new.$table.$key)),*]
        };
    }
    let keys = differing![
        camera.source,
        camera.size,
        camera.rate,
        camera.format,
        camera.controls,
        camera.flip,
        camera.rotate,
        camera.crop,
        camera.intrinsics,
        model.bundle,
        keyframe.interval,
        keyframe.synchronous,
        results.socket,
        metrics.listen,
        view.enabled,
        view.allow_remote,
        view.token,
        threads.network,
        threads.capture_cores,
        threads.fast_cores,
        threads.slow_cores,
        threads.publish_cores
    ];
    let answer = |key| match key {
        // Left out, it is what the bundle was trained for: that is looked up at the start.
        "keyframe.interval" if new.keyframe.interval.is_some() => Answer::Applied,
        _ => Answer::NeedsRestart,
    };
    keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| (key, answer(key))).collect()
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
        assert_eq!(
            answers(&old, &new),
            [("camera.rate", Answer::NeedsRestart), ("keyframe.interval", Answer::Applied)]
        );
    }

    #[test]
    fn the_interval_is_applied_and_a_change_that_was_taken_back_is_not_answered() {
        let folder = std::env::temp_dir().join(format!("milad-reload-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("milad.toml");
        let args = RunArgs { config: Some(file.clone()), ..RunArgs::default() };
        std::fs::write(&file, "[keyframe]\ninterval = 3").unwrap();
        let started = args.configuration().unwrap();
        let (interval, metrics) = (Arc::new(AtomicU32::new(3)), Metrics::new());
        let mut reload = reloader(args.clone(), started.clone(), interval.clone(), metrics);
        std::fs::write(&file, "[keyframe]\ninterval = 4\n[camera]\nrate = 5").unwrap();
        reload();
        assert_eq!(interval.load(Ordering::Relaxed), 4);
        // The rate is back where it was at the start, which is what runs: nothing is left to say of it.
        std::fs::write(&file, "[keyframe]\ninterval = 4").unwrap();
        let mut in_force = started;
        in_force.keyframe.interval = Some(4);
        assert_eq!(answers(&in_force, &args.configuration().unwrap()), []);
        std::fs::remove_dir_all(folder).unwrap();
    }
}

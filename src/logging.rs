//! What the daemon says of itself, on standard error.

use std::io::Write;

/// Starts the logger: `RUST_LOG` decides what is said, `info` of milad and warnings of the rest without it.
///
/// Under systemd (standard error is the journal) each line carries its priority as `<n>` instead of a time and colours:
/// the journal keeps both itself.
pub fn start() {
    let environment = env_logger::Env::default().default_filter_or("warn,milad=info");
    let mut builder = env_logger::Builder::from_env(environment);
    if stderr_is_journal() {
        builder.format(|out, record| writeln!(out, "<{}>{}", priority(record.level()), record.args()));
    } else {
        builder.format_target(false).format_timestamp_millis();
    }
    // A second logger in one process (tests) changes nothing.
    let _ = builder.try_init();
}

/// Why the program ends: with its name in a terminal, with the priority of an error in the journal.
pub fn last_words(words: &str) {
    let start = if stderr_is_journal() { "<3>" } else { "milad: " };
    // Nobody may be left to read it.
    let _ = writeln!(std::io::stderr().lock(), "{start}{words}");
}

/// The syslog priority of a log level (`sd-daemon(3)`).
fn priority(level: log::Level) -> u8 {
    match level {
        log::Level::Error => 3,
        log::Level::Warn => 4,
        log::Level::Info => 6,
        log::Level::Debug | log::Level::Trace => 7,
    }
}

/// `$JOURNAL_STREAM` names the device and inode of the journal's socket (`systemd.exec(5)`); others may have inherited it.
fn stderr_is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(std::io::stderr()).is_ok_and(|stat| named == format!("{}:{}", stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_those_of_syslog() {
        assert_eq!(
            [log::Level::Error, log::Level::Warn, log::Level::Info, log::Level::Debug].map(priority),
            [3, 4, 6, 7]
        );
    }
}

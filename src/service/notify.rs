//! What the service manager is told, where there is one (`$NOTIFY_SOCKET`); silent elsewhere.

use sd_notify::NotifyState;

/// The daemon serves: sockets are bound, networks loaded. A camera may still be missing.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// One line for `systemctl status`.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// A configuration is being read again. [`reloaded`] follows, whatever came of it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => log::debug!("no clock for the service manager: {error}"),
    }
}

/// The daemon is ready again after [`reloading`].
pub fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// The stages make progress.
pub fn watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// They do not: the service manager is to act as if the watchdog's time were over.
pub fn hanging(status: &str) {
    tell(&[NotifyState::Status(status), NotifyState::WatchdogTrigger]);
}

/// The daemon is on its way out.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("the service manager can't be told: {error}");
    }
}

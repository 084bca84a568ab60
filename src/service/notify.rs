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

/// The daemon is on its way out.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("the service manager can't be told: {error}");
    }
}

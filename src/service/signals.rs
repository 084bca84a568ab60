//! SIGTERM and SIGINT end the daemon, SIGHUP reloads its configuration; a client in a terminal ends with all three.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::stop::Stop;

/// Ends what is not a daemon, on a thread of its own from now on: SIGHUP tells that its terminal is gone.
pub fn end(stop: Stop) -> io::Result<()> {
    let ending = stop.clone();
    handle(stop, move || ending.set())
}

/// Handles signals on a thread of its own from now on. `reload` runs for every SIGHUP.
pub fn handle(stop: Stop, mut reload: impl FnMut() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    std::thread::Builder::new().name("milad-signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => reload(),
                _ if stop.is_set() => {
                    // Asked twice: whoever asks does not want to wait for the stages.
                    std::process::exit(130);
                }
                _ => {
                    log::info!("stopping");
                    stop.set();
                }
            }
        }
    })?;
    Ok(())
}

//! The daemon as a service: signals, the service manager's notices, its watchdog, the sockets that it passes.

pub mod notify;
pub mod reload;
pub mod signals;
pub mod sockets;
pub mod status;
pub mod watchdog;

//! The daemon as a service: signals, the service manager's notices.

pub mod notify;
pub mod reload;
pub mod signals;

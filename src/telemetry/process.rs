//! What is read from the system when somebody scrapes: this process, and the machine's temperature.
//!
//! A number that the system does not tell is `NaN`: the series is there all the same.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

use super::registry::{Number, header, sample};

pub(super) fn render(out: &mut String) {
    let mut gauge = |name, help, value| {
        header(out, name, help, "gauge");
        sample(out, name, "", Number(value));
    };
    gauge(
        "milad_temperature_celsius",
        "Temperature of the machine's first thermal zone; NaN where the machine has none.",
        temperature().unwrap_or(f64::NAN),
    );
    gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        status_kib("VmRSS:").map_or(f64::NAN, |kib| kib * 1024.0),
    );
    gauge(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        status_kib("VmSize:").map_or(f64::NAN, |kib| kib * 1024.0),
    );
    gauge("process_open_fds", "Number of open file descriptors.", open_fds().unwrap_or(f64::NAN));
    gauge("process_max_fds", "Maximum number of open file descriptors.", max_fds());
    gauge("process_threads", "Number of threads.", status_kib("Threads:").unwrap_or(f64::NAN));
    gauge(
        "process_start_time_seconds",
        "Start time of the process since the epoch in seconds.",
        start_time().unwrap_or(f64::NAN),
    );
    let name = "process_cpu_seconds_total";
    header(out, name, "Total user and system CPU time spent in seconds.", "counter");
    let time = clock_gettime(ClockId::ProcessCPUTime);
    sample(out, name, "", Number(time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9));
}

/// Degrees of thermal zone 0, which the kernel gives in thousandths.
fn temperature() -> Option<f64> {
    let text = fs::read_to_string("/sys/class/thermal/thermal_zone0/temp").ok()?;
    Some(text.trim().parse::<f64>().ok()? / 1000.0)
}

/// A number of `/proc/self/status`, in the unit that is written there.
fn status_kib(field: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

fn open_fds() -> Option<f64> {
    // Less one: the folder itself is open while it is read.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn max_fds() -> f64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(f64::INFINITY, |limit| limit as f64)
}

/// The kernel's tick towards user space: 100 on every architecture that milad runs on (`include/asm-generic/param.h`).
const USER_HZ: f64 = 100.0;

/// proc(5): field 22 of `stat` is the start in clock ticks after boot, `btime` the boot's time of day.
fn start_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, field 2, may hold spaces and parentheses: count from its last one.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: f64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + ticks / USER_HZ)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_started_a_little_while_ago_and_uses_memory() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let start = start_time().unwrap();
        assert!(start <= now + 2.0 && start > now - 3600.0, "{start} against {now}");
        assert!(status_kib("VmRSS:").unwrap() > 100.0);
        assert!(open_fds().unwrap() >= 3.0);
    }
}

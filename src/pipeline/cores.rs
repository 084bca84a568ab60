//! Where and how eagerly a thread runs.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Binds the calling thread to `cores`. Cores that it can't have are reported; without any, the thread stays where it was.
pub fn pin(thread: &str, cores: Option<&[usize]>) {
    let Some(cores) = cores else { return };
    let mut set = CpuSet::new();
    for core in cores.iter().filter(|core| **core < CpuSet::MAX_CPU) {
        set.set(*core);
    }
    if let Err(error) = sched_setaffinity(None, &set) {
        log::warn!("the {thread} thread can't be bound to the cores {cores:?}: {error}; it runs on any core");
        return;
    }
    let granted = sched_getaffinity(None).unwrap_or(set);
    let missing: Vec<_> = cores.iter().filter(|core| **core >= CpuSet::MAX_CPU || !granted.is_set(**core)).collect();
    if !missing.is_empty() {
        log::warn!("the {thread} thread was to run on the cores {cores:?}, but {missing:?} are not to be had here");
    }
}

/// Makes the calling thread give way to the frame's way: a keyframe may take longer, a frame may not.
pub fn give_way() {
    /// Below all other threads of the daemon, above idle batch work.
    const NICE: i32 = 10;
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICE) {
        log::debug!("the slow network's thread keeps its priority: {error}");
    }
}

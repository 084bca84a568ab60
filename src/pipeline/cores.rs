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

/// Makes the calling thread one that runs briefly and at once: on the frame's way nothing waits for a network to use up its
/// time slice.
///
/// Linux 6.12 and later take `sched_runtime` of an ordinary thread as the slice that it asks for, and let a thread with a
/// shorter slice run before one with a longer (`kernel/sched/fair.c`, PREEMPT_SHORT). Earlier kernels ignore it; there the
/// slow thread's lower priority does the same.
pub fn be_prompt(thread: &str) {
    /// The shortest slice that the kernel grants is a tenth of a millisecond.
    const SLICE_NS: u64 = 100_000;
    /// `struct sched_attr`, version 0 (`include/uapi/linux/sched/types.h`).
    #[repr(C)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: libc::SCHED_OTHER as u32,
        flags: 0,
        nice: rustix::process::getpriority_process(None).unwrap_or(0),
        priority: 0,
        runtime: SLICE_NS,
        deadline: 0,
        period: 0,
    };
    // SAFETY: the kernel reads `size` bytes of a structure that lives as long as the call, and changes this thread only.
    let failed = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } != 0;
    if failed {
        log::debug!("the {thread} thread keeps its time slice: {}", std::io::Error::last_os_error());
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

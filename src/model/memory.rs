//! Gives memory that loading has freed back to the system. Says nothing about memory that is in use.

/// For the end of loading. Files, their messages and unpacked weights are freed piece by piece between things that stay, and an allocator keeps
/// such gaps: two thirds of what a bundle needs to run would stay on top of it for nothing.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer and may be called by any thread at any time; it only returns pages that hold nothing.
    unsafe {
        libc::malloc_trim(0);
    }
}

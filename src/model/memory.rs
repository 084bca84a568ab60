//! Gives memory that only loading needed back to the system. Says nothing about memory that is in use.

/// For the end of loading. Files, their messages and unpacked weights are freed piece by piece between things that stay, and an allocator keeps
/// such gaps: two thirds of what a bundle needs to run would stay on top of it for nothing. The program's own code goes too, for most of it is
/// the reader and the optimiser of networks: what runs on comes back page by page, from the system's cache of the file.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer and may be called by any thread at any time; it only returns pages that hold nothing.
    unsafe {
        libc::malloc_trim(0);
    }
    #[cfg(target_os = "linux")]
    if let Ok(maps) = std::fs::read_to_string("/proc/self/maps") {
        for range in code(&maps, give_back as *const () as usize) {
            let pages = std::ptr::with_exposed_provenance_mut(range.start);
            // SAFETY: `code` finds nothing but the program's own file, mapped privately and never written: its pages hold what the
            // file holds, and whoever touches one again finds that again. A failure leaves the pages where they are.
            let _ = unsafe { rustix::mm::madvise(pages, range.len(), rustix::mm::Advice::LinuxDontNeed) };
        }
    }
}

/// Where the program's code lies, and its file's first part (constants, unwinding tables): of all mappings the executable one that holds
/// `address`, and the one for reading that begins with the file. What the loader wrote to while starting is neither.
fn code(maps: &str, address: usize) -> Vec<std::ops::Range<usize>> {
    let mappings = maps.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
        let (rights, offset) = (words.next()?, words.next()?);
        // Device and inode: the file.
        Some((range, rights, offset, [words.next()?, words.next()?]))
    });
    let mappings: Vec<_> = mappings.collect();
    let Some((.., file)) = mappings.iter().find(|(range, rights, ..)| *rights == "r-xp" && range.contains(&address))
    else {
        return vec![];
    };
    let found = mappings.iter().filter(|(range, rights, offset, of)| {
        let starts_the_file = *rights == "r--p" && offset.bytes().all(|digit| digit == b'0');
        of == file && (starts_the_file || *rights == "r-xp" && range.contains(&address))
    });
    found.map(|(range, ..)| range.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
5000-6000 r--p 00000000 fe:00 77                 /usr/bin/milad
6000-9000 r-xp 00001000 fe:00 77                 /usr/bin/milad
9000-9800 r--p 00004000 fe:00 77                 /usr/bin/milad
9800-a000 rw-p 00004800 fe:00 77                 /usr/bin/milad
b000-c000 rw-p 00000000 00:00 0                  [heap]
d000-e000 r--p 00000000 fe:00 78                 /usr/lib/libc.so.6
e000-f000 r-xp 00001000 fe:00 78                 /usr/lib/libc.so.6
";

    #[test]
    fn code_and_the_files_beginning_go_and_what_was_written_stays() {
        assert_eq!(code(MAPS, 0x7123), [0x5000..0x6000, 0x6000..0x9000]);
        assert_eq!(code(MAPS, 0x9123), []);
        assert_eq!(code("nonsense\n1-2\n", 0x1), []);
    }

    #[test]
    fn the_program_runs_on_after_its_code_went() {
        let constants: Vec<String> = (0..100).map(|i| format!("{i:03}")).collect();
        give_back();
        assert_eq!(constants.concat().len(), 300);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert!(!code(&maps, give_back as *const () as usize).is_empty());
    }
}

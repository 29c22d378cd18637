#[cfg(target_os = "linux")]
use std::{fs, ops::Range, ptr};

/// Has the C library's allocator keep what is free at the end of its heap, up to `octets` of it. By itself
/// it keeps little: a transfer has it give memory back and ask for it again all the time, and each page is
/// cleared anew.
///
/// [`give_back_memory`] gives that back as well. Where the C library is not glibc it does nothing.
pub fn keep_memory(octets: u32) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes two numbers, and locks out whoever allocates meanwhile.
    unsafe {
        libc::mallopt(
            libc::M_TRIM_THRESHOLD,
            libc::c_int::try_from(octets).unwrap_or(libc::c_int::MAX),
        );
    }
}

/// Gives back to the system what was of use only while there was more to do.
///
/// * From the C library's allocator what is free, wherever it lies: by itself it gives back only what
///   lies at the end of its heap. It walks through all of the heap, some milliseconds for each hundred
///   megabytes. Only with glibc.
/// * The pages of the program's code and constants, most of which were of use once, when it started: what
///   is needed again is mapped again, from the file or the kernel's cache of it. Only on Linux.
pub fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer, and locks out whoever allocates meanwhile.
    unsafe {
        libc::malloc_trim(0);
    }
    #[cfg(target_os = "linux")]
    give_back_code();
}

#[cfg(target_os = "linux")]
fn give_back_code() {
    let Ok(mappings) = fs::read_to_string("/proc/self/smaps") else { return };
    for code in unchanged_code(places_in_program(), &mappings) {
        // SAFETY: the program lies there as long as it runs. The mapping is a private one that cannot be
        // written, and no page differs from the file: what is read or run there afterwards is what was
        // there before.
        unsafe {
            let start = ptr::with_exposed_provenance_mut(code.start);
            libc::madvise(start, code.len(), libc::MADV_DONTNEED);
        }
    }
}

/// An address among the program's headers and constants, and one in its code.
#[cfg(target_os = "linux")]
fn places_in_program() -> [usize; 2] {
    [libc::AT_PHDR, libc::AT_ENTRY].map(|place| {
        // SAFETY: it takes a number and reads what the kernel has told at the start.
        let address = unsafe { libc::getauxval(place) };
        usize::try_from(address).unwrap_or(0)
    })
}

/// The mappings with these places in them that cannot be written and that nobody has changed (the loader
/// does change some constants), out of a text in the form of proc(5)'s smaps.
#[cfg(target_os = "linux")]
fn unchanged_code(places: [usize; 2], mappings: &str) -> impl Iterator<Item = Range<usize>> {
    let mut found = None;
    mappings.lines().filter_map(move |line| {
        let (word, rest) = line.split_once(' ')?;
        if word == "Anonymous:" {
            return found.take().filter(|_| rest.trim() == "0 kB");
        }
        if !word.ends_with(':') {
            let is_fixed = rest.starts_with("r-xp ") || rest.starts_with("r--p ");
            let holds = |range: &Range<usize>| places.iter().any(|place| range.contains(place));
            found = addresses(word).filter(holds).filter(|_| is_fixed);
        }
        None
    })
}

#[cfg(target_os = "linux")]
fn addresses(range: &str) -> Option<Range<usize>> {
    let (start, end) = range.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(start)?..address(end)?)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const MAPPINGS: &str = "\
2000-3000 r--p 00000000 fe:00 42    /usr/bin/program
Anonymous:             0 kB
3000-8000 r-xp 00002000 fe:00 42    /usr/bin/program
Rss:                  12 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
8000-9000 r--p 00007000 fe:00 42    /usr/bin/program
Anonymous:             4 kB
9000-a000 rw-p 00008000 fe:00 42    /usr/bin/program
Anonymous:             0 kB
";

    fn given_back(places: [usize; 2]) -> Vec<Range<usize>> {
        unchanged_code(places, MAPPINGS).collect()
    }

    #[test]
    fn what_the_program_consists_of_is_given_back() {
        assert_eq!(given_back([0x2040, 0x7fff]), vec![0x2000..0x3000, 0x3000..0x8000]);
    }

    #[test]
    fn what_was_changed_or_may_be_or_is_not_the_programs_is_kept() {
        assert_eq!(given_back([0x8000, 0x9000]), vec![]);
        assert_eq!(given_back([0, 0xa000]), vec![]);
    }
}

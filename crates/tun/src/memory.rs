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
    let Ok(program) = fs::read_link("/proc/self/exe") else { return };
    let (Some(program), Ok(mappings)) = (program.to_str(), fs::read_to_string("/proc/self/smaps"))
    else {
        return;
    };
    for code in unchanged_code(program, &mappings) {
        // SAFETY: what belongs to the program itself stays where it is as long as the program runs. It is a
        // private mapping that cannot be written, and no page differs from the file: what is read or run
        // there afterwards is what was there before.
        unsafe {
            let start = ptr::with_exposed_provenance_mut(code.start);
            libc::madvise(start, code.len(), libc::MADV_DONTNEED);
        }
    }
}

/// Where the code and the constants of `program` lie, if nothing has changed them (the loader does change
/// some constants): from all mappings, in the form of proc(5)'s smaps.
#[cfg(target_os = "linux")]
fn unchanged_code(program: &str, mappings: &str) -> impl Iterator<Item = Range<usize>> {
    let mut found = None;
    mappings.lines().filter_map(move |line| {
        let (word, rest) = line.split_once(' ')?;
        if word == "Anonymous:" {
            return found.take().filter(|_| rest.trim() == "0 kB");
        }
        if !word.ends_with(':') {
            let is_ours = rest.strip_suffix(program).is_some_and(|rest| rest.ends_with(' '));
            let is_fixed = rest.starts_with("r-xp ") || rest.starts_with("r--p ");
            found = addresses(word).filter(|_| is_ours && is_fixed);
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

    #[test]
    fn only_the_programs_code_is_given_back_and_only_as_it_is_in_the_file() {
        let mappings = "\
2000-3000 r--p 00000000 fe:00 42    /usr/bin/a program
Anonymous:             0 kB
3000-8000 r-xp 00002000 fe:00 42    /usr/bin/a program
Rss:                  12 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
8000-9000 r--p 00007000 fe:00 42    /usr/bin/a program
Anonymous:             4 kB
9000-a000 rw-p 00008000 fe:00 42    /usr/bin/a program
Anonymous:             0 kB
a000-b000 r-xp 00000000 fe:00 43    /usr/lib/library.so
Anonymous:             0 kB
c000-d000 r-xp 00000000 00:00 0     [vdso]
Anonymous:             0 kB
d000-e000 r-xp 00000000 fe:00 44    /other/usr/bin/a program
Anonymous:             0 kB
e000-f000 r-xp 00000000 00:00 0
Anonymous:             0 kB
";
        let code = unchanged_code("/usr/bin/a program", mappings);
        assert!(code.eq([0x2000..0x3000, 0x3000..0x8000]));
    }
}

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

/// Has the C library's allocator give back to the system what is free, wherever it lies: by itself it
/// gives back only what lies at the end of its heap.
///
/// For the time after much traffic: it walks through all of the heap, some milliseconds for each
/// hundred megabytes. Where the C library is not glibc it does nothing.
pub fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer, and locks out whoever allocates meanwhile.
    unsafe {
        libc::malloc_trim(0);
    }
}

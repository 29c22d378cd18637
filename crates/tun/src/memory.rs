/// Has the C library's allocator give back to the system what is free, wherever it lies: by itself it
/// gives back only what lies at the end of its heap.
///
/// For the time after a crowd of flows: it walks through all of the heap, some milliseconds for each
/// hundred megabytes. Where the C library is not glibc it does nothing.
pub fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer, and locks out whoever allocates meanwhile.
    unsafe {
        libc::malloc_trim(0);
    }
}

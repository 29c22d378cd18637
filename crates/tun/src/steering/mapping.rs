use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU8;

/// Memory that is shared with the kernel, until it is dropped.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<AtomicU8>,
    len: usize,
}

impl Mapping {
    /// Maps the first `len` bytes of what `fd` stands for.
    pub(super) fn new(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, fd.as_raw_fd());
        // SAFETY: the kernel chooses a place where nothing else lies.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, access, libc::MAP_SHARED, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    pub(super) fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: so many bytes are mapped for as long as `self` lives. Every value of theirs is valid,
        // and as atomics they may be read and written by others at any time.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this was mapped in `new`, and what `bytes` has lent does not outlive `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

// SAFETY: the memory belongs to no thread, and is reached through atomics only.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

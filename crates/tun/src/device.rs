//! A descriptor that yields and takes one packet a system call, without blocking.

use std::fs::File;
use std::future::Future;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// The descriptor with its readiness.
pub(crate) struct Device {
    file: Arc<AsyncFd<File>>,
    /// Waits for the kernel's error condition, which is all that a TUN descriptor reports once its
    /// interface is deleted; waiting to read alone would then wait for ever.
    failure: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Device {
    /// Takes the descriptor over and makes it non-blocking.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        set_nonblocking(&fd)?;
        // SAFETY: the `File` owns its descriptor and nothing replaces or closes it while the
        // `AsyncFd` holds it, so the registration refers to the same open file throughout.
        let file = unsafe { AsyncFd::register(File::from(fd)) }.map_err(io::Error::from)?;
        let file = Arc::new(file);
        Ok(Self { failure: failure_of(Arc::clone(&file)), file })
    }

    /// Reads one packet: its first bytes into `header`, the rest into the spare capacity of
    /// `buffer`. Yields how many bytes the kernel handed over, header included.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        header: &mut [u8],
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        loop {
            let result = match ready!(self.poll_readable(cx))? {
                Some(mut guard) => guard
                    .try_io(|file| read_vectored(file.get_ref(), header, buffer))
                    .unwrap_or_else(|_would_block| Err(io::ErrorKind::WouldBlock.into())),
                // Only an error is pending: the read itself says which.
                None => read_vectored(self.file.get_ref(), header, buffer),
            };
            match result {
                Err(error) if is_transient(&error) => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Ready with a guard when there is something to read, and with `None` when there is only an
    /// error to fetch.
    fn poll_readable(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<AsyncFdReadyGuard<'_, File>>>> {
        if let Poll::Ready(guard) = self.file.poll_read_ready(cx) {
            return Poll::Ready(guard.map(Some));
        }
        ready!(self.failure.as_mut().poll(cx));
        self.failure = failure_of(Arc::clone(&self.file));
        Poll::Ready(Ok(None))
    }

    /// Writes one packet from its slices; `WouldBlock` when the kernel takes none now.
    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.file.try_io(Interest::WRITABLE, |mut file| file.write_vectored(slices))
    }

    /// Ready when the kernel may take a packet again.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.file.poll_write_ready(cx).map_ok(|_| ())
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn failure_of(file: Arc<AsyncFd<File>>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if let Ok(mut guard) = file.ready(Interest::ERROR).await {
            guard.clear_ready();
        }
    })
}

fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let mut on: libc::c_int = 1;
    // SAFETY: `fd` is open, and FIONBIO reads one `c_int` through a pointer that is valid.
    match unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONBIO, &raw mut on) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `readv` into `header` and then into the spare capacity of `buffer`, whose length grows by what
/// arrived there.
fn read_vectored(file: &File, header: &mut [u8], buffer: &mut BytesMut) -> io::Result<usize> {
    let room = buffer.spare_capacity_mut();
    let slices = [
        libc::iovec { iov_base: header.as_mut_ptr().cast(), iov_len: header.len() },
        libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() },
    ];
    // SAFETY: both slices describe memory that this function has exclusively borrowed, of exactly
    // the lengths given, and the descriptor is open for as long as `file` is borrowed.
    let read = unsafe { libc::readv(file.as_raw_fd(), slices.as_ptr(), 2) };
    let read = usize::try_from(read).map_err(|_negative| io::Error::last_os_error())?;
    let filled = read.saturating_sub(header.len()).min(room.len());
    let len = buffer.len() + filled;
    // SAFETY: the kernel has just written `filled` bytes at the start of the spare capacity.
    unsafe { buffer.set_len(len) };
    Ok(read)
}

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

/// Sees every socket before it connects.
type Protect = Arc<dyn Fn(&SockRef<'_>) -> io::Result<()> + Send + Sync>;

/// How sockets are prepared before they connect.
#[derive(Clone)]
pub struct Config {
    protect: Option<Protect>,
    mark: Option<u32>,
    device: Option<String>,
    send_buffer: Option<usize>,
    receive_buffer: Option<usize>,
    open_limit: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            protect: None,
            mark: None,
            device: None,
            send_buffer: None,
            receive_buffer: None,
            open_limit: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Shows every socket to `protect` before it connects, so that a host can keep it out of the
    /// tunnel (Android's `VpnService.protect`). An error fails the open. Default: none.
    #[must_use]
    pub fn with_protect(
        mut self,
        protect: impl Fn(&SockRef<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.protect = Some(Arc::new(protect));
        self
    }

    /// Marks every socket (`SO_MARK`), so that routing rules can keep it out of the tunnel. Needs
    /// `CAP_NET_ADMIN`; only on Linux and Android, elsewhere opens fail. Default: none.
    #[must_use]
    pub fn with_mark(mut self, mark: u32) -> Self {
        self.mark = Some(mark);
        self
    }

    /// Binds every socket to a network interface (`SO_BINDTODEVICE`); only on Linux and Android,
    /// elsewhere opens fail. Default: none.
    #[must_use]
    pub fn with_device(mut self, name: &str) -> Self {
        self.device = Some(name.to_owned());
        self
    }

    /// Sets the kernel's send buffer in bytes. Default: the kernel tunes it; a fixed size bounds
    /// memory and queueing delay, and on long paths also speed.
    #[must_use]
    pub fn with_send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Sets the kernel's receive buffer in bytes. Default: the kernel tunes it.
    #[must_use]
    pub fn with_receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// How long an open may take where its request has no earlier deadline. Default: 30 s.
    #[must_use]
    pub fn with_open_limit(mut self, limit: Duration) -> Self {
        self.open_limit = limit;
        self
    }

    pub(crate) fn open_limit(&self) -> Duration {
        self.open_limit
    }

    /// Prepares a socket that has not connected yet.
    pub(crate) fn prepare(&self, socket: &SockRef<'_>) -> io::Result<()> {
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(mark) = self.mark {
            set_mark(socket, mark)?;
        }
        if let Some(device) = &self.device {
            bind_device(socket, device)?;
        }
        self.protect.as_ref().map_or(Ok(()), |protect| protect(socket))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("protect", &self.protect.is_some())
            .field("mark", &self.mark)
            .field("device", &self.device)
            .field("send_buffer", &self.send_buffer)
            .field("receive_buffer", &self.receive_buffer)
            .field("open_limit", &self.open_limit)
            .finish()
    }
}

#[cfg(any(target_os = "android", target_os = "linux"))]
fn set_mark(socket: &SockRef<'_>, mark: u32) -> io::Result<()> {
    socket.set_mark(mark)
}

#[cfg(any(target_os = "android", target_os = "linux"))]
fn bind_device(socket: &SockRef<'_>, device: &str) -> io::Result<()> {
    socket.bind_device(Some(device.as_bytes()))
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn set_mark(_: &SockRef<'_>, _: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn bind_device(_: &SockRef<'_>, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

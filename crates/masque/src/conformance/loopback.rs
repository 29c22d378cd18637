use std::collections::HashMap;
use std::future::{Future, pending};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Fixture, FlowEnd, QUIET, Role, reply};
use crate::{Target, Transport};

/// A fixture whose far sides are sockets on the loopback interface; it plays all roles.
///
/// Dropping it ends its servers.
pub struct Loopback {
    transport: Arc<dyn Transport>,
    targets: HashMap<Role, SocketAddr>,
    source_sent: Arc<AtomicU64>,
    ends: Mutex<mpsc::Receiver<FlowEnd>>,
    _servers: Servers,
}

/// What lives as long as the fixture.
#[derive(Default)]
struct Servers {
    tasks: JoinSet<io::Result<()>>,
    /// Sockets that hold a port and refuse, or fill a listener's backlog.
    tcp: Vec<TcpSocket>,
    udp: Vec<UdpSocket>,
    fillers: Vec<TcpStream>,
}

impl Loopback {
    /// Starts the servers on 127.0.0.1, for a transport that can reach them.
    pub async fn start(transport: Arc<dyn Transport>) -> io::Result<Self> {
        Self::start_on(Ipv4Addr::LOCALHOST.into(), transport).await
    }

    /// Starts the servers on an address of this machine.
    pub async fn start_on(ip: IpAddr, transport: Arc<dyn Transport>) -> io::Result<Self> {
        let any_port = SocketAddr::new(ip, 0);
        let mut servers = Servers::default();
        let (ended, ends) = mpsc::channel(64);
        let source_sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&source_sent);
        let source = move |stream| source(stream, Arc::clone(&counter));
        let witness = move |stream| witness(stream, ended.clone());
        let targets = HashMap::from([
            (Role::Echo, servers.serve(any_port, echo).await?),
            (Role::ReplyAtEnd, servers.serve(any_port, reply_at_end).await?),
            (Role::EndFirst, servers.serve(any_port, end_first).await?),
            (Role::Source, servers.serve(any_port, source).await?),
            (Role::Stall, servers.serve(any_port, stall).await?),
            (Role::Reset, servers.serve(any_port, reset).await?),
            (Role::Witness, servers.serve(any_port, witness).await?),
            (Role::Refuse, servers.refuse(any_port)?),
            (Role::Silent, servers.silent(any_port).await?),
            (Role::UdpEcho, servers.udp_echo(any_port).await?),
            (Role::UdpRefuse, servers.udp_refuse(any_port).await?),
        ]);
        Ok(Self { transport, targets, source_sent, ends: Mutex::new(ends), _servers: servers })
    }
}

#[async_trait]
impl Fixture for Loopback {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::clone(&self.transport)
    }

    fn target(&self, role: Role) -> Option<Target> {
        self.targets.get(&role).copied().map(Target::Address)
    }

    fn source_sent(&self) -> u64 {
        self.source_sent.load(Ordering::Relaxed)
    }

    async fn witnessed_end(&self) -> FlowEnd {
        match self.ends.lock().await.recv().await {
            Some(end) => end,
            None => pending().await,
        }
    }
}

impl Servers {
    async fn serve<F>(
        &mut self,
        address: SocketAddr,
        play: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) -> io::Result<SocketAddr>
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        self.tasks.spawn(async move {
            let mut flows = JoinSet::new();
            loop {
                flows.spawn(play(listener.accept().await?.0));
            }
        });
        Ok(address)
    }

    /// A port that is taken, but not listened on.
    fn refuse(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let socket = new_socket(address)?;
        socket.bind(address)?;
        let address = socket.local_addr()?;
        self.tcp.push(socket);
        Ok(address)
    }

    /// A listener whose backlog is full: the kernel ignores further SYNs.
    async fn silent(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let socket = new_socket(address)?;
        socket.bind(address)?;
        let listener = socket.listen(1)?;
        let address = listener.local_addr()?;
        while let Ok(filler) = timeout(QUIET, TcpStream::connect(address)).await {
            self.fillers.push(filler?);
        }
        self.tasks.spawn(async move {
            pending::<()>().await;
            drop(listener);
            Ok(())
        });
        Ok(address)
    }

    async fn udp_echo(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let socket = UdpSocket::bind(address).await?;
        let address = socket.local_addr()?;
        self.tasks.spawn(async move {
            let mut buffer = vec![0; 1 << 16];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await?;
                // An echo that finds no room is lost, as datagrams are.
                let _ = socket.send_to(&buffer[..length], from).await;
            }
        });
        Ok(address)
    }

    /// A port that is taken by a socket with another peer: the kernel answers "port unreachable".
    async fn udp_refuse(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let socket = UdpSocket::bind(address).await?;
        let address = socket.local_addr()?;
        socket.connect(SocketAddr::new(address.ip(), 9)).await?;
        self.udp.push(socket);
        Ok(address)
    }
}

fn new_socket(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    let (mut reader, mut writer) = split(stream);
    copy(&mut reader, &mut writer).await?;
    writer.shutdown().await
}

async fn reply_at_end(mut stream: TcpStream) -> io::Result<()> {
    copy(&mut stream, &mut tokio::io::sink()).await?;
    stream.write_all(&reply()).await?;
    stream.shutdown().await
}

async fn end_first(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(&reply()).await?;
    stream.shutdown().await?;
    copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
}

async fn source(mut stream: TcpStream, sent: Arc<AtomicU64>) -> io::Result<()> {
    let block = [0; 1 << 14];
    loop {
        sent.fetch_add(stream.write(&block).await? as u64, Ordering::Relaxed);
    }
}

async fn stall(stream: TcpStream) -> io::Result<()> {
    pending::<()>().await;
    drop(stream);
    Ok(())
}

async fn reset(mut stream: TcpStream) -> io::Result<()> {
    stream.read_u8().await?;
    stream.set_zero_linger()
}

async fn witness(mut stream: TcpStream, ended: mpsc::Sender<FlowEnd>) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 14];
    let mut received = 0;
    let clean = loop {
        match stream.read(&mut buffer).await {
            Ok(0) => break true,
            Ok(length) => received += length as u64,
            Err(_) => break false,
        }
    };
    // Nobody listens any more when the fixture is gone.
    let _ = ended.send(FlowEnd { received, clean }).await;
    Ok(())
}

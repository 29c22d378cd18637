//! The stack alone, in this process: a TUN that loses packets, and nothing between a kernel and our
//! TCP but what the test wants there.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use pseudotcp_direct::Direct;
use pseudotcp_masque::{ByteTunnel, DatagramTunnel, OpenError, OpenRequest, Target, Transport};
use pseudotcp_packet::Packet;
use pseudotcp_pipeline::{Stack, Tap, splice, stack};
use pseudotcp_testkit::{FaultCounts, Faults, Faulty, seed};
use pseudotcp_tun::{LinuxTun, TunConfig, TunPort};
use tokio::sync::oneshot;

use super::delayed::Delayed;
use super::netns::Namespace;
use super::recorder::Recorder;

/// A namespace whose every packet goes into a stack in this process. What listens on the namespace's
/// loopback is, for the apps, at every address of the world.
pub(crate) struct Bare {
    pub(crate) host: Arc<Namespace>,
    /// What the device did to the packets of the apps.
    pub(crate) outbound: Arc<FaultCounts>,
    /// What the device did to the packets of the stack.
    pub(crate) inbound: Arc<FaultCounts>,
    recorder: Recorder,
    stop: Option<oneshot::Sender<()>>,
    data_path: Option<JoinHandle<()>>,
}

impl Bare {
    /// Starts a stack whose device treats packets so, and is so far away from the stack.
    pub(crate) fn new(faults: Faults, delay: Duration) -> Self {
        let host = Arc::new(Namespace::new("host"));
        let (stop, stopped) = oneshot::channel();
        let (started, counts) = mpsc::channel();
        let (inside, seed, recorder) = (host.clone(), seed(), Recorder::new());
        let witness = recorder.clone();
        let data_path = std::thread::spawn(move || {
            inside.enter();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let port = Faulty::new(device(), faults, faults, seed);
                started.send((port.inbound(), port.outbound())).expect("the test waits");
                run(port, delay, witness, stopped).await;
            });
        });
        let (outbound, inbound) = counts.recv().expect("the data path starts");
        host.ip("route add default dev tun0");
        Self { host, outbound, inbound, recorder, stop: Some(stop), data_path: Some(data_path) }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.data_path.take().map(JoinHandle::join);
        if std::thread::panicking() {
            println!("its last packets: {:?}", self.recorder.write());
        }
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the data path failed");
    }
}

/// The apps' device, in the namespace of the current thread.
fn device() -> TunPort {
    let address = "192.0.2.2/24".parse().expect("an address");
    LinuxTun::create(TunConfig::default().name("tun0").address(address)).expect("a TUN")
}

/// The whole data path, until the test has had enough.
async fn run(
    port: Faulty<TunPort>,
    delay: Duration,
    witness: Recorder,
    stopped: oneshot::Receiver<()>,
) {
    let (mtu, offload) = (port.port().mtu(), port.port().has_tcp_offload());
    let config = stack::Config::for_device(mtu, offload);
    let stack = Stack::new(config, Arc::new(Loopback(Direct::default()))).expect("a stack");
    let port = Delayed::new(port, delay);
    let port = Tap::new(port, move |direction, packet: &Packet| witness.note(direction, packet));
    tokio::select! {
        ended = splice(port, stack) => panic!("the data path ended: {ended:?}"),
        _ = stopped => {}
    }
}

/// Leads every flow to the same port of the loopback.
struct Loopback(Direct);

impl Loopback {
    fn redirected(mut request: OpenRequest) -> OpenRequest {
        let port = request.target.port();
        request.target = Target::from(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        request
    }
}

#[async_trait]
impl Transport for Loopback {
    async fn open_tcp(&self, request: OpenRequest) -> Result<ByteTunnel, OpenError> {
        self.0.open_tcp(Self::redirected(request)).await
    }

    async fn open_udp(&self, request: OpenRequest) -> Result<DatagramTunnel, OpenError> {
        self.0.open_udp(Self::redirected(request)).await
    }
}

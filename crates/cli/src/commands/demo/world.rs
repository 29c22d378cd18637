//! The three threads of the demo: the outside (proxy and targets), the data path, the apps.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use async_trait::async_trait;
use ipnet::{Ipv4Net, Ipv6Net};
use pseudotcp_masque::{ByteTunnel, DatagramTunnel, OpenError, OpenRequest, Target, Transport};
use pseudotcp_masque_h2::Client;
use pseudotcp_pipeline::{PacketPort, Stack, splice, stack};
use pseudotcp_proxy::Server;
use pseudotcp_tun::{LinuxTun, TunConfig, channel};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::checks::{self, Measured};
use super::host::{KernelHost, SmoltcpHost};
use super::report;
use super::sandbox::{NetNamespace, Sandbox};
use super::target::{self, Targets};
use crate::setup::linux::Netlink;

/// The targets' addresses, as apps see them: for documentation (RFC 5737, RFC 3849), so nobody's.
const TARGET_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const TARGET_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// The app's addresses.
const APP_V4: Ipv4Addr = Ipv4Addr::new(10, 99, 99, 10);
const APP_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x9999, 0, 0, 0, 0, 0, 0x10);
/// The MTU of the app's link.
const MTU: u16 = 1_500;
/// How many packets the in-process link holds.
const LINK_PACKETS: usize = 256;
/// How long the client may take to reach the proxy.
const READY: Duration = Duration::from_secs(10);

/// What the inside has to know of the outside.
#[derive(Clone)]
struct Outside {
    v4: Targets,
    v6: Targets,
    proxy: SocketAddr,
    certificate: Vec<u8>,
}

/// Runs the demo in a sandbox that was entered; true if all went well.
pub(super) fn run(sandbox: Sandbox) -> Result<bool> {
    let (stop_outside, outside) = start_outside(sandbox)?;
    let (measured, stats) = match sandbox {
        Sandbox::None => run_in_process(&outside)?,
        Sandbox::User | Sandbox::Root => run_on_kernel(&outside)?,
    };
    drop(stop_outside);
    let host = match sandbox {
        Sandbox::None => "smoltcp, in process",
        Sandbox::User => "kernel, in a user namespace of its own",
        Sandbox::Root => "kernel, in a network namespace of its own",
    };
    Ok(report::print(host, &measured, &stats))
}

/// Starts the proxy and its targets on a thread of their own, which ends with the handle.
fn start_outside(sandbox: Sandbox) -> Result<(oneshot::Sender<()>, Outside)> {
    let (stop, stopped) = oneshot::channel();
    let (ready, is_ready) = oneshot::channel();
    thread::spawn(move || {
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(Err(error))),
        };
        runtime.block_on(async {
            match bind_outside(sandbox).await {
                Ok((server, outside)) => {
                    let _ = ready.send(Ok(outside));
                    server.serve(async { drop(stopped.await) }).await;
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
    });
    let outside = is_ready.blocking_recv().context("the proxy's thread died")??;
    Ok((stop, outside))
}

async fn bind_outside(sandbox: Sandbox) -> Result<(Server, Outside)> {
    let (v4, v6): (IpAddr, IpAddr) = match sandbox {
        Sandbox::None => (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()),
        Sandbox::User | Sandbox::Root => (TARGET_V4.into(), TARGET_V6.into()),
    };
    if sandbox != Sandbox::None {
        let netlink = Netlink::connect().context("opening a netlink socket")?;
        let loopback = netlink.link("lo").await.context("finding the loopback link")?;
        netlink.set_up(loopback).await.context("bringing the loopback link up")?;
        for address in [v4, v6] {
            netlink.add_address(loopback, address.into()).await.context("adding an address")?;
        }
    }
    let config = pseudotcp_proxy::Config::self_signed(["localhost"])?;
    let certificate = config.certificate_der().to_vec();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::bind(config, address).await.context("binding the proxy")?;
    let (mut v4, mut v6) = (target::start(v4).await?, target::start(v6).await?);
    v4.set_ip(TARGET_V4.into());
    v6.set_ip(TARGET_V6.into());
    let outside = Outside { v4, v6, proxy: server.local_addr(), certificate };
    Ok((server, outside))
}

/// The kernel as the host: its sockets in an inner namespace, joined to the data path by a TUN.
fn run_on_kernel(outside: &Outside) -> Result<(Measured, stack::Stats)> {
    let (ready, is_ready) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let there = outside.clone();
    let data_path =
        thread::spawn(move || runtime()?.block_on(kernel_data_path(&there, ready, stopped)));
    let Ok(inside) = is_ready.blocking_recv() else {
        return Err(match data_path.join() {
            Ok(Err(error)) => error,
            _ => anyhow!("the data path's thread died"),
        });
    };
    let (v4, v6) = (outside.v4, outside.v6);
    let apps = thread::spawn(move || -> Result<Measured> {
        inside.enter().context("entering the inner namespace")?;
        Ok(runtime()?.block_on(checks::run(&KernelHost, &v4, &v6)))
    });
    let measured = join(apps)?;
    drop(stop);
    Ok((measured, join(data_path)?))
}

/// Makes the inner namespace with its TUN, goes back to the outer one, and runs the pipeline.
async fn kernel_data_path(
    outside: &Outside,
    ready: oneshot::Sender<NetNamespace>,
    stopped: oneshot::Receiver<()>,
) -> Result<stack::Stats> {
    let outer = NetNamespace::current().context("opening the outer namespace")?;
    let inner = NetNamespace::create().context("making the inner namespace")?;
    let tun = create_tun().await?;
    outer.enter().context("going back to the outer namespace")?;
    let stack = build_stack(outside, tun.has_tcp_offload(), |client| Arc::new(client)).await?;
    let _ = ready.send(inner);
    run_pipeline(tun, stack, stopped).await
}

/// A TUN in the current namespace, with the targets behind it.
async fn create_tun() -> Result<pseudotcp_tun::TunPort> {
    let (app_v4, app_v6) = (Ipv4Net::new(APP_V4, 24)?, Ipv6Net::new(APP_V6, 64)?);
    let config = TunConfig::default().mtu(MTU).address(app_v4.into()).address(app_v6.into());
    let tun = LinuxTun::create(config).context("creating a TUN device")?;
    let netlink = Netlink::connect().context("opening a netlink socket")?;
    let link = netlink.link(tun.name().context("the TUN has no name")?).await?;
    let (v4, v6) = (Ipv4Net::new(TARGET_V4, 24)?, Ipv6Net::new(TARGET_V6, 32)?);
    for network in [v4.into(), v6.into()] {
        netlink.add_route(link, network).await.context("adding a route")?;
    }
    Ok(tun)
}

/// smoltcp as the host, joined to the data path by a link in memory; all on this thread.
fn run_in_process(outside: &Outside) -> Result<(Measured, stack::Stats)> {
    runtime()?.block_on(LocalSet::new().run_until(async {
        let (host_port, stack_port) = channel::pair(LINK_PACKETS);
        let targets_are_local = |client| Arc::new(ToLoopback(client)) as Arc<dyn Transport>;
        let stack = build_stack(outside, false, targets_are_local).await?;
        let (stop, stopped) = oneshot::channel();
        let data_path = tokio::task::spawn_local(run_pipeline(stack_port, stack, stopped));
        let host = SmoltcpHost::new(APP_V4, APP_V6, usize::from(MTU));
        let driver = host.clone();
        tokio::task::spawn_local(async move { driver.drive(host_port).await });
        let measured = checks::run(&host, &outside.v4, &outside.v6).await;
        drop(stop);
        Ok((measured, data_path.await??))
    }))
}

/// Opens every flow to the same port of this machine's loopback, where the targets are when there is
/// no namespace to give them addresses of their own.
struct ToLoopback(Client);

impl ToLoopback {
    fn redirect(mut request: OpenRequest) -> OpenRequest {
        if let Target::Address(address) = &mut request.target {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        request
    }
}

#[async_trait]
impl Transport for ToLoopback {
    async fn open_tcp(&self, request: OpenRequest) -> Result<ByteTunnel, OpenError> {
        self.0.open_tcp(Self::redirect(request)).await
    }

    async fn open_udp(&self, request: OpenRequest) -> Result<DatagramTunnel, OpenError> {
        self.0.open_udp(Self::redirect(request)).await
    }
}

/// A stack whose flows go through the demo's proxy, once that can be reached.
async fn build_stack(
    outside: &Outside,
    offload: bool,
    transport: impl FnOnce(Client) -> Arc<dyn Transport>,
) -> Result<Stack> {
    let config = pseudotcp_masque_h2::Config::new(&format!("https://{}", outside.proxy))?
        .pin(&outside.certificate)?;
    let client = Client::new(config)?;
    let deadline = tokio::time::Instant::now() + READY;
    client.ready(deadline.into_std()).await.context("reaching the proxy")?;
    let config = stack::Config::for_device(MTU.into(), offload);
    Ok(Stack::new(config, transport(client))?)
}

/// Moves packets until told to stop; returns what the stack has counted.
async fn run_pipeline(
    device: impl PacketPort,
    mut stack: Stack,
    stopped: oneshot::Receiver<()>,
) -> Result<stack::Stats> {
    tokio::select! {
        ended = splice(device, &mut stack) => ended.context("moving packets")?,
        _ = stopped => {}
    }
    Ok(stack.stats())
}

fn runtime() -> Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("starting a runtime")
}

fn join<T>(thread: thread::JoinHandle<Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread of the demo panicked"))?
}

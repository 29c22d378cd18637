//! Several proxies: which one a flow takes, in virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use pseudotcp_masque::{ByteTunnel, OpenError, Transport as _};
use pseudotcp_masque_h2::{Client, Proxies, State};
use tokio::time::{Instant, sleep};

use crate::support::{Proxy, builder, echo, refuse, request, serve, soon, works};

/// A proxy that can be switched off, and counts its flows.
struct Switched {
    proxy: Proxy,
    on: Arc<AtomicBool>,
    flows: Arc<AtomicUsize>,
}

impl Switched {
    fn new() -> Self {
        let (on, flows) = (Arc::new(AtomicBool::new(true)), Arc::<AtomicUsize>::default());
        let (switch, counter) = (Arc::clone(&on), Arc::clone(&flows));
        let proxy = Proxy::in_memory(move |tls| {
            let (on, counter) = (switch.load(Ordering::SeqCst), Arc::clone(&counter));
            async move {
                if on {
                    let answer = move |request, respond| {
                        counter.fetch_add(1, Ordering::SeqCst);
                        echo(request, respond)
                    };
                    serve(tls, builder(), answer).await;
                }
            }
        });
        Self { proxy, on, flows }
    }

    fn client(&self) -> Client {
        self.proxy.client()
    }

    /// Ends what is open, and takes nothing new.
    async fn switch_off(&self) {
        self.on.store(false, Ordering::SeqCst);
        self.proxy.cut().await;
    }

    fn switch_on(&self) {
        self.on.store(true, Ordering::SeqCst);
    }

    fn flows(&self) -> usize {
        self.flows.load(Ordering::SeqCst)
    }
}

async fn open(proxies: &Proxies) -> ByteTunnel {
    let mut tunnel = soon(proxies.open_tcp(request("echo.test"))).await.unwrap();
    works(&mut tunnel).await;
    tunnel
}

#[tokio::test(start_paused = true)]
async fn the_next_proxy_serves_while_the_preferred_one_is_away() {
    let (first, second) = (Switched::new(), Switched::new());
    let proxies = Proxies::ordered([first.client(), second.client()]);
    drop(open(&proxies).await);
    assert_eq!((first.flows(), second.flows()), (1, 0));
    assert_eq!(proxies.state(), State::Connected);

    first.switch_off().await;
    let away = Instant::now();
    let mut kept = open(&proxies).await;
    assert_eq!((first.flows(), second.flows()), (1, 1));
    assert!(away.elapsed() < Duration::from_millis(1), "{:?}", away.elapsed());
    assert!(matches!(proxies.state(), State::Degraded { .. }), "{:?}", proxies.state());

    // It is back: the flow that notices still takes the second, and the next one the first.
    first.switch_on();
    sleep(Duration::from_secs(70)).await;
    drop(open(&proxies).await);
    sleep(Duration::from_secs(1)).await;
    drop(open(&proxies).await);
    assert_eq!((first.flows(), second.flows()), (2, 2));
    works(&mut kept).await;
    assert_eq!(proxies.state(), State::Connected);
    assert_eq!(proxies.stats().flows_opened, 4);
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_is_being_opened_when_its_proxy_goes_takes_the_next() {
    let (asked, on) = (Arc::<AtomicUsize>::default(), Arc::new(AtomicBool::new(true)));
    let (counter, switch) = (Arc::clone(&asked), Arc::clone(&on));
    let first = Proxy::in_memory(move |tls| {
        let (counter, on) = (Arc::clone(&counter), switch.load(Ordering::SeqCst));
        async move {
            if on {
                let never = move |request, respond| {
                    counter.fetch_add(1, Ordering::SeqCst);
                    async move {
                        std::future::pending::<()>().await;
                        drop((request, respond));
                    }
                };
                serve(tls, builder(), never).await;
            }
        }
    });
    let second = Switched::new();
    let proxies = Proxies::ordered([first.client(), second.client()]);
    let begin = Instant::now();
    let opening = tokio::spawn(async move { drop(open(&proxies).await) });
    while asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    on.store(false, Ordering::SeqCst);
    first.cut().await;
    soon(opening).await.unwrap();
    assert_eq!(second.flows(), 1);
    assert!(begin.elapsed() < Duration::from_millis(1), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_stays_away_costs_no_flow_any_time() {
    let (first, second) = (Switched::new(), Switched::new());
    first.switch_off().await;
    let proxies = Proxies::ordered([first.client(), second.client()]);
    for _ in 0..20 {
        let begin = Instant::now();
        drop(open(&proxies).await);
        assert!(begin.elapsed() < Duration::from_millis(1), "{:?}", begin.elapsed());
        sleep(Duration::from_secs(10)).await;
    }
    assert_eq!((first.flows(), second.flows()), (0, 20));
}

#[tokio::test(start_paused = true)]
async fn weights_are_kept_and_those_away_left_out() {
    let proxies = [Switched::new(), Switched::new()];
    let spread = Proxies::weighted([(proxies[0].client(), 3), (proxies[1].client(), 1)]);
    for _ in 0..40 {
        drop(open(&spread).await);
    }
    assert_eq!((proxies[0].flows(), proxies[1].flows()), (30, 10));
    proxies[0].switch_off().await;
    for _ in 0..5 {
        drop(open(&spread).await);
    }
    assert_eq!((proxies[0].flows(), proxies[1].flows()), (30, 15));
}

#[tokio::test(start_paused = true)]
async fn all_away_is_told_and_a_changed_network_is_tried_at_once() {
    let (first, second) = (Switched::new(), Switched::new());
    let proxies = Proxies::ordered([first.client(), second.client()]);
    first.switch_off().await;
    second.switch_off().await;
    let error = soon(proxies.open_tcp(request("echo.test"))).await.map(drop).unwrap_err();
    assert!(matches!(error, OpenError::ProxyGone(Some(_))), "{error:?}");
    first.switch_on();
    proxies.network_changed();
    let begin = Instant::now();
    drop(open(&proxies).await);
    assert_eq!((first.flows(), begin.elapsed().as_secs()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_fails_is_no_reason_to_ask_another_proxy() {
    let refusing =
        Proxy::in_memory(|tls| serve(tls, builder(), async |_, respond| refuse(respond, 502, &[])));
    let second = Switched::new();
    let proxies = Proxies::ordered([refusing.client(), second.client()]);
    let outcome = soon(proxies.open_tcp(request("dead.test"))).await.map(drop);
    let Err(OpenError::ConnectFailed(Some(said))) = outcome else { panic!("{outcome:?}") };
    assert_eq!(said.status(), 502);
    assert_eq!(second.flows(), 0);
}

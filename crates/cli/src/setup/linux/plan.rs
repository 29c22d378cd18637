//! What has to be set so that the wanted networks enter the TUN, and the proxy's address does not.
//!
//! ```text
//!  without a mark                        with a mark M
//!  main table:                           rules:   the main table but its default route (for /0 only)
//!    PROXY   the way it takes now                 not marked M → table M
//!    NETWORK the TUN, or else nowhere    table M: NETWORK the TUN, or else nowhere
//! ```
//!
//! The route to nowhere counts when that to the TUN is gone with the program: what a crash leaves
//! behind leads nothing past the proxy.
//!
//! A pure function of what is wanted and what is there, so that it can be tested without a kernel.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The routing table that everybody uses.
pub(crate) const MAIN_TABLE: u32 = 254;

/// Rules are tried before that of the main table, which is number 32,766.
const PRIORITY_MAIN: u32 = 32_000;
const PRIORITY_UNMARKED: u32 = 32_001;

/// What is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The index of the TUN interface.
    pub(crate) tun: u32,
    /// The networks that shall enter it.
    pub(crate) networks: Vec<IpNet>,
    /// The mark of the program's own sockets.
    pub(crate) mark: Option<u32>,
    /// The ways that the proxy's addresses take now.
    pub(crate) ways: Vec<Way>,
}

/// The way that packets to an address take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) address: IpAddr,
    pub(crate) link: u32,
    pub(crate) gateway: Option<IpAddr>,
    /// The address is this machine's own, which no route can change.
    pub(crate) is_local: bool,
}

/// A route that the kernel has in its main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) network: IpNet,
    pub(crate) link: u32,
    pub(crate) gateway: Option<IpAddr>,
    /// Of several routes to a network, that with the least counts.
    pub(crate) metric: u32,
}

impl Known {
    /// The step that sets such a route.
    pub(crate) fn step(&self) -> Step {
        let via = Via::Link(self.link, self.gateway);
        Step::Route(Route { network: self.network, table: MAIN_TABLE, via })
    }
}

/// The way that packets to `address` would take without the TUN and these `pins`.
pub(crate) fn way_beside(known: &[Known], tun: u32, pins: &[Step], address: IpAddr) -> Option<Way> {
    let others = known.iter().filter(|route| route.link != tun && !pins.contains(&route.step()));
    let leading = others.filter(|route| route.network.contains(&address));
    let best = leading.max_by_key(|route| (route.network.prefix_len(), !route.metric))?;
    Some(Way { address, link: best.link, gateway: best.gateway, is_local: false })
}

/// One thing to set, and later to take back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    Route(Route),
    Rule(Rule),
}

/// An entry of a routing table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    pub(crate) network: IpNet,
    pub(crate) table: u32,
    pub(crate) via: Via,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Via {
    /// Out of a link, to a gateway where there is one.
    Link(u32, Option<IpAddr>),
    /// Nowhere: senders hear that the network is unreachable. Any other route comes before it.
    Nowhere,
}

/// An entry of the routing policy of one IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rule {
    pub(crate) is_ipv6: bool,
    pub(crate) priority: u32,
    pub(crate) table: u32,
    pub(crate) applies: Applies,
}

/// When a rule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Applies {
    /// To packets without this mark.
    Unmarked(u32),
    /// Where the table has anything but a default route.
    UnlessDefault,
}

/// The steps, in the order in which they must be taken.
pub(crate) fn steps(wanted: &Wanted) -> Vec<Step> {
    match wanted.mark {
        Some(mark) => by_mark(wanted, mark),
        None => by_address(wanted),
    }
}

fn by_mark(wanted: &Wanted, mark: u32) -> Vec<Step> {
    let routes = into_tun(wanted, &wanted.networks, mark);
    let rules = [false, true].into_iter().flat_map(|is_ipv6| rules(wanted, mark, is_ipv6));
    routes.into_iter().chain(rules.map(Step::Rule)).collect()
}

fn rules(wanted: &Wanted, mark: u32, is_ipv6: bool) -> Vec<Rule> {
    let of_version = || wanted.networks.iter().filter(|network| is_v6(network) == is_ipv6);
    let unmarked = Rule {
        is_ipv6,
        priority: PRIORITY_UNMARKED,
        table: mark,
        applies: Applies::Unmarked(mark),
    };
    let main = Rule {
        is_ipv6,
        priority: PRIORITY_MAIN,
        table: MAIN_TABLE,
        applies: Applies::UnlessDefault,
    };
    let takes_default = of_version().any(|network| network.prefix_len() == 0);
    let main = takes_default.then_some(main);
    let unmarked = of_version().next().map(|_| unmarked);
    main.into_iter().chain(unmarked).collect()
}

fn by_address(wanted: &Wanted) -> Vec<Step> {
    // Two halves win over a default route that is there, and leave it untouched.
    let networks: Vec<IpNet> = wanted.networks.iter().flat_map(|net| halves(*net)).collect();
    pins(wanted).into_iter().chain(into_tun(wanted, &networks, MAIN_TABLE)).collect()
}

/// What keeps packets to the proxy on their way where a network covers its address; nothing where
/// marks do that.
pub(crate) fn pins(wanted: &Wanted) -> Vec<Step> {
    let covered = wanted.ways.iter().filter(|way| {
        !way.is_local && wanted.networks.iter().any(|network| network.contains(&way.address))
    });
    let pin = |way: &Way| {
        let (network, via) = (IpNet::from(way.address), Via::Link(way.link, way.gateway));
        Step::Route(Route { network, table: MAIN_TABLE, via })
    };
    covered.filter(|_| wanted.mark.is_none()).map(pin).collect()
}

/// The routes into the TUN, and those that count without it.
fn into_tun(wanted: &Wanted, networks: &[IpNet], table: u32) -> Vec<Step> {
    let routes = |via: Via| {
        let route = move |net: &IpNet| Step::Route(Route { network: net.trunc(), table, via });
        networks.iter().map(route)
    };
    routes(Via::Link(wanted.tun, None)).chain(routes(Via::Nowhere)).collect()
}

/// The two halves of a network that is everything; any other network as it is.
fn halves(network: IpNet) -> Vec<IpNet> {
    let halves = match network {
        IpNet::V4(net) if net.prefix_len() == 0 => {
            net.subnets(1).ok().map(|nets| nets.map(IpNet::from).collect())
        }
        IpNet::V6(net) if net.prefix_len() == 0 => {
            net.subnets(1).ok().map(|nets| nets.map(IpNet::from).collect())
        }
        _ => None,
    };
    halves.unwrap_or_else(|| vec![network])
}

fn is_v6(network: &IpNet) -> bool {
    matches!(network, IpNet::V6(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TUN: u32 = 7;
    const ETH: u32 = 2;

    fn nets(networks: &[&str]) -> Vec<IpNet> {
        networks.iter().map(|network| network.parse().unwrap()).collect()
    }

    fn way(address: &str) -> Way {
        let gateway = Some("192.0.2.254".parse().unwrap());
        Way { address: address.parse().unwrap(), link: ETH, gateway, is_local: false }
    }

    fn wanted(networks: &[&str], mark: Option<u32>, ways: Vec<Way>) -> Wanted {
        Wanted { tun: TUN, networks: nets(networks), mark, ways }
    }

    /// `network table link` of each route that leads somewhere; each of those into the TUN has one
    /// that leads nowhere.
    fn routes(steps: &[Step]) -> Vec<String> {
        let is_there = |route: Route| steps.contains(&Step::Route(route));
        let line = |step: &Step| match step {
            Step::Route(r @ Route { via: Via::Link(link, _), .. }) => {
                assert_eq!(*link == TUN, is_there(Route { via: Via::Nowhere, ..*r }));
                Some(format!("{} {} {link}", r.network, r.table))
            }
            _ => None,
        };
        steps.iter().filter_map(line).collect()
    }

    fn rule_lines(steps: &[Step]) -> Vec<String> {
        let line = |step: &Step| match step {
            Step::Rule(r) => Some(format!("v6={} {} {:?}", r.is_ipv6, r.table, r.applies)),
            Step::Route(_) => None,
        };
        steps.iter().filter_map(line).collect()
    }

    #[test]
    fn the_proxy_keeps_its_way_before_anything_enters_the_tun() {
        let steps = steps(&wanted(&["192.0.0.0/8"], None, vec![way("192.0.3.1")]));
        assert_eq!(routes(&steps), ["192.0.3.1/32 254 2", "192.0.0.0/8 254 7"]);
        let Step::Route(pin) = &steps[0] else { panic!("a route") };
        assert_eq!(pin.via, Via::Link(ETH, Some("192.0.2.254".parse().unwrap())));
    }

    #[test]
    fn a_proxy_that_no_route_covers_is_left_alone() {
        let steps = steps(&wanted(&["10.0.0.0/8"], None, vec![way("192.0.3.1")]));
        assert_eq!(routes(&steps), ["10.0.0.0/8 254 7"]);
    }

    #[test]
    fn a_proxy_on_this_machine_is_left_alone() {
        let local = Way { is_local: true, ..way("10.0.0.1") };
        let steps = steps(&wanted(&["10.0.0.0/8"], None, vec![local]));
        assert_eq!(routes(&steps), ["10.0.0.0/8 254 7"]);
    }

    #[test]
    fn everything_is_routed_by_halves_beside_the_default_route() {
        let steps = steps(&wanted(&["0.0.0.0/0", "::/0"], None, vec![way("192.0.3.1")]));
        let expected = [
            "192.0.3.1/32 254 2",
            "0.0.0.0/1 254 7",
            "128.0.0.0/1 254 7",
            "::/1 254 7",
            "8000::/1 254 7",
        ];
        assert_eq!(routes(&steps), expected);
    }

    #[test]
    fn with_a_mark_a_table_of_its_own_is_used() {
        let steps = steps(&wanted(&["10.1.2.3/8"], Some(999), vec![way("10.0.0.1")]));
        assert_eq!(routes(&steps), ["10.0.0.0/8 999 7"]);
        assert_eq!(rule_lines(&steps), ["v6=false 999 Unmarked(999)"]);
    }

    #[test]
    fn with_a_mark_and_everything_local_networks_stay_reachable() {
        let steps = steps(&wanted(&["0.0.0.0/0", "fd00::/8"], Some(999), Vec::new()));
        let expected = [
            "v6=false 254 UnlessDefault",
            "v6=false 999 Unmarked(999)",
            "v6=true 999 Unmarked(999)",
        ];
        assert_eq!(rule_lines(&steps), expected);
    }

    #[test]
    fn the_way_beside_the_tun_is_the_longest_route_of_others() {
        let gateway = Some("192.0.2.254".parse().unwrap());
        let route = |network: &str, link, metric| {
            let network = network.parse().unwrap();
            Known { network, link, gateway, metric }
        };
        let pin = route("198.51.100.1/32", ETH, 0);
        let known = [
            route("0.0.0.0/0", 3, 600),
            route("0.0.0.0/0", ETH, 100),
            route("0.0.0.0/0", 4, 200),
            route("192.0.2.0/24", 3, 600),
            route("128.0.0.0/1", TUN, 0),
            pin,
        ];
        let pins = [pin.step()];
        let link = |address: &str| {
            way_beside(&known, TUN, &pins, address.parse().unwrap()).map(|way| way.link)
        };
        assert_eq!(link("198.51.100.1"), Some(ETH));
        assert_eq!(link("192.0.2.1"), Some(3));
        assert_eq!(link("2001:db8::1"), None);
        assert_eq!(way_beside(&known[4..], TUN, &pins, "198.51.100.1".parse().unwrap()), None);
    }

    #[test]
    fn nothing_wanted_nothing_set() {
        assert!(steps(&wanted(&[], None, vec![way("10.0.0.1")])).is_empty());
        assert!(steps(&wanted(&[], Some(999), vec![way("10.0.0.1")])).is_empty());
    }
}

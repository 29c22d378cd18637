//! The DNS of the machine leads into the TUN while the program runs, and is as before when it is gone.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::lifecycle::state;
use crate::support::client::{self, DEVICE};
use crate::support::lab::{ELSEWHERE, Lab, SERVERS};
use crate::support::need::{self, Need};
use crate::support::process::Process;
use crate::support::proxy::{self, Kind};
use crate::support::{named, resolved};

const NAMED: Need = Need::Program("named");

/// What the program names as its own servers.
const OWN: [&str; 2] = ["10.99.99.11", "fd99:99::11"];

const DOH: &str = "https://198.51.100.2:8440/dns-query";

/// The program under test, where it resolves the names of the lab.
fn command(lab: &Lab, more: &[&str]) -> Command {
    let mut command = client::command(lab, &[&proxy::url()], more);
    command.args(["--dns-server", DOH, "--dns-ca"]).arg(&lab.certificate.chain);
    command
}

fn up(lab: &Lab, more: &[&str]) -> Process {
    ready(command(lab, more))
}

fn ready(command: Command) -> Process {
    let client = Process::start("client", command);
    client.wait_line("ready");
    client
}

/// What the C library of an app finds out about a name, by whatever servers it is told to ask.
fn look_up(lab: &Lab, name: &str) -> String {
    let output = lab.client.command("getent").args(["ahostsv4", name]).output();
    String::from_utf8(output.expect("run getent").stdout).expect("text")
}

fn down(lab: &Lab) -> String {
    let output = lab.client.command(env!("CARGO_BIN_EXE_pseudotcp")).arg("down").output();
    let output = output.expect("run pseudotcp");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The servers in a file like resolv.conf.
fn servers(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("read the servers");
    let servers = text.lines().filter_map(|line| line.strip_prefix("nameserver "));
    servers.map(str::to_owned).collect()
}

#[test]
fn apps_ask_us_until_the_program_ends() {
    if !need::met(&[NAMED]) {
        return;
    }
    let lab = Lab::new();
    let _named = named::start(&lab, named::FIRST);
    let _proxy = proxy::start(&lab, Kind::Ours);
    let file = lab.client.resolv_conf();
    let before = format!("search example\nnameserver {}\n", ELSEWHERE[0]);
    fs::write(&file, &before).expect("name a server");

    let mut client = up(&lab, &[]);
    assert_eq!(servers(&file), OWN);
    assert!(look_up(&lab, "www").contains(SERVERS[0]), "a short name, by the search list");

    // Some other program that manages the file does its work.
    let renewed = "nameserver 203.0.113.77\n";
    fs::write(&file, renewed).expect("name a server");
    client.wait_line("set again");
    assert_eq!(servers(&file), OWN);

    client.signal(Signal::SIGTERM);
    client.wait(Duration::from_secs(5));
    assert_eq!(fs::read_to_string(&file).expect("a file"), renewed, "what was there last");
}

#[test]
fn after_a_crash_nothing_leads_past_the_proxy_and_down_takes_all_back() {
    if need::met(&[NAMED]) {
        recovers_from_a_crash(&[], |lab| assert!(down(lab).contains("as they were")));
    }
}

#[test]
fn after_a_crash_the_next_run_takes_all_back() {
    if need::met(&[NAMED]) {
        recovers_from_a_crash(&["--mark", "7777", "--route", "0.0.0.0/0"], |lab| {
            let mut client = up(lab, &[]);
            assert!(look_up(lab, "two.example").contains(SERVERS[0]));
            assert!(down(lab).contains("still runs"));
            assert!(look_up(lab, "three.example").contains(SERVERS[0]), "down leaves it alone");
            client.signal(Signal::SIGTERM);
            client.wait(Duration::from_secs(5));
        });
    }
}

fn recovers_from_a_crash(more: &[&str], recover: impl Fn(&Lab)) {
    let lab = Lab::new();
    let _named = named::start(&lab, named::FIRST);
    let _proxy = proxy::start(&lab, Kind::Ours);
    lab.client.ip("route add default via 192.0.2.1");
    lab.client.resolve_by(SERVERS[0]);
    let (file, before) = (lab.client.resolv_conf(), state(&lab));
    let text = fs::read_to_string(&file).expect("a file");

    let mut client = up(&lab, more);
    assert!(look_up(&lab, "one.example").contains(SERVERS[0]));
    client.signal(Signal::SIGKILL);
    client.wait(Duration::from_secs(5));
    assert_eq!(servers(&file), OWN);
    assert_eq!(look_up(&lab, "www.example"), "");

    recover(&lab);
    assert_eq!((state(&lab), fs::read_to_string(&file).expect("a file")), (before, text));
    assert!(down(&lab).contains("nothing is left"));
}

/// On most machines /etc/resolv.conf is a link to what some service writes.
#[test]
fn a_link_is_put_back_after_a_crash() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let etc = lab.file("etc");
    let copied = Command::new("cp").arg("-a").arg("/etc").arg(&etc).status();
    assert!(copied.expect("run cp").success());
    let file = etc.join("resolv.conf");
    fs::remove_file(&file).expect("remove the file");
    fs::write(etc.join("stub.conf"), "nameserver 203.0.113.77\n").expect("name a server");
    symlink("stub.conf", &file).expect("make a link");

    let arguments = client::arguments(&lab, &[&proxy::url()], &[]);
    let mut client = ready(with_etc(&lab, &etc, &arguments));
    assert_eq!(servers(&file), OWN);
    client.signal(Signal::SIGKILL);
    client.wait(Duration::from_secs(5));
    let mut down = Process::start("down", with_etc(&lab, &etc, &["down".to_owned()]));
    assert!(down.wait(Duration::from_secs(5)).success());
    assert_eq!(fs::read_link(&file).expect("a link"), Path::new("stub.conf"));
    assert_eq!(servers(&file), ["203.0.113.77"]);
}

/// The program with this folder for its /etc.
fn with_etc(lab: &Lab, etc: &Path, arguments: &[String]) -> Command {
    let mut command = lab.client.command("unshare");
    command.args(["--mount", "sh", "-c", r#"mount --bind "$0" /etc && exec "$@""#]).arg(etc);
    command.arg(env!("CARGO_BIN_EXE_pseudotcp")).args(arguments);
    command
}

/// Where systemd-resolved runs it is told, and the file that names it is left alone.
#[test]
fn resolved_is_told_and_told_again_when_it_forgets() {
    if !need::met(&[Need::Program("dbus-daemon"), Need::Python]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let bus = resolved::start_bus(&lab);
    let resolved = resolved::start(&lab, &bus);
    lab.client.resolve_by("127.0.0.53");
    let file = lab.client.resolv_conf();
    let mut command = command(&lab, &[]);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address);
    let client = ready(command);
    let link = lab.client.ip(&format!("-o link show dev {DEVICE}"));
    let link = link.split(':').next().expect("a number");
    let told = format!("link {link} dns {} domains ~. default yes tls no", OWN.join(","));
    assert_eq!(resolved.lines().iter().filter(|line| line.contains(&told)).count(), 1);
    assert_eq!(servers(&file), ["127.0.0.53"]);
    // A restart of the service.
    resolved.signal(Signal::SIGUSR1);
    client.wait_line("set again");
    assert_eq!(resolved.lines().iter().filter(|line| line.contains(&told)).count(), 2);
}

#[test]
fn no_host_dns_leaves_the_file_alone() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = proxy::start(&lab, Kind::Ours);
    lab.client.resolve_by(ELSEWHERE[0]);
    for arguments in [&["--no-host-dns"][..], &["--dns", "pass"]] {
        let _client = client::up(&lab, arguments);
        assert_eq!(servers(&lab.client.resolv_conf()), [ELSEWHERE[0]], "{arguments:?}");
    }
}

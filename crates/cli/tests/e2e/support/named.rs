//! BIND as the DNS servers of the lab.

use std::fs;
use std::path::Path;

use super::lab::Lab;
use super::netns::Namespace;
use super::process::Process;

/// The address of each name `www`, `one` … `five` below `example.`: the lab's web server.
const ZONE: &str = "\
$TTL 300
@ SOA ns admin 1 3600 600 86400 60
@ NS ns
ns A 198.51.100.2
www A 198.51.100.2
www AAAA 2001:db8:2::2
one A 198.51.100.2
two A 198.51.100.2
three A 198.51.100.2
only4 A 198.51.100.2
alias CNAME www
*.many A 198.51.100.2
web HTTPS 1 . ipv4hint=198.51.100.2 ipv6hint=2001:db8:2::2
";

/// The port of the first server.
pub(crate) const FIRST: u16 = 8_440;

/// How many bytes the large answer has at least.
pub(crate) const LARGE: usize = 4_000;

/// Starts a server for `example.` that speaks DNS over HTTPS at `port`, over TLS at `port` + 1, and
/// plain DNS: the [first](FIRST) at port 53, others at `port` + 2.
pub(crate) fn start(lab: &Lab, port: u16) -> Process {
    start_in(lab, &lab.server, port)
}

/// Starts the same somewhere else.
pub(crate) fn start_in(lab: &Lab, place: &Namespace, port: u16) -> Process {
    let folder = lab.file(&format!("named-{port}"));
    fs::create_dir_all(&folder).expect("make a folder");
    let large: Vec<_> = (0..LARGE / 200).map(|n| format!("large TXT \"{n:0200}\"\n")).collect();
    let large = large.concat();
    fs::write(folder.join("example.zone"), format!("{ZONE}{large}")).expect("write the zone");
    let config = folder.join("named.conf");
    fs::write(&config, configuration(lab, &folder, port)).expect("write the configuration");
    let mut command = place.command("named");
    command.args(["-g", "-n", "1", "-c"]).arg(config);
    let named = Process::start("named", command);
    named.wait_line("all zones loaded");
    named
}

fn configuration(lab: &Lab, folder: &Path, port: u16) -> String {
    let (folder, tls_port) = (folder.display(), port + 1);
    let (cert, key) = (lab.certificate.chain.display(), lab.certificate.key.display());
    let plain_port = if port == FIRST { 53 } else { port + 2 };
    let listen: String = ["listen-on", "listen-on-v6"]
        .map(|listen| {
            format!(
                "{listen} port {port} tls lab http doh {{ any; }};\n\
                 {listen} port {tls_port} tls lab {{ any; }};\n\
                 {listen} port {plain_port} {{ any; }};\n"
            )
        })
        .concat();
    format!(
        "tls lab {{ cert-file \"{cert}\"; key-file \"{key}\"; }};\n\
         http doh {{ endpoints {{ \"/dns-query\"; }}; }};\n\
         options {{ directory \"{folder}\"; pid-file none; session-keyfile none; recursion no;\n\
         dnssec-validation no; {listen} }};\n\
         controls {{}};\n\
         zone \"example\" {{ type primary; file \"example.zone\"; }};\n"
    )
}

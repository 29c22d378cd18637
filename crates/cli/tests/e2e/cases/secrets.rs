//! What both programs know and must not tell, at the highest log level there is.

use std::fs;

use crate::support::lab::{Lab, SERVERS};
use crate::support::need::{self, Need};
use crate::support::process::Process;
use crate::support::{client, curl, flow, proxy};

/// Credentials of all kinds, right and wrong ones.
const TOKEN: &str = "token-of-hunter2";
const WRONG_TOKEN: &str = "token-of-hunter3";
const PASSWORD: &str = "password-of-hunter2";
const HEADER: &str = "device-of-hunter2";

/// `user:` and the password, as the header carries it.
const BASIC: &str = "dXNlcjpwYXNzd29yZC1vZi1odW50ZXIy";

/// What says that a log is that of the highest level.
const EVERYTHING: &str = "TRACE";

/// Over HTTP/2 and HTTP/1.1, with CONNECT, connect-tcp and connect-udp, accepted and refused.
#[test]
fn credentials_are_in_no_line_of_any_log() {
    if !need::met(&[Need::Program("curl")]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_web();
    lab.serve_echo();
    lab.serve_datagrams();
    let file = lab.file("token");
    fs::write(&file, TOKEN).expect("write the token");
    let file = file.display().to_string();
    let basic = format!("user:{PASSWORD}");
    let mut command = proxy::ours_command(
        &lab,
        proxy::PORT,
        &["--token-file", &file, "--basic", &basic, "--access-log"],
    );
    command.env("PSEUDOTCP_LOG", "trace");
    let proxy = proxy::listening(command);

    let header = format!("X-Device: {HEADER}");
    for credential in
        [["--token-file", &file, "--header", &header], ["--basic", &basic, "--header", &header]]
    {
        for dialect in ["connect", "connect-tcp"] {
            let client = up(&lab, &[&credential[..], &["--tcp-dialect", dialect]].concat());
            client.wait_line("ready");
            flow::works(&lab);
            flow::echoes_datagrams(&lab);
            tells_nothing(&client);
        }
    }
    let refused = up(&lab, &["--token", WRONG_TOKEN, "--header", &header]);
    refused.wait_line("ready");
    flow::is_refused(&lab);
    tells_nothing(&refused);
    let options =
        ["--proxytunnel", "--proxy-insecure", "--proxy", &proxy::url(), "--proxy-user", &basic];
    curl::download(&lab, &format!("http://{}/bytes/1000", SERVERS[0]), &options);
    proxy.wait_line(&format!("to={}:80 end", SERVERS[0]));
    tells_nothing(&proxy);
}

fn up(lab: &Lab, arguments: &[&str]) -> Process {
    let mut command = client::command(lab, &[&proxy::url()], arguments);
    command.env("PSEUDOTCP_LOG", "trace");
    Process::start("client", command)
}

fn tells_nothing(program: &Process) {
    let lines = program.lines();
    assert!(lines.iter().any(|line| line.contains(EVERYTHING)), "the log is not complete");
    for secret in [TOKEN, WRONG_TOKEN, PASSWORD, HEADER, BASIC] {
        let told = lines.iter().find(|line| line.contains(secret));
        assert_eq!(told, None, "{secret}");
    }
}

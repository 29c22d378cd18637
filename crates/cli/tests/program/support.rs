//! Starting the program, and asking what it said.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// The program under test.
pub(crate) fn pseudotcp(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pseudotcp"));
    command.args(arguments).stdin(Stdio::null());
    for variable in ["PSEUDOTCP_TOKEN", "PSEUDOTCP_BASIC", "PSEUDOTCP_LOG"] {
        command.env_remove(variable);
    }
    command
}

/// What the program printed and how it ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Ended {
    pseudotcp(arguments).output().unwrap().into()
}

/// A proxy with a certificate of its own, killed by its process id when dropped.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) url: String,
    pub(crate) pin: PathBuf,
}

impl Proxy {
    /// Starts a proxy on loopback and waits until it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = pseudotcp(&["proxy", "--listen", "127.0.0.1:0"]);
        command.args(["--self-signed", "--print-pin"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let is_pem = |line: &String| !line.starts_with("pseudotcp:");
        let (mut pem, mut said) = (String::new(), String::new());
        for line in lines.by_ref() {
            if !is_pem(&line) {
                said = line;
                break;
            }
            pem.push_str(&line);
            pem.push('\n');
        }
        let url = said.strip_prefix("pseudotcp: listening on ").unwrap().to_owned();
        let pin = std::env::temp_dir().join(format!("pseudotcp-pin-{}.pem", child.id()));
        std::fs::write(&pin, pem).unwrap();
        Self { child, url, pin }
    }

    /// The arguments by which `up` finds and trusts it.
    pub(crate) fn arguments(&self) -> [&str; 4] {
        ["--proxy", &self.url, "--pin", self.pin.to_str().unwrap()]
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::fs::remove_file(&self.pin).unwrap();
    }
}

/// A file of rules, removed at the end.
pub(crate) struct Rules(PathBuf);

impl Rules {
    /// Writes the file; its name has `name` in it.
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let name = format!("pseudotcp-{name}-{}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

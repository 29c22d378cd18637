//! curl, as an app like any other.

use std::path::Path;
use std::process::{Command, Stdio};

use super::lab::Lab;
use super::pattern::{self, Sum};

/// Downloads, and returns the length and the sum of what came.
pub(crate) fn download(lab: &Lab, url: &str, arguments: &[&str]) -> (usize, Sum) {
    let mut child = curl(lab, arguments).arg(url).stdout(Stdio::piped()).spawn().expect("run curl");
    let body = child.stdout.take().expect("piped");
    let (length, sum) = pattern::read_sum(body).expect("read from curl");
    let status = child.wait().expect("wait for curl");
    assert!(status.success(), "curl {url}: {status} after {length} bytes");
    (length, sum)
}

/// Whether a download succeeds.
pub(crate) fn downloads(lab: &Lab, url: &str, arguments: &[&str]) -> bool {
    let mut command = curl(lab, arguments);
    command.arg(url).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("run curl").success()
}

/// Uploads a file, and returns the server's answer.
pub(crate) fn upload(lab: &Lab, url: &str, file: &Path, arguments: &[&str]) -> String {
    let output = curl(lab, arguments).arg("--upload-file").arg(file).arg(url).output();
    let output = output.expect("run curl");
    assert!(output.status.success(), "curl {url}: {}", output.status);
    String::from_utf8(output.stdout).expect("the answer is text")
}

fn curl(lab: &Lab, arguments: &[&str]) -> Command {
    let mut command = lab.client.command("curl");
    command.args(["--silent", "--show-error", "--fail", "--globoff", "--max-time", "120"]);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit());
    command
}

//! What every crate must have.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;
use crate::shell;

/// The only crate with unsafe code.
const WITH_UNSAFE: &str = "pseudotcp-tun";

/// Crates on the way of every packet: nothing in them may panic.
const PACKET_PATH: &[&str] = &[
    "pseudotcp-packet",
    "pseudotcp-tcp",
    "pseudotcp-udp",
    "pseudotcp-dns",
    "pseudotcp-policy",
    "pseudotcp-pipeline",
];

/// The lints that such a crate denies for itself (casts are a matter of the pedantic set).
const PANICS: &[&str] = &[
    "clippy::expect_used",
    "clippy::indexing_slicing",
    "clippy::panic",
    "clippy::unreachable",
    "clippy::unwrap_used",
];

/// What is missing in the crates of the workspace.
pub(super) fn findings() -> Result<Vec<Finding>> {
    let packages = shell::metadata()?["packages"].as_array().context("no packages")?;
    let ours = packages.iter().filter(|package| package["source"].is_null());
    let mut findings = Vec::new();
    for package in ours {
        findings.extend(package_findings(package)?);
    }
    Ok(findings)
}

fn package_findings(package: &Value) -> Result<Vec<Finding>> {
    let name = package["name"].as_str().context("a package without a name")?;
    let manifest = Path::new(package["manifest_path"].as_str().context("no manifest")?);
    let dir = manifest.parent().context("no folder")?;
    let mut findings = Vec::new();
    let mut demand = |holds: bool, file: &Path, what: String| {
        if !holds {
            findings.push(Finding::new(file.strip_prefix(shell::root()).unwrap_or(file), 1, what));
        }
    };
    let has_readme =
        !dir.starts_with(shell::root().join("crates")) || dir.join("README.md").is_file();
    demand(has_readme, dir, "no README.md".into());
    let inherits = fs::read_to_string(manifest)?.contains("[lints]\nworkspace = true");
    demand(inherits, manifest, "does not inherit the lints of the workspace".into());
    for file in roots(package) {
        let head = head(&file)?;
        let forbids = name == WITH_UNSAFE || head.contains("#![forbid(unsafe_code)]");
        demand(forbids, &file, "does not forbid unsafe code".into());
        let denied = PANICS.iter().all(|lint| head.contains(lint));
        let may_panic = PACKET_PATH.contains(&name) && !denied;
        demand(!may_panic, &file, format!("does not deny {}", PANICS.join(", ")));
    }
    Ok(findings)
}

/// The root files of a package's library and programs.
fn roots(package: &Value) -> Vec<PathBuf> {
    let targets = package["targets"].as_array().into_iter().flatten();
    let shipped = targets.filter(|target| {
        let kinds = target["kind"].as_array().into_iter().flatten();
        kinds.into_iter().any(|kind| kind == "lib" || kind == "bin")
    });
    shipped.filter_map(|target| target["src_path"].as_str().map(PathBuf::from)).collect()
}

/// The inner attributes of a file, as text: all of it before its first item.
fn head(file: &Path) -> Result<String> {
    let text = fs::read_to_string(file)?;
    let is_head = |line: &&str| {
        let starts = ["#!", "//", "   ", ")]"];
        line.is_empty() || starts.iter().any(|start| line.starts_with(start))
    };
    Ok(text.lines().take_while(is_head).collect::<Vec<_>>().join("\n"))
}

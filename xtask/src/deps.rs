//! The dependency graph as `ARCHITECTURE.md` draws it, enforced.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::shell;

/// Which of our crates each of our crates may use; a new crate needs a line here.
const ALLOWED: &[(&str, &[&str])] = &[
    ("pseudotcp-packet", &[]),
    ("pseudotcp-tcp", &["pseudotcp-packet"]),
    ("pseudotcp-udp", &["pseudotcp-packet"]),
    ("pseudotcp-dns", &["pseudotcp-packet"]),
    ("pseudotcp-policy", &["pseudotcp-packet"]),
    ("pseudotcp-masque", &[]),
    ("pseudotcp-masque-h2", &["pseudotcp-masque"]),
    ("pseudotcp-masque-mock", &["pseudotcp-masque"]),
    ("pseudotcp-direct", &["pseudotcp-masque"]),
    ("pseudotcp-proxy", &["pseudotcp-masque"]),
    ("pseudotcp-resolver", &["pseudotcp-dns", "pseudotcp-masque"]),
    ("pseudotcp-tun", &["pseudotcp-packet"]),
    (
        "pseudotcp-pipeline",
        &[
            "pseudotcp-dns",
            "pseudotcp-masque",
            "pseudotcp-packet",
            "pseudotcp-policy",
            "pseudotcp-tcp",
            "pseudotcp-udp",
        ],
    ),
    (
        "pseudotcp-cli",
        &[
            "pseudotcp-direct",
            "pseudotcp-dns",
            "pseudotcp-masque",
            "pseudotcp-masque-h2",
            "pseudotcp-masque-mock",
            "pseudotcp-packet",
            "pseudotcp-pipeline",
            "pseudotcp-policy",
            "pseudotcp-proxy",
            "pseudotcp-resolver",
            "pseudotcp-tcp",
            "pseudotcp-tun",
            "pseudotcp-udp",
        ],
    ),
    ("pseudotcp-testkit", &["pseudotcp-packet"]),
    ("xtask", &[]),
];

/// May use any of our crates, and nothing may use them.
const LEAVES: &[&str] = &["pseudotcp-benches", "pseudotcp-bench-e2e"];

/// Protocol logic: no runtime, however far down.
const RUNTIME_FREE: &[&str] =
    &["pseudotcp-packet", "pseudotcp-tcp", "pseudotcp-udp", "pseudotcp-dns", "pseudotcp-policy"];

/// What "a runtime" means.
const RUNTIMES: &[&str] = &["tokio", "async-std", "smol", "mio", "socket2"];

/// Normal and build edges of every package, by name.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Fails on the edges that the design does not have.
pub(crate) fn run() -> Result<()> {
    let metadata = shell::metadata()?;
    let graph = graph(metadata)?;
    let ours = members(metadata)?;
    let faults = faults(&graph, &ours);
    for fault in &faults {
        eprintln!("deps: {fault}");
    }
    ensure!(faults.is_empty(), "{} edge(s) that the design does not have", faults.len());
    println!("deps: {} crates, every edge as designed", ours.len());
    Ok(())
}

fn faults(graph: &Graph, ours: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    for package in ours {
        let uses = graph.get(package).into_iter().flatten().filter(|name| ours.contains(*name));
        faults.extend(uses.filter_map(|used| forbidden_edge(package, used)));
    }
    for package in RUNTIME_FREE {
        let reached = reachable(graph, package);
        let found = RUNTIMES.iter().filter(|runtime| reached.contains(**runtime));
        faults.extend(found.map(|runtime| format!("{package} reaches {runtime}")));
    }
    faults
}

fn forbidden_edge(package: &str, used: &str) -> Option<String> {
    if LEAVES.contains(&package) && !LEAVES.contains(&used) {
        return None;
    }
    match ALLOWED.iter().find(|(name, _)| *name == package) {
        None => Some(format!("{package} is not in the table of xtask/src/deps.rs")),
        Some((_, allowed)) if allowed.contains(&used) => None,
        Some(_) => Some(format!("{package} may not depend on {used}")),
    }
}

/// All that a package depends on, directly or not.
fn reachable(graph: &Graph, package: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![package.to_owned()];
    while let Some(name) = open.pop() {
        for used in graph.get(&name).into_iter().flatten() {
            if reached.insert(used.clone()) {
                open.push(used.clone());
            }
        }
    }
    reached
}

fn members(metadata: &Value) -> Result<BTreeSet<String>> {
    let names = names(metadata)?;
    let members = metadata["workspace_members"].as_array().context("no workspace members")?;
    Ok(members.iter().filter_map(|id| names.get(id.as_str()?).cloned()).collect())
}

/// Package names by id.
fn names(metadata: &Value) -> Result<BTreeMap<String, String>> {
    let packages = metadata["packages"].as_array().context("no packages")?;
    let pair = |package: &Value| {
        Some((package["id"].as_str()?.to_owned(), package["name"].as_str()?.to_owned()))
    };
    Ok(packages.iter().filter_map(pair).collect())
}

fn graph(metadata: &Value) -> Result<Graph> {
    let names = names(metadata)?;
    let nodes = metadata["resolve"]["nodes"].as_array().context("no resolved graph")?;
    let mut graph = Graph::new();
    for node in nodes {
        let Some(name) = node["id"].as_str().and_then(|id| names.get(id)) else { continue };
        let edges = node["deps"].as_array().into_iter().flatten().filter(|edge| is_shipped(edge));
        let used = edges.filter_map(|edge| names.get(edge["pkg"].as_str()?).cloned());
        graph.entry(name.clone()).or_default().extend(used);
    }
    Ok(graph)
}

/// Whether an edge is more than a dev-dependency (`kind` is null for normal edges).
fn is_shipped(edge: &Value) -> bool {
    let kinds = edge["dep_kinds"].as_array().into_iter().flatten();
    kinds.into_iter().any(|kind| kind["kind"].as_str() != Some("dev"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn graph_of(edges: &[(&str, &[&str])]) -> Graph {
        let node = |(name, used): &(&str, &[&str])| {
            ((*name).to_owned(), used.iter().map(|u| (*u).to_owned()).collect())
        };
        edges.iter().map(node).collect()
    }

    fn faults_of(edges: &[(&str, &[&str])], ours: &[&str]) -> Vec<String> {
        faults(&graph_of(edges), &ours.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn designed_edges_pass() {
        let edges: &[(&str, &[&str])] =
            &[("pseudotcp-tcp", &["pseudotcp-packet", "bytes"]), ("pseudotcp-packet", &["bytes"])];
        assert!(faults_of(edges, &["pseudotcp-tcp", "pseudotcp-packet"]).is_empty());
    }

    #[test]
    fn upward_edge_is_found() {
        let edges: &[(&str, &[&str])] = &[("pseudotcp-masque-h2", &["pseudotcp-packet"])];
        let faults = faults_of(edges, &["pseudotcp-masque-h2", "pseudotcp-packet"]);
        assert_eq!(faults, ["pseudotcp-masque-h2 may not depend on pseudotcp-packet"]);
    }

    #[test]
    fn unknown_crate_that_uses_ours_is_found() {
        let faults = faults_of(&[("new", &["pseudotcp-tcp"])], &["new", "pseudotcp-tcp"]);
        assert_eq!(faults, ["new is not in the table of xtask/src/deps.rs"]);
    }

    #[test]
    fn benches_use_anything_and_nothing_uses_them() {
        let edges: &[(&str, &[&str])] = &[
            ("pseudotcp-benches", &["pseudotcp-pipeline", "pseudotcp-testkit"]),
            ("pseudotcp-cli", &["pseudotcp-benches"]),
        ];
        let ours =
            ["pseudotcp-benches", "pseudotcp-cli", "pseudotcp-pipeline", "pseudotcp-testkit"];
        assert_eq!(faults_of(edges, &ours), ["pseudotcp-cli may not depend on pseudotcp-benches"]);
    }

    #[test]
    fn runtime_is_found_through_others() {
        let edges: &[(&str, &[&str])] =
            &[("pseudotcp-dns", &["resolver"]), ("resolver", &["tokio"]), ("tokio", &["mio"])];
        let faults = faults_of(edges, &[]);
        assert_eq!(faults, ["pseudotcp-dns reaches tokio", "pseudotcp-dns reaches mio"]);
    }

    #[test]
    fn dev_edges_do_not_count() {
        let metadata = json!({
            "packages": [{"id": "1", "name": "pseudotcp-tcp"}, {"id": "2", "name": "tokio"}],
            "workspace_members": ["1"],
            "resolve": {"nodes": [{"id": "1", "deps": [
                {"pkg": "2", "dep_kinds": [{"kind": "dev", "target": null}]},
            ]}]},
        });
        assert!(graph(&metadata).unwrap()["pseudotcp-tcp"].is_empty());
        assert!(members(&metadata).unwrap().contains("pseudotcp-tcp"));
    }

    #[test]
    fn an_edge_that_is_also_normal_counts() {
        let edge = json!({"dep_kinds": [{"kind": "dev"}, {"kind": null}]});
        assert!(is_shipped(&edge));
    }
}

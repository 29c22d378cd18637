//! What is given back to the system.
#![cfg(target_os = "linux")]

use std::fs;

use pseudotcp_tun::give_back_memory;

/// The pages of files that are mapped, in kB.
fn pages_of_files() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssFile:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn code_is_given_back_and_still_runs() {
    let before = pages_of_files();
    give_back_memory();
    let after = pages_of_files();
    assert!(after < before, "{before} kB, then {after}");
}

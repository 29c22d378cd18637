//! What a test needs of the machine, and what happens where it is missing.

use std::path::{Path, PathBuf};

use pseudotcp_tun::SteeringTable;

/// Something that not every machine has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// Root, for namespaces and devices.
    Root,
    /// The TUN driver.
    Tun,
    /// A program in `PATH`.
    Program(&'static str),
    /// Envoy, which `cargo xtask test` installs.
    Envoy,
    /// The Python of `cargo xtask test`, with its `h2`.
    Python,
    /// A kernel that can be told which thread shall read a flow.
    Ebpf,
}

/// What every test with a network of its own needs.
pub(crate) const NETWORK: [Need; 3] = [Need::Root, Need::Tun, Need::Program("ip")];

/// Whether a test can run here. If not, says why; where all tests must run
/// (`PSEUDOTCP_REQUIRE_ALL=1`), that is a failure.
#[must_use]
pub(crate) fn met(needs: &[Need]) -> bool {
    let Some(reason) = NETWORK.iter().chain(needs).find_map(|need| need.missing()) else {
        return true;
    };
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    pseudotcp_testkit::skip(&format!("{test}: {reason}"));
    false
}

/// Whether a program is there that is not worth its installation everywhere. Says so if not; no
/// machine has to have it.
#[must_use]
pub(crate) fn is_there(program: &str) -> bool {
    let is_there = find(program).is_some();
    if !is_there {
        println!("not run: {program} is not installed");
    }
    is_there
}

impl Need {
    fn missing(self) -> Option<String> {
        match self {
            Self::Root => (!nix::unistd::geteuid().is_root()).then(|| "needs root".into()),
            Self::Tun => {
                (!Path::new("/dev/net/tun").exists()).then(|| "needs the TUN driver".into())
            }
            Self::Program(name) => find(name).is_none().then(|| format!("needs {name}")),
            Self::Envoy => envoy().is_none().then(|| "needs Envoy (cargo xtask test)".into()),
            Self::Python => {
                python().is_none().then(|| "needs Python's h2 (cargo xtask test)".into())
            }
            Self::Ebpf => SteeringTable::new().err().map(|error| format!("needs eBPF: {error}")),
        }
    }
}

/// Where Envoy is.
pub(crate) fn envoy() -> Option<PathBuf> {
    from_environment("PSEUDOTCP_ENVOY").or_else(|| find("envoy"))
}

/// Where a Python with `h2` is.
pub(crate) fn python() -> Option<PathBuf> {
    from_environment("PSEUDOTCP_PYTHON")
}

fn from_environment(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file())
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

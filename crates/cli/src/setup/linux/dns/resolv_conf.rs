//! The list of DNS servers that programs read themselves: resolv.conf(5).

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The first line of a file that we wrote.
const MARK: &str = "# Written by pseudotcp; 'pseudotcp down' brings the former file back.";

/// The most bytes of a file that are read.
const MAX_LEN: u64 = 64 << 10;

/// Where systemd-resolved listens for programs that read the file.
const STUBS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54))];

/// What was there before us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Former {
    /// No file.
    Nothing,
    /// A file with this in it.
    File(Vec<u8>),
    /// A symbolic link to this path, where this was to be read.
    Link(PathBuf, Vec<u8>),
}

impl Former {
    /// What was to be read.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::File(bytes) | Self::Link(_, bytes) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// A file of that kind.
#[derive(Clone, Debug)]
pub(crate) struct ResolvConf(PathBuf);

impl ResolvConf {
    /// The one that all programs read.
    pub(crate) fn of_the_system() -> Self {
        Self::at("/etc/resolv.conf")
    }

    /// The one at a path.
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Its text; empty where it cannot be read.
    pub(crate) fn read(&self) -> String {
        let bytes = self.bytes().unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether programs that read it ask systemd-resolved.
    pub(crate) fn names_the_stub(&self) -> bool {
        let servers = servers(&self.read());
        !servers.is_empty() && servers.iter().all(is_stub)
    }

    /// Whether it names these servers and no others.
    pub(crate) fn has(&self, wanted: &[IpAddr]) -> bool {
        servers(&self.read()) == wanted
    }

    /// What is there that is not ours.
    pub(crate) fn former(&self) -> io::Result<Option<Former>> {
        let bytes = match self.bytes() {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            bytes => bytes?,
        };
        if is_ours(&bytes) {
            return Ok(None);
        }
        Ok(Some(match fs::symlink_metadata(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => Former::Nothing,
            Ok(entry) if entry.is_symlink() => Former::Link(fs::read_link(&self.0)?, bytes),
            entry => entry.map(|_| Former::File(bytes))?,
        }))
    }

    /// Names these servers, and keeps all else that the file says, such as search domains.
    pub(crate) fn set(&self, servers: &[IpAddr]) -> io::Result<()> {
        let text = self.read();
        let kept = text.lines().filter(|line| *line != MARK && server(line).is_none());
        let ours = servers.iter().map(|server| format!("nameserver {server}"));
        let lines: Vec<String> =
            [MARK.to_owned()].into_iter().chain(ours).chain(kept.map(str::to_owned)).collect();
        self.write(format!("{}\n", lines.join("\n")).as_bytes())
    }

    /// Puts back what was there before; what somebody else has written since stays.
    pub(crate) fn restore(&self, former: &Former) -> io::Result<()> {
        if !self.bytes().is_ok_and(|bytes| is_ours(&bytes)) {
            return Ok(());
        }
        match former {
            Former::Nothing => fs::remove_file(&self.0),
            Former::File(bytes) => self.write(bytes),
            Former::Link(target, _) => {
                let link = self.beside();
                std::os::unix::fs::symlink(target, &link)?;
                fs::rename(link, &self.0)
            }
        }
    }

    /// A link makes way for a file. A file is written in place, for it may be a mount.
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let is_file = fs::symlink_metadata(&self.0).is_ok_and(|entry| entry.is_file());
        if !is_file {
            let file = self.beside();
            fs::write(&file, bytes)?;
            return fs::rename(file, &self.0);
        }
        let mut file = OpenOptions::new().write(true).open(&self.0)?;
        // Cut last: whoever reads meanwhile finds the new servers in front.
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)
    }

    fn beside(&self) -> PathBuf {
        self.0.with_extension(format!("pseudotcp-{}", std::process::id()))
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(&self.0)?.take(MAX_LEN).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// The servers that a text names.
pub(crate) fn servers(text: &str) -> Vec<IpAddr> {
    text.lines().filter_map(server).filter_map(|server| server.parse().ok()).collect()
}

/// Whether systemd-resolved listens there.
pub(crate) fn is_stub(server: &IpAddr) -> bool {
    STUBS.contains(server)
}

/// The server that a line names.
fn server(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    words.next().filter(|word| *word == "nameserver")?;
    words.next()
}

fn is_ours(bytes: &[u8]) -> bool {
    bytes.starts_with(MARK.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "search corp.example\nnameserver 192.0.2.53\noptions edns0\n";

    /// A folder with a resolv.conf, removed at the end.
    struct Etc(PathBuf);

    impl Etc {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("pseudotcp-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> ResolvConf {
            ResolvConf::at(self.0.join("resolv.conf"))
        }
    }

    impl Drop for Etc {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn ours() -> Vec<IpAddr> {
        ["10.99.99.11", "fd99:99::11"].map(|server| server.parse().unwrap()).to_vec()
    }

    #[test]
    fn a_file_is_changed_in_place_and_restored() {
        use std::os::unix::fs::MetadataExt;

        let etc = Etc::new("file");
        let file = etc.file();
        fs::write(file.path(), BEFORE).unwrap();
        let inode = fs::metadata(file.path()).unwrap().ino();
        let former = file.former().unwrap().unwrap();
        file.set(&ours()).unwrap();
        assert!(file.has(&ours()) && file.former().unwrap().is_none());
        let text = file.read();
        assert!(text.contains("search corp.example\noptions edns0"), "{text}");
        assert!(!text.contains("192.0.2.53"), "{text}");
        file.set(&ours()).unwrap();
        assert_eq!(file.read(), text, "twice is once");
        file.restore(&former).unwrap();
        assert_eq!(file.read(), BEFORE);
        assert_eq!(fs::metadata(file.path()).unwrap().ino(), inode);
    }

    #[test]
    fn a_link_is_replaced_and_its_target_left_alone() {
        let etc = Etc::new("link");
        let (file, target) = (etc.file(), etc.0.join("stub.conf"));
        fs::write(&target, BEFORE).unwrap();
        std::os::unix::fs::symlink("stub.conf", file.path()).unwrap();
        let former = file.former().unwrap().unwrap();
        assert_eq!(former, Former::Link("stub.conf".into(), BEFORE.into()));
        file.set(&ours()).unwrap();
        assert!(file.has(&ours()) && file.read().contains("search corp.example"));
        assert_eq!(fs::read_to_string(&target).unwrap(), BEFORE);
        file.restore(&former).unwrap();
        assert_eq!(fs::read_link(file.path()).unwrap(), Path::new("stub.conf"));
    }

    #[test]
    fn no_file_becomes_one_and_goes_again() {
        let etc = Etc::new("none");
        let file = etc.file();
        assert_eq!(file.former().unwrap(), Some(Former::Nothing));
        file.set(&ours()).unwrap();
        assert!(file.has(&ours()));
        file.restore(&Former::Nothing).unwrap();
        assert!(!file.path().exists());
    }

    #[test]
    fn what_somebody_else_has_written_since_stays() {
        let etc = Etc::new("else");
        let file = etc.file();
        file.set(&ours()).unwrap();
        fs::write(file.path(), BEFORE).unwrap();
        assert!(!file.has(&ours()));
        file.restore(&Former::File(b"older".to_vec())).unwrap();
        assert_eq!(file.read(), BEFORE);
    }

    #[test]
    fn the_stub_of_resolved_is_known() {
        let etc = Etc::new("stub");
        let file = etc.file();
        let names_the_stub = |text: &str| {
            fs::write(file.path(), text).unwrap();
            file.names_the_stub()
        };
        assert!(names_the_stub("# stub\nnameserver 127.0.0.53\noptions edns0 trust-ad\n"));
        assert!(!names_the_stub("nameserver 127.0.0.53\nnameserver 192.0.2.53\n"));
        assert!(!names_the_stub("#nameserver 127.0.0.53\n"));
    }
}

//! What is needed of bpf(2): an array in shared memory, and a program that reads it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// An instruction of eBPF (RFC 9669 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Instruction {
    pub(super) opcode: u8,
    /// Destination and source, four bits each: the destination comes first in the machine's order of bits.
    pub(super) registers: u8,
    pub(super) offset: i16,
    pub(super) immediate: i32,
}

/// The part of `union bpf_attr` that makes a map.
#[repr(C)]
struct MapAttributes {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

/// The part of `union bpf_attr` that loads a program.
#[repr(C)]
struct ProgramAttributes {
    program_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
const MAP_TYPE_ARRAY: u32 = 2;
const MMAPABLE: u32 = 1 << 10;
const PROG_TYPE_SOCKET_FILTER: u32 = 1;

/// `TUNSETSTEERINGEBPF`: `_IOR('T', 224, int)`.
const SET_STEERING: libc::Ioctl = 0x8004_54e0;

/// An array map with one value of `len` bytes, which can be mapped into memory.
pub(super) fn array(len: usize) -> io::Result<OwnedFd> {
    let attributes = MapAttributes {
        map_type: MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: u32::try_from(len).map_err(io::Error::other)?,
        max_entries: 1,
        map_flags: MMAPABLE,
    };
    // SAFETY: this command reads the attributes and nothing else.
    unsafe { bpf(MAP_CREATE, &attributes) }
}

/// Loads a program that looks at packets.
pub(super) fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let attributes = ProgramAttributes {
        program_type: PROG_TYPE_SOCKET_FILTER,
        count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr().expose_provenance() as u64,
        license: c"BSD".as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: this command reads the attributes, so many instructions, and a text that ends with zero; all
    // of them outlive the call. No log is asked for, so it writes nothing.
    unsafe { bpf(PROG_LOAD, &attributes) }
}

/// Has the interface of a TUN descriptor choose its queues by a program.
pub(super) fn attach(tun: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let number: RawFd = program.as_raw_fd();
    // SAFETY: the request reads one number through a pointer that is valid.
    match unsafe { libc::ioctl(tun.as_raw_fd(), SET_STEERING, &raw const number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A command that makes something, and the descriptor of what it has made.
///
/// # Safety
/// Whatever the command reads or writes through `attributes` must be valid.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    let attributes = &raw const *attributes;
    // SAFETY: the attributes are so long; for the rest see above.
    let made = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    match RawFd::try_from(made) {
        // SAFETY: the kernel has just made this descriptor, so nobody else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

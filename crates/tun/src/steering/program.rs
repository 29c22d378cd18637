//! The program that the kernel runs for each packet: it finds the packet's bucket as [`FlowKey::bucket`]
//! does, and answers what the table says of it.

use std::os::fd::RawFd;

use pseudotcp_packet::{FlowKey, Protocol};

use self::Label::{FirstQueue, Ipv4Ports, Ipv6, Ipv6Ports, Ports};
use self::Register::{R0, R1, R6, R7, R8, R9};
use super::bpf::Instruction;

/// A register (RFC 9669 §2.1).
#[derive(Clone, Copy)]
enum Register {
    /// What a load of packet data gives, and the program's answer.
    R0 = 0,
    /// The packet, at first.
    R1 = 1,
    /// The packet, where loads of packet data expect it.
    R6 = 6,
    /// The addresses, word by word one upon the other.
    R7 = 7,
    /// How long the IP header is.
    R8 = 8,
    /// The ports, one upon the other.
    R9 = 9,
}

/// A place that is jumped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Ipv4Ports,
    Ipv6,
    Ipv6Ports,
    Ports,
    FirstQueue,
}

// Operations (RFC 9669 §4 and §5).
const LOAD_64: u8 = 0x18;
const LOAD_BYTE: u8 = 0x71;
const PACKET_BYTE: u8 = 0x30;
const PACKET_HALF: u8 = 0x28;
const PACKET_WORD: u8 = 0x20;
/// Past a register's value.
const PACKET_HALF_PAST: u8 = 0x48;
const ADD: u8 = 0x0f;
const MOVE: u8 = 0xbf;
const XOR: u8 = 0xac;
const MOVE_BY: u8 = 0xb4;
const MULTIPLY_BY: u8 = 0x24;
const AND_BY: u8 = 0x54;
const SHIFT_LEFT_BY: u8 = 0x64;
const SHIFT_RIGHT_BY: u8 = 0x74;
const JUMP: u8 = 0x05;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const JUMP_IF_ANY_OF: u8 = 0x45;
const EXIT: u8 = 0x95;

/// The source of a [`LOAD_64`] that stands for the address of a map's first value.
const MAP_VALUE: u8 = 2;

/// The bits of the IPv4 header's seventh and eighth byte that fragments have (RFC 791 §3.1).
const FRAGMENT: i32 = 0x3fff;

/// The program for the table that is the one value of the map.
pub(super) fn steer_by(map: RawFd) -> Vec<Instruction> {
    let mut program = Assembler::default();
    read_version(&mut program);
    read_ipv4(&mut program);
    program.place(Ipv6);
    read_ipv6(&mut program);
    program.place(Ports);
    read_ports(&mut program);
    answer_from(&mut program, map);
    program.place(FirstQueue);
    program.by(MOVE_BY, R0, 0);
    program.exit();
    program.assemble()
}

fn read_version(program: &mut Assembler) {
    program.with(MOVE, R6, R1);
    program.by(MOVE_BY, R7, 0);
    program.packet(PACKET_BYTE, 0);
    program.with(MOVE, R8, R0);
    program.by(SHIFT_RIGHT_BY, R0, 4);
    program.jump_if(JUMP_IF_EQUAL, 6, Ipv6);
}

fn read_ipv4(program: &mut Assembler) {
    program.packet(PACKET_HALF, 6);
    program.jump_if(JUMP_IF_ANY_OF, FRAGMENT, FirstQueue);
    program.packet(PACKET_BYTE, 9);
    only_tcp_and_udp(program, Ipv4Ports);
    fold(program, [12, 16]);
    // The first byte's lower half counts words.
    program.by(AND_BY, R8, 0x0f);
    program.by(SHIFT_LEFT_BY, R8, 2);
    program.jump(Ports);
}

fn read_ipv6(program: &mut Assembler) {
    program.packet(PACKET_BYTE, 6);
    only_tcp_and_udp(program, Ipv6Ports);
    fold(program, [8, 12, 16, 20, 24, 28, 32, 36]);
    program.by(MOVE_BY, R8, 40);
}

/// Goes on at `label`, which follows, where the protocol that has been read is one with flows.
fn only_tcp_and_udp(program: &mut Assembler, label: Label) {
    program.jump_if(JUMP_IF_EQUAL, Protocol::Tcp.number().into(), label);
    program.jump_if(JUMP_UNLESS_EQUAL, Protocol::Udp.number().into(), FirstQueue);
    program.place(label);
}

/// Lays the words of the addresses one upon the other.
fn fold<const N: usize>(program: &mut Assembler, words: [i32; N]) {
    for word in words {
        program.packet(PACKET_WORD, word);
        program.with(XOR, R7, R0);
    }
}

fn read_ports(program: &mut Assembler) {
    program.packet_past(PACKET_HALF_PAST, R8, 0);
    program.with(MOVE, R9, R0);
    program.packet_past(PACKET_HALF_PAST, R8, 2);
    program.with(XOR, R9, R0);
}

fn answer_from(program: &mut Assembler, map: RawFd) {
    program.by(MULTIPLY_BY, R7, FlowKey::ADDRESS_FACTOR.cast_signed());
    program.by(MULTIPLY_BY, R9, FlowKey::PORT_FACTOR.cast_signed());
    program.with(XOR, R7, R9);
    program.by(SHIFT_RIGHT_BY, R7, FlowKey::UNUSED_BITS.cast_signed());
    program.value_of_map(R0, map);
    program.with(ADD, R0, R7);
    program.with(LOAD_BYTE, R0, R0);
    program.exit();
}

/// Instructions in the making.
#[derive(Debug, Default)]
struct Assembler {
    instructions: Vec<Instruction>,
    places: Vec<(Label, usize)>,
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    fn push(&mut self, opcode: u8, destination: Register, source: u8, immediate: i32) {
        let registers = if cfg!(target_endian = "little") {
            source << 4 | destination as u8
        } else {
            (destination as u8) << 4 | source
        };
        self.instructions.push(Instruction { opcode, registers, offset: 0, immediate });
    }

    /// An operation on two registers.
    fn with(&mut self, opcode: u8, destination: Register, source: Register) {
        self.push(opcode, destination, source as u8, 0);
    }

    /// An operation on a register and a number.
    fn by(&mut self, opcode: u8, destination: Register, immediate: i32) {
        self.push(opcode, destination, 0, immediate);
    }

    /// Loads from the packet into R0. Where it is shorter the program ends with 0.
    fn packet(&mut self, opcode: u8, at: i32) {
        self.push(opcode, R0, 0, at);
    }

    /// The same from `past` bytes on.
    fn packet_past(&mut self, opcode: u8, past: Register, at: i32) {
        self.push(opcode, R0, past as u8, at);
    }

    /// Loads the address of the map's first value.
    fn value_of_map(&mut self, destination: Register, map: RawFd) {
        self.push(LOAD_64, destination, MAP_VALUE, map);
        self.push(0, R0, 0, 0);
    }

    fn jump(&mut self, label: Label) {
        self.jumps.push((self.instructions.len(), label));
        self.push(JUMP, R0, 0, 0);
    }

    /// Jumps by what R0 holds.
    fn jump_if(&mut self, opcode: u8, immediate: i32, label: Label) {
        self.jumps.push((self.instructions.len(), label));
        self.push(opcode, R0, 0, immediate);
    }

    fn exit(&mut self) {
        self.push(EXIT, R0, 0, 0);
    }

    /// Gives the next instruction a label.
    fn place(&mut self, label: Label) {
        self.places.push((label, self.instructions.len()));
    }

    /// The instructions, with each jump as far as its label is from the instruction after it.
    fn assemble(mut self) -> Vec<Instruction> {
        for (at, label) in self.jumps {
            let place = self.places.iter().find(|(placed, _)| *placed == label);
            let distance = place.and_then(|(_, place)| i16::try_from(place - at - 1).ok());
            self.instructions[at].offset =
                distance.expect("labels follow their jumps, not far away");
        }
        self.instructions
    }
}

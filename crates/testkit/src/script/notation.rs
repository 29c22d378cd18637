//! The notation of one segment: `P. 1:1001(1000) ack 1 win 65535 urg 3 by 1460 <nop,nop,…>`.

use pseudotcp_packet::TcpFlags;

use super::options::Options;

/// A segment as a script writes it. Numbers are relative to the SYN of their direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The ECN field of the IP header.
    pub(super) ecn: Option<u8>,
    pub(super) flags: TcpFlags,
    /// First number and octets of payload; `None` where any will do.
    pub(super) range: Option<Range>,
    pub(super) ack: Field<u32>,
    pub(super) window: Field<u16>,
    pub(super) urgent: Option<u16>,
    /// Octets of the pieces of a super-segment.
    pub(super) by: Option<u16>,
    pub(super) options: Options,
}

/// `1:1001(1000)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u32,
    pub(super) len: u32,
}

/// Part of a segment that a script may leave out, or leave open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field<T> {
    Absent,
    Any,
    Is(T),
}

/// An ICMP error as a script writes it: `[1:1461(1460)] icmp 3/4 mtu 1200`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Icmp {
    pub(super) kind: u8,
    pub(super) code: u8,
    pub(super) mtu: Option<u16>,
    /// The segment that is quoted.
    pub(super) quoted: Option<Range>,
}

/// packetdrill's names of ICMP errors.
const NAMED: &[(&str, (u8, u8))] = &[
    ("net_unreachable", (3, 0)),
    ("host_unreachable", (3, 1)),
    ("protocol_unreachable", (3, 2)),
    ("port_unreachable", (3, 3)),
    ("frag_needed", (3, 4)),
    ("host_prohibited", (3, 10)),
    ("packet_filtered", (3, 13)),
    ("packet_too_big", (2, 0)),
];

impl Segment {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (text, options) = split_options(text)?;
        let mut words = text.split_whitespace().peekable();
        let ecn = words.next_if(|word| word.starts_with('[')).map(ecn).transpose()?;
        let flags = flags(words.next().ok_or("a segment needs flags")?)?;
        let range = range(words.next().ok_or("a segment needs seq:end(len)")?)?;
        let mut segment = Self {
            ecn,
            flags,
            range,
            ack: Field::Absent,
            window: Field::Absent,
            urgent: None,
            by: None,
            options,
        };
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
            segment.set(name, value)?;
        }
        Ok(segment)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "ack" => self.ack = field(value, number)?,
            "win" => self.window = field(value, short)?,
            "urg" => self.urgent = Some(short(value)?),
            "by" => self.by = Some(short(value)?),
            _ => return Err(format!("{name} is no part of a segment")),
        }
        Ok(())
    }
}

impl Icmp {
    /// `None` where the text is that of a segment.
    pub(super) fn parse(text: &str) -> Option<Result<Self, String>> {
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let at = words.iter().position(|word| matches!(*word, "icmp" | "icmpv6"))?;
        let after = words.split_off(at);
        Some(Self::of(words.first().copied(), &after[1..]))
    }

    fn of(quoted: Option<&str>, words: &[&str]) -> Result<Self, String> {
        let words = words.strip_prefix(&["unreachable"]).unwrap_or(words);
        let (name, rest) = words.split_first().ok_or("icmp needs type/code")?;
        let (kind, code) = kind_and_code(name)?;
        let mtu = match rest {
            [] => None,
            ["mtu", mtu] => Some(short(mtu)?),
            _ => return Err(format!("{} is no part of an ICMP error", rest.join(" "))),
        };
        let quoted = quoted.map(|text| range(text.trim_matches(['[', ']']))).transpose()?;
        Ok(Self { kind, code, mtu, quoted: quoted.flatten() })
    }
}

fn kind_and_code(name: &str) -> Result<(u8, u8), String> {
    if let Some((_, numbers)) = NAMED.iter().find(|(known, _)| *known == name) {
        return Ok(*numbers);
    }
    let (kind, code) = name.split_once('/').ok_or_else(|| format!("no ICMP error: {name}"))?;
    let octet = |text: &str| text.parse().map_err(|_| format!("no ICMP error: {name}"));
    Ok((octet(kind)?, octet(code)?))
}

/// What stands in angle brackets at the end.
fn split_options(text: &str) -> Result<(&str, Options), String> {
    let Some((text, options)) = text.split_once('<') else {
        return Ok((text, Options::none()));
    };
    let options = options.trim().strip_suffix('>').ok_or("the options do not end with >")?;
    Ok((text, Options::parse(options)?))
}

fn ecn(word: &str) -> Result<u8, String> {
    match word.trim_matches(['[', ']']) {
        "noecn" => Ok(0),
        "ect1" => Ok(1),
        "ect0" => Ok(2),
        "ce" => Ok(3),
        other => Err(format!("{other} is no ECN codepoint")),
    }
}

fn flags(word: &str) -> Result<TcpFlags, String> {
    let mut flags = TcpFlags::empty();
    for letter in word.chars() {
        flags |= match letter {
            'S' => TcpFlags::SYN,
            'F' => TcpFlags::FIN,
            'R' => TcpFlags::RST,
            'P' => TcpFlags::PSH,
            'U' => TcpFlags::URG,
            'E' => TcpFlags::ECE,
            'W' | 'C' => TcpFlags::CWR,
            '.' => TcpFlags::ACK,
            '-' => TcpFlags::empty(),
            _ => return Err(format!("{word} are no flags")),
        };
    }
    Ok(flags)
}

/// `1:1001(1000)`, or `*`.
fn range(word: &str) -> Result<Option<Range>, String> {
    if word == "*" {
        return Ok(None);
    }
    let wrong = || format!("{word} is not of the form seq:end(len)");
    let (start, rest) = word.split_once(':').ok_or_else(wrong)?;
    let (end, len) =
        rest.strip_suffix(')').and_then(|rest| rest.split_once('(')).ok_or_else(wrong)?;
    let (start, end, len) = (number(start)?, number(end)?, number(len)?);
    if start.wrapping_add(len) != end {
        return Err(format!("{word}: the end is not the start and the length"));
    }
    Ok(Some(Range { start, len }))
}

fn field<T>(word: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Field<T>, String> {
    if word == "*" { Ok(Field::Any) } else { read(word).map(Field::Is) }
}

/// A number of the circle; below zero it lies before the SYN.
pub(super) fn number(word: &str) -> Result<u32, String> {
    let value: i64 = word.parse().map_err(|_| format!("{word} is not a number"))?;
    let reduced = value.rem_euclid(1 << 32);
    u32::try_from(reduced).map_err(|_| format!("{word} is too large"))
}

pub(super) fn short(word: &str) -> Result<u16, String> {
    word.parse().map_err(|_| format!("{word} is not a number below 65536"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_read_whole() {
        let segment = Segment::parse("[ce] FP. 1:1001(1000) ack 5 win * urg 3 by 500").unwrap();
        assert_eq!(segment.ecn, Some(3));
        assert_eq!(segment.flags, TcpFlags::FIN | TcpFlags::PSH | TcpFlags::ACK);
        assert_eq!(segment.range, Some(Range { start: 1, len: 1_000 }));
        assert_eq!((segment.ack, segment.window), (Field::Is(5), Field::Any));
        assert_eq!((segment.urgent, segment.by), (Some(3), Some(500)));
    }

    #[test]
    fn numbers_before_the_syn_wrap_around() {
        assert_eq!(number("-1"), Ok(u32::MAX));
        assert_eq!(Segment::parse(". -1:-1(0)").unwrap().range.unwrap().start, u32::MAX);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |text| Segment::parse(text).unwrap_err();
        assert_eq!(wrong(". 1:5(3)"), "1:5(3): the end is not the start and the length");
        assert_eq!(wrong("X 1:1(0)"), "X are no flags");
        assert_eq!(wrong(". 1:1(0) foo 3"), "foo is no part of a segment");
        assert_eq!(wrong(". 1:1(0) <mss 3"), "the options do not end with >");
    }

    #[test]
    fn icmp_errors_have_names_and_numbers() {
        let text = "[1:1461(1460)] icmp unreachable frag_needed mtu 1200";
        let icmp = Icmp::parse(text).unwrap().unwrap();
        assert_eq!((icmp.kind, icmp.code, icmp.mtu), (3, 4, Some(1_200)));
        assert_eq!(icmp.quoted, Some(Range { start: 1, len: 1_460 }));
        assert_eq!(Icmp::parse("icmp 3/13").unwrap().unwrap().code, 13);
        assert!(Icmp::parse(". 1:1(0) ack 1").is_none());
    }
}

//! Options and source routes in the extension headers of IPv6: all that an end host has to know.

use crate::ip::HeaderProblem;
use crate::ipv6::{self, Extension};
use crate::quote::ParameterProblem;

/// The only option without a length (RFC 8200 §4.2).
const PAD_1: u8 = 0;
/// Where the type of an option says what to do with it if it is unknown.
const ACTION_SHIFT: u32 = 6;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;

/// The first problem in the extension headers of a packet that was measured.
pub(crate) fn problem(head: &[u8]) -> Option<HeaderProblem> {
    ipv6::extensions(head).find_map(|extension| match extension.protocol {
        HOP_BY_HOP | DESTINATION_OPTIONS => options_problem(extension),
        ROUTING => routing_problem(extension),
        _ => None,
    })
}

/// RFC 8200 §4.2: what to do with an option that nobody knows is said by its type.
fn options_problem(extension: Extension<'_>) -> Option<HeaderProblem> {
    let mut at = 2;
    while let Some(&kind) = extension.octets.get(at) {
        let told = HeaderProblem::Tell(ParameterProblem::Option { at: position(extension, at) });
        match kind >> ACTION_SHIFT {
            0 => {}
            1 => return Some(HeaderProblem::Drop),
            _ => return Some(told),
        }
        let len = extension.octets.get(at + 1).copied().map_or(0, usize::from);
        at += if kind == PAD_1 { 1 } else { 2 + len };
    }
    None
}

/// RFC 8200 §4.4: we are no way-station; RFC 5095: nor is anybody for routing headers of type 0.
fn routing_problem(extension: Extension<'_>) -> Option<HeaderProblem> {
    let segments_left = *extension.octets.get(3)?;
    let at = position(extension, 2);
    (segments_left > 0).then_some(HeaderProblem::Tell(ParameterProblem::Field { at }))
}

fn position(extension: Extension<'_>, at: usize) -> u32 {
    u32::try_from(extension.start + at).unwrap_or(u32::MAX)
}

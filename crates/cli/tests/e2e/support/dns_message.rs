//! DNS messages, made by hand.

/// A question for the IPv4 addresses of a name.
pub(crate) fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).expect("a short label"));
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// Whether a message answers with a record at least.
pub(crate) fn is_answer(message: &[u8]) -> bool {
    matches!(message, [0x12, 0x34, flags, code, _, _, high, low, ..]
        if flags & 0x80 != 0 && code % 16 == 0 && (*high, *low) != (0, 0))
}

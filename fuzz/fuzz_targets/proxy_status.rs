//! Any Proxy-Status and status: some cause, and what is read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pseudotcp_masque::proxy_status::{ErrorType, ProxyStatus};
use pseudotcp_masque::{Answer, OpenError, Target};

fuzz_target!(|input: (Vec<&[u8]>, u16, Option<&str>, &str)| {
    let (lines, status, retry_after, name) = input;
    let parsed = ProxyStatus::parse(lines);
    let answer = Answer::new(status).with_proxy_status(parsed.as_ref()).with_text(name.as_bytes());
    let error = OpenError::from_response(answer, retry_after, &Target::host(name, 1));
    assert!(!error.to_string().contains(char::is_control));
    let Some(parsed) = parsed else { return };
    let again = ProxyStatus::parse([parsed.to_field_value(name).as_bytes()]);
    let again = again.expect("what is written can be read");
    let known = parsed.error().filter(|error| *error != ErrorType::Unknown);
    assert_eq!((again.error(), again.rcode()), (known, parsed.rcode()));
});

//! Any template and any target: what is accepted expands to a plain URI, and paths are read strictly.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use pseudotcp_masque::Target;
use pseudotcp_masque::template::{Template, parse_well_known_path};

fuzz_target!(|input: (&str, &str, SocketAddr)| {
    let (text, name, address) = input;
    let address = Target::from(SocketAddr::new(address.ip(), address.port().max(1)));
    let named = Target::host(name, address.port());
    for template in [text.to_owned(), format!("https://p/{text}{{target_host}}{{?target_port}}")] {
        let Ok(template) = Template::parse(&template) else { continue };
        for target in [&address, &named] {
            let uri = template.expand(target);
            assert!(uri.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}".contains(&byte)));
        }
    }
    if let Ok(target) = parse_well_known_path(text) {
        assert_ne!(target.port(), 0);
    }
    let uri = Template::well_known("p").expect("the default template").expand(&address);
    let path = uri.strip_prefix("https://p").expect("the scheme and the authority");
    assert_eq!(parse_well_known_path(path), Ok(address));
});

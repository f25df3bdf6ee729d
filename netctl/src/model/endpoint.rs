//! The small languages of `[[nat.*]]`: port ranges, where to listen, where to forward to.

use std::net::{IpAddr, Ipv6Addr};

use super::Protocol;

/// `[ADDRESS:]PORT[-PORT][/tcp|udp|tcp+udp]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listen {
    pub(super) address: Option<IpAddr>,
    pub(super) ports: (u16, u16),
    pub(super) protocols: &'static [Protocol],
}

pub(super) fn listen(text: &str) -> Option<Listen> {
    let (endpoint, protocols) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let protocols: &[Protocol] = match protocols {
        "tcp" => &[Protocol::Tcp],
        "udp" => &[Protocol::Udp],
        "tcp+udp" => &[Protocol::Tcp, Protocol::Udp],
        _ => return None,
    };
    let (address, range) = match endpoint.rsplit_once(':') {
        Some((address, range)) => (Some(bracketed(address)?), range),
        None => (None, endpoint),
    };
    let ports = ports(range)?;
    Some(Listen { address, ports, protocols })
}

/// `ADDRESS[:PORT]`.
pub(super) fn target(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Some(address) = text.parse().ok().or_else(|| bracketed(text)) {
        return Some((address, None));
    }
    let (address, number) = text.rsplit_once(':')?;
    Some((bracketed(address)?, Some(port(number)?)))
}

/// `PORT[-PORT]`, the lower one first.
pub(super) fn ports(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port > 0)
}

/// An address as it stands before a port: IPv6 in brackets, for its own colons.
fn bracketed(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::{Protocol::*, *};

    #[test]
    fn row_37_listen_takes_address_ports_and_protocols() {
        let v4 = Some("10.0.0.1".parse().unwrap());
        let v6 = Some("fd15::1".parse().unwrap());
        let cases: [(_, _, _, &[Protocol]); 6] = [
            ("80", None, (80, 80), &[Tcp]),
            ("80/udp", None, (80, 80), &[Udp]),
            ("8000-8010/tcp+udp", None, (8000, 8010), &[Tcp, Udp]),
            ("10.0.0.1:80", v4, (80, 80), &[Tcp]),
            ("10.0.0.1:1-65535/tcp", v4, (1, 65535), &[Tcp]),
            ("[fd15::1]:80/udp", v6, (80, 80), &[Udp]),
        ];
        for (text, address, ports, protocols) in cases {
            assert_eq!(listen(text), Some(Listen { address, ports, protocols }), "{text}");
        }
    }

    #[test]
    fn row_37_listen_refuses_what_is_not_clear() {
        for text in [
            "",
            "tcp",
            "0",
            "65536",
            "+80",
            "80-",
            "-80",
            "90-80",
            "80/",
            "80/sctp",
            "80/udp+tcp",
            ":80",
            "10.0.0.1",
            "fd15::1:80",
            "[10.0.0.1]:80",
            "[fd15::1]80",
            "10.0.0.1:",
            "localhost:80",
            "1-2-3",
        ] {
            assert_eq!(listen(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_target_is_an_address_with_or_without_a_port() {
        let cases = [
            ("10.0.0.1", Some(("10.0.0.1", None))),
            ("10.0.0.1:80", Some(("10.0.0.1", Some(80)))),
            ("fd15::2", Some(("fd15::2", None))),
            ("[fd15::2]", Some(("fd15::2", None))),
            ("[fd15::2]:80", Some(("fd15::2", Some(80)))),
            ("10.0.0.1:0", None),
            ("10.0.0.1:80-90", None),
            ("80", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(address, port)| (address.parse().unwrap(), port));
            assert_eq!(target(text), expected, "{text:?}");
        }
    }
}

//! ICMP echo: the request, and what comes in answer (RFC 792, RFC 4443). Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an ICMP message says about an echo request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The address answers.
    Reply,
    /// Somebody reports that the request for this address did not get there.
    Error {
        /// Whom the request was for.
        to: IpAddr,
        /// What is reported.
        what: &'static str,
    },
}

/// An echo request with an identifier and a sequence number. The kernel writes the checksum of ICMPv6 (RFC 3542
/// section 3.1).
pub(super) fn request(ipv4: bool, id: u16, sequence: u16) -> [u8; 16] {
    let mut message = *b"\0\0\0\0\0\0\0\0netctl !";
    message[0] = if ipv4 { 8 } else { 128 };
    message[4..6].copy_from_slice(&id.to_be_bytes());
    message[6..8].copy_from_slice(&sequence.to_be_bytes());
    if ipv4 {
        let checksum = checksum(&message);
        message[2..4].copy_from_slice(&checksum);
    }
    message
}

/// Reads what a raw socket received: an IPv4 packet, or an ICMPv6 message. `None` of what is not about a request with
/// this identifier.
pub(super) fn answer(ipv4: bool, bytes: &[u8], id: u16) -> Option<Answer> {
    let message = if ipv4 { after_header(bytes)? } else { bytes };
    let has_id = |message: &[u8]| message.get(4..6) == Some(&id.to_be_bytes());
    let (&kind, &code) = (message.first()?, message.get(1)?);
    match (ipv4, kind) {
        (true, 0) | (false, 129) => has_id(message).then_some(Answer::Reply),
        (true, 3 | 11 | 12) => {
            let quoted = message.get(8..)?;
            let to = IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(quoted.get(16..20)?).ok()?));
            let inner = after_header(quoted)?;
            (quoted.get(9) == Some(&1) && inner.first() == Some(&8) && has_id(inner))
                .then_some(Answer::Error { to, what: ipv4_error(kind, code) })
        }
        (false, 1..=4) => {
            let quoted = message.get(8..)?;
            let to = IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(quoted.get(24..40)?).ok()?));
            let inner = quoted.get(40..)?;
            (quoted.get(6) == Some(&58) && inner.first() == Some(&128) && has_id(inner))
                .then_some(Answer::Error { to, what: ipv6_error(kind, code) })
        }
        _ => None,
    }
}

/// What follows an IPv4 header.
fn after_header(packet: &[u8]) -> Option<&[u8]> {
    packet.get(usize::from(packet.first()? & 0xf) * 4..)
}

fn ipv4_error(kind: u8, code: u8) -> &'static str {
    match (kind, code) {
        (3, 0 | 6 | 11) => "network unreachable",
        (3, 1 | 7 | 12) => "host unreachable",
        (3, 9 | 10 | 13) => "prohibited by a filter",
        (3, _) => "unreachable",
        (11, _) => "too many hops",
        _ => "refused as malformed",
    }
}

fn ipv6_error(kind: u8, code: u8) -> &'static str {
    match (kind, code) {
        (1, 0) => "no route on the way",
        (1, 1 | 5) => "prohibited by a filter",
        (1, 3) => "host unreachable",
        (1, 6) => "rejected by a route",
        (1, _) => "unreachable",
        (2, _) => "too big",
        (3, _) => "too many hops",
        _ => "refused as malformed",
    }
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
pub(crate) fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    let sum = u16::try_from(folded).unwrap_or(u16::MAX);
    (!sum).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: u16 = 0x1234;

    /// An IPv4 header, of ICMP.
    fn packet(to: [u8; 4], message: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1];
        packet.extend(to);
        packet.extend(message);
        packet
    }

    #[test]
    fn a_request_is_whole_and_its_echo_is_known_by_the_identifier() {
        let request = request(true, ID, 1);
        assert_eq!(checksum(&request), [0, 0], "the sum over a right checksum is nothing");
        let mut reply = request;
        reply[0] = 0;
        assert_eq!(answer(true, &packet([10, 0, 0, 1], &reply), ID), Some(Answer::Reply));
        assert_eq!(answer(true, &packet([10, 0, 0, 1], &reply), ID + 1), None, "another program's");
        assert_eq!(answer(true, &packet([10, 0, 0, 1], &request), ID), None, "somebody's request");
        let mut reply = super::request(false, ID, 1);
        reply[0] = 129;
        assert_eq!(answer(false, &reply, ID), Some(Answer::Reply));
    }

    #[test]
    fn an_error_tells_whom_the_request_was_for() {
        let mut error = vec![3, 13, 0, 0, 0, 0, 0, 0];
        error.extend(packet([203, 0, 113, 2], &request(true, ID, 1)));
        let (to, what) = ("203.0.113.2".parse().unwrap(), "prohibited by a filter");
        assert_eq!(answer(true, &packet([10, 0, 0, 1], &error), ID), Some(Answer::Error { to, what }));
        assert_eq!(answer(true, &packet([10, 0, 0, 1], &error), ID + 1), None);
        let to: Ipv6Addr = "2001:db8::2".parse().unwrap();
        let mut error = vec![1, 3, 0, 0, 0, 0, 0, 0, 0x60, 0, 0, 0, 0, 16, 58, 64];
        error.extend([0; 16]);
        error.extend(to.octets());
        error.extend(request(false, ID, 1));
        let expected = Answer::Error { to: to.into(), what: "host unreachable" };
        assert_eq!(answer(false, &error, ID), Some(expected));
    }

    #[test]
    fn what_is_cut_short_says_nothing() {
        let mut error = vec![3, 13, 0, 0, 0, 0, 0, 0];
        error.extend(packet([203, 0, 113, 2], &request(true, ID, 1)));
        let whole = packet([10, 0, 0, 1], &error);
        for length in 0..whole.len() - 10 {
            assert_eq!(answer(true, &whole[..length], ID), None, "{length} bytes");
            let _ = answer(false, &whole[..length], ID);
        }
    }
}

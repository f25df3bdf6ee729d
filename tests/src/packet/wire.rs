//! A packet's bytes (RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 792, RFC 4443).

use std::net::IpAddr;

use super::{Packet, SENDER_MAC, Transport, check, proto};

pub(super) fn frame(packet: &Packet) -> Vec<u8> {
    let mut transport = transport(packet);
    set_checksum(packet, &mut transport);
    let (ethertype, datagram) = match (packet.src.ip(), packet.dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            (0x0800_u16, ipv4(packet, src.octets(), dst.octets(), &transport))
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => (0x86dd, ipv6(packet, src.octets(), dst.octets(), &transport)),
        _ => unreachable!("one family"),
    };
    [&packet.to_mac[..], &SENDER_MAC, &ethertype.to_be_bytes(), &datagram].concat()
}

fn protocol(packet: &Packet) -> u8 {
    match packet.transport {
        Transport::Tcp { .. } => proto::TCP,
        Transport::Udp { .. } => proto::UDP,
        Transport::Other(protocol) => protocol,
        _ if packet.src.is_ipv4() => proto::ICMP,
        _ => proto::ICMPV6,
    }
}

/// The transport header, its checksum zero, and the payload.
fn transport(packet: &Packet) -> Vec<u8> {
    let ports = [packet.src.port().to_be_bytes(), packet.dst.port().to_be_bytes()].concat();
    let header = match &packet.transport {
        Transport::Tcp { flags, options } => {
            let words = 5 + u8::try_from(options.len() / 4).unwrap();
            let numbers = [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88];
            [&ports[..], &numbers, &[words << 4, *flags], &[0xfa, 0xf0, 0, 0, 0, 0], options].concat()
        }
        Transport::Udp { .. } => {
            let length = u16::try_from(8 + packet.payload.len()).unwrap();
            [&ports[..], &length.to_be_bytes(), &[0, 0]].concat()
        }
        Transport::EchoRequest => echo(if packet.src.is_ipv4() { 8 } else { 128 }, packet.src.port()),
        Transport::EchoReply => echo(if packet.src.is_ipv4() { 0 } else { 129 }, packet.dst.port()),
        Transport::Icmp(header) => header.to_vec(),
        Transport::Other(_) => Vec::new(),
    };
    [header, packet.payload.clone()].concat()
}

fn echo(kind: u8, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    vec![kind, 0, 0, 0, high, low, 0, 1]
}

fn set_checksum(packet: &Packet, transport: &mut [u8]) {
    let field = match packet.transport {
        Transport::Other(_) | Transport::Udp { checksum: false } => return,
        Transport::Tcp { .. } => 16,
        Transport::Udp { .. } => 6,
        _ => 2,
    };
    let sum = check::transport_sum(packet.src.ip(), packet.dst.ip(), protocol(packet), transport);
    let is_udp = matches!(packet.transport, Transport::Udp { .. });
    let sum = if is_udp && sum == 0 { 0xffff } else { sum };
    transport[field..field + 2].copy_from_slice(&sum.to_be_bytes());
}

fn ipv4(packet: &Packet, src: [u8; 4], dst: [u8; 4], transport: &[u8]) -> Vec<u8> {
    let words = 5 + u8::try_from(packet.options.len() / 4).unwrap();
    let length = u16::try_from(usize::from(words) * 4 + transport.len()).unwrap().to_be_bytes();
    let fragment = match packet.fragment {
        Some((offset, more)) => offset | if more { 0x2000 } else { 0 },
        None => 0x4000, // do not fragment
    }
    .to_be_bytes();
    let mut header = vec![0x40 | words, 0x02, length[0], length[1], 0xbe, 0xef, fragment[0], fragment[1]];
    header.extend([packet.ttl, protocol(packet), 0, 0]);
    header.extend(src);
    header.extend(dst);
    header.extend(&packet.options);
    let sum = check::sum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&header, transport].concat()
}

fn ipv6(packet: &Packet, src: [u8; 16], dst: [u8; 16], transport: &[u8]) -> Vec<u8> {
    let mut headers = packet.extensions.clone();
    if let Some((offset, more)) = packet.fragment {
        let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
        headers.push((proto::FRAGMENT, vec![0, 0, high, low, 0xde, 0xad, 0xbe, 0xef]));
    }
    // Each header names the next one, the last the transport.
    let numbers: Vec<u8> = headers.iter().map(|(number, _)| *number).chain([protocol(packet)]).collect();
    let mut rest = Vec::new();
    for ((_, bytes), next) in headers.iter().zip(&numbers[1..]) {
        rest.push(*next);
        rest.extend(&bytes[1..]);
    }
    rest.extend(transport);
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    let mut header = vec![0x60, 0x2a, 0xbc, 0xde, length[0], length[1], numbers[0], packet.ttl];
    header.extend(src);
    header.extend(dst);
    [header, rest].concat()
}

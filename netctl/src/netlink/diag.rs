//! The sockets that wait for others: TCP ones that listen, UDP ones without a peer. Read only.
//!
//! Follows net/ipv4/inet_diag.c and include/uapi/linux/{sock_diag,inet_diag}.h; asks a socket of `NETLINK_SOCK_DIAG`
//! ([`Socket::open_for_sockets`]).

use std::net::IpAddr;

use neli::consts::nl::NlmF;

use super::{
    Error, Malformed, Request, Socket,
    message::{Message, attributes, ip},
};
use crate::model::Protocol;

/// `SOCK_DIAG_BY_FAMILY`, of the question and of each answer.
const BY_FAMILY: u16 = 20;
/// `INET_DIAG_SKV6ONLY`.
const V6_ONLY: u16 = 11;
/// `TCP_CLOSE`, the state of a UDP socket without a peer, and `TCP_LISTEN` (include/net/tcp_states.h).
const CLOSE: u32 = 7;
const LISTEN: u32 = 10;

/// A socket that waits for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its protocol.
    pub protocol: Protocol,
    /// The address that it is bound to; the unspecified one for all of the family.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Whether it has nothing to do with IPv4, though its address may be `::`.
    pub v6_only: bool,
    /// The number of its inode, by which `/proc/PID/fd` names it; 0 of one that no process has.
    pub inode: u32,
}

/// `ss -l -t -u -n`: those of the socket's namespace.
///
/// # Errors
/// Those of [`Socket::dump`]: above all where the kernel has no `inet_diag`.
pub fn dump(socket: &mut Socket) -> Result<Vec<Listener>, Error> {
    let mut listeners = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for family in [libc::AF_INET, libc::AF_INET6] {
            listeners
                .extend(socket.dump(question(protocol, family as u8), |message| parse(protocol, message))?);
        }
    }
    Ok(listeners)
}

/// `struct inet_diag_req_v2`: all sockets of the family, whatever their ends.
fn question(protocol: Protocol, family: u8) -> Request {
    const LENGTH: usize = 56;
    let (number, state) = match protocol {
        Protocol::Tcp => (libc::IPPROTO_TCP, LISTEN),
        Protocol::Udp => (libc::IPPROTO_UDP, CLOSE),
    };
    let mut header = [0; LENGTH];
    header[0] = family;
    header[1] = number as u8;
    header[4..8].copy_from_slice(&(1_u32 << state).to_ne_bytes());
    Request::new(BY_FAMILY, NlmF::DUMP, &header)
}

/// Reads a `struct inet_diag_msg` and its attributes; `None` for sockets that are bound to no port.
pub fn parse(protocol: Protocol, message: &Message<'_>) -> Result<Option<Listener>, Malformed> {
    const LENGTH: usize = 72;
    if message.kind != BY_FAMILY {
        return Ok(None);
    }
    let (header, rest) = message.body::<LENGTH>()?;
    let source = if i32::from(header[0]) == libc::AF_INET { &header[8..12] } else { &header[8..24] };
    let Some(address) = ip(source) else { return Ok(None) };
    let mut v6_only = false;
    for attribute in attributes(rest) {
        let attribute = attribute?;
        if attribute.kind == V6_ONLY {
            v6_only = attribute.value.first().is_some_and(|only| *only != 0);
        }
    }
    let port = u16::from_be_bytes([header[4], header[5]]);
    let inode = u32::from_ne_bytes([header[68], header[69], header[70], header[71]]);
    Ok((port != 0).then_some(Listener { protocol, address, port, v6_only, inode }))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use proptest::prelude::*;

    use super::*;
    use crate::{netlink::link, netns::tests::isolated};

    #[test]
    fn the_kernels_listeners_are_told_with_their_addresses_and_inodes() {
        isolated(|| {
            let mut route = Socket::open().unwrap();
            route.execute(vec![link::set_up(1)]).unwrap();
            let _tcp = TcpListener::bind("127.0.0.1:8080").unwrap();
            let _udp = UdpSocket::bind("[::]:53").unwrap();
            let mut told = dump(&mut Socket::open_for_sockets().unwrap()).unwrap();
            told.sort_by_key(|listener| listener.port);
            let [udp, tcp] = &told[..] else { panic!("{told:?}") };
            assert_eq!(
                (tcp.protocol, tcp.address.to_string(), tcp.port),
                (Protocol::Tcp, "127.0.0.1".into(), 8080)
            );
            assert_eq!((udp.protocol, udp.address.to_string(), udp.port), (Protocol::Udp, "::".into(), 53));
            assert!(!udp.v6_only && tcp.inode != 0 && udp.inode != 0, "{told:?}");
        });
    }

    proptest! {
        #[test]
        fn no_message_makes_the_parser_panic(payload in prop::collection::vec(any::<u8>(), 0..120)) {
            let message =
                Message { kind: BY_FAMILY, flags: NlmF::empty(), sequence: 0, payload: &payload };
            let _ = parse(Protocol::Tcp, &message);
        }
    }
}

//! Bridges' forwarding tables: behind which port a MAC address has been seen. Read only.
//!
//! Follows net/bridge/br_fdb.c and net/core/rtnetlink.c (`rtnl_fdb_dump`). The messages are those of neighbours, of the
//! family `AF_BRIDGE`.

use neli::consts::{
    nl::NlmF,
    rtnl::{Nda, Rtm},
};

use super::{
    Error, Malformed, Request, Socket,
    message::{Message, attributes},
};

/// The bridge of an entry; libc has the number for glibc only.
const NDA_MASTER: u16 = 9;
/// In `ndm_flags`: the entry is the driver's own, not the bridge's.
const NTF_SELF: u8 = 0x02;

/// An entry of a bridge's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The index of the bridge.
    pub bridge: u32,
    /// The index of the port.
    pub port: u32,
    /// The address.
    pub mac: [u8; 6],
    /// `NUD_*`.
    pub state: u16,
}

impl Entry {
    /// Whether the bridge found it out by itself, from a frame. The others are set by hand, or the ports' own.
    #[must_use]
    pub fn is_learned(&self) -> bool {
        self.state & (libc::NUD_PERMANENT | libc::NUD_NOARP) == 0
    }
}

/// `bridge fdb show`: every entry of every bridge of the socket's namespace. One that a bridge keeps for several VLANs
/// is listed for each.
///
/// # Errors
/// Those of [`Socket::dump`].
pub fn dump(socket: &mut Socket) -> Result<Vec<Entry>, Error> {
    // `struct ndmsg` with the family alone.
    let mut header = [0; 12];
    header[0] = libc::AF_BRIDGE as u8;
    socket.dump(Request::new(Rtm::Getneigh, NlmF::DUMP, &header), parse)
}

/// Reads an `RTM_NEWNEIGH` of a bridge; `None` for any other message.
pub fn parse(message: &Message<'_>) -> Result<Option<Entry>, Malformed> {
    if !message.is(Rtm::Newneigh) {
        return Ok(None);
    }
    let (&[family, _, _, _, i0, i1, i2, i3, s0, s1, flags, _], rest) = message.body::<12>()?;
    if i32::from(family) != libc::AF_BRIDGE || flags & NTF_SELF != 0 {
        return Ok(None);
    }
    let (mut bridge, mut mac) = (None, None);
    for attribute in attributes(rest) {
        let attribute = attribute?;
        if attribute.kind == NDA_MASTER {
            bridge = Some(attribute.u32()?);
        } else if attribute.kind == u16::from(Nda::Lladdr) {
            mac = attribute.array().ok();
        }
    }
    Ok(bridge.zip(mac).map(|(bridge, mac)| Entry {
        bridge,
        port: u32::from_ne_bytes([i0, i1, i2, i3]),
        mac,
        state: u16::from_ne_bytes([s0, s1]),
    }))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        netlink::link::{self, NewLink, Peer},
        netns::tests::{create, isolated, name},
    };

    proptest! {
        #[test]
        fn no_message_makes_the_parser_panic(rest in prop::collection::vec(any::<u8>(), 0..120)) {
            let payload = [&[7, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0][..], &rest].concat();
            let message = Message { kind: Rtm::Newneigh.into(), flags: NlmF::empty(), sequence: 0, payload: &payload };
            let _ = parse(&message);
            let _ = parse(&Message { payload: &rest, ..message });
        }
    }

    #[test]
    fn a_ports_own_address_is_in_the_table_and_not_learned() {
        isolated(|| {
            let red = create(&name("red"));
            let mut socket = Socket::open().unwrap();
            let (bridge, near, far) = ("br0".parse().unwrap(), "v0".parse().unwrap(), "v1".parse().unwrap());
            let new = NewLink { index: Some(50), up: true, ..NewLink::named(&bridge) };
            let mac = [2, 0, 0, 0, 0, 7];
            let port = NewLink {
                index: Some(51),
                address: Some(mac),
                master: Some(50),
                up: true,
                ..NewLink::named(&near)
            };
            let peer = Peer { name: &far, index: None, mtu: None, address: None, netns: red.as_fd() };
            let batch = vec![link::create_bridge(&new), link::create_veth(&port, &peer)];
            assert_eq!(socket.execute(batch).unwrap(), [Ok(()), Ok(())]);
            let entries = dump(&mut socket).unwrap();
            let own = entries.iter().find(|entry| entry.mac == mac).unwrap();
            assert_eq!((own.bridge, own.port, own.is_learned()), (50, 51, false));
        });
    }
}

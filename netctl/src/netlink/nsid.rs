//! Namespace ids: a namespace's own small numbers for the others, which links name their far ends by. Read only.
//!
//! Follows net/core/net_namespace.c (`rtnl_net_getid`) and include/uapi/linux/net_namespace.h.

use std::os::fd::{AsRawFd, BorrowedFd};

use neli::consts::{nl::NlmF, rtnl::Rtm};

use super::{
    Error, Malformed, Request, Socket,
    message::{Message, attributes},
};

/// The attributes' numbers; neither libc nor neli has them.
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
/// `NETNSA_NSID_NOT_ASSIGNED`
const NOT_ASSIGNED: i32 = -1;

/// `ip netns list-id` for one namespace: what the socket's namespace calls `other`; `None` if it has no number for it.
///
/// # Errors
/// Those of [`Socket::dump`].
pub fn of(socket: &mut Socket, other: BorrowedFd<'_>) -> Result<Option<i32>, Error> {
    // `struct rtgenmsg`: the family, unspecified, and padding.
    let mut request = Request::new(Rtm::Getnsid, NlmF::ACK, &[0; 4]);
    request.attribute(NETNSA_FD, &other.as_raw_fd().to_ne_bytes());
    let ids = socket.dump(request, parse)?;
    Ok(ids.into_iter().next().filter(|&id| id != NOT_ASSIGNED))
}

/// Reads an `RTM_NEWNSID`; `None` for any other message.
fn parse(message: &Message<'_>) -> Result<Option<i32>, Malformed> {
    if !message.is(Rtm::Newnsid) {
        return Ok(None);
    }
    let (_, rest) = message.body::<4>()?;
    for attribute in attributes(rest) {
        let attribute = attribute?;
        if attribute.kind == NETNSA_NSID {
            return attribute.i32().map(Some);
        }
    }
    Ok(None)
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
        fn no_message_makes_the_parser_panic(payload in prop::collection::vec(any::<u8>(), 0..60)) {
            let (kind, flags) = (Rtm::Newnsid.into(), NlmF::empty());
            let _ = parse(&Message { kind, flags, sequence: 0, payload: &payload });
        }
    }

    #[test]
    fn the_far_end_of_a_cable_is_in_the_namespace_of_its_number() {
        isolated(|| {
            let (red, blue) = (create(&name("red")), create(&name("blue")));
            let mut socket = Socket::open().unwrap();
            let (near, far) = ("v0".parse().unwrap(), "v1".parse().unwrap());
            let peer = Peer { name: &far, index: None, mtu: None, address: None, netns: red.as_fd() };
            let made = socket.execute(vec![link::create_veth(&NewLink::named(&near), &peer)]).unwrap();
            assert_eq!(made, [Ok(())]);
            let its = link::find(&mut socket, &near).unwrap().unwrap();
            assert!(its.peer_netnsid.is_some());
            assert_eq!(of(&mut socket, red.as_fd()).unwrap(), its.peer_netnsid);
            assert_eq!(of(&mut socket, blue.as_fd()).unwrap(), None);
        });
    }
}

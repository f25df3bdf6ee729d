//! The two families of IP: their numbers, and dumps of what both have.

use std::net::IpAddr;

use neli::consts::{nl::NlmF, rtnl::Rtm};

use super::{Error, Malformed, Request, Socket, message::Message};
pub use crate::model::Family;

impl Family {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Ipv4 => IPV4,
            Self::Ipv6 => IPV6,
        }
    }

    pub(super) fn of_number(number: u8) -> Option<Self> {
        match number {
            IPV4 => Some(Self::Ipv4),
            IPV6 => Some(Self::Ipv6),
            _ => None,
        }
    }
}

const IPV4: u8 = libc::AF_INET as u8;
const IPV6: u8 = libc::AF_INET6 as u8;

/// The address's family.
pub(super) fn of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => IPV4,
        IpAddr::V6(_) => IPV6,
    }
}

/// Whether a message's family is IPv4 or IPv6.
pub(super) fn is_ip(family: u8) -> bool {
    matches!(family, IPV4 | IPV6)
}

/// Dumps objects of IPv4, then those of IPv6. Of their family header of `N` bytes only the first, the family, is set.
///
/// One question for all families (`AF_UNSPEC`) would not do: net/core/rtnetlink.c (`rtnl_dump_all`) forgets at each
/// family's end what state the list was read in, so one that lost its tail under way is not marked as interrupted (seen
/// on 6.18).
pub(super) fn dump<const N: usize, T>(
    socket: &mut Socket,
    kind: Rtm,
    parse: impl Fn(&Message<'_>) -> Result<Option<T>, Malformed>,
) -> Result<Vec<T>, Error> {
    let mut all = Vec::new();
    for family in [IPV4, IPV6] {
        let mut header = [0; N];
        header[..1].fill(family);
        // Asked for a family that it does without (`ipv6.disable=1`), the kernel lists all that it has.
        let its = |message: &Message<'_>| match message.payload.first() {
            Some(first) if *first == family => parse(message),
            _ => Ok(None),
        };
        all.extend(socket.dump(Request::new(kind, NlmF::DUMP, &header), its)?);
    }
    Ok(all)
}

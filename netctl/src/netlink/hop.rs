//! Next hops of routes: one of several, and one of the other family.
//!
//! Follows include/uapi/linux/rtnetlink.h (`struct rtnexthop`, `struct rtvia`) and net/ipv4/fib_semantics.c.

use std::net::IpAddr;

use neli::consts::rtnl::Rta;

use super::{
    Malformed, family,
    message::{Attribute, attributes, ip},
};

/// A next hop of the other family: `struct rtvia`. libc has the number for glibc only.
pub(super) const RTA_VIA: u16 = 18;

/// In a next hop's flags: it is not used.
pub(super) const RTNH_F_DEAD: u32 = 1;
/// In a next hop's flags: its gateway is a neighbour on the link though no address says so.
pub(super) const RTNH_F_ONLINK: u32 = 4;
/// In a next hop's flags: its link has no carrier.
pub(super) const RTNH_F_LINKDOWN: u32 = 16;

/// `sizeof(struct rtnexthop)`.
pub(super) const HEADER: usize = 8;

/// One of a route's several next hops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The gateway; `None` for what is on the link itself.
    pub gateway: Option<IpAddr>,
    /// The index of the link to send by.
    pub oif: u32,
    /// How many of the flows it gets, beside the others' weights.
    pub weight: u16,
    /// `RTNH_F_*`
    pub flags: u32,
}

/// The next hops that `RTA_MULTIPATH` has, each as its header and its attributes; the first malformed one ends them.
pub(super) fn parts(mut bytes: &[u8]) -> impl Iterator<Item = Result<(&[u8; HEADER], &[u8]), Malformed>> {
    std::iter::from_fn(move || {
        let one = std::mem::take(&mut bytes);
        let Some(&[l0, l1, ..]) = one.first_chunk::<HEADER>() else {
            let (length, left) = (HEADER, one.len());
            return (left > 0).then_some(Err(Malformed::Attribute { length, left }));
        };
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let Some((header, attributes)) = one.get(..length).and_then(|one| one.split_first_chunk()) else {
            return Some(Err(Malformed::Attribute { length, left: one.len() }));
        };
        bytes = one.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok((header, attributes)))
    })
}

/// Reads `RTA_MULTIPATH`.
pub(super) fn hops(bytes: &[u8]) -> impl Iterator<Item = Result<Hop, Malformed>> {
    parts(bytes).map(|part| {
        let (&[_, _, flags, weight, i0, i1, i2, i3], rest) = part?;
        let mut gateway = None;
        for attribute in attributes(rest) {
            let attribute = attribute?;
            if attribute.kind == RTA_VIA {
                gateway = Some(via(&attribute)?);
            } else if attribute.kind == u16::from(Rta::Gateway) {
                gateway = Some(attribute.ip()?);
            }
        }
        let oif = u32::from_ne_bytes([i0, i1, i2, i3]);
        Ok(Hop { gateway, oif, weight: u16::from(weight) + 1, flags: flags.into() })
    })
}

/// `struct rtvia`: the family in two bytes, then the address.
pub(super) fn rtvia(gateway: IpAddr) -> Vec<u8> {
    let mut value = u16::from(family::of(gateway)).to_ne_bytes().to_vec();
    match gateway {
        IpAddr::V4(address) => value.extend(address.octets()),
        IpAddr::V6(address) => value.extend(address.octets()),
    }
    value
}

/// Reads `RTA_VIA`.
pub(super) fn via(attribute: &Attribute<'_>) -> Result<IpAddr, Malformed> {
    let address = attribute.value.get(2..).and_then(ip);
    address.ok_or_else(|| attribute.wrong_size())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn next_hops_of_either_family_are_read() {
        #[rustfmt::skip]
        let bytes = [
            16, 0, 4, 2, 5, 0, 0, 0, // 16 bytes, RTNH_F_ONLINK, weight 3, link 5
            8, 0, 5, 0, 10, 0, 0, 2, // RTA_GATEWAY
            8, 0, 0, 0, 6, 0, 0, 0,
        ];
        let found: Vec<_> = hops(&bytes).collect::<Result<_, _>>().unwrap();
        let first = Hop { gateway: Some([10, 0, 0, 2].into()), oif: 5, weight: 3, flags: 4 };
        assert_eq!(found, [first, Hop { gateway: None, oif: 6, weight: 1, flags: 0 }]);
    }

    #[test]
    fn a_next_hop_whose_length_lies_is_an_error_and_the_last() {
        for length in [0, 7, 9] {
            let bytes = [length, 0, 0, 0, 5, 0, 0, 0];
            let wrong = Malformed::Attribute { length: length.into(), left: 8 };
            assert_eq!(hops(&bytes).collect::<Vec<_>>(), [Err(wrong)]);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_or_loop(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(hops(&bytes).count() <= bytes.len() / HEADER + 1);
        }
    }
}

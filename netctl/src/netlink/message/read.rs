//! Reads netlink messages and attributes: every length is checked, every step goes forward.

use std::{
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use neli::consts::nl::{NlType, NlmF};

use super::ALIGNMENT;

/// `sizeof(struct nlmsghdr)`.
const HEADER: usize = 16;
/// `sizeof(struct nlattr)`.
const ATTRIBUTE_HEADER: usize = 4;
/// The type bits of `nla_type`, without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const TYPE_MASK: u16 = libc::NLA_TYPE_MASK as u16;

/// What is wrong with bytes that should be netlink messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The rest of a datagram is shorter than a header, or than its header says.
    #[error("malformed netlink message: {length} bytes long by its header, {left} are left")]
    Message {
        /// `nlmsg_len`, or a header's size where not even that is left.
        length: usize,
        /// What is left of the datagram.
        left: usize,
    },
    /// A message has no room for the family header that its type asks for.
    #[error("malformed netlink message: a header of {length} bytes expected, {left} are left")]
    FamilyHeader {
        /// The header's size.
        length: usize,
        /// The payload's size.
        left: usize,
    },
    /// The rest of a message is shorter than an attribute's header, or than its header says.
    #[error("malformed netlink attribute: {length} bytes long by its header, {left} are left")]
    Attribute {
        /// `nla_len`, or a header's size where not even that is left.
        length: usize,
        /// What is left of the message.
        left: usize,
    },
    /// An attribute's value has not the size that its type asks for.
    #[error("malformed netlink attribute {kind}: {length} bytes long")]
    Value {
        /// `nla_type`.
        kind: u16,
        /// The value's size.
        length: usize,
    },
}

/// One message of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: NlmF,
    /// `nlmsg_seq`: that of the request it answers.
    pub sequence: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Whether this is a message of type `kind`.
    #[must_use]
    pub fn is(&self, kind: impl NlType) -> bool {
        self.kind == kind.into()
    }

    /// The family header of `N` bytes (a multiple of four) and what follows it.
    pub fn body<const N: usize>(&self) -> Result<(&'a [u8; N], &'a [u8]), Malformed> {
        self.payload
            .split_first_chunk()
            .ok_or(Malformed::FamilyHeader { length: N, left: self.payload.len() })
    }
}

/// The messages of a datagram, in order; the first malformed one ends them.
#[derive(Debug, Clone)]
pub struct Messages<'a>(&'a [u8]);

/// Reads a datagram.
#[must_use]
pub fn messages(datagram: &[u8]) -> Messages<'_> {
    Messages(datagram)
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = mem::take(&mut self.0);
        let Some((header, _)) = bytes.split_first_chunk::<HEADER>() else {
            let (length, left) = (HEADER, bytes.len());
            return (left > 0).then_some(Err(Malformed::Message { length, left }));
        };
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let Some(payload) = bytes.get(HEADER..length) else {
            let left = bytes.len();
            return Some(Err(Malformed::Message { length, left }));
        };
        self.0 = after(bytes, length);
        Some(Ok(Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: NlmF::from_bits_retain(u16::from_ne_bytes([f0, f1])),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            payload,
        }))
    }
}

/// One attribute of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// `nla_type` without its flag bits.
    pub kind: u16,
    /// What follows the header, padding not included.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// A value of exactly `N` bytes.
    pub fn array<const N: usize>(&self) -> Result<[u8; N], Malformed> {
        self.value.try_into().map_err(|_| self.wrong_size())
    }

    /// An 8-bit number.
    pub fn u8(&self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    /// A 16-bit number.
    pub fn u16(&self) -> Result<u16, Malformed> {
        self.array().map(u16::from_ne_bytes)
    }

    /// A 32-bit number.
    pub fn u32(&self) -> Result<u32, Malformed> {
        self.array().map(u32::from_ne_bytes)
    }

    /// A signed 32-bit number.
    pub fn i32(&self) -> Result<i32, Malformed> {
        self.array().map(i32::from_ne_bytes)
    }

    /// A text up to its first NUL or its end; the kernel's names may hold any bytes, those that are not UTF-8 become
    /// replacement characters.
    #[must_use]
    pub fn text(&self) -> String {
        let text = self.value.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    /// An IP address; its length tells the family.
    pub fn ip(&self) -> Result<IpAddr, Malformed> {
        ip(self.value).ok_or_else(|| self.wrong_size())
    }

    /// The attributes that are the value.
    #[must_use]
    pub fn nested(&self) -> Attributes<'a> {
        attributes(self.value)
    }

    /// The error for a value whose size is not the type's.
    pub(in crate::netlink) fn wrong_size(&self) -> Malformed {
        Malformed::Value { kind: self.kind, length: self.value.len() }
    }
}

/// An IPv4 or IPv6 address from 4 or 16 bytes in network order.
pub(in crate::netlink) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || bytes.try_into().ok().map(|octets: [u8; 4]| Ipv4Addr::from(octets).into());
    let v6 = || bytes.try_into().ok().map(|octets: [u8; 16]| Ipv6Addr::from(octets).into());
    v4().or_else(v6)
}

/// The attributes of a message, in order; the first malformed one ends them.
#[derive(Debug, Clone)]
pub struct Attributes<'a>(&'a [u8]);

/// Reads what follows a family header, or a nested attribute's value.
#[must_use]
pub fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes(bytes)
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = mem::take(&mut self.0);
        let Some((&[l0, l1, k0, k1], _)) = bytes.split_first_chunk::<ATTRIBUTE_HEADER>() else {
            let (length, left) = (ATTRIBUTE_HEADER, bytes.len());
            return (left > 0).then_some(Err(Malformed::Attribute { length, left }));
        };
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let Some(value) = bytes.get(ATTRIBUTE_HEADER..length) else {
            let left = bytes.len();
            return Some(Err(Malformed::Attribute { length, left }));
        };
        self.0 = after(bytes, length);
        let kind = u16::from_ne_bytes([k0, k1]) & TYPE_MASK;
        Some(Ok(Attribute { kind, value }))
    }
}

/// What follows an item of `length` bytes and its padding, which the last item may lack.
fn after(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use neli::consts::rtnl::{Ifla, Rtm};
    use proptest::prelude::*;

    use super::{super::Request, *};

    /// A message with a family header of four bytes.
    const REQUEST: [u8; 20] = [20, 0, 0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];

    #[test]
    fn lying_lengths_are_errors_and_end_the_walk() {
        let good = REQUEST.to_vec();
        for length in [0_u32, 1, 15, 21, 4096, u32::MAX] {
            let mut bytes = good.clone();
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            let left = good.len();
            let length = length as usize;
            assert_eq!(messages(&bytes).collect::<Vec<_>>(), [Err(Malformed::Message { length, left })]);
        }
        for length in [0_u16, 3, 9, u16::MAX] {
            let [l0, l1] = length.to_ne_bytes();
            let length = usize::from(length);
            assert_eq!(
                attributes(&[l0, l1, 1, 0, 5, 5, 5, 5]).collect::<Vec<_>>(),
                [Err(Malformed::Attribute { length, left: 8 })]
            );
        }
    }

    #[test]
    fn what_is_shorter_than_a_header_is_an_error_and_nothing_is_none() {
        assert_eq!(messages(&[]).next(), None);
        assert_eq!(attributes(&[]).next(), None);
        assert_eq!(messages(&[0; 15]).next(), Some(Err(Malformed::Message { length: 16, left: 15 })));
        assert_eq!(attributes(&[4, 0, 1]).next(), Some(Err(Malformed::Attribute { length: 4, left: 3 })));
    }

    #[test]
    fn the_last_attribute_may_lack_its_padding() {
        let found: Vec<_> = attributes(&[5, 0, 1, 0, 9]).collect();
        assert_eq!(found, [Ok(Attribute { kind: 1, value: &[9] })]);
    }

    #[test]
    fn values_of_the_wrong_size_are_errors() {
        let attribute = Attribute { kind: 4, value: &[1, 2, 3] };
        let wrong = Malformed::Value { kind: 4, length: 3 };
        assert_eq!(attribute.u32(), Err(wrong));
        assert_eq!(attribute.ip(), Err(wrong));
        assert_eq!(wrong.to_string(), "malformed netlink attribute 4: 3 bytes long");
    }

    #[test]
    fn a_family_header_that_is_not_there_is_an_error() {
        let message = messages(&REQUEST).next().unwrap().unwrap();
        assert_eq!(message.body::<16>(), Err(Malformed::FamilyHeader { length: 16, left: 4 }));
    }

    #[test]
    fn texts_end_at_the_first_nul() {
        let text = |value| Attribute { kind: 3, value }.text();
        assert_eq!(text(b"lo\0"), "lo");
        assert_eq!(text(b"lo"), "lo");
        assert_eq!(text(b""), "");
        assert_eq!(text(b"\xff"), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_or_loop(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(messages(&bytes).count() <= bytes.len() / HEADER + 1);
            for message in messages(&bytes).flatten() {
                prop_assert!(attributes(message.payload).count() <= bytes.len() / ATTRIBUTE_HEADER + 1);
            }
            prop_assert!(attributes(&bytes).count() <= bytes.len() / ATTRIBUTE_HEADER + 1);
            for attribute in attributes(&bytes).flatten() {
                let _ = (attribute.u32(), attribute.ip(), attribute.text(), attribute.nested().count());
            }
        }

        #[test]
        fn a_truncated_datagram_is_read_up_to_the_cut(
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6), cut: prop::sample::Index,
        ) {
            let mut ends = vec![0];
            let mut datagram = Vec::new();
            for value in &values {
                let mut request = Request::new(Rtm::Newlink, NlmF::MULTI, &[0; 16]);
                request.attribute(Ifla::Ifname, value);
                datagram.extend_from_slice(request.bytes());
                ends.push(datagram.len());
            }
            let cut = cut.index(datagram.len() + 1);
            let whole = ends.iter().filter(|&&end| (1..=cut).contains(&end)).count();
            let read: Vec<_> = messages(&datagram[..cut]).collect();
            prop_assert_eq!(read.iter().filter(|message| message.is_ok()).count(), whole);
            prop_assert_eq!(read.len() - whole, usize::from(!ends.contains(&cut)), "one error, at the end");
            for (message, value) in read.into_iter().flatten().zip(&values) {
                let attribute = attributes(&message.payload[16..]).next().unwrap().unwrap();
                prop_assert_eq!(attribute.value, value);
            }
        }
    }
}

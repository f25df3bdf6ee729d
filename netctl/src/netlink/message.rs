//! Netlink's wire format: one request into one buffer, and a reader that no bytes can make panic or loop.
//!
//! Headers and attributes begin at multiples of four bytes; numbers are in the machine's byte order. Nothing here
//! talks to the kernel. Follows include/uapi/linux/netlink.h and lib/nlattr.c.

mod read;

use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use neli::consts::nl::NlmF;

pub(super) use self::read::ip;
pub use self::read::{Attribute, Attributes, Malformed, Message, Messages, attributes, messages};

/// `NLMSG_ALIGNTO` and `NLA_ALIGNTO`.
const ALIGNMENT: usize = 4;
/// Where `nlmsg_seq` is in the header.
const SEQUENCE: usize = 8;
/// Marks an attribute whose value is attributes.
const NESTED: u16 = libc::NLA_F_NESTED as u16;

/// One request, complete but for the sequence number, which [`Socket`](super::Socket) gives it.
///
/// A request that carries a descriptor (a namespace's) carries its number only: the descriptor must stay open until
/// the request has been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    bytes: BytesMut,
    overlong: bool,
}

impl Request {
    /// Starts a request of type `kind` with its family header (`struct ifinfomsg` and the like) and `flags`;
    /// `NLM_F_REQUEST` is added.
    #[must_use]
    pub fn new(kind: impl Into<u16>, flags: NlmF, family_header: &[u8]) -> Self {
        let mut request = Self { bytes: BytesMut::with_capacity(128), overlong: false };
        request.bytes.put_u32_ne(0); // the length, kept by `append`
        request.bytes.put_u16_ne(kind.into());
        request.bytes.put_u16_ne((NlmF::REQUEST | flags).bits());
        request.bytes.put_u32_ne(0); // the sequence number, set by `set_sequence`
        request.bytes.put_u32_ne(0); // the port: the kernel knows it
        request.append(family_header);
        request
    }

    /// Adds an attribute with `value` as it is.
    ///
    /// An attribute is at most 65,535 bytes long, its header included. One that does not fit spoils the request:
    /// [`Socket::execute`](super::Socket::execute) refuses it with `EMSGSIZE` and does not send it.
    pub fn attribute(&mut self, kind: impl Into<u16>, value: &[u8]) {
        self.enclose(kind.into(), |request| request.bytes.put_slice(value));
    }

    /// Adds a 32-bit number.
    pub fn u32(&mut self, kind: impl Into<u16>, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// Adds a text that ends in NUL, as interface names do.
    pub fn name(&mut self, kind: impl Into<u16>, name: &str) {
        self.enclose(kind.into(), |request| {
            request.bytes.put_slice(name.as_bytes());
            request.bytes.put_u8(0);
        });
    }

    /// Adds an IP address, 4 or 16 bytes in network order.
    pub fn ip(&mut self, kind: impl Into<u16>, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.attribute(kind, &address.octets()),
            IpAddr::V6(address) => self.attribute(kind, &address.octets()),
        }
    }

    /// Adds an attribute made of the attributes that `fill` adds, marked `NLA_F_NESTED`.
    pub fn nested(&mut self, kind: impl Into<u16>, fill: impl FnOnce(&mut Self)) {
        self.enclose(kind.into() | NESTED, fill);
    }

    /// Adds an attribute made of attributes that are encoded already, marked `NLA_F_NESTED`.
    pub fn encoded(&mut self, kind: impl Into<u16>, attributes: &[u8]) {
        self.attribute(kind.into() | NESTED, attributes);
    }

    /// Adds an attribute made of a family header and attributes (`VETH_INFO_PEER` is such a one): not a pure nest, so
    /// not marked as one.
    pub fn message_in(&mut self, kind: impl Into<u16>, family_header: &[u8], fill: impl FnOnce(&mut Self)) {
        self.enclose(kind.into(), |request| {
            request.append(family_header);
            fill(request);
        });
    }

    /// The message as it is sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether an attribute did not fit into its 16-bit length.
    pub(super) fn is_overlong(&self) -> bool {
        self.overlong
    }

    /// Sets the number that the answer will carry.
    pub(super) fn set_sequence(&mut self, sequence: u32) {
        self.patch(SEQUENCE, &sequence.to_ne_bytes());
    }

    /// Writes an attribute's header before what `fill` writes, and pads after it.
    fn enclose(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.put_u16_ne(0);
        self.bytes.put_u16_ne(kind);
        fill(self);
        match u16::try_from(self.bytes.len() - start) {
            Ok(length) => self.patch(start, &length.to_ne_bytes()),
            Err(_) => self.overlong = true,
        }
        self.append(&[]);
    }

    /// Adds `bytes`, pads to the alignment and brings the message's length up to date.
    fn append(&mut self, bytes: &[u8]) {
        self.bytes.put_slice(bytes);
        self.bytes.put_bytes(0, self.bytes.len().next_multiple_of(ALIGNMENT) - self.bytes.len());
        match u32::try_from(self.bytes.len()) {
            Ok(length) => self.patch(0, &length.to_ne_bytes()),
            Err(_) => self.overlong = true,
        }
    }

    /// Overwrites what is at `start`.
    fn patch(&mut self, start: usize, value: &[u8]) {
        if let Some(field) = self.bytes.get_mut(start..start + value.len()) {
            field.copy_from_slice(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use neli::consts::rtnl::{Ifla, IflaInfo, Rtm};
    use proptest::prelude::*;

    use super::*;

    /// `struct rtgenmsg`-like: any four bytes do.
    const FAMILY_HEADER: [u8; 4] = [1, 2, 3, 4];

    fn request() -> Request {
        Request::new(Rtm::Newlink, NlmF::CREATE, &FAMILY_HEADER)
    }

    /// The one message that `bytes` are, as its family header and its attributes.
    fn read(bytes: &[u8]) -> (Message<'_>, Vec<Attribute<'_>>) {
        let [message] = messages(bytes).collect::<Result<Vec<_>, _>>().unwrap()[..] else {
            panic!("one message expected")
        };
        let (header, rest) = message.body::<4>().unwrap();
        assert_eq!(header, &FAMILY_HEADER);
        (message, attributes(rest).collect::<Result<_, _>>().unwrap())
    }

    #[test]
    fn lengths_count_no_padding_but_for_that_inside_a_nest() {
        let mut request = request();
        request.nested(Ifla::Linkinfo, |info| info.attribute(IflaInfo::Kind, b"bridge"));
        request.set_sequence(7);
        #[rustfmt::skip]
        let golden = [
            36, 0, 0, 0, 16, 0, 0x01, 0x04, 7, 0, 0, 0, 0, 0, 0, 0, // length, RTM_NEWLINK, REQUEST | CREATE, 7, port 0
            1, 2, 3, 4,
            16, 0, 18, 0x80, // IFLA_LINKINFO | NLA_F_NESTED
            10, 0, 1, 0, b'b', b'r', b'i', b'd', b'g', b'e', 0, 0, // IFLA_INFO_KIND and two bytes of padding
        ];
        assert_eq!(request.bytes(), golden);
    }

    #[test]
    fn an_attribute_that_does_not_fit_spoils_the_request() {
        let mut request = request();
        request.attribute(Ifla::Ifalias, &[0; 65_531]);
        assert!(!request.is_overlong());
        request.nested(Ifla::Linkinfo, |info| info.attribute(Ifla::Ifalias, &[0; 65_528]));
        assert!(request.is_overlong());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            values in prop::collection::vec((0_u16..0x3fff, prop::collection::vec(any::<u8>(), 0..40)), 0..8),
        ) {
            let mut plain = request();
            let mut outer = request();
            for (kind, value) in &values {
                plain.attribute(*kind, value);
            }
            outer.nested(1_u16, |nest| values.iter().for_each(|(kind, value)| nest.attribute(*kind, value)));
            let written: Vec<_> = values.iter().map(|(kind, value)| Attribute { kind: *kind, value }).collect();
            prop_assert_eq!(&read(plain.bytes()).1, &written);
            let nest: Result<Vec<_>, _> = read(outer.bytes()).1[0].nested().collect();
            prop_assert_eq!(nest.unwrap(), written);
        }
    }
}

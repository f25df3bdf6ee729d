//! Netlink as far as a dump needs it: a request, its answers, and their attributes, whatever they mean.
//!
//! It shares nothing with the netctl under test: what that one cannot read or does not look at is seen here.

use std::{
    fmt::Write as _,
    io,
    net::{IpAddr, Ipv6Addr},
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;

/// A socket of the namespace of the thread that opened it.
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    pub(super) fn open(protocol: SockProtocol) -> io::Result<Self> {
        let (family, kind) = (AddressFamily::Netlink, SockType::Raw);
        Ok(Self(socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol)?))
    }

    /// The bodies of all answers to a dump request, headers of the subject included.
    pub(super) fn dump(&self, kind: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        loop {
            if let Some(answers) = self.try_dump(kind, body)? {
                return Ok(answers);
            }
        }
    }

    /// `None` if something changed meanwhile.
    fn try_dump(&self, kind: u16, body: &[u8]) -> io::Result<Option<Vec<Vec<u8>>>> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let mut request = length.to_ne_bytes().to_vec();
        request.extend(kind.to_ne_bytes());
        request.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
        request.extend([0; 8]);
        request.extend(body);
        send(self.0.as_raw_fd(), &request, MsgFlags::empty())?;

        let (mut answers, mut is_whole) = (Vec::new(), true);
        let mut buffer = vec![0; 1 << 17];
        loop {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC)?;
            let mut datagram = buffer.get(..length).expect("a datagram of at most 128 KiB");
            while datagram.len() >= HEADER {
                let length = number(&datagram[..4]) as usize;
                let (kind, flags) = (number(&datagram[4..6]), number(&datagram[6..8]) as u16);
                let body = &datagram[HEADER..length];
                is_whole &= flags & NLM_F_DUMP_INTR == 0;
                if kind == u64::from(NLMSG_DONE) || kind == u64::from(NLMSG_ERROR) {
                    return match i32::from_ne_bytes(body[..4].try_into().unwrap()) {
                        0 => Ok(is_whole.then_some(answers)),
                        errno => Err(io::Error::from_raw_os_error(-errno)),
                    };
                }
                answers.push(body.to_vec());
                datagram = &datagram[length.next_multiple_of(4).min(datagram.len())..];
            }
        }
    }
}

/// An integer in the machine's order, of as many bytes as there are.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A list of attributes, each with its type.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = number(bytes.get(..2)?) as usize;
        let kind = number(bytes.get(2..4)?) as u16 & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The attribute of this type.
pub(super) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(found, value)| (found == kind).then_some(value))
}

/// Text that may end with NUL.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).escape_debug().to_string()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// An address of either family; anything else as it is.
pub(super) fn address(bytes: &[u8]) -> String {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).map(IpAddr::from).unwrap().to_string(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap()).to_string(),
        _ => hex(bytes),
    }
}

/// How an attribute is written.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// Not at all: it changes by itself, or says nothing new.
    Skip,
    Number,
    Text,
    Address,
    /// Bytes with colons.
    Mac,
    /// The name behind an interface's index.
    Interface,
    Nest(&'static [Field]),
    /// A list, whose members are numbered.
    Each(&'static [Field]),
    /// `struct ifa_cacheinfo`: whether it lasts for ever.
    Lifetimes,
    /// `struct rta_cacheinfo`: whether it expires.
    Expiry,
    /// `struct rtnexthop`s, each with the attributes of a route.
    NextHops,
}

/// An attribute's type, name and shape.
pub(super) type Field = (u16, &'static str, Shape);

/// The names behind interface indexes.
pub(super) type Names = std::collections::HashMap<u32, String>;

pub(super) fn interface(index: u64, names: &Names) -> String {
    u32::try_from(index)
        .ok()
        .and_then(|index| names.get(&index).cloned())
        .unwrap_or_else(|| format!("#{index}"))
}

/// Appends ` name=value` for every attribute; those without a field have their numbers as names.
pub(super) fn describe(
    out: &mut String,
    bytes: &[u8],
    fields: &'static [Field],
    prefix: &str,
    names: &Names,
) {
    for (kind, value) in attributes(bytes) {
        let Some((_, name, shape)) = fields.iter().find(|field| field.0 == kind) else {
            let _ = write!(out, " {prefix}{kind}={}", hex(value));
            continue;
        };
        let _ = match shape {
            Shape::Skip => Ok(()),
            Shape::Number => write!(out, " {prefix}{name}={}", number(value)),
            Shape::Text => write!(out, " {prefix}{name}={}", text(value)),
            Shape::Address => write!(out, " {prefix}{name}={}", address(value)),
            Shape::Mac => write!(out, " {prefix}{name}={}", mac(value)),
            Shape::Interface => write!(out, " {prefix}{name}={}", interface(number(value), names)),
            Shape::Nest(fields) => {
                describe(out, value, fields, &format!("{prefix}{name}."), names);
                Ok(())
            }
            Shape::Each(fields) => {
                for (at, member) in attributes(value) {
                    describe(out, member, fields, &format!("{prefix}{name}.{at}."), names);
                }
                Ok(())
            }
            Shape::Lifetimes => {
                let lasts = |at: usize| match value.get(at..at + 4).map(number) {
                    Some(0xffff_ffff) => "forever",
                    Some(0) => "over",
                    _ => "limited",
                };
                write!(out, " {prefix}preferred={} {prefix}valid={}", lasts(0), lasts(4))
            }
            Shape::Expiry => match value.get(8..12).map(number) {
                Some(0) | None => Ok(()),
                Some(_) => write!(out, " {prefix}expires"),
            },
            Shape::NextHops => {
                next_hops(out, value, prefix, names);
                Ok(())
            }
        };
    }
}

fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn next_hops(out: &mut String, mut bytes: &[u8], prefix: &str, names: &Names) {
    let mut at = 0;
    while let Some(length) =
        bytes.get(..2).map(|length| number(length) as usize).filter(|length| *length >= 8)
    {
        let hop = &bytes[..length];
        let (flags, weight) = (u64::from(hop[2]) & !super::route::LINKDOWN, hop[3]);
        let device = interface(number(&hop[4..8]), names);
        let _ = write!(
            out,
            " {prefix}hop{at}.flags={flags} {prefix}hop{at}.weight={weight} {prefix}hop{at}.dev={device}"
        );
        describe(out, &hop[8..], super::route::FIELDS, &format!("{prefix}hop{at}."), names);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        at += 1;
    }
}

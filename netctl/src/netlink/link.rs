//! Links: bridges, veth pairs, dummies, VLANs, their masters, names and marks.
//!
//! One function builds one message. Follows net/core/rtnetlink.c, drivers/net/veth.c, net/8021q/vlan_netlink.c and
//! include/uapi/linux/if_link.h.

use std::{
    collections::BTreeSet,
    os::fd::{AsRawFd, BorrowedFd},
};

use neli::consts::{
    nl::NlmF,
    rtnl::{Iff, Ifla, IflaInfo, IflaVlan, Rtm},
};
use nix::errno::Errno;

use super::{
    Error, Malformed, Request, Socket,
    message::{Attribute, Message, attributes},
};
use crate::model::IfName;

/// The `IFLA_INFO_DATA` attribute that describes the other end (`enum` in include/uapi/linux/veth.h).
const VETH_INFO_PEER: u16 = 1;
/// In `IFLA_EXT_MASK`: leave out the counters, most of a dump's bytes (include/uapi/linux/rtnetlink.h).
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

/// A link to create.
#[derive(Debug, Clone, Copy)]
pub struct NewLink<'a> {
    /// Its name.
    pub name: &'a IfName,
    /// Its index, which later messages of the same batch may then use; the kernel chooses when `None`, and refuses
    /// with `EBUSY` one that is taken.
    pub index: Option<u32>,
    /// Bytes; the kernel's default when `None`.
    pub mtu: Option<u32>,
    /// Its MAC address; a random one when `None`.
    pub address: Option<[u8; 6]>,
    /// The index of the bridge it becomes a port of.
    pub master: Option<u32>,
    /// Whether it is administratively up from the start.
    pub up: bool,
}

impl<'a> NewLink<'a> {
    /// A link that is down, free and otherwise as the kernel likes.
    #[must_use]
    pub fn named(name: &'a IfName) -> Self {
        Self { name, index: None, mtu: None, address: None, master: None, up: false }
    }

    fn request(&self) -> Request {
        let flags = if self.up { Iff::UP } else { Iff::empty() };
        let header = ifinfomsg(self.index.unwrap_or(0), flags, flags);
        let mut request = Request::new(Rtm::Newlink, CREATE, &header);
        describe(&mut request, self.name, self.mtu, self.address);
        if let Some(master) = self.master {
            request.u32(Ifla::Master, master);
        }
        request
    }
}

/// The far end of a veth pair to create. It is always born down: `IFF_UP` here would make the kernel refuse the pair
/// with `ENOTCONN`, since the ends are not yet connected when it opens this one (`veth_open`).
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// Its name.
    pub name: &'a IfName,
    /// Its index in its own namespace; the kernel chooses when `None`, and also when the near end has no index given
    /// (`veth_newlink`).
    pub index: Option<u32>,
    /// Bytes; the kernel's default when `None`.
    pub mtu: Option<u32>,
    /// Its MAC address; a random one when `None`.
    pub address: Option<[u8; 6]>,
    /// The namespace it is born in.
    pub netns: BorrowedFd<'a>,
}

/// A link that exists, by index or by name. Indices are exact; names may be used before the index is known.
#[derive(Debug, Clone, Copy)]
pub enum LinkRef<'a> {
    /// By `ifindex`.
    Index(u32),
    /// By name, which the kernel looks up.
    Name(&'a IfName),
}

impl From<u32> for LinkRef<'_> {
    fn from(index: u32) -> Self {
        Self::Index(index)
    }
}

impl<'a> From<&'a IfName> for LinkRef<'a> {
    fn from(name: &'a IfName) -> Self {
        Self::Name(name)
    }
}

/// A namespace that a message names, open.
pub type NamespaceFd<'a> = BorrowedFd<'a>;

/// What every creation asks for: a new link, or `EEXIST`.
const CREATE: NlmF = NlmF::ACK.union(NlmF::CREATE).union(NlmF::EXCL);

/// `ip link add NAME [index N] [mtu N] [address MAC] [master BRIDGE] [up] type bridge`
///
/// An alias, netctl's owner's mark, cannot travel in this message: the kernel ignores `IFLA_IFALIAS` when it creates a
/// link (`rtnl_create_link`; seen on 6.18). [`set_alias`] by name follows in the same batch, which is one system call.
#[must_use]
pub fn create_bridge(link: &NewLink<'_>) -> Request {
    let mut request = link.request();
    request.nested(Ifla::Linkinfo, |info| info.attribute(IflaInfo::Kind, b"bridge"));
    request
}

/// `ip link add NAME [index N] [mtu N] [address MAC] [master BRIDGE] [up] type veth peer name PEER [..] netns NETNS`
///
/// Both ends are born where they live, the near one in the socket's namespace and with its master.
///
/// As with [`create_bridge`], the kernel ignores an alias, of the near end as of the far one. [`set_alias`] follows:
/// for the near end in the same batch, for the far end through a socket of its own namespace.
#[must_use]
pub fn create_veth(link: &NewLink<'_>, peer: &Peer<'_>) -> Request {
    let mut request = link.request();
    let header = ifinfomsg(peer.index.unwrap_or(0), Iff::empty(), Iff::empty());
    request.nested(Ifla::Linkinfo, |info| {
        info.attribute(IflaInfo::Kind, b"veth");
        info.nested(IflaInfo::Data, |data| {
            data.message_in(VETH_INFO_PEER, &header, |end| {
                describe(end, peer.name, peer.mtu, peer.address);
                netns(end, peer.netns);
            });
        });
    });
    request
}

/// `ip link add NAME [index N] [mtu N] [address MAC] [up] type dummy`: a link that leads nowhere, for addresses that shall
/// always be there.
#[must_use]
pub fn create_dummy(link: &NewLink<'_>) -> Request {
    let mut request = link.request();
    request.nested(Ifla::Linkinfo, |info| info.attribute(IflaInfo::Kind, b"dummy"));
    request
}

/// `ip link add link PARENT name NAME [index N] [mtu N] [address MAC] [up] type vlan id ID`: what of the link below, of
/// that index, has the tag 802.1Q of that number, 1 to 4094.
///
/// Its MAC address is that of the link below unless it says otherwise. While that one is down this cannot be up,
/// nor be born so (`ENETDOWN`, `vlan_dev_open`).
#[must_use]
pub fn create_vlan(link: &NewLink<'_>, parent: u32, id: u16) -> Request {
    let mut request = link.request();
    request.u32(Ifla::Link, parent);
    request.nested(Ifla::Linkinfo, |info| {
        info.attribute(IflaInfo::Kind, b"vlan");
        info.nested(IflaInfo::Data, |data| data.attribute(IflaVlan::Id, &id.to_ne_bytes()));
    });
    request
}

/// `ip link delete LINK`
#[must_use]
pub fn delete<'a>(link: impl Into<LinkRef<'a>>) -> Request {
    change(Rtm::Dellink, link, Iff::empty(), Iff::empty())
}

/// `ip link set LINK group GROUP`
#[must_use]
pub fn set_group<'a>(link: impl Into<LinkRef<'a>>, group: u32) -> Request {
    let mut request = set(link);
    request.u32(Ifla::Group, group);
    request
}

/// `ip link delete group GROUP`: all of them at once, for which the kernel waits for its readers once and not once a link
/// (`rtnl_group_dellink`).
#[must_use]
pub fn delete_group(group: u32) -> Request {
    let mut request = Request::new(Rtm::Dellink, NlmF::ACK, &ifinfomsg(0, Iff::empty(), Iff::empty()));
    request.u32(Ifla::Group, group);
    request
}

/// A group that none of the links is in.
#[must_use]
pub fn free_group(links: &[Link]) -> u32 {
    let taken: BTreeSet<u32> = links.iter().map(|link| link.group).collect();
    (1..u32::MAX).rev().find(|group| !taken.contains(group)).unwrap_or(u32::MAX)
}

/// `ip link set LINK up`
#[must_use]
pub fn set_up<'a>(link: impl Into<LinkRef<'a>>) -> Request {
    change(Rtm::Setlink, link, Iff::UP, Iff::UP)
}

/// `ip link set LINK down`
#[must_use]
pub fn set_down<'a>(link: impl Into<LinkRef<'a>>) -> Request {
    change(Rtm::Setlink, link, Iff::empty(), Iff::UP)
}

/// `ip link set LINK master BRIDGE`, or `nomaster`
#[must_use]
pub fn set_master<'a>(link: impl Into<LinkRef<'a>>, master: Option<u32>) -> Request {
    let mut request = set(link);
    request.u32(Ifla::Master, master.unwrap_or(0));
    request
}

/// `ip link set LINK name NAME`; a link that is up can be renamed since Linux 6.2 only, else `EBUSY`.
///
/// By index: a name in the message is the new one.
#[must_use]
pub fn rename(index: u32, name: &IfName) -> Request {
    let mut request = set(index);
    request.name(Ifla::Ifname, name.as_str());
    request
}

/// `ip link set LINK mtu MTU`, in bytes
#[must_use]
pub fn set_mtu<'a>(link: impl Into<LinkRef<'a>>, mtu: u32) -> Request {
    let mut request = set(link);
    request.u32(Ifla::Mtu, mtu);
    request
}

/// `ip link set LINK txqueuelen LENGTH`, in packets
#[must_use]
pub fn set_tx_queue_length<'a>(link: impl Into<LinkRef<'a>>, length: u32) -> Request {
    let mut request = set(link);
    request.u32(Ifla::Txqlen, length);
    request
}

/// `ip link set LINK address MAC`
#[must_use]
pub fn set_address<'a>(link: impl Into<LinkRef<'a>>, address: [u8; 6]) -> Request {
    let mut request = set(link);
    request.attribute(Ifla::Address, &address);
    request
}

/// `ip link set LINK alias ALIAS`, at most 255 bytes; an empty one removes it.
#[must_use]
pub fn set_alias<'a>(link: impl Into<LinkRef<'a>>, alias: &str) -> Request {
    let mut request = set(link);
    request.attribute(Ifla::Ifalias, alias.as_bytes());
    request
}

/// `ip link set LINK netns NETNS`; the link goes down and loses its addresses and its master.
#[must_use]
pub fn move_to<'a>(link: impl Into<LinkRef<'a>>, namespace: BorrowedFd<'_>) -> Request {
    let mut request = set(link);
    netns(&mut request, namespace);
    request
}

/// `ip link set LINK netns NETNS name NAME`: as [`move_to`], and under a new name from the start, so that the old one
/// may be taken over there.
///
/// By index: a name in the message is the new one.
#[must_use]
pub fn move_as(index: u32, namespace: BorrowedFd<'_>, name: &IfName) -> Request {
    let mut request = move_to(index, namespace);
    request.name(Ifla::Ifname, name.as_str());
    request
}

/// A VLAN's tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vlan {
    /// Its number.
    pub id: u16,
    /// Its Ethernet type: 0x8100 of 802.1Q, 0x88a8 of 802.1ad.
    pub protocol: u16,
}

/// A link as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// `ifindex`, unique within the namespace.
    pub index: u32,
    /// Its name; a foreign link's may be one that [`IfName`] refuses.
    pub name: String,
    /// `bridge`, `veth`, ..; `None` for the loopback and hardware.
    pub kind: Option<String>,
    /// Free text: the owner's mark.
    pub alias: Option<String>,
    /// Bytes.
    pub mtu: u32,
    /// Its MAC address, if it has one of six bytes.
    pub address: Option<[u8; 6]>,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// Has a carrier (`IFF_LOWER_UP`).
    pub lower_up: bool,
    /// The index of the bridge it is a port of.
    pub master: Option<u32>,
    /// The group that it is in, 0 unless somebody put it in another.
    pub group: u32,
    /// The index of the link below or, of a veth, of the other end, in that end's namespace (`IFLA_LINK`).
    pub peer_index: Option<u32>,
    /// This namespace's number for the one that `peer_index` is in; `None` if it is this one (`IFLA_LINK_NETNSID`).
    pub peer_netnsid: Option<i32>,
    /// How many packets may wait to be sent (`txqueuelen`).
    pub tx_queue_length: u32,
    /// Of a VLAN, its tag; the link below is `peer_index`.
    pub vlan: Option<Vlan>,
}

impl Link {
    /// Whether it is the loopback of its namespace.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.kind.is_none() && self.name == "lo"
    }
}

/// `ip link show`: every link of the socket's namespace.
///
/// # Errors
/// Those of [`Socket::dump`].
pub fn dump(socket: &mut Socket) -> Result<Vec<Link>, Error> {
    socket.dump(get(NlmF::DUMP), parse)
}

/// `ip link show NAME`: the link of that name, if there is one.
///
/// # Errors
/// Those of [`Socket::dump`].
pub fn find(socket: &mut Socket, name: &IfName) -> Result<Option<Link>, Error> {
    let mut request = get(NlmF::ACK);
    request.name(Ifla::Ifname, name.as_str());
    match socket.dump(request, parse) {
        Ok(links) => Ok(links.into_iter().next()),
        Err(Error::Refused(refusal)) if refusal.errno == Errno::ENODEV => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads an `RTM_NEWLINK`; `None` for any other message.
pub fn parse(message: &Message<'_>) -> Result<Option<Link>, Malformed> {
    if !message.is(Rtm::Newlink) {
        return Ok(None);
    }
    let (&[_, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, ..], rest) = message.body::<16>()?;
    let flags = Iff::from_bits_retain(u32::from_ne_bytes([f0, f1, f2, f3]));
    let mut link = Link {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        name: String::new(),
        kind: None,
        alias: None,
        mtu: 0,
        address: None,
        up: flags.contains(Iff::UP),
        lower_up: flags.contains(Iff::LOWERUP),
        master: None,
        group: 0,
        peer_index: None,
        peer_netnsid: None,
        tx_queue_length: 0,
        vlan: None,
    };
    for attribute in attributes(rest) {
        let attribute = attribute?;
        match Ifla::from(attribute.kind) {
            Ifla::Ifname => link.name = attribute.text(),
            Ifla::Ifalias => link.alias = Some(attribute.text()),
            Ifla::Mtu => link.mtu = attribute.u32()?,
            Ifla::Address => link.address = attribute.array().ok(),
            Ifla::Master => link.master = Some(attribute.u32()?),
            Ifla::Group => link.group = attribute.u32()?,
            Ifla::Link => link.peer_index = Some(attribute.u32()?),
            Ifla::LinkNetnsid => link.peer_netnsid = Some(attribute.i32()?),
            Ifla::Txqlen => link.tx_queue_length = attribute.u32()?,
            Ifla::Linkinfo => {
                let mut data = None;
                for info in attribute.nested() {
                    let info = info?;
                    match IflaInfo::from(info.kind) {
                        IflaInfo::Kind => link.kind = Some(info.text()),
                        IflaInfo::Data => data = Some(info),
                        _ => {}
                    }
                }
                if let Some(data) = data.filter(|_| link.kind.as_deref() == Some("vlan")) {
                    link.vlan = vlan(&data)?;
                }
            }
            _ => {}
        }
    }
    Ok(Some(link))
}

/// Reads the `IFLA_INFO_DATA` of a VLAN.
fn vlan(data: &Attribute<'_>) -> Result<Option<Vlan>, Malformed> {
    let (mut id, mut protocol) = (None, libc::ETH_P_8021Q as u16);
    for attribute in data.nested() {
        let attribute = attribute?;
        match IflaVlan::from(attribute.kind) {
            IflaVlan::Id => id = Some(attribute.u16()?),
            IflaVlan::Protocol => protocol = u16::from_be_bytes(attribute.array()?),
            _ => {}
        }
    }
    Ok(id.map(|id| Vlan { id, protocol }))
}

/// `struct ifinfomsg`: family and type unspecified, then index, flags and the flags to change.
fn ifinfomsg(index: u32, flags: Iff, change: Iff) -> [u8; 16] {
    let mut header = [0; 16];
    let (_, fields) = header.split_at_mut(4);
    for (field, value) in fields.chunks_exact_mut(4).zip([index, flags.bits(), change.bits()]) {
        field.copy_from_slice(&value.to_ne_bytes());
    }
    header
}

/// The attributes that both ends of a pair take when they are born.
fn describe(request: &mut Request, name: &IfName, mtu: Option<u32>, address: Option<[u8; 6]>) {
    request.name(Ifla::Ifname, name.as_str());
    if let Some(mtu) = mtu {
        request.u32(Ifla::Mtu, mtu);
    }
    if let Some(address) = address {
        request.attribute(Ifla::Address, &address);
    }
}

/// The namespace that a link is born in or moves to.
fn netns(request: &mut Request, namespace: BorrowedFd<'_>) {
    request.attribute(Ifla::NetNsFd, &namespace.as_raw_fd().to_ne_bytes());
}

fn set<'a>(link: impl Into<LinkRef<'a>>) -> Request {
    change(Rtm::Setlink, link, Iff::empty(), Iff::empty())
}

fn change<'a>(kind: Rtm, link: impl Into<LinkRef<'a>>, flags: Iff, change: Iff) -> Request {
    match link.into() {
        LinkRef::Index(index) => Request::new(kind, NlmF::ACK, &ifinfomsg(index, flags, change)),
        LinkRef::Name(name) => {
            let mut request = Request::new(kind, NlmF::ACK, &ifinfomsg(0, flags, change));
            request.name(Ifla::Ifname, name.as_str());
            request
        }
    }
}

/// A question for links.
pub(super) fn get(flags: NlmF) -> Request {
    let header = ifinfomsg(0, Iff::empty(), Iff::empty());
    let mut request = Request::new(Rtm::Getlink, flags, &header);
    request.u32(Ifla::ExtMask, RTEXT_FILTER_SKIP_STATS);
    request
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use proptest::prelude::*;

    use super::{super::message::messages, *};
    use crate::netns::{
        Netns, NetnsError,
        tests::{create, isolated, name},
    };

    fn ifname(name: &str) -> IfName {
        name.parse().unwrap()
    }

    /// The header of a message of `length` bytes, sequence number 0.
    fn header(length: u8, kind: u8, flags: [u8; 2]) -> Vec<u8> {
        [&[length, 0, 0, 0, kind, 0][..], &flags, &[0; 8]].concat()
    }

    /// `NLM_F_REQUEST | NLM_F_ACK`, with or without `NLM_F_CREATE | NLM_F_EXCL`.
    const NEW: [u8; 2] = [0x05, 0x06];
    const CHANGE: [u8; 2] = [0x05, 0];

    #[test]
    fn a_new_bridge_is_iproute2s_but_for_the_nest_marked_as_one() {
        let request = create_bridge(&NewLink::named(&ifname("br0")));
        #[rustfmt::skip]
        let golden = [
            header(56, 16, NEW).as_slice(),
            &[0; 16],
            &[8, 0, 3, 0], b"br0\0", // IFLA_IFNAME
            &[16, 0, 18, 0x80], // IFLA_LINKINFO
            &[10, 0, 1, 0], b"bridge\0\0", // IFLA_INFO_KIND
        ]
        .concat();
        assert_eq!(request.bytes(), golden);
    }

    #[test]
    fn a_new_cable_describes_both_ends_and_only_the_near_one_is_up() {
        let netns = Netns::current().unwrap();
        let fd = netns.as_fd().as_raw_fd().to_ne_bytes();
        let (v0, p0) = (ifname("v0"), ifname("p0"));
        let near =
            NewLink { index: Some(77), mtu: Some(1400), master: Some(2), up: true, ..NewLink::named(&v0) };
        let peer = Peer {
            name: &p0,
            index: None,
            mtu: Some(1400),
            address: Some([2, 0, 0, 0, 0, 9]),
            netns: netns.as_fd(),
        };
        #[rustfmt::skip]
        let golden = [
            header(128, 16, NEW).as_slice(),
            &[0, 0, 0, 0, 77, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], // index, IFF_UP of IFF_UP
            &[7, 0, 3, 0], b"v0\0\0", // IFLA_IFNAME
            &[8, 0, 4, 0, 0x78, 0x05, 0, 0], // IFLA_MTU
            &[8, 0, 10, 0, 2, 0, 0, 0], // IFLA_MASTER
            &[72, 0, 18, 0x80], // IFLA_LINKINFO
            &[8, 0, 1, 0], b"veth", // IFLA_INFO_KIND
            &[60, 0, 2, 0x80], // IFLA_INFO_DATA
            &[56, 0, 1, 0], // VETH_INFO_PEER
            &[0; 16],
            &[7, 0, 3, 0], b"p0\0\0",
            &[8, 0, 4, 0, 0x78, 0x05, 0, 0],
            &[10, 0, 1, 0, 2, 0, 0, 0, 0, 9, 0, 0], // IFLA_ADDRESS
            &[8, 0, 28, 0], &fd, // IFLA_NET_NS_FD
        ]
        .concat();
        assert_eq!(create_veth(&near, &peer).bytes(), golden);
    }

    #[test]
    fn a_new_vlan_is_above_its_parent_and_has_its_number() {
        let request = create_vlan(&NewLink { index: Some(88), ..NewLink::named(&ifname("br0.7")) }, 5, 7);
        #[rustfmt::skip]
        let golden = [
            header(76, 16, NEW).as_slice(),
            &[0, 0, 0, 0, 88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[10, 0, 3, 0], b"br0.7\0\0\0", // IFLA_IFNAME
            &[8, 0, 5, 0, 5, 0, 0, 0], // IFLA_LINK
            &[24, 0, 18, 0x80], // IFLA_LINKINFO
            &[8, 0, 1, 0], b"vlan", // IFLA_INFO_KIND
            &[12, 0, 2, 0x80], // IFLA_INFO_DATA
            &[6, 0, 1, 0, 7, 0, 0, 0], // IFLA_VLAN_ID
        ]
        .concat();
        assert_eq!(request.bytes(), golden);
    }

    #[test]
    fn a_new_dummy_is_iproute2s_but_for_the_nest_marked_as_one() {
        #[rustfmt::skip]
        let golden = [
            header(56, 16, NEW).as_slice(),
            &[0; 16],
            &[7, 0, 3, 0], b"d0\0\0", // IFLA_IFNAME
            &[16, 0, 18, 0x80], // IFLA_LINKINFO
            &[9, 0, 1, 0], b"dummy\0\0\0", // IFLA_INFO_KIND
        ]
        .concat();
        assert_eq!(create_dummy(&NewLink::named(&ifname("d0"))).bytes(), golden);
    }

    #[test]
    fn a_vlans_tag_is_read_and_another_kinds_data_is_not() {
        let of = |kind: &[u8], protocol: Option<[u8; 2]>| {
            let mut request = Request::new(Rtm::Newlink, NlmF::MULTI, &[0; 16]);
            request.nested(Ifla::Linkinfo, |info| {
                info.attribute(IflaInfo::Kind, kind);
                info.nested(IflaInfo::Data, |data| {
                    data.attribute(IflaVlan::Id, &7_u16.to_ne_bytes());
                    protocol.iter().for_each(|protocol| data.attribute(IflaVlan::Protocol, protocol));
                });
            });
            let message = messages(request.bytes()).next().unwrap().unwrap();
            parse(&message).unwrap().unwrap().vlan
        };
        assert_eq!(of(b"vlan", None), Some(Vlan { id: 7, protocol: 0x8100 }));
        assert_eq!(of(b"vlan", Some([0x88, 0xa8])), Some(Vlan { id: 7, protocol: 0x88a8 }));
        assert_eq!(of(b"bridge", None), None);
    }

    #[test]
    fn changes_are_iproute2s() {
        let netns = Netns::current().unwrap();
        let fd = netns.as_fd().as_raw_fd().to_ne_bytes();
        let w0 = ifname("w0");
        let index = |flags, change| [[0, 0, 0, 0, 5, 0, 0, 0, flags, 0, 0, 0, change, 0, 0, 0]].concat();
        for (request, kind, info, attribute) in [
            (set_up(5), 19, index(1, 1), vec![]),
            (set_down(5), 19, index(0, 1), vec![]),
            (delete(5), 17, index(0, 0), vec![]),
            (set_master(5, Some(7)), 19, index(0, 0), vec![8, 0, 10, 0, 7, 0, 0, 0]),
            (set_master(5, None), 19, index(0, 0), vec![8, 0, 10, 0, 0, 0, 0, 0]),
            (rename(5, &w0), 19, index(0, 0), b"\x07\0\x03\0w0\0\0".to_vec()),
            (set_mtu(5, 1400), 19, index(0, 0), vec![8, 0, 4, 0, 0x78, 5, 0, 0]),
            (set_tx_queue_length(5, 500), 19, index(0, 0), vec![8, 0, 13, 0, 0xf4, 1, 0, 0]),
            (set_alias(5, "mark"), 19, index(0, 0), b"\x08\0\x14\0mark".to_vec()),
            (move_to(5, netns.as_fd()), 19, index(0, 0), [&[8, 0, 28, 0][..], &fd].concat()),
            (set_up(&w0), 19, [[0; 8], [1, 0, 0, 0, 1, 0, 0, 0]].concat(), b"\x07\0\x03\0w0\0\0".to_vec()),
        ] {
            let length = u8::try_from(32 + attribute.len()).unwrap();
            let golden = [header(length, kind, CHANGE), info, attribute].concat();
            assert_eq!(request.bytes(), golden);
        }
    }

    proptest! {
        #[test]
        fn no_message_makes_the_parser_panic(rest in prop::collection::vec(any::<u8>(), 0..200)) {
            let payload = [&[0; 16][..], &rest].concat();
            let message = Message { kind: Rtm::Newlink.into(), flags: NlmF::empty(), sequence: 0, payload: &payload };
            let _ = parse(&message);
            let _ = parse(&Message { payload: &rest, ..message });
        }

        #[test]
        fn what_is_asked_for_is_what_is_parsed(
            name in "[a-z]{1,15}", index in 1..u32::MAX, mtu: u32, address: [u8; 6], master: Option<u32>, up: bool,
        ) {
            let name = ifname(&name);
            let new = NewLink {
                name: &name, index: Some(index), mtu: Some(mtu), address: Some(address), master, up,
            };
            let request = create_bridge(&new);
            let message = messages(request.bytes()).next().unwrap().unwrap();
            prop_assert_eq!(parse(&message).unwrap().unwrap(), Link {
                index, name: name.to_string(), kind: Some("bridge".into()), alias: None, mtu, address: Some(address),
                up, lower_up: false, master, group: 0, peer_index: None, peer_netnsid: None, tx_queue_length: 0,
                vlan: None,
            });
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_parsed(
            name in "[ -~]{1,15}", kind in prop::option::of("[a-z]{1,9}"), alias in prop::option::of("[ -~]{1,255}"),
            index: u32, mtu: u32, flags: u32, tx_queue_length: u32, address: Option<[u8; 6]>, master: Option<u32>,
            peer: Option<(u32, Option<i32>)>,
        ) {
            let flags = Iff::from_bits_retain(flags);
            let mut request = Request::new(Rtm::Newlink, NlmF::MULTI, &ifinfomsg(index, flags, Iff::empty()));
            request.name(Ifla::Ifname, &name);
            request.u32(Ifla::Mtu, mtu);
            request.u32(Ifla::Txqlen, tx_queue_length);
            let (peer_index, peer_netnsid) = (peer.map(|(index, _)| index), peer.and_then(|(_, id)| id));
            for (attribute, value) in [(Ifla::Master, master), (Ifla::Link, peer_index)] {
                value.into_iter().for_each(|value| request.u32(attribute, value));
            }
            peer_netnsid.iter().for_each(|id| request.attribute(Ifla::LinkNetnsid, &id.to_ne_bytes()));
            address.iter().for_each(|address| request.attribute(Ifla::Address, address));
            alias.iter().for_each(|alias| request.name(Ifla::Ifalias, alias));
            kind.iter().for_each(|kind| request.nested(Ifla::Linkinfo, |info| info.name(IflaInfo::Kind, kind)));
            let message = messages(request.bytes()).next().unwrap().unwrap();
            prop_assert_eq!(parse(&message).unwrap().unwrap(), Link {
                index, name, kind, alias, mtu, address, master, group: 0, peer_index, peer_netnsid,
                up: flags.contains(Iff::UP), lower_up: flags.contains(Iff::LOWERUP), tx_queue_length, vlan: None,
            });
        }
    }

    fn inside(netns: &Netns) -> Socket {
        netns.run(|| Ok::<_, NetnsError>(Socket::open())).unwrap().unwrap()
    }

    /// Does all the requests, or panics with the first refusal.
    fn execute(socket: &mut Socket, requests: Vec<Request>) {
        for answer in socket.execute(requests).unwrap() {
            answer.unwrap();
        }
    }

    #[test]
    fn a_cable_is_born_complete_in_one_message() {
        isolated(|| {
            let (mut host, red) = (Socket::open().unwrap(), create(&name("red")));
            let mut far = inside(&red);
            let (bridge, near, peer) = (ifname("br0"), ifname("v0"), ifname("p0"));
            let new_bridge = NewLink { index: Some(50), up: true, ..NewLink::named(&bridge) };
            let new_near = NewLink {
                index: Some(60),
                mtu: Some(1400),
                address: Some([2, 0, 0, 0, 0, 1]),
                master: Some(50),
                up: true,
                ..NewLink::named(&near)
            };
            let new_peer = Peer {
                name: &peer,
                index: Some(9),
                mtu: Some(1300),
                address: Some([2, 0, 0, 0, 0, 2]),
                netns: red.as_fd(),
            };
            let batch = vec![
                create_bridge(&new_bridge),
                set_alias(&bridge, "mine"),
                create_veth(&new_near, &new_peer),
                set_alias(&near, "mine"),
            ];
            execute(&mut host, batch);
            execute(&mut far, vec![set_alias(&peer, "mine"), set_up(&peer)]);

            let near = find(&mut host, &near).unwrap().unwrap();
            let expected = Link {
                index: 60,
                name: "v0".into(),
                kind: Some("veth".into()),
                alias: Some("mine".into()),
                mtu: 1400,
                address: Some([2, 0, 0, 0, 0, 1]),
                up: true,
                lower_up: true,
                master: Some(50),
                group: 0,
                peer_index: Some(9),
                peer_netnsid: near.peer_netnsid,
                tx_queue_length: 1000,
                vlan: None,
            };
            assert_eq!(near, expected);
            assert!(near.peer_netnsid.is_some());
            let far = find(&mut far, &peer).unwrap().unwrap();
            assert_eq!((far.index, far.mtu, far.master), (9, 1300, None));
            assert_eq!((far.peer_index, far.up), (Some(60), true));
            let bridge = find(&mut host, &bridge).unwrap().unwrap();
            assert_eq!((bridge.index, bridge.kind.as_deref()), (50, Some("bridge")));
            assert_eq!((bridge.peer_index, bridge.alias.as_deref()), (None, Some("mine")));
        });
    }

    #[test]
    fn links_change_and_go() {
        isolated(|| {
            let (mut host, red) = (Socket::open().unwrap(), create(&name("red")));
            let (bridge, near, peer) = (ifname("br0"), ifname("v0"), ifname("p0"));
            let home = Netns::current().unwrap();
            let new_peer = Peer { name: &peer, index: None, mtu: None, address: None, netns: home.as_fd() };
            execute(
                &mut host,
                vec![create_bridge(&NewLink::named(&bridge)), create_veth(&NewLink::named(&near), &new_peer)],
            );
            let master = find(&mut host, &bridge).unwrap().unwrap().index;
            let before = find(&mut host, &near).unwrap().unwrap();
            assert_eq!(before.peer_netnsid, None, "the peer is in the same namespace");
            execute(
                &mut host,
                vec![
                    set_master(&near, Some(master)),
                    set_mtu(&near, 1280),
                    set_tx_queue_length(&near, 500),
                    set_address(&near, [2, 0, 0, 0, 0, 5]),
                    rename(before.index, &ifname("w0")),
                    set_up(&ifname("w0")),
                    set_alias(&ifname("w0"), "old"),
                    set_alias(&ifname("w0"), ""),
                ],
            );
            let after = find(&mut host, &ifname("w0")).unwrap().unwrap();
            let expected = Link {
                name: "w0".into(),
                mtu: 1280,
                tx_queue_length: 500,
                address: Some([2, 0, 0, 0, 0, 5]),
                up: true,
                master: Some(master),
                ..before
            };
            assert_eq!(after, expected);
            execute(&mut host, vec![set_down(after.index), set_master(after.index, None)]);
            let after = find(&mut host, &ifname("w0")).unwrap().unwrap();
            assert_eq!((after.up, after.master), (false, None));

            execute(&mut host, vec![move_to(after.index, red.as_fd())]);
            assert_eq!(find(&mut host, &ifname("w0")).unwrap(), None);
            let mut far = inside(&red);
            let moved = find(&mut far, &ifname("w0")).unwrap().unwrap();
            execute(&mut far, vec![delete(moved.index)]);
            execute(&mut host, vec![delete(&bridge)]);
            let left: Vec<_> = dump(&mut host).unwrap().into_iter().map(|link| link.name).collect();
            assert_eq!(left, ["lo"], "the other end went with the first");
        });
    }
}

//! Policy rules: which table is asked for which packets.
//!
//! Follows net/core/fib_rules.c and include/uapi/linux/fib_rules.h; what a command leaves open is filled in as iproute2
//! does it (ip/iprule.c).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use neli::consts::{
    nl::NlmF,
    rtnl::{Frattr, Rtm},
};

use super::{
    Error, Family, Malformed, Request, Socket, family,
    message::{Message, attributes},
    route::RTPROT_NETCTL,
};
use crate::model::{IfName, RuleAction};

/// In a rule's flags: it is for what it does not describe.
const FIB_RULE_INVERT: u32 = 2;
/// A prefix length that suppresses nothing.
const NO_PREFIX_LENGTH: u32 = u32::MAX;

/// What a rule does with the packets that it is for: `FR_ACT_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Asks the table of that number; where it has no route the next rule is tried.
    Table(u32),
    /// Drops them without a word.
    Blackhole,
    /// Drops them and says that the destination is unreachable.
    Unreachable,
    /// Drops them and says that it is prohibited.
    Prohibit,
    /// Something else: its number.
    Other(u8),
}

impl Action {
    const TO_TBL: u8 = 1;
    const BLACKHOLE: u8 = 6;
    const UNREACHABLE: u8 = 7;
    const PROHIBIT: u8 = 8;

    fn number(self) -> u8 {
        match self {
            Self::Table(_) => Self::TO_TBL,
            Self::Blackhole => Self::BLACKHOLE,
            Self::Unreachable => Self::UNREACHABLE,
            Self::Prohibit => Self::PROHIBIT,
            Self::Other(number) => number,
        }
    }

    fn of(number: u8, table: u32) -> Self {
        match number {
            Self::TO_TBL => Self::Table(table),
            Self::BLACKHOLE => Self::Blackhole,
            Self::UNREACHABLE => Self::Unreachable,
            Self::PROHIBIT => Self::Prohibit,
            number => Self::Other(number),
        }
    }
}

impl From<RuleAction> for Action {
    fn from(action: RuleAction) -> Self {
        match action {
            RuleAction::Table(table) => Self::Table(table),
            RuleAction::Blackhole => Self::Blackhole,
            RuleAction::Unreachable => Self::Unreachable,
            RuleAction::Prohibit => Self::Prohibit,
        }
    }
}

/// A mark that packets have, and which bits of it count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The bits' values.
    pub value: u32,
    /// The bits that count; all (`u32::MAX`) unless somebody says otherwise.
    pub mask: u32,
}

/// A rule to add or to delete.
#[derive(Debug, Clone, Copy)]
pub struct NewRule<'a> {
    /// Whose packets it is for.
    pub family: Family,
    /// Its place among the rules: the smallest is tried first, and those of the kernel are 0, 32766 and 32767. When
    /// `None`, before the first of these that is not 0.
    pub priority: Option<u32>,
    /// The sources that it is for; all when `None`.
    pub from: Option<IpNet>,
    /// The destinations that it is for; all when `None`.
    pub to: Option<IpNet>,
    /// The link that they come in by; any when `None`. A link that is not there yet will do.
    pub iif: Option<&'a IfName>,
    /// The link that the socket is bound to; any when `None`.
    pub oif: Option<&'a IfName>,
    /// The mark that they have.
    pub mark: Option<Mark>,
    /// What is done.
    pub action: Action,
    /// Who sets it (`FRA_PROTOCOL`), such as [`RTPROT_NETCTL`]; nobody in particular when `None`.
    pub protocol: Option<u8>,
}

impl NewRule<'_> {
    /// One for all packets of a family.
    #[must_use]
    pub fn all(family: Family, action: Action) -> Self {
        Self {
            family,
            priority: None,
            from: None,
            to: None,
            iif: None,
            oif: None,
            mark: None,
            action,
            protocol: None,
        }
    }
}

/// `ip rule add [from NET] [to NET] [iif LINK] [oif LINK] [fwmark MARK/MASK] [priority N] table N|ACTION [protocol N]`
#[must_use]
pub fn add(rule: &NewRule<'_>) -> Request {
    make(Rtm::Newrule, NlmF::CREATE | NlmF::EXCL, rule)
}

/// `ip rule delete ..`, as [`add`].
///
/// What is `None` is not compared: the first rule that fits goes.
#[must_use]
pub fn delete(rule: &NewRule<'_>) -> Request {
    make(Rtm::Delrule, NlmF::empty(), rule)
}

fn make(kind: Rtm, flags: NlmF, rule: &NewRule<'_>) -> Request {
    let length = |net: Option<IpNet>| net.map_or(0, |net| net.prefix_len());
    let table = if let Action::Table(table) = rule.action { table } else { 0 };
    // `struct fib_rule_hdr`; a table of more than 8 bits is in FRA_TABLE alone.
    let (small, action) = (u8::try_from(table).unwrap_or(0), rule.action.number());
    let header =
        [rule.family.number(), length(rule.to), length(rule.from), 0, small, 0, 0, action, 0, 0, 0, 0];
    let mut request = Request::new(kind, NlmF::ACK | flags, &header);
    for (attribute, net) in [(Frattr::Dst, rule.to), (Frattr::Src, rule.from)] {
        if let Some(net) = net.filter(|net| net.prefix_len() > 0) {
            request.ip(attribute, net.network());
        }
    }
    for (attribute, name) in [(Frattr::Iifname, rule.iif), (Frattr::Oifname, rule.oif)] {
        if let Some(name) = name {
            request.name(attribute, name.as_str());
        }
    }
    if let Some(Mark { value, mask }) = rule.mark {
        request.u32(Frattr::Fwmark, value);
        request.u32(Frattr::Fwmask, mask);
    }
    if u8::try_from(table).is_err() {
        request.u32(Frattr::Table, table);
    }
    if let Some(priority) = rule.priority {
        request.u32(Frattr::Priority, priority);
    }
    if let Some(protocol) = rule.protocol {
        request.attribute(Frattr::Protocol, &[protocol]);
    }
    request
}

/// A rule as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whose packets it is for.
    pub family: Family,
    /// Its place among the rules.
    pub priority: u32,
    /// The sources that it is for, if not for all.
    pub from: Option<IpNet>,
    /// The destinations that it is for, if not for all.
    pub to: Option<IpNet>,
    /// The link that they come in by.
    pub iif: Option<String>,
    /// The link that the socket is bound to.
    pub oif: Option<String>,
    /// The mark that they have.
    pub mark: Option<Mark>,
    /// What is done.
    pub action: Action,
    /// Of its table, routes of a prefix no longer than this do not count.
    pub suppress_prefix_length: Option<u32>,
    /// Who set it; `Some(2)` is the kernel.
    pub protocol: Option<u8>,
    /// Whether it has conditions beyond these (a type of service, ports, users, ..), or is for what it does not describe.
    pub is_narrower: bool,
}

impl Rule {
    /// Whether it is one of those that every namespace begins with (`RTPROT_KERNEL`).
    #[must_use]
    pub fn is_kernels(&self) -> bool {
        self.protocol == Some(2)
    }

    /// Whether netctl has set it for a topology, by its protocol.
    #[must_use]
    pub fn is_netctls(&self) -> bool {
        self.protocol == Some(RTPROT_NETCTL)
    }

    /// Whether it is what `new` asks for, whoever set it, at that priority or, if `new` leaves it open, at any.
    #[must_use]
    pub fn is_like(&self, new: &NewRule<'_>) -> bool {
        let whole = |net: Option<IpNet>| net.filter(|net| net.prefix_len() > 0).map(|net| net.trunc());
        self.family == new.family
            && new.priority.is_none_or(|priority| priority == self.priority)
            && (self.from, self.to) == (whole(new.from), whole(new.to))
            && self.iif.as_deref() == new.iif.map(IfName::as_str)
            && self.oif.as_deref() == new.oif.map(IfName::as_str)
            && (self.mark, self.action) == (new.mark, new.action)
            && self.suppress_prefix_length.is_none()
            && !self.is_narrower
    }
}

/// `ip rule show`, then `ip -6 rule show`: every rule of the socket's namespace, in the order in which they are tried.
///
/// # Errors
/// Those of [`Socket::dump`].
pub fn dump(socket: &mut Socket) -> Result<Vec<Rule>, Error> {
    family::dump::<12, _>(socket, Rtm::Getrule, parse)
}

/// Reads an `RTM_NEWRULE`; `None` for any other message and for other families.
pub fn parse(message: &Message<'_>) -> Result<Option<Rule>, Malformed> {
    if !message.is(Rtm::Newrule) {
        return Ok(None);
    }
    let (&[family, to_length, from_length, tos, table, _, _, action, f0, f1, f2, f3], rest) =
        message.body::<12>()?;
    let Some(family) = Family::of_number(family) else { return Ok(None) };
    let everything: IpAddr = match family {
        Family::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    let (mut from, mut to, mut table) = (everything, everything, u32::from(table));
    let (mut value, mut mask) = (0, 0);
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let mut rule = Rule {
        family,
        priority: 0,
        from: None,
        to: None,
        iif: None,
        oif: None,
        mark: None,
        action: Action::Other(action),
        suppress_prefix_length: None,
        protocol: None,
        is_narrower: tos != 0 || flags & FIB_RULE_INVERT != 0,
    };
    for attribute in attributes(rest) {
        let attribute = attribute?;
        match Frattr::from(attribute.kind) {
            Frattr::Dst => to = attribute.ip()?,
            Frattr::Src => from = attribute.ip()?,
            Frattr::Iifname => rule.iif = Some(attribute.text()),
            Frattr::Oifname => rule.oif = Some(attribute.text()),
            Frattr::Priority => rule.priority = attribute.u32()?,
            Frattr::Table => table = attribute.u32()?,
            Frattr::Fwmark => value = attribute.u32()?,
            Frattr::Fwmask => mask = attribute.u32()?,
            Frattr::Protocol => rule.protocol = Some(attribute.u8()?),
            Frattr::SuppressPrefixlen => {
                let length = attribute.u32()?;
                rule.suppress_prefix_length = Some(length).filter(|&length| length != NO_PREFIX_LENGTH);
            }
            // Where a rule of another action leads to, and what the kernel adds to tell lengths apart.
            Frattr::Goto | Frattr::Pad | Frattr::Unspec => {}
            _ => rule.is_narrower = true,
        }
    }
    let net = |address, length| IpNet::new(address, length).ok().filter(|net| net.prefix_len() > 0);
    rule.from = net(from, from_length);
    rule.to = net(to, to_length);
    rule.mark = ((value, mask) != (0, 0)).then_some(Mark { value, mask });
    rule.action = Action::of(action, table);
    Ok(Some(rule))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::message::messages, *};
    use crate::netns::tests::isolated;

    fn net(net: &str) -> IpNet {
        net.parse().unwrap()
    }

    #[test]
    fn a_rule_with_every_condition_is_iproute2s() {
        let (iif, oif) = ("br0".parse().unwrap(), "v0".parse().unwrap());
        let rule = NewRule {
            priority: Some(1001),
            to: Some(net("10.1.0.0/16")),
            iif: Some(&iif),
            oif: Some(&oif),
            mark: Some(Mark { value: 1, mask: 0xff }),
            protocol: Some(RTPROT_NETCTL),
            ..NewRule::all(Family::Ipv4, Action::Table(1000))
        };
        #[rustfmt::skip]
        let mut golden = [
            92, 0, 0, 0, 32, 0, 0x05, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, // RTM_NEWRULE, REQUEST | ACK | CREATE | EXCL
            2, 16, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, // FR_ACT_TO_TBL
            8, 0, 1, 0, 10, 1, 0, 0, // FRA_DST
            8, 0, 3, 0, b'b', b'r', b'0', 0, // FRA_IIFNAME
            7, 0, 17, 0, b'v', b'0', 0, 0, // FRA_OIFNAME
            8, 0, 10, 0, 1, 0, 0, 0, // FRA_FWMARK
            8, 0, 16, 0, 255, 0, 0, 0, // FRA_FWMASK
            8, 0, 15, 0, 232, 3, 0, 0, // FRA_TABLE
            8, 0, 6, 0, 233, 3, 0, 0, // FRA_PRIORITY
            5, 0, 21, 0, 110, 0, 0, 0, // FRA_PROTOCOL
        ];
        assert_eq!(add(&rule).bytes(), golden);
        (golden[4], golden[7]) = (33, 0); // RTM_DELRULE, neither CREATE nor EXCL
        assert_eq!(delete(&rule).bytes(), golden);
    }

    #[test]
    fn a_condition_that_is_not_known_makes_a_rule_unlike_any() {
        let rule = NewRule::all(Family::Ipv6, Action::Prohibit);
        let read = |fill: fn(&mut Request)| {
            let mut request = add(&rule);
            fill(&mut request);
            let message = messages(request.bytes()).next().unwrap().unwrap();
            parse(&message).unwrap().unwrap()
        };
        assert!(read(|_| {}).is_like(&rule));
        assert_eq!(read(|_| {}).action, Action::Prohibit);
        assert!(read(|request| request.u32(Frattr::SuppressPrefixlen, u32::MAX)).is_like(&rule));
        assert!(!read(|request| request.u32(Frattr::SuppressPrefixlen, 0)).is_like(&rule));
        assert!(!read(|request| request.attribute(Frattr::IpProto, &[6])).is_like(&rule));
    }

    proptest! {
        #[test]
        fn no_message_makes_the_parser_panic(payload in prop::collection::vec(any::<u8>(), 0..120), v6: bool) {
            let mut payload = payload;
            if let Some(family) = payload.first_mut() {
                *family = if v6 { 10 } else { 2 };
            }
            let (kind, flags) = (Rtm::Newrule.into(), NlmF::empty());
            let _ = parse(&Message { kind, flags, sequence: 0, payload: &payload });
        }

        #[test]
        fn what_is_added_is_what_is_parsed(
            octets: [u8; 16], lengths: (u8, u8), v4: bool, priority: Option<u32>, protocol: Option<u8>,
            iif in prop::option::of("[a-z]{1,15}"), oif in prop::option::of("[a-z]{1,15}"),
            mark in prop::option::of((any::<u32>(), 1_u32..)), table in 1_u32..,
            action in prop::sample::select(vec![Action::Blackhole, Action::Prohibit, Action::Unreachable, Action::Table(0)]),
        ) {
            let [a, b, c, d, ..] = octets;
            let address = if v4 { IpAddr::from([a, b, c, d]) } else { octets.into() };
            let most = if v4 { 32 } else { 128 };
            let net = |length: u8| Some(IpNet::new(address, length % most + 1).unwrap().trunc());
            let (iif, oif) = (iif.map(|name| name.parse().unwrap()), oif.map(|name| name.parse().unwrap()));
            let action = if action == Action::Table(0) { Action::Table(table) } else { action };
            let new = NewRule {
                family: if v4 { Family::Ipv4 } else { Family::Ipv6 },
                priority, from: net(lengths.0), to: net(lengths.1), iif: iif.as_ref(), oif: oif.as_ref(),
                mark: mark.map(|(value, mask)| Mark { value, mask }), action, protocol,
            };
            let request = add(&new);
            let message = messages(request.bytes()).next().unwrap().unwrap();
            let its = parse(&message).unwrap().unwrap();
            prop_assert!(its.is_like(&new), "{:?}", its);
            prop_assert_eq!((its.priority, its.protocol), (priority.unwrap_or(0), protocol));
        }
    }

    #[test]
    fn rules_come_and_go_each_by_itself() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            let (near, bridge) = (net("10.0.0.0/24"), "br0".parse().unwrap());
            let at =
                |priority, rule| NewRule { priority: Some(priority), protocol: Some(RTPROT_NETCTL), ..rule };
            let mark = Some(Mark { value: 1, mask: 0xff });
            let v4 = |action| NewRule::all(Family::Ipv4, action);
            let v6 = |action| NewRule::all(Family::Ipv6, action);
            let rules = [
                at(1000, NewRule { from: Some(near), ..v4(Action::Table(100)) }),
                at(1000, NewRule { from: Some(near), mark, ..v4(Action::Table(1000)) }),
                at(1001, NewRule { to: Some(near), iif: Some(&bridge), ..v4(Action::Blackhole) }),
                at(1002, NewRule { oif: Some(&bridge), ..v4(Action::Prohibit) }),
                at(1000, NewRule { from: Some(net("fd00::/64")), ..v6(Action::Unreachable) }),
                at(1001, NewRule { mark, ..v6(Action::Table(254)) }),
            ];
            let before = dump(&mut socket).unwrap();
            let kernels: Vec<_> = before.iter().map(|its| (its.priority, its.action, its.protocol)).collect();
            let [local, main, default] = [(0, 255), (32766, 254), (32767, 253)]
                .map(|(priority, table)| (priority, Action::Table(table), Some(2)));
            assert_eq!(kernels, [local, main, default, local, main]);

            assert_eq!(socket.execute(rules.iter().map(add).collect()).unwrap(), vec![Ok(()); 6]);
            assert!(socket.execute(vec![add(&rules[0])]).unwrap()[0].is_err(), "it is there");
            let count = |socket: &mut Socket| {
                let all = dump(socket).unwrap();
                rules
                    .each_ref()
                    .map(|new| all.iter().filter(|its| its.is_like(new) && its.is_netctls()).count())
            };
            assert_eq!(count(&mut socket), [1; 6]);
            for (number, rule) in rules.iter().enumerate() {
                assert_eq!(socket.execute(vec![delete(rule)]).unwrap(), [Ok(())]);
                assert_eq!(count(&mut socket).iter().sum::<usize>(), 5 - number, "{rule:?}");
            }
            assert_eq!(dump(&mut socket).unwrap(), before);
        });
    }

    #[test]
    fn a_rule_of_somebody_else_is_not_deleted_for_netctls() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            let rule = NewRule {
                priority: Some(1000),
                protocol: Some(99),
                ..NewRule::all(Family::Ipv4, Action::Table(100))
            };
            let mine = NewRule { protocol: Some(RTPROT_NETCTL), ..rule };
            assert_eq!(socket.execute(vec![add(&rule)]).unwrap(), [Ok(())]);
            assert!(socket.execute(vec![delete(&mine)]).unwrap()[0].is_err());
        });
    }
}

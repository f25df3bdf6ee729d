//! What a gateway's rules come to in netfilter, whatever a tool's words for it: the matches and verdicts that somebody
//! who knows iptables writes by hand. Pure.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::model::{Forward, Gateway, IfName, Masquerade, Protocol};

/// Where netfilter looks at a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hook {
    /// Arriving, before routing: destination NAT.
    Prerouting,
    /// Sent by the gateway itself: destination NAT.
    Output,
    /// Leaving: source NAT.
    Postrouting,
    /// Passing through.
    Forward,
    /// For the gateway itself.
    Input,
}

/// What a packet must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Match {
    /// Its source is in the network.
    From(IpNet),
    /// Its source is not.
    NotFrom(IpNet),
    /// Its destination is in the network.
    To(IpNet),
    /// Its destination is not.
    NotTo(IpNet),
    /// Its source is an address of the gateway.
    FromLocal,
    /// Its destination is an address of the gateway.
    ToLocal,
    /// It came in by the interface.
    In(IfName),
    /// It goes out by the interface.
    Out(IfName),
    /// Of the protocol.
    Protocol(Protocol),
    /// Of the protocol, and its destination port is one of these.
    Ports(Protocol, (u16, u16)),
    /// It opens a connection.
    New,
    /// It belongs to no connection and opens none: nothing translates it.
    Stray,
    /// Its connection's destination is translated.
    Forwarded,
    /// Its connection's destination is not.
    NotForwarded,
}

/// A network as people write it: of a single address, without the prefix length.
pub(crate) struct Net<'a>(pub(crate) &'a IpNet);

impl fmt::Display for Net<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing more.
    Drop,
    /// No later rule of this gateway's is looked at.
    Return,
    /// Source NAT, to the address of the outgoing interface where there is none.
    Source { address: Option<IpAddr>, ports: Option<(u16, u16)> },
    /// Destination NAT; the first of `ports` goes to `to_port`, the others follow one by one.
    Destination { to: IpAddr, ports: (u16, u16), to_port: u16, protocol: Protocol },
}

/// A rule of one address family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) hook: Hook,
    pub(crate) ipv4: bool,
    pub(crate) matches: Vec<Match>,
    pub(crate) verdict: Verdict,
}

const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8);
const LOOPBACK6: Ipv6Net = Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128);

/// All of a gateway's rules, in the order in which they are looked at; `insides` are the subnets of its inside
/// interfaces.
pub(crate) fn of_gateway(gateway: &Gateway, insides: &[IpNet]) -> Vec<Rule> {
    // Of two rules that cover a source, the one of the longer prefix counts: the first that matches, here.
    let mut masquerades: Vec<&Masquerade> = gateway.masquerades.iter().collect();
    masquerades.sort_by_key(|rule| std::cmp::Reverse(rule.source.prefix_len()));

    let mut rules: Vec<Rule> = gateway.forwards.iter().flat_map(forward).collect();
    rules.extend(turning_back(gateway, insides));
    rules.extend(masquerades.iter().flat_map(|rule| masquerade(rule)));
    for rule in &masquerades {
        rules.extend(guard(rule, &masquerades));
    }
    if gateway.forwards.iter().any(|rule| rule.to.is_ipv4()) {
        rules.extend(guard_loopback());
    }
    rules
}

/// Source NAT of what leaves by the uplinks.
pub(crate) fn masquerade(rule: &Masquerade) -> Vec<Rule> {
    let mut rules = Vec::new();
    for out in &rule.out {
        let leaving = [Match::From(rule.source), Match::Out(out.clone())];
        let mut push = |protocol: Option<Protocol>, ports| {
            let matches = leaving.iter().cloned().chain(protocol.map(Match::Protocol)).collect();
            let verdict = Verdict::Source { address: rule.address, ports };
            rules.push(Rule {
                hook: Hook::Postrouting,
                ipv4: rule.source.addr().is_ipv4(),
                matches,
                verdict,
            });
        };
        if rule.ports.is_some() {
            // Ports can only be named together with a protocol that has them; the others have none to choose from.
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                push(Some(protocol), rule.ports);
            }
        }
        push(None, None);
    }
    rules
}

/// Destination NAT of what comes to a gateway's address, and of what the gateway itself sends there or to its loopback.
///
/// To `::1` there is no way: the kernel takes answers for it from the loopback interface alone (`rt6_need_strict` in
/// net/ipv6/route.c).
fn forward(rule: &Forward) -> Vec<Rule> {
    let mut rules = arriving(rule);
    let mut own = to_destination(rule, Hook::Output, None);
    if rule.address.is_none() && !own.ipv4 {
        own.matches.insert(0, Match::NotTo(LOOPBACK6.into()));
    }
    if rule.address.is_some() && own.ipv4 {
        let mut by_loopback = own.clone();
        by_loopback.matches[0] = Match::To(LOOPBACK.into());
        rules.push(by_loopback);
    }
    rules.push(own);
    if rule.allow.is_some() {
        // From everybody else, and not for a socket of the gateway's that may listen there, too.
        let mut others = to_destination(rule, Hook::Input, None);
        others.matches.push(Match::New);
        rules.push(Rule { verdict: Verdict::Drop, ..others });
    }
    rules
}

/// Destination NAT of what comes to where a forward listens, from those who may use it.
pub(crate) fn arriving(rule: &Forward) -> Vec<Rule> {
    let Some(networks) = &rule.allow else { return vec![to_destination(rule, Hook::Prerouting, None)] };
    networks.iter().map(|network| to_destination(rule, Hook::Prerouting, Some(*network))).collect()
}

/// Destination NAT of what is sent to where a forward listens, perhaps only from a network.
pub(crate) fn to_destination(rule: &Forward, hook: Hook, client: Option<IpNet>) -> Rule {
    let &Forward { address, ports, protocol, to, to_port, .. } = rule;
    let listening = address.map_or(Match::ToLocal, |address| Match::To(address.into()));
    let matches = [listening].into_iter().chain(client.map(Match::From));
    Rule {
        hook,
        ipv4: to.is_ipv4(),
        matches: matches.chain([Match::Ports(protocol, ports)]).collect(),
        verdict: Verdict::Destination { to, ports, to_port, protocol },
    }
}

/// What reaches an inside server by a forward from inside, or from the gateway itself, gets a source that the server
/// answers through the gateway.
fn turning_back(gateway: &Gateway, insides: &[IpNet]) -> Vec<Rule> {
    let servers: BTreeSet<IpAddr> = gateway.forwards.iter().map(|rule| rule.to).collect();
    let mut rules = Vec::new();
    for server in servers {
        let ipv4 = server.is_ipv4();
        let networks = insides.iter().filter(|network| network.addr().is_ipv4() == ipv4);
        for source in networks.map(|network| Match::From(*network)).chain([Match::FromLocal]) {
            let matches = vec![source, Match::To(server.into()), Match::Forwarded];
            let verdict = Verdict::Source { address: None, ports: None };
            rules.push(Rule { hook: Hook::Postrouting, ipv4, matches, verdict });
        }
    }
    rules
}

/// What is masqueraded leaves translated or not at all, and, unless the rule says `routed`, nobody outside gets inside
/// but by answering or by a forward.
fn guard(rule: &Masquerade, all: &[&Masquerade]) -> Vec<Rule> {
    let mut rules = Vec::new();
    for out in &rule.out {
        let mut push = |matches: Vec<Match>, verdict| {
            rules.push(Rule { hook: Hook::Forward, ipv4: rule.source.addr().is_ipv4(), matches, verdict });
        };
        push(vec![Match::From(rule.source), Match::Out(out.clone()), Match::Stray], Verdict::Drop);
        let arriving = [Match::To(rule.source), Match::In(out.clone())];
        if !rule.routed {
            push([&arriving[..], &[Match::Stray]].concat(), Verdict::Drop);
            push([&arriving[..], &[Match::New, Match::NotForwarded]].concat(), Verdict::Drop);
        } else if all.iter().any(|other| !other.routed && is_within(rule, other) && other.out.contains(out)) {
            push(arriving.to_vec(), Verdict::Return);
        }
    }
    rules
}

fn is_within(rule: &Masquerade, other: &Masquerade) -> bool {
    other.source != rule.source && other.source.contains(&rule.source)
}

/// With `route_localnet`, which the gateway's own access by 127.0.0.1 needs, neighbours could reach what listens on the
/// loopback (CVE-2020-8558).
fn guard_loopback() -> Vec<Rule> {
    let foreign = [Match::NotFrom(LOOPBACK.into()), Match::To(LOOPBACK.into())];
    let states = [&[Match::Stray][..], &[Match::New, Match::NotForwarded]];
    let rule = |state| Rule {
        hook: Hook::Input,
        ipv4: true,
        matches: [&foreign[..], state].concat(),
        verdict: Verdict::Drop,
    };
    states.map(rule).to_vec()
}

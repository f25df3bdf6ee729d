//! What is there, in the model's words: what a plan compares a topology with. Pure; [`observe`](crate::observe) reads it.

mod peers;
mod settled;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use ipnet::IpNet;

use crate::{
    build::Build,
    model::{Forward, IfName, Masquerade, Place, Route, Rule, Shortcut, Side, Timeouts, TopologyName},
    netfilter::{Rules, Tool},
    netlink::route::RTPROT_NETCTL,
    op::Machine,
};

/// Everything that a plan compares the topology with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The host, and those of the wanted and the owned namespaces that exist.
    pub places: BTreeMap<Place, ObservedPlace>,
    /// The machine that they are on.
    pub machine: Machine,
    /// Whether the kernel renames links that are up.
    pub renames_live: bool,
    /// Where the host sends what: every route of its main table, whoever set it.
    pub host_routes: Vec<HostRoute>,
    /// The other end of each end of a cable that the topology made and does not have, or not as it is.
    pub peers: HashMap<(Place, IfName), (Place, IfName)>,
}

/// A route of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoute {
    /// The destination, host bits zero.
    pub to: IpNet,
    /// The next hop, if there is one.
    pub via: Option<IpAddr>,
    /// The interface, unless there are several or none.
    pub interface: Option<IfName>,
    /// Whether a router's advertisement set it.
    pub advertised: bool,
}

impl HostRoute {
    /// The sysctl that says whether the kernel goes on heeding the advertisements that this route came from.
    #[must_use]
    pub fn accept_ra(&self) -> Option<String> {
        let interface = self.interface.as_ref().filter(|_| self.advertised)?;
        Some(format!("net.ipv6.conf.{}.accept_ra", interface.as_str().replace('.', "/")))
    }
}

/// One place's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedPlace {
    /// Whose namespace it is; `None` for the host and for foreign ones.
    pub owner: Option<TopologyName>,
    /// Its links, without the loopback.
    pub links: BTreeMap<IfName, ObservedLink>,
    /// Its routes, without those that the kernel sets by itself.
    pub routes: Vec<ObservedRoute>,
    /// Its policy rules, where the topology has, or had, some there; without the kernel's own.
    pub policy: Vec<ObservedRule>,
    /// The values of the sysctls that the topology speaks of; `None` where the kernel has no such key.
    pub sysctls: BTreeMap<String, Option<String>>,
    /// Its translation, if this topology's programs are loaded there.
    pub nat: Option<ObservedNat>,
    /// The topology's rules in netfilter, by who wrote them; only where they were looked for, and there are some.
    pub rules: BTreeMap<Tool, Rules>,
}

/// A link's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedLink {
    /// `ifindex`.
    pub index: u32,
    /// The driver's word: `veth`, `bridge`, ..
    pub kind: String,
    /// Whose it is, by its mark or, if netctl was killed before it wrote that, by its MAC address.
    pub owner: Option<TopologyName>,
    /// Whether it carries an owner's mark.
    pub marked: bool,
    /// Whether it carries an alias at all, a mark or somebody else's words.
    pub has_alias: bool,
    /// What the mark has as its full name.
    pub full_name: Option<String>,
    /// Bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// The bridge that it is plugged into.
    pub master: Option<IfName>,
    /// Of a veth, the other end's index, in that end's place.
    pub peer_index: Option<u32>,
    /// This place's number for the namespace of the other end, if that is another one.
    pub peer_netnsid: Option<i32>,
    /// Of a VLAN, the link that it is of, and its number.
    pub vlan: Option<(IfName, u16)>,
    /// Its addresses in the kernel's order, without those that the kernel gives by itself.
    pub addresses: Vec<IpNet>,
    /// Those of them that the topology gave it.
    pub owned: BTreeSet<IpNet>,
}

/// A route that somebody set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedRoute {
    /// The route, in its canonical form and with its interface.
    pub route: Route,
    /// Whether the topology set it.
    pub owned: bool,
    /// Who set it: `rtm_protocol`.
    pub protocol: u8,
}

impl ObservedRoute {
    /// Whether what the topology set bears netctl's number. That of a netctl of before there was the number does not.
    #[must_use]
    pub const fn is_marked(&self) -> bool {
        !self.owned || self.protocol == RTPROT_NETCTL
    }

    /// Whether somebody set it by hand, and no program that would set it again (`RTPROT_BOOT`, `RTPROT_STATIC`).
    #[must_use]
    pub const fn is_by_hand(&self) -> bool {
        const BOOT: u8 = 3;
        const STATIC: u8 = 4;
        matches!(self.protocol, BOOT | STATIC)
    }
}

/// A policy rule that somebody put in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedRule {
    /// The rule.
    pub rule: Rule,
    /// Whether the topology did.
    pub owned: bool,
    /// Whether any topology did.
    pub by_netctl: bool,
}

/// A gateway's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedNat {
    /// The build of the programs that this binary has for the gateway.
    pub own: Build,
    /// Whether that one is loaded.
    pub is_loaded: bool,
    /// Another one that is, if possible one that runs.
    pub other: Option<Build>,
    /// Whether a command was killed while it changed rules.
    pub is_half_changed: bool,
    /// Interfaces at which programs run, of whatever build.
    pub attached: BTreeSet<(IfName, Side)>,
    /// Whether the gateway's own processes reach forwarded ports.
    pub local: bool,
    /// How many flows its table takes; `None` while it has no maps of this ABI version.
    pub max_flows: Option<u32>,
    /// How long flows live.
    pub timeouts: Timeouts,
    /// Where packets go straight.
    pub shortcut: Shortcut,
    /// The rules in force.
    pub masquerades: Vec<Masquerade>,
    /// The rules in force.
    pub forwards: Vec<Forward>,
}

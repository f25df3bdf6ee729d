//! The tables of the file and their keys. The comments here are the descriptions of the schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Duration, Shortcut, Table,
    de::named,
    ser::{self, is_default},
};

/// A topology: namespaces, the bridges, cables and other links between them, routes and address translation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Spec {
    /// Where editors find this schema; netctl does not look at it.
    #[serde(rename = "$schema")]
    pub schema: Option<String>,
    /// The topology's name; the file's stem when left out.
    pub name: Option<String>,
    /// Network namespaces by name, as `ip netns add NAME` makes them.
    #[serde(
        default,
        deserialize_with = "named",
        serialize_with = "ser::named",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "BTreeMap<String, Namespace>")]
    pub namespaces: Vec<(String, Namespace)>,
    /// Bridges by name, with the namespaces plugged into each.
    #[serde(
        default,
        deserialize_with = "named",
        serialize_with = "ser::named",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "BTreeMap<String, Bridge>")]
    pub bridges: Vec<(String, Bridge)>,
    /// Cables (veth pairs) between two places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cables: Vec<Cable>,
    /// Other links: dummies and VLANs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Routes beside the default routes that ports bring.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Policy rules: which routing table decides about which packets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Address translation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nat: Nat,
}

/// A network namespace, or several alike.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Namespace {
    /// Makes so many of them: NAME-0, NAME-1, … A port called NAME plugs all of them in.
    #[schemars(range(min = 1, max = 100_000))]
    pub count: Option<i64>,
    /// Whether it forwards packets between its links. When left out: if it translates addresses or is another's next
    /// hop.
    pub forwarding: Option<bool>,
    /// `net.*` sysctls, in dotted form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
}

/// A Linux bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Bridge {
    /// Where it lives; `host` when left out.
    pub namespace: Option<String>,
    /// The bridge's own addresses, ADDRESS/PREFIX.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Bytes, for the bridge and both ends of its ports; the kernel's 1500 when left out.
    #[schemars(range(min = 68, max = 65535))]
    pub mtu: Option<i64>,
    /// The namespaces plugged into it, by name.
    #[serde(
        default,
        deserialize_with = "named",
        serialize_with = "ser::named",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "BTreeMap<String, Port>")]
    pub ports: Vec<(String, Port)>,
}

/// A namespace plugged into a bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub struct Port {
    /// The addresses of the namespace's end, ADDRESS/PREFIX; `[]` for none. When left out: the next free one of each
    /// of the bridge's subnets.
    pub addresses: Option<Vec<String>>,
    /// The name of the namespace's end; the next free of eth0, eth1, … when left out.
    pub interface: Option<String>,
    /// The name of the bridge's end; veth-NAMESPACE-br, shortened if need be, when left out.
    pub port: Option<String>,
    /// Bytes, for both ends; the bridge's when left out.
    #[schemars(range(min = 68, max = 65535))]
    pub mtu: Option<i64>,
    /// Whether the namespace's default route goes through the bridge's address. When left out: yes, but not on the
    /// host.
    pub default_route: Option<bool>,
}

/// A cable (veth pair).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Cable {
    /// One end.
    pub a: End,
    /// The other end.
    pub b: End,
}

/// One end of a cable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct End {
    /// Where it lives; may be `host`.
    pub namespace: String,
    /// Its interface name, at most 15 bytes.
    pub interface: String,
    /// Its addresses, ADDRESS/PREFIX.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Bytes; the kernel's 1500 when left out.
    #[schemars(range(min = 68, max = 65535))]
    pub mtu: Option<i64>,
}

/// A link that is neither a bridge nor a cable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Link {
    /// Where it lives; `host` when left out.
    pub namespace: Option<String>,
    /// Its interface name; shortened if it has more than 15 bytes.
    pub interface: String,
    /// What it is: `dummy` swallows what is sent by it, `vlan` is one VLAN of another interface.
    #[schemars(extend("enum" = ["dummy", "vlan"]))]
    pub kind: String,
    /// Of a VLAN, the interface of the same namespace whose packets have its tag.
    pub parent: Option<String>,
    /// Of a VLAN, its number.
    #[schemars(range(min = 1, max = 4094))]
    pub id: Option<i64>,
    /// Its addresses, ADDRESS/PREFIX.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Bytes; when left out, the kernel's 1500 or a VLAN's parent's.
    #[schemars(range(min = 68, max = 65535))]
    pub mtu: Option<i64>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Route {
    /// Where it is set; may be `host`.
    pub namespace: String,
    /// A network, or `default`.
    pub to: String,
    /// What becomes of packets to it; `unicast`, sent on, when left out.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["unicast", "blackhole", "unreachable", "prohibit"]))]
    pub kind: Option<String>,
    /// The next hop's address. May be left out beside `dev`, for what is a neighbour there itself.
    pub via: Option<String>,
    /// The interface that it leads out of; that of the next hop's subnet when left out. Needed for a link-local next
    /// hop.
    pub dev: Option<String>,
    /// Whether the next hop is a neighbour at `dev` though it is in no subnet there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub onlink: bool,
    /// Of routes to one destination, the lowest wins; 0 when left out, with IPv6 1024.
    #[schemars(range(min = 0, max = 4_294_967_295u32))]
    pub metric: Option<i64>,
    /// The number of the routing table, which a policy rule asks; the main one when left out.
    #[schemars(range(min = 1, max = 4_294_967_295u32))]
    pub table: Option<i64>,
}

/// A policy rule, as `ip rule add` makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Rule {
    /// Where it is set; may be `host`.
    pub namespace: String,
    /// Rules are asked from the lowest on.
    #[schemars(range(min = 1, max = 32765))]
    pub priority: i64,
    /// The network that packets are from; any when left out.
    pub from: Option<String>,
    /// The network that they are for; any when left out.
    pub to: Option<String>,
    /// The interface that they come in by; `lo` for those of this place itself.
    pub iif: Option<String>,
    /// The interface that their socket is bound to.
    pub oif: Option<String>,
    /// Their mark: MARK, or MARK/MASK.
    #[schemars(regex(pattern = r"^(0x[0-9a-fA-F]+|\d+)(/(0x[0-9a-fA-F]+|\d+))?$"))]
    pub fwmark: Option<String>,
    /// Whose packets; the family of `from` and `to` when left out.
    #[schemars(extend("enum" = ["ipv4", "ipv6"]))]
    pub family: Option<String>,
    /// The routing table that decides, by its number or as `main`, `default` or `local`.
    pub table: Option<Table>,
    /// In place of `table`: drops the packets.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["blackhole", "unreachable", "prohibit"]))]
    pub kind: Option<String>,
}

/// Address translation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub struct Nat {
    /// What translates: netctl's own eBPF programs, or netfilter with the same rules, written by iptables or nft. The
    /// programs when left out.
    #[schemars(extend("enum" = ["ebpf", "iptables", "nftables"]))]
    pub backend: Option<String>,
    /// Source NAT of what leaves by an uplink.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masquerade: Vec<Masquerade>,
    /// Destination NAT of what reaches a gateway's port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward: Vec<Forward>,
    /// Where packets of answered connections go straight between the uplink and the veths of the inside, past bridge, routing
    /// and firewall: `"auto"`, where nobody there looks at packets; `"leased"`, also where somebody does, a second at a
    /// time; `false`, nowhere. The first when left out, and of `true`.
    #[schemars(extend("enum" = ["auto", "leased", false, true]))]
    pub shortcut: Option<Shortcut>,
    /// How long flows live after their last packet.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeouts: Timeouts,
    /// How many flows a gateway has at once, at most; 131072 when left out.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub max_flows: Option<i64>,
}

/// How long flows live after their last packet: text such as `2h4m`, or a number of seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub struct Timeouts {
    /// TCP, acknowledged by both sides and not closed; 2h4m when left out.
    pub tcp_established: Option<Duration>,
    /// TCP, until the answer to the SYN is acknowledged; 4m when left out.
    pub tcp_opening: Option<Duration>,
    /// TCP, closed by both sides or reset; 4m when left out.
    pub tcp_closing: Option<Duration>,
    /// UDP, answered; 5m when left out.
    pub udp: Option<Duration>,
    /// UDP, not answered; 2m when left out.
    pub udp_unanswered: Option<Duration>,
    /// ICMP echo; 1m when left out.
    pub icmp: Option<Duration>,
    /// Protocols without ports; 10m when left out.
    pub other: Option<Duration>,
}

/// Source NAT, as `iptables -t nat -A POSTROUTING -s SOURCE -o OUT -j MASQUERADE` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Masquerade {
    /// The gateway; may be `host`.
    pub namespace: String,
    /// The inside network; when left out, everyone whose packets are sent on out of `out`, of each family that the
    /// gateway's other interfaces have addresses of.
    pub source: Option<String>,
    /// The uplink; every interface but the one that `source` lives behind when left out. Needed on the host.
    pub out: Option<String>,
    /// The outside address to take; the one that routing chooses when left out.
    pub address: Option<String>,
    /// The ports to choose from, FIRST-LAST; the packet's own, else any free one when left out.
    pub ports: Option<String>,
    /// Lets in what comes from outside straight to an inside address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub routed: bool,
    /// What the outside port of an inside address and port depends on: whom it talks to, or nothing, so that it has one
    /// whomever it talks to (RFC 4787). The former when left out.
    #[schemars(extend("enum" = ["address-and-port-dependent", "endpoint-independent"]))]
    pub mapping: Option<String>,
    /// With `mapping = "endpoint-independent"`, who outside may send to a mapping: those addresses and ports that it
    /// has sent to, those addresses, or everyone. The first when left out.
    #[schemars(extend("enum" = ["address-and-port-dependent", "address-dependent", "endpoint-independent"]))]
    pub filtering: Option<String>,
}

/// Destination NAT, as `iptables -t nat -A PREROUTING … -j DNAT` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Forward {
    /// The gateway; may be `host`.
    pub namespace: String,
    /// `[ADDRESS:]PORT[-PORT][/tcp|udp|tcp+udp]`; without an address on every local one, without a protocol tcp.
    pub listen: String,
    /// `ADDRESS[:PORT]`; a range of ports maps onto as long a range.
    pub to: String,
    /// The networks of those who may use it; everyone when left out.
    #[schemars(length(min = 1))]
    pub allow: Option<Vec<String>>,
}

//! What others do: a daemon, a DHCP client, an administrator, beside netctl's links and on them.

use super::{
    Class,
    file::{File, Place},
};
use crate::{lab::HOST, random::Random};

/// What all hosts of these tests have from the start: another's uplink, and a namespace behind it.
pub(super) const BASE: &str = "
ip netns add theirs
ip link add up0 type veth peer name r0 netns theirs
ip -n theirs link set r0 up
ip link set up0 up
ip address add 198.51.100.7/24 brd + dev up0 valid_lft 86400 preferred_lft 43200
ip address add 198.51.100.8/24 dev up0
ip route add default via 198.51.100.1 dev up0 proto dhcp metric 100
ip route add default via 198.51.100.2 dev up0 metric 600
";

/// One thing that somebody does.
#[derive(Debug, Clone)]
pub(super) struct Doing {
    pub(super) class: Class,
    pub(super) place: Place,
    pub(super) command: String,
    /// What it is done to, if that is netctl's: with that it may go.
    pub(super) on: On,
}

/// What a foreign object hangs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum On {
    /// On nothing of netctl's.
    Theirs,
    Link(Place, String),
    Namespace(Place),
}

/// A doing of this class; none where the file has nothing to do it to.
pub(super) fn draw(random: &mut Random, class: Class, number: usize, file: &File) -> Option<Vec<Doing>> {
    let protocol = random.pick(&["99", "bird", "dhcp", "static", "boot"]);
    let routing = random.pick(&["99", "bird", "dhcp", "zebra"]);
    let by_hand = random.pick(&["static", "boot"]);
    let theirs = |command: String| Doing { class, place: HOST.to_owned(), command, on: On::Theirs };
    let links = file.links();
    let link = (!links.is_empty()).then(|| random.pick(&links));
    let on_link = |command: String| {
        let (place, name) = link.clone()?;
        let command = command.replace("LINK", &name);
        Some(vec![Doing { class, place: place.clone(), command, on: On::Link(place, name) }])
    };
    let namespaces = file.namespaces();
    let namespace = (!namespaces.is_empty()).then(|| random.pick(&namespaces));
    let inside = |command: String| {
        let place = namespace.clone()?;
        Some(vec![Doing { class, place: place.clone(), command, on: On::Namespace(place) }])
    };
    let one = |command: String| Some(vec![theirs(command)]);
    match class {
        Class::HostLease => one(format!(
            "ip address add 100.70.{number}.2/24 dev up0 valid_lft 90000 preferred_lft 90000"
        )),
        Class::HostRoute => one(format!(
            "ip route add 172.31.{number}.0/24 via 198.51.100.1 proto {protocol} metric {number}"
        )),
        Class::HostRule => one(format!("ip rule add from 100.71.{number}.0/24 table 77 priority {}", 2000 + number)),
        Class::HostNeighbour => one(format!(
            "ip neighbour replace 198.51.100.{} lladdr 02:00:00:00:00:{number:02x} nud permanent dev up0", 10 + number
        )),
        Class::HostAlias => one(format!("ip link set up0 alias 'uplink {number}'")),
        Class::HostSysctl => one(format!("sysctl -qw net.ipv4.tcp_syn_retries={}", 10 + number % 90)),
        Class::HostLinkSysctl => one(format!("sysctl -qw net.ipv4.conf.up0.arp_ignore={}", 1 + number % 2)),
        Class::HostLinkForwarding => one("sysctl -qw net.ipv4.conf.up0.forwarding=1".to_owned()),
        Class::HostFirewall => one(format!(
            "nft add table inet f{number}; nft add chain inet f{number} c; nft add rule inet f{number} c accept"
        )),
        Class::HostIptables => one(format!("iptables-legacy -A INPUT -p tcp --dport {} -j ACCEPT", 3000 + number)),
        Class::HostLink => one(format!("ip link add f{number} type bridge; ip link set f{number} up")),
        Class::HostQdisc => one(format!("tc qdisc replace dev up0 root tbf rate {}mbit burst 64k latency 50ms", 10 + number)),
        Class::HostNamespace => one(format!("ip netns add fn{number}")),
        Class::Lease => on_link(format!("ip address add 100.80.{number}.2/24 dev LINK valid_lft 90000 preferred_lft 90000")),
        Class::Address => on_link(format!("ip address add 100.81.{number}.2/24 dev LINK")),
        Class::Lease6 => on_link(format!("ip address add 2001:db8:80:{number}::2/64 dev LINK nodad valid_lft 90000 preferred_lft 90000")),
        Class::Address6 => on_link(format!("ip address add 2001:db8:81:{number}::2/64 dev LINK nodad")),
        Class::DaemonRoute => on_link(format!("ip route add 172.30.{number}.0/24 dev LINK proto {routing} metric {number}")),
        Class::DaemonDefault => on_link(format!("ip route add default dev LINK proto {routing} metric {}", 500 + number)),
        Class::RouteByHand => on_link(format!("ip route add 172.29.{number}.0/24 dev LINK proto {by_hand}")),
        Class::RouteByHandVia => on_link(format!("ip route add 172.28.{number}.0/24 via 100.99.0.1 dev LINK onlink proto {by_hand}")),
        Class::DaemonRoute6 => on_link(format!("ip route add 2001:db8:82:{number}::/64 dev LINK proto {routing}")),
        Class::Neighbour => on_link(format!("ip neighbour add 100.99.1.{number} lladdr 02:00:00:00:00:{number:02x} dev LINK")),
        Class::Qdisc => on_link(format!("tc qdisc replace dev LINK root tbf rate {}mbit burst 64k latency 50ms", 10 + number)),
        Class::Filter => on_link("tc qdisc add dev LINK clsact; tc filter add dev LINK ingress prio 9 protocol ip u32 match ip dport 9 0xffff classid 1:1".to_owned()),
        Class::Alias => on_link(format!("ip link set LINK alias 'mine {number}'")),
        Class::QueueLength => on_link(format!("ip link set LINK txqueuelen {}", 2000 + number)),
        Class::LinkSysctl => on_link("sysctl -qw net.ipv4.conf.LINK.arp_announce=2 net.ipv6.conf.LINK.accept_ra=0".to_owned()),
        Class::NeighbourSysctl => on_link(format!("sysctl -qw net.ipv4.neigh.LINK.gc_stale_time={}", 61 + number)),
        Class::Enslaved => {
            let bridges = file.bridges();
            let (place, bridge) = (!bridges.is_empty()).then(|| random.pick(&bridges))?;
            let on = if place == HOST { On::Theirs } else { On::Namespace(place.clone()) };
            let add = format!("ip link add x{number} type veth peer name y{number}; ip link set x{number} up");
            let enslave = format!("ip link set x{number} master {bridge}");
            Some(vec![
                Doing { class, place: place.clone(), command: add, on },
                Doing { class, place: place.clone(), command: enslave, on: On::Link(place, bridge) },
            ])
        }
        Class::LinkInside => inside(format!("ip link add z{number} type bridge; ip link set z{number} up; ip address add 100.90.{number}.1/24 dev z{number}")),
        Class::RuleInside => inside(format!("ip rule add from 100.91.{number}.0/24 table 77 priority {}", 2000 + number)),
        Class::FirewallInside => inside(format!("nft add table inet f{number}; nft add chain inet f{number} c; nft add rule inet f{number} c accept")),
        Class::SysctlInside => inside(format!("sysctl -qw net.ipv4.tcp_syn_retries={}", 10 + number % 90)),
        Class::BlackholeInside => inside(format!("ip route add blackhole 172.27.{number}.0/24 proto {protocol}")),
    }
}

//! A host that others administer, too: one of every kind of object that netctl has to leave alone.

use super::Lab;

/// Another's uplink with a lease, a daemon's and an administrator's routes, rules, neighbours, links, shapers, filters,
/// firewall rules, sysctls and namespaces.
const OBJECTS: &str = "
ip netns add theirs
ip netns add others
ip -n theirs link set lo up alias 'not netctl'
ip -n theirs link add d0 type bridge
ip -n theirs link set d0 up
ip -n theirs address add 172.31.0.1/24 dev d0
ip -n theirs route add 172.30.0.0/16 via 172.31.0.2 proto static
ip netns exec theirs sysctl -qw net.ipv4.ip_forward=1

ip link add up0 type veth peer name r0 netns theirs
ip -n theirs link set r0 up
ip link set up0 up txqueuelen 77
ip address add 198.51.100.7/24 brd + dev up0 valid_lft 86400 preferred_lft 43200
ip address add 198.51.100.8/24 dev up0 label up0:web
ip address add 2001:db8:99::7/64 dev up0 nodad valid_lft 86400 preferred_lft 43200
ip address add 198.51.100.40 peer 198.51.100.41/32 dev up0 scope link

ip route add default via 198.51.100.1 dev up0 proto dhcp metric 100 src 198.51.100.7
ip route add default via 198.51.100.2 dev up0 metric 600
ip route add 172.20.0.0/16 via 198.51.100.1 proto 99
ip route add 172.21.0.0/16 proto bird metric 32 nexthop via 198.51.100.1 weight 1 nexthop via 198.51.100.3 weight 2
ip route add 172.22.0.0/24 dev up0 scope link metric 50 mtu 1400
ip route add blackhole 172.23.0.0/16 table 77
ip -6 route add default via 2001:db8:99::1 dev up0 proto ra metric 1024
ip -6 route add 2001:db8:77::/48 via 2001:db8:99::1 proto 99
ip nexthop add id 42 via 198.51.100.1 dev up0 protocol 99
ip route add 172.24.0.0/16 nhid 42 proto 99

ip rule add from 198.51.100.7 table 77 priority 1000
ip rule add fwmark 0x10/0xff table 77 priority 1001 protocol 99
ip -6 rule add from 2001:db8:99::/64 table 77 priority 1000
ip neighbour add 198.51.100.9 lladdr 02:00:00:00:00:09 nud permanent dev up0
ip -6 neighbour add 2001:db8:99::9 lladdr 02:00:00:00:00:09 nud permanent dev up0
ip neighbour add proxy 198.51.100.10 dev up0

ip link add shop0 type veth peer name shop1 netns others
ip link set shop0 alias 'the shop' mtu 1400
ip link add thbr0 type bridge ageing_time 10000
ip link add thport type veth peer name thinside
ip link set thport master thbr0
ip address add 172.25.0.1/24 dev thbr0
bridge fdb add 02:00:00:00:00:0a dev thport master static
ip link set dev thbr0 up
ip link set dev thport up
ip link set dev thinside up

tc qdisc add dev up0 root tbf rate 20mbit burst 32k latency 50ms
tc qdisc add dev shop0 root handle 1: htb default 1
tc class add dev shop0 parent 1: classid 1:1 htb rate 10mbit
tc filter add dev shop0 parent 1: protocol ip prio 7 u32 match ip dport 80 0xffff flowid 1:1
tc qdisc add dev up0 clsact
tc filter add dev up0 ingress protocol ip prio 9 u32 match ip dport 9999 0xffff classid 1:1

nft add table inet theirs
nft add chain inet theirs input '{ type filter hook input priority 5; }'
nft add rule inet theirs input tcp dport 2222 counter accept
nft add set inet theirs bad '{ type ipv4_addr; elements = { 192.0.2.66 }; }'
iptables-legacy -A INPUT -p tcp --dport 2223 -j ACCEPT
ip6tables-legacy -A INPUT -p tcp --dport 2223 -j ACCEPT
iptables-nft -A INPUT -p tcp --dport 2224 -j ACCEPT

sysctl -qw net.ipv4.conf.up0.rp_filter=2
sysctl -qw net.ipv4.neigh.up0.gc_stale_time=61
sysctl -qw net.ipv4.conf.shop0.forwarding=1
sysctl -qw net.ipv6.conf.shop0.accept_ra=0
sysctl -qw net.ipv4.ip_local_reserved_ports=8080-8081
sysctl -qw net.ipv4.tcp_keepalive_time=7000
";

/// A namespace of another kind among those of the network.
const OTHER_KIND: &str = "touch /run/netns/uts && mount --bind /proc/self/ns/uts /run/netns/uts";

impl Lab {
    /// A machine on which others have one of every kind of object: the uplink is `up0`, its next hop 198.51.100.1.
    #[must_use]
    pub fn bystander() -> Self {
        let lab = Self::new();
        lab.host().run("sh", ["-e", "-c", OBJECTS]).success();
        lab.settle();
        lab
    }

    /// Puts a namespace that is none of the network where those are kept.
    pub fn bind_another_kind_of_namespace(&self) {
        self.host().run("sh", ["-e", "-c", OTHER_KIND]).success();
    }
}

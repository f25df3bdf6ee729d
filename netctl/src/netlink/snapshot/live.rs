//! Against the kernel: what a link had, and what it has after all of it was lost and made again.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::errno::Errno;

use super::*;
use crate::{
    netlink::{Refusal, link},
    netns::tests::isolated,
};

/// Runs `ip` with these words; what it says.
fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A link that is up and has a carrier, with a MAC address and an index of its own.
fn make(name: &str, index: u32) {
    let far = format!("far-{name}");
    ip(&format!("link add {name} index {index} address 02:00:00:00:00:0{} type veth peer {far}", &name[2..]));
    ip(&format!("link set {far} addrgenmode none up"));
    ip(&format!("link set {name} up"));
}

/// Waits until `br0` has its link-local address and the kernel has done with duplicate address detection.
fn settle() {
    let deadline = Instant::now() + Duration::from_secs(20);
    let addresses = || ip("-6 -o addr show");
    let has_settled = |all: &str| all.contains("fe80::ff:fe00:0/") && !all.contains("tentative");
    while !has_settled(&addresses()) {
        assert!(Instant::now() < deadline, "addresses stay tentative");
        thread::sleep(Duration::from_millis(20));
    }
}

/// One object of `ip -j`, without what changes with the time and with the link's number.
fn steady(mut object: serde_json::Value) -> String {
    let fields = object.as_object_mut().unwrap();
    fields.remove("ifindex");
    for lifetime in ["valid_life_time", "preferred_life_time", "expires"] {
        if let Some(seconds) = fields.get(lifetime).and_then(serde_json::Value::as_u64) {
            let tens = if seconds == u64::from(u32::MAX) { seconds } else { seconds.div_ceil(10) };
            fields.insert(lifetime.to_owned(), tens.into());
        }
    }
    object.to_string()
}

/// All that the kernel has of addresses, routes and neighbours: one line an object.
fn all() -> Vec<String> {
    let mut lines = Vec::new();
    for words in
        ["-4 route show table all", "-6 route show table all", "neigh show nud all", "neigh show proxy"]
    {
        let text = ip(&format!("-d -j {words}"));
        let objects: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap_or_default();
        // Neighbours that are groups come and go.
        let is_group = |its: &serde_json::Value| {
            let to = its["dst"].as_str().unwrap_or_default();
            ["ff02:", "224.0.0."].iter().any(|group| to.starts_with(group))
        };
        lines.extend(objects.into_iter().filter(|its| !is_group(its)).map(steady));
    }
    let links: Vec<serde_json::Value> = serde_json::from_str(&ip("-d -j addr show")).unwrap();
    for link in links {
        let addresses = link["addr_info"].as_array().unwrap().iter();
        lines.extend(addresses.map(|its| format!("{} {}", link["ifname"], steady(its.clone()))));
    }
    lines
}

const ADDRESSES: &[&str] = &[
    "10.0.0.1/24 brd 10.0.0.255 dev br0",
    "10.0.0.9/24 dev br0 label br0:nine",
    "10.0.1.1/24 dev br0 noprefixroute metric 77",
    "10.0.2.1 peer 10.0.2.2/32 dev br0",
    "10.0.3.1/24 dev br0 scope link valid_lft 3600 preferred_lft 1800",
    "10.0.4.1/24 dev br0 valid_lft 3600 preferred_lft 0",
    "10.1.0.1/24 dev br1",
    "fd00::1/64 dev br0",
    "fd00::9/64 dev br0 nodad",
    "fd00:1::1/64 dev br0 noprefixroute metric 77",
    "fd00:2::1 peer fd00:2::2/128 dev br0",
    "fd00:3::1/64 dev br0 valid_lft 3600 preferred_lft 1800",
    "fd00:4::1/64 dev br0 preferred_lft 0 home",
    "fd00:5::1/64 dev br0 mngtmpaddr",
    "fe80::99/64 dev br0",
    "fd01::1/64 dev br1",
];

const ROUTES: &[&str] = &[
    "10.10.0.0/16 via 10.0.0.2 proto 99 metric 5",
    "10.10.0.0/16 via 10.0.0.3 proto static metric 6 mtu lock 1400 advmss 1300 initcwnd 20",
    "10.11.0.0/16 dev br0 scope link src 10.0.0.9",
    "10.12.0.0/16 via 10.11.0.2 dev br0 table 1000",
    "10.13.0.0/16 via 203.0.113.1 dev br0 onlink",
    "10.14.0.0/16 via inet6 fd00::2 dev br0",
    "10.15.0.0/16 tos 0x10 via 10.0.0.2",
    "10.16.0.0/16 nexthop via 10.0.0.2 dev br0 weight 3 nexthop via 10.1.0.2 dev br1",
    "10.17.0.0/16 nexthop via 203.0.113.1 dev br0 onlink nexthop via inet6 fd00::2 dev br0",
    "10.18.0.0/16 via 10.1.0.2 dev br1 src 10.0.0.1",
    "10.19.0.0/24 dev br0 proto kernel scope link table 100",
    "default via 10.0.0.254 proto dhcp src 10.0.0.1 metric 100",
    "fd10::/64 via fd00::2 proto 99 metric 5",
    "fd11::/64 dev br0 src fd00::1",
    "fd12::/64 via fd00::2 dev br0 expires 600 proto ra",
    "fd13::/64 from fd00:3::/64 via fd00::2 dev br0",
    "fd14::/64 nexthop via fd00::2 dev br0 weight 2 nexthop via fd01::2 dev br1",
    "fd17::/64 via fd01::2 dev br1 src fd00::1",
    "fd15::/64 via 2001:db8::1 dev br0 onlink mtu 1300",
    "fd16::/64 via fe80::2 dev br0 pref high table 1000",
    "default via fe80::1 dev br0 metric 1024 hoplimit 64",
];

const NEIGHBOURS: &[&str] = &[
    "10.0.0.7 lladdr 02:00:00:00:00:07 dev br0 nud permanent",
    "fd00::7 lladdr 02:00:00:00:00:07 dev br0 nud permanent router",
    "10.0.0.8 lladdr 02:00:00:00:00:08 dev br0 nud noarp",
    "10.0.0.6 lladdr 02:00:00:00:00:06 dev br0 nud stale protocol 99",
    "fd00::6 lladdr 02:00:00:00:00:06 dev br0 nud stale extern_learn",
    "proxy 10.0.0.5 dev br0",
    "proxy fd00::5 dev br0",
];

/// Fills the lab and keeps what `br0` has: its addresses, its neighbours and the routes by it.
fn fill(socket: &mut Socket) -> Vec<Kept> {
    ip("link set lo up");
    make("br0", 5);
    make("br1", 6);
    ADDRESSES.iter().for_each(|words| drop(ip(&format!("addr add {words}"))));
    settle();
    for words in ROUTES {
        let family = if words.contains(':') && !words.contains("inet6") { "-6" } else { "-4" };
        ip(&format!("{family} route add {words}"));
    }
    ip("route append 10.11.0.0/16 via 10.0.0.2");
    NEIGHBOURS.iter().for_each(|words| drop(ip(&format!("neigh add {words}"))));
    let mut kept = addresses_of(socket, &[5].into()).unwrap();
    kept.extend(neighbours_of(socket, &[5].into()).unwrap());
    kept.extend(routes_by(socket, &[5].into(), |_| false).unwrap());
    kept
}

fn restore(socket: &mut Socket, kept: &[Kept], now: u32) {
    let index = |index| if index == 5 { now } else { index };
    for its in kept {
        let requests = its.requests(index);
        assert!(!requests.is_empty());
        for answer in socket.execute(requests).unwrap() {
            let is_there = |refusal: &Refusal| refusal.errno == Errno::EEXIST && its.indices().len() > 1;
            // A route with next hops by other links may have outlived it.
            assert!(answer.as_ref().is_ok() || answer.as_ref().is_err_and(is_there), "{answer:?}: {its:?}");
        }
    }
}

/// What there is once it no longer changes: the kernel sets an IPv6 address's routes a moment after the address.
fn steadily() -> Vec<String> {
    settle();
    let mut lines = all();
    loop {
        thread::sleep(Duration::from_millis(200));
        let again = all();
        if lines == again {
            return lines;
        }
        lines = again;
    }
}

/// Waits until all is as before.
fn assert_same(before: &[String]) {
    let sorted = |lines: &[String]| {
        let mut lines = lines.to_vec();
        lines.sort();
        lines
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut after = steadily();
    while sorted(before) != sorted(&after) && Instant::now() < deadline {
        after = steadily();
    }
    let missing: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
    let new: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    assert!(missing.is_empty() && new.is_empty(), "missing: {missing:#?}\nnew: {new:#?}");
    assert_eq!(sorted(before), sorted(&after), "as many of each");
    // Of addresses, and of routes to the same place, the first counts.
    let in_order = |lines: &[String]| {
        let counts = |line: &&String| line.starts_with("\"br0\"") || line.contains("10.11.0.0/16");
        lines.iter().filter(counts).cloned().collect::<Vec<_>>()
    };
    assert_eq!(in_order(before), in_order(&after), "in the same order");
}

#[test]
fn what_a_link_had_is_there_again_after_it_was_flushed() {
    isolated(|| {
        let mut socket = Socket::open().unwrap();
        let kept = fill(&mut socket);
        let before = steadily();
        for words in [
            "route flush dev br0 table all",
            "-6 route flush dev br0 table 1000",
            "neigh flush dev br0 nud all",
            "addr flush dev br0 scope global",
            "addr flush dev br0 scope link",
        ] {
            let _ = Command::new("ip").args(words.split_whitespace()).output().unwrap();
        }
        ip("link set br0 down");
        ip("link set br0 up");
        settle();
        for words in ["neigh del proxy 10.0.0.5 dev br0", "neigh del proxy fd00::5 dev br0"] {
            let _ = Command::new("ip").args(words.split_whitespace()).output().unwrap();
        }
        assert_ne!(before, all());
        restore(&mut socket, &kept, 5);
        assert_same(&before);
    });
}

#[test]
fn what_a_link_had_is_there_again_on_one_of_another_index() {
    isolated(|| {
        let mut socket = Socket::open().unwrap();
        let kept = fill(&mut socket);
        let before = steadily();
        assert_eq!(socket.execute(vec![link::delete(5)]).unwrap(), [Ok(())]);
        make("br0", 50);
        settle();
        restore(&mut socket, &kept, 50);
        assert_same(&before);
    });
}

/// What `ip` says of a link, without what is the kernel's.
fn settings(name: &str) -> serde_json::Value {
    let mut all: Vec<serde_json::Value> =
        serde_json::from_str(&ip(&format!("-d -j link show {name}"))).unwrap();
    let link = &mut all[0];
    let fields = link.as_object_mut().unwrap();
    for passing in ["ifindex", "link", "operstate"] {
        fields.remove(passing);
    }
    fields["flags"].as_array_mut().unwrap().retain(|flag| flag != "NO-CARRIER" && flag != "LOWER_UP");
    // Timers, and what ports have agreed on.
    for own in ["info_data", "info_slave_data"] {
        if let Some(data) = fields["linkinfo"].get_mut(own) {
            let data = data.as_object_mut().unwrap();
            data.retain(|name, _| !name.contains("timer") && !name.contains("state") && name != "gc_timer");
        }
    }
    link.clone()
}

#[test]
fn what_was_set_of_a_link_is_set_again() {
    isolated(|| {
        let mut socket = Socket::open().unwrap();
        let make = || {
            ip("link add sw0 index 5 address 02:00:00:00:00:01 type bridge");
            ip(
                "link add w0 index 6 address 02:00:00:00:00:02 type veth peer far-w0 index 7 address 02:00:00:00:00:03",
            );
            ip("link set far-w0 up");
            ip("link set sw0 up");
        };
        make();
        for words in [
            "sw0 address 02:00:00:00:00:11 mtu 1400 txqueuelen 500 group 7 alias switch",
            "sw0 type bridge forward_delay 400 ageing_time 6000 hello_time 300 priority 100 group_fwd_mask 8",
            "w0 master sw0 address 02:00:00:00:00:12 mtu 1300 txqueuelen 400 group 8 alias plug promisc on",
            "w0 type bridge_slave isolated on hairpin on cost 7 priority 9 learning off",
            "w0 up",
            "far-w0 down alias end arp off",
        ] {
            ip(&format!("link set {words}"));
        }
        let all = |()| ["sw0", "w0", "far-w0"].map(settings);
        let before = all(());
        let kept = settings_of(&mut socket, &[5, 6, 7, 99].into()).unwrap();
        assert_eq!(kept.len(), 3);
        assert_eq!(socket.execute(vec![link::delete(5), link::delete(6)]).unwrap(), [Ok(()), Ok(())]);
        make();
        // Whoever restores sees to these.
        ip("link set sw0 address 02:00:00:00:00:11");
        ip("link set w0 address 02:00:00:00:00:12");
        restore(&mut socket, &kept, 5);
        assert_eq!(before, all(()));
    });
}

#[test]
fn what_comes_back_by_itself_is_not_kept() {
    isolated(|| {
        let mut socket = Socket::open().unwrap();
        make("br0", 5);
        settle();
        let kept = |socket: &mut Socket| {
            let all = [
                addresses_of(socket, &[5].into()),
                neighbours_of(socket, &[5].into()),
                routes_by(socket, &[5].into(), |_| false),
            ];
            all.map(|its| its.unwrap().len())
        };
        assert_eq!(kept(&mut socket), [0, 0, 0]);
        ip("addr add 10.0.0.1/24 brd 10.0.0.255 dev br0");
        ip("addr add fd00::1/64 dev br0 nodad");
        assert_eq!(kept(&mut socket), [2, 0, 0], "connected, local and broadcast routes");
    });
}

/// Runs `tc` with these words, `~` for a space in one; what it says, `None` if this kernel cannot do it.
fn tc(words: &str) -> Option<String> {
    let output = Command::new("tc")
        .args(words.split_whitespace().map(|word| word.replace('~', " ")))
        .output()
        .unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// What `tc` says of a link's qdiscs, classes and filters, without whether a link's queues are more than one.
fn control(name: &str) -> Vec<String> {
    let all = [
        format!("-d qdisc show dev {name}"),
        format!("-d class show dev {name}"),
        format!("-d filter show dev {name}"),
        format!("-d filter show dev {name} parent 1:10"),
        format!("-d filter show dev {name} ingress"),
        format!("-d filter show dev {name} egress"),
    ];
    let mut lines: Vec<String> = all
        .iter()
        .flat_map(|words| tc(words).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    // In the order of a hash table, in which the kernel has them.
    lines.sort();
    lines
}

#[test]
fn what_was_set_of_a_links_traffic_control_is_set_again() {
    isolated(|| {
        let mut socket = Socket::open().unwrap();
        make("br0", 5);
        make("br1", 6);
        let untouched = control("br0");
        assert_eq!(control_of(&mut socket, &[5, 6].into()).unwrap(), [], "the kernel's own");
        // Some kernels have none of these qdiscs.
        if tc("qdisc replace dev br0 root handle 1: htb default 20 r2q 5 direct_qlen 77").is_none() {
            println!("skipped: this kernel has no htb");
            return;
        }
        let set = [
            "class add dev br0 parent 1: classid 1:1 htb rate 10mbit burst 15k",
            "class add dev br0 parent 1:1 classid 1:5 htb rate 8mbit ceil 9mbit",
            "class add dev br0 parent 1:5 classid 1:10 htb rate 5mbit ceil 10mbit prio 3 quantum 2000",
            "class add dev br0 parent 1:1 classid 1:20 htb rate 5gbit ceil 50gbit",
            "qdisc add dev br0 parent 1:10 handle 10: tbf rate 1mbit burst 32k latency 50ms peakrate 2mbit mtu 1540",
            "qdisc add dev br0 parent 10:1 handle 100: pfifo limit 33",
            "qdisc add dev br0 parent 1:20 handle 9: bfifo limit 4444",
            "filter add dev br0 parent 1: protocol ip prio 5 u32 match ip dport 80 0xffff flowid 1:20",
            "filter add dev br0 parent 1: protocol ip prio 5 handle 800::5 u32 match ip dport 81 0xffff flowid 1:20",
            "filter add dev br0 parent 1: protocol ip prio 3 handle 2: u32 divisor 16",
            "filter add dev br0 parent 1: protocol ip prio 3 u32 ht 2:3: match ip src 10.0.0.1/32 flowid 1:10",
            "filter add dev br0 parent 1: protocol ip prio 3 u32 match ip dst 10.0.0.0/8 link 2: hashkey mask 0x000000ff at 12",
            "filter add dev br0 parent 1:10 protocol ipv6 prio 1 u32 match ip6 dport 80 0xffff flowid 1:20",
            "qdisc add dev br0 clsact",
            "filter add dev br0 ingress prio 9 protocol ip u32 match ip dport 9 0xffff classid 1:1",
            "filter add dev br0 egress prio 9 protocol ip chain 4 u32 match mark 1 0xff match ip dport 9 0xffff classid 1:1 skip_hw",
            "filter add dev br0 egress prio 8 protocol all bpf bytecode 1,6~0~0~4294967295 flowid 1:1",
            "qdisc add dev br1 root tbf rate 10mbit burst 64k latency 50ms overhead 8",
            "qdisc add dev br1 ingress",
            "filter add dev br1 ingress prio 2 protocol ip u32 match ip dport 9 0xffff action mirred egress redirect dev br0",
            "filter add dev br1 ingress prio 3 protocol ip flower dst_ip 10.0.0.1 ip_proto tcp action drop",
            "filter add dev br1 ingress prio 4 protocol all matchall action pass index 77",
            "filter add dev br1 ingress prio 6 protocol ip basic match meta(priority eq 6) classid 1:1",
        ];
        let done = set.iter().filter(|words| tc(words).is_some());
        assert!(done.count() > 10);
        let all = || ["br0", "br1"].map(control);
        let before = all();
        let kept = control_of(&mut socket, &[5, 6].into()).unwrap();
        assert!(kept.iter().all(|its| kept.iter().filter(|other| its.is(other, |index| index)).count() == 1));
        assert_eq!(socket.execute(vec![link::delete(5), link::delete(6)]).unwrap(), [Ok(()), Ok(())]);
        make("br0", 50);
        make("br1", 60);
        assert_eq!(control("br0"), untouched);
        let now = |index: u32| index * 10;
        for its in &kept {
            let request = its.request(now, None).unwrap();
            assert_eq!(socket.execute(vec![request]).unwrap(), [Ok(())], "{its:?}");
        }
        assert_eq!(before, all());
        let again = control_of(&mut socket, &[50, 60].into()).unwrap();
        assert!(kept.iter().all(|its| again.iter().any(|now_there| now_there.is(its, now))));
        assert_eq!(kept.len(), again.len());
    });
}

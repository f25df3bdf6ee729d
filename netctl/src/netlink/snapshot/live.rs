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
        let kept: Vec<_> = [5, 6, 7].map(|index| settings_of(&mut socket, index).unwrap().unwrap()).into();
        assert_eq!(settings_of(&mut socket, 99).unwrap(), None);
        assert_eq!(socket.execute(vec![link::delete(5), link::delete(6)]).unwrap(), [Ok(()), Ok(())]);
        make();
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

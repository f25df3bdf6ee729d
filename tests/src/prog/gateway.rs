//! Makes the namespace of a [`Nat`] and loads the programs into it.

use std::{fs, os::fd::AsFd as _, panic::resume_unwind, path::Path, thread};

use aya::{
    maps::{HashMap, Map, MapData},
    programs::SchedClassifier,
};
use netctl::{
    model::{IfName, Place},
    nat::ebpf::{
        Pins,
        load::{self, Constants},
        maps::Tables,
    },
    netlink::{Socket, addr, link, route},
    netns::Netns,
};
use netctl_ebpf::ABI_VERSION;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use super::{INSIDE, INSIDE_INDEX, Nat, UPLINK, UPLINK_INDEX};
use crate::{lab::eventually, packet::GATEWAY_MAC};

const PROGRAMS: [&str; 6] =
    ["uplink_egress", "uplink_ingress", "port_ingress", "port_egress", "inside_ingress", "inside_egress"];

const ADDRESSES: [(u32, &str); 4] = [
    (UPLINK_INDEX, "203.0.113.1/24"),
    (UPLINK_INDEX, "2001:db8:113::1/64"),
    (INSIDE_INDEX, "192.168.15.5/24"),
    (INSIDE_INDEX, "fd15::5/64"),
];

/// On a thread with a network and a mount namespace of its own. The mounts end with the thread, and the pins with them;
/// the network namespace, the maps and the programs live in their handles.
pub(super) fn make(max_flows: u32) -> Nat {
    thread::scope(|scope| {
        scope.spawn(|| make_here(max_flows)).join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn make_here(max_flows: u32) -> Nat {
    const NONE: Option<&Path> = None;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("these tests need root");
    mount(NONE, "/", NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE).unwrap();
    let bpffs = Path::new("/sys/fs/bpf");
    mount(Some("bpf"), bpffs, Some("bpf"), MsFlags::empty(), NONE)
        .expect("these tests need a kernel with bpffs");

    make_links();
    for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        fs::write(Path::new("/proc/sys/net").join(key), "1").unwrap();
    }
    let pins = Pins::new(bpffs, &"lab".parse().unwrap(), &Place::Host);
    let build =
        load::load(&pins, Constants::of_this_namespace().unwrap(), max_flows).unwrap_or_else(|error| {
            panic!(
                "{error}: {:?}\nhint: {}",
                error,
                netctl::advice::of(&error).unwrap_or("`cargo xtask test` builds the object".to_owned())
            )
        });

    let maps = bpffs.join(format!("netctl/lab/host/v{ABI_VERSION}/maps"));
    let map = |name: &str| MapData::from_pin(maps.join(name)).unwrap();
    let program = |name| SchedClassifier::from_pin(pins.programs(build).join(name)).unwrap();
    let mut tables = Tables::open(&pins).unwrap();
    tables
        .set_locals(ADDRESSES.map(|(_, address)| address.split('/').next().unwrap().parse().unwrap()))
        .unwrap();
    Nat {
        tables,
        netns: Netns::current().unwrap(),
        flows: HashMap::try_from(Map::HashMap(map("FLOWS"))).unwrap(),
        programs: PROGRAMS.into_iter().map(|name| (name, program(name))).collect(),
        _timed: ["SWEEP", "BINDINGS"].map(map),
    }
}

fn make_links() {
    let here = Netns::current().unwrap();
    let name = |name: &str| -> IfName { name.parse().unwrap() };
    let mut requests = vec![link::set_up(1)];
    for (index, near, far) in [(UPLINK_INDEX, UPLINK, "far-wan0"), (INSIDE_INDEX, INSIDE, "far-v-net-0")] {
        let (near, far) = (name(near), name(far));
        let link = link::NewLink {
            index: Some(index),
            address: Some(GATEWAY_MAC),
            up: true,
            ..link::NewLink::named(&near)
        };
        let peer = link::Peer { name: &far, index: None, mtu: None, address: None, netns: here.as_fd() };
        requests.extend([link::create_veth(&link, &peer), link::set_up(&far)]);
    }
    for (index, address) in ADDRESSES {
        let address = address.parse().unwrap();
        requests.push(addr::add(&addr::NewAddress { no_dad: true, ..addr::NewAddress::of(index, address) }));
    }
    let mut socket = Socket::open().unwrap();
    for answer in socket.execute(requests).unwrap() {
        answer.unwrap();
    }
    // The kernel sets the routes of IPv6 addresses a moment after it has taken these.
    eventually("the gateway's addresses are its own", || {
        let routes = route::dump(&mut socket).unwrap();
        let is_local = |(_, address): &(u32, &str)| {
            let address = address.split('/').next().unwrap().parse().unwrap();
            routes.iter().any(|route| route.is_local(address))
        };
        ADDRESSES.iter().all(is_local)
    });
}

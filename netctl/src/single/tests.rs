use std::time::{Duration, Instant};

use super::{
    link::{Changes, End},
    *,
};
use crate::{
    advice,
    model::{Route, Topology},
    netns::tests::{isolated, name},
    op::NewKind,
    ownership::mark,
    state::Record,
};

fn red() -> Place {
    Place::Netns(name("red"))
}

fn ifname(name: &str) -> IfName {
    name.parse().unwrap()
}

fn end(place: Place, interface: &str) -> End {
    End { place, interface: ifname(interface) }
}

fn listed(place: &Place, interface: &str) -> link::Listed {
    let filter = link::Filter { interface: Some(ifname(interface)), master: None };
    link::ls(place, &filter).unwrap().remove(0)
}

/// Runs `f` on an isolated machine that has the namespace `red`.
fn with_red(f: impl FnOnce(&mut Session<'_>) + Send) {
    isolated(|| {
        let directories = Directories::default();
        let mut session = Session::begin(&directories, false).unwrap();
        ns::add(&mut session, &[name("red")]).unwrap();
        f(&mut session);
    });
}

/// A cable from `v0` on the host to `v1` in `red`.
fn cable(session: &mut Session<'_>) {
    link::add_veth(session, &end(Place::Host, "v0"), &end(red(), "v1")).unwrap();
}

fn set(session: &mut Session<'_>, interface: &str, changes: &Changes) -> Result<Vec<Op>, Error> {
    link::set(session, &Place::Host, &ifname(interface), changes)
}

fn own(session: &mut Session<'_>, interface: &str) {
    let socket = session.places.socket(&Place::Host).unwrap();
    let alias = mark(&"office".parse().unwrap());
    let answers = socket.execute(vec![netlink::link::set_alias(&ifname(interface), &alias)]).unwrap();
    assert_eq!(answers, [Ok(())]);
}

#[test]
fn a_namespace_is_made_with_its_loopback_up_and_is_nobodys() {
    with_red(|session| {
        assert_eq!(listed(&red(), "lo").state, link::State::Up);
        let error = ns::add(session, &[name("blue"), name("red")]).unwrap_err();
        assert_eq!(error.to_string(), "create namespace `red`: it exists already");
        let all = ns::ls().unwrap();
        assert_eq!(all.len(), 1, "all or nothing: {all:?}");
        assert_eq!((all[0].state, &all[0].owner, all[0].processes), (ns::State::Present, &None, 0));
    });
}

#[test]
fn a_stale_file_is_listed_as_such_and_can_be_deleted() {
    with_red(|session| {
        std::fs::File::create("/run/netns/old").unwrap();
        let states: Vec<_> = ns::ls().unwrap().into_iter().map(|its| its.state).collect();
        assert_eq!(states, [ns::State::Stale, ns::State::Present]);
        let error = ns::delete(session, &[name("old"), name("rde")]).unwrap_err();
        assert_eq!(error.to_string(), "open namespace `rde`: there is no such namespace");
        assert_eq!(advice::of(&error).unwrap(), "did you mean `red`?");
        let deleted = ns::delete(session, &[name("old"), name("red")]).unwrap();
        assert!(deleted.iter().all(|gone| gone.processes.is_empty()));
        assert_eq!(ns::ls().unwrap(), []);
    });
}

#[test]
fn a_link_names_its_far_end_wherever_that_is() {
    with_red(|session| {
        cable(session);
        let near = listed(&Place::Host, "v0");
        let peer = near.peer.unwrap();
        assert_eq!((peer.interface.as_deref(), peer.place), (Some("v1"), Some(red())));
        assert_eq!(listed(&red(), "v1").peer.unwrap().place, Some(Place::Host));
        assert_eq!((near.state, near.kind.as_deref()), (link::State::Down, Some("veth")));
        // A namespace without a name: nobody can say where it is.
        let (_alive, _socket) =
            (Netns::open(&name("red")).unwrap(), ns::delete(session, &[name("red")]).unwrap());
        let peer = listed(&Place::Host, "v0").peer.unwrap();
        assert_eq!((peer.interface, peer.place), (None, None));
    });
}

#[test]
fn several_changes_are_made_in_the_order_that_works() {
    with_red(|session| {
        link::add(session, &red(), &ifname("br0"), NewKind::Bridge).unwrap();
        link::add_veth(session, &end(Place::Host, "v0"), &end(Place::Host, "v1")).unwrap();
        let changes = Changes {
            up: Some(true),
            netns: Some(red()),
            master: Some(Some(ifname("br0"))),
            name: Some(ifname("eth0")),
            mtu: Some(1400),
        };
        let ops = set(session, "v1", &changes).unwrap();
        assert_eq!(ops.len(), 4, "{ops:?}");
        let moved = listed(&red(), "eth0");
        assert_eq!((moved.master.as_deref(), moved.mtu), (Some("br0"), 1400));
        assert_ne!(moved.state, link::State::Down);
        let again = Changes { up: Some(true), mtu: Some(1400), ..Changes::default() };
        assert_eq!(link::set(session, &red(), &ifname("eth0"), &again).unwrap(), []);
    });
}

#[test]
fn changes_that_fail_half_way_leave_the_link_as_it_was() {
    with_red(|session| {
        link::add_veth(session, &end(Place::Host, "v0"), &end(Place::Host, "v1")).unwrap();
        for interface in ["v0", "v1"] {
            set(session, interface, &Changes { up: Some(true), ..Changes::default() }).unwrap();
        }
        addr::add(session, &Place::Host, &ifname("v0"), "10.0.0.1/24".parse().unwrap()).unwrap();
        let route = Route::through(Place::Host, "10.9.0.0/16".parse().unwrap(), "10.0.0.2".parse().unwrap());
        route::add(session, &route).unwrap();
        let before = (listed(&Place::Host, "v0"), route::ls(&Place::Host, route::Tables::MAIN).unwrap());
        let changes = Changes {
            netns: Some(red()),
            name: Some(ifname("eth0")),
            mtu: Some(99_999_999),
            ..Changes::default()
        };
        let error = set(session, "v0", &changes).unwrap_err();
        assert!(
            error.to_string().starts_with("set MTU 99999999 of link `eth0` in namespace `red`: "),
            "{error}"
        );
        let v4 = |routes: Vec<route::Listed>| -> Vec<String> {
            routes.into_iter().map(|its| its.to).filter(|to| to.contains('.')).collect()
        };
        assert_eq!(listed(&Place::Host, "v0"), before.0);
        assert_eq!(v4(route::ls(&Place::Host, route::Tables::MAIN).unwrap()), v4(before.1));
    });
}

#[test]
fn names_that_are_taken_or_missing_are_told_before_anything_is_done() {
    with_red(|session| {
        cable(session);
        let error = link::add(session, &red(), &ifname("v1"), NewKind::Bridge).unwrap_err();
        assert_eq!(
            error.to_string(),
            "create bridge `v1` in namespace `red`: there is an interface `v1` already"
        );
        let missing = |session: &mut Session<'_>, interface| {
            let error = link::delete(session, &Place::Host, &ifname(interface)).unwrap_err();
            (error.to_string(), advice::of(&error).unwrap())
        };
        let (text, hint) = missing(session, "v1");
        assert_eq!(text, "delete link `v1` on the host: there is no such interface");
        assert_eq!(hint, "there is one in namespace `red`: say `-n red`");
        assert_eq!(missing(session, "v00").1, "did you mean `v0`?");
        assert_eq!(missing(session, "wlan7").1, "`netctl link ls` lists them");
    });
}

#[test]
fn what_a_topology_owns_is_taken_by_force_only() {
    with_red(|session| {
        cable(session);
        set(session, "v0", &Changes { up: Some(true), ..Changes::default() }).unwrap();
        own(session, "v0");
        for changes in [
            Changes { up: Some(false), ..Changes::default() },
            Changes { name: Some(ifname("v9")), ..Changes::default() },
            Changes { netns: Some(red()), ..Changes::default() },
        ] {
            let error = set(session, "v0", &changes).unwrap_err();
            assert!(error.to_string().ends_with(": it belongs to the topology `office`"), "{error}");
            assert!(advice::of(&error).unwrap().contains("netctl down office"));
        }
        assert!(link::delete(session, &Place::Host, &ifname("v0")).is_err());
        let harmless = Changes { mtu: Some(1400), ..Changes::default() };
        assert_eq!(set(session, "v0", &harmless).unwrap().len(), 1);
        session.force = true;
        link::delete(session, &Place::Host, &ifname("v0")).unwrap();
    });
}

#[test]
fn an_address_or_a_route_that_a_topology_wants_stays() {
    with_red(|session| {
        let text = "[bridges.br0]\naddresses = ['10.0.0.1/24']\n[[routes]]\nnamespace = 'host'\nto = '10.9.0.0/16'\nvia = '10.0.0.2'";
        let topology = Topology::parse(text, "office.toml", "office".parse().unwrap()).unwrap();
        let wanted = topology.routes[0].clone();
        let record = Record::new(topology, None, None);
        session.lock.save(session.directories, &record).unwrap();
        let (host, br0) = (Place::Host, ifname("br0"));
        link::add(session, &host, &br0, NewKind::Bridge).unwrap();
        set(session, "br0", &Changes { up: Some(true), ..Changes::default() }).unwrap();
        let through = Route::through(Place::Host, "0.0.0.0/0".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let route = |to: &str| Route { to: to.parse().unwrap(), via: None, ..through.clone() };
        for address in ["10.0.0.1/24", "10.0.0.9/24"] {
            addr::add(session, &host, &br0, address.parse().unwrap()).unwrap();
        }
        for to in ["10.9.0.0/16", "10.8.0.0/16"] {
            route::add(session, &Route { via: wanted.via, ..route(to) }).unwrap();
        }
        let refused = |error: Error| assert!(matches!(error, Error::Owned { .. }), "{error}");
        refused(addr::delete(session, &host, &br0, "10.0.0.1/24".parse().unwrap()).unwrap_err());
        refused(route::delete(session, &route("10.9.0.0/16"), true).unwrap_err());
        route::delete(session, &route("10.8.0.0/16"), true).unwrap();
        addr::delete(session, &host, &br0, "10.0.0.9/24".parse().unwrap()).unwrap();
        let error = addr::delete(session, &host, &br0, "10.0.0.9/24".parse().unwrap()).unwrap_err();
        assert!(advice::of(&error).unwrap().starts_with("it has 10.0.0.1/24"), "{:?}", advice::of(&error));
        let error = route::delete(session, &route("10.8.0.0/16"), true).unwrap_err();
        assert_eq!(error.to_string(), "delete route 10.8.0.0/16 on the host: there is no such route");
    });
}

#[test]
fn a_bridge_tells_which_addresses_it_has_seen_behind_a_port() {
    with_red(|session| {
        link::add(session, &Place::Host, &ifname("br0"), NewKind::Bridge).unwrap();
        cable(session);
        let up = Changes { up: Some(true), ..Changes::default() };
        set(session, "br0", &up).unwrap();
        set(session, "v0", &Changes { master: Some(Some(ifname("br0"))), ..up.clone() }).unwrap();
        link::set(session, &red(), &ifname("v1"), &up).unwrap();
        let mac = listed(&red(), "v1").mac.unwrap();
        let filter = link::Filter { interface: None, master: Some(ifname("br0")) };
        // What IPv6 sends by itself when a link comes up is enough.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let ports = link::ls(&Place::Host, &filter).unwrap();
            assert_eq!(ports.len(), 1);
            if ports[0].learned == [mac] {
                break;
            }
            assert!(Instant::now() < deadline, "{ports:?}");
            std::thread::yield_now();
        }
    });
}

#[test]
fn sysctls_are_set_all_or_none() {
    with_red(|session| {
        let values = |values: &[(&str, &str)]| -> Vec<_> {
            values.iter().map(|(key, value)| (key.parse().unwrap(), (*value).to_owned())).collect()
        };
        let (forward, range) = ("net.ipv4.ip_forward", "net.ipv4.ip_local_port_range");
        let read = || sysctl::get(&red(), &[forward.parse().unwrap()]).unwrap().remove(0).value;
        let error = sysctl::set(session, &red(), &values(&[(forward, "1"), (range, "wide")])).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("set sysctl `net.ipv4.ip_local_port_range` to `wide` in namespace `red`: "),
            "{error}"
        );
        assert_eq!(read(), "0");
        sysctl::set(session, &red(), &values(&[(forward, "1")])).unwrap();
        assert_eq!(read(), "1");
        let error = sysctl::get(&red(), &["net.ipv4.forward".parse().unwrap()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "read sysctl `net.ipv4.forward` in namespace `red`: the kernel has no such key"
        );
    });
}

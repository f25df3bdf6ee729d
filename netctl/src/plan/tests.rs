//! Plans are tried on a kernel of paper: a simulation that does what the operations say to an [`Observed`].

mod settled;

use std::{collections::BTreeMap, convert::Infallible};

use super::*;
use crate::{
    advice,
    model::{Route, Side, Topology, keys},
    observed::{ObservedLink, ObservedNat, ObservedPlace, ObservedRoute, ObservedRule},
    op::{
        AddressChange, CableEnd, Change, FilterChange, LinkChange, NatChange, NewKind, RouteChange,
        RuleChange,
    },
    ownership::{full_name, owner},
    spec,
};

fn parse(text: &str) -> Topology {
    Topology::parse(text, "office.toml", "office".parse().unwrap()).unwrap()
}

fn quickstart() -> Topology {
    parse(spec::QUICKSTART)
}

fn netns(name: &str) -> Place {
    Place::Netns(name.parse().unwrap())
}

/// An empty machine.
fn machine() -> Observed {
    let places = BTreeMap::from([(Place::Host, ObservedPlace::default())]);
    Observed { places, ..Observed::default() }
}

/// Plans and does it.
fn up(topology: &Topology, observed: &mut Observed) -> Vec<Op> {
    let Ok(()) = observed.pair(topology, |_, _, _| Ok::<_, Infallible>(true));
    let ops = plan(topology, observed).unwrap();
    observed.peers.clear();
    for op in &ops {
        run(op, topology, observed);
    }
    ops
}

fn place<'a>(observed: &'a mut Observed, place: &Place) -> &'a mut ObservedPlace {
    observed.places.get_mut(place).unwrap_or_else(|| panic!("no {place}"))
}

fn link<'a>(observed: &'a mut Observed, at: &Place, interface: &IfName) -> &'a mut ObservedLink {
    place(observed, at).links.get_mut(interface).unwrap_or_else(|| panic!("no {interface} in {at}"))
}

fn add_link(observed: &mut Observed, end: &CableEnd, kind: &str, up: bool) -> u32 {
    let place = place(observed, &end.place);
    let index = place.links.values().map(|link| link.index).max().unwrap_or(1) + 1;
    let link = ObservedLink {
        index,
        kind: kind.to_owned(),
        owner: None,
        marked: false,
        has_alias: false,
        full_name: None,
        mtu: end.mtu.unwrap_or(1500),
        up,
        master: end.master.clone(),
        peer_index: None,
        peer_netnsid: None,
        addresses: Vec::new(),
        owned: BTreeSet::new(),
        vlan: None,
    };
    assert!(place.links.insert(end.interface.clone(), link).is_none(), "{} exists", end.interface);
    index
}

/// What the kernel does for one operation; impossible ones panic.
fn run(op: &Op, topology: &Topology, observed: &mut Observed) {
    let at = &op.place;
    match op.change.clone() {
        Change::Namespace(NamespaceChange::CreateNamespace) => {
            let fresh = ObservedPlace { owner: Some(topology.name.clone()), ..ObservedPlace::default() };
            assert!(observed.places.insert(at.clone(), fresh).is_none());
        }
        Change::Namespace(NamespaceChange::DeleteNamespace) => {
            assert!(observed.places.remove(at).is_some());
        }
        Change::Link(change) => run_link(change, at, observed),
        Change::Address(AddressChange::AddAddress { interface, address, owned }) => {
            let link = link(observed, at, &interface);
            link.addresses.push(address);
            link.owned.extend(owned.then_some(address));
        }
        Change::Address(AddressChange::DeleteAddress { interface, address, first }) => {
            delete_address(observed, at, &interface, &address, first);
        }
        Change::Route(RouteChange::AddRoute { route, owned }) => {
            let routes = &mut place(observed, at).routes;
            let same = |seen: &ObservedRoute| seen.route.key() == route.key();
            assert!(!routes.iter().any(same), "File exists: {route:?}");
            routes.push(ObservedRoute { route, owned, protocol: if owned { 110 } else { 3 } });
        }
        Change::Route(RouteChange::DeleteRoute { route, .. }) => {
            let routes = &mut place(observed, at).routes;
            let index = routes.iter().position(|seen| seen.route == route).expect("No such process");
            routes.remove(index);
        }
        Change::Rule(RuleChange::AddRule { rule, owned }) => {
            place(observed, at).policy.push(ObservedRule { rule, owned, by_netctl: owned });
        }
        Change::Rule(RuleChange::DeleteRule { rule, .. }) => {
            place(observed, at).policy.retain(|seen| seen.rule != rule);
        }
        Change::Route(change @ RouteChange::ReplaceRoute { .. }) => panic!("{}", Op::new(at, change)),
        Change::Neighbour(change) => panic!("{}", Op::new(at, change)),
        Change::Sysctl(SysctlChange { key, value, .. }) => {
            place(observed, at).sysctls.insert(key, Some(value));
        }
        Change::Filter(FilterChange { tool, rules, before }) => {
            let there = &mut place(observed, at).rules;
            assert_eq!(there.remove(&tool).unwrap_or_default(), before);
            if !rules.is_empty() {
                there.insert(tool, rules);
            }
        }
        Change::Nat(change) => run_nat(change, place(observed, at)),
    }
}

fn run_link(change: LinkChange, at: &Place, observed: &mut Observed) {
    match change {
        LinkChange::CreateLink { interface, kind, mtu, up, .. } => {
            let end = CableEnd { mtu, ..CableEnd::named(at.clone(), interface.clone()) };
            let (kind, vlan) = match kind {
                NewKind::Bridge => ("bridge", None),
                NewKind::Dummy => ("dummy", None),
                NewKind::Vlan { parent, id } => ("vlan", Some((parent, id))),
            };
            add_link(observed, &end, kind, up);
            link(observed, at, &interface).vlan = vlan;
        }
        LinkChange::CreateCable { a, b, up } => {
            let (near, far) = (add_link(observed, &a, "veth", up), add_link(observed, &b, "veth", false));
            link(observed, &a.place, &a.interface).peer_index = Some(far);
            link(observed, &b.place, &b.interface).peer_index = Some(near);
        }
        LinkChange::DeleteLink { interface, .. } => delete_link(observed, at, &interface),
        LinkChange::MarkLink { interface, alias, .. } => {
            let link = link(observed, at, &interface);
            (link.owner, link.marked, link.has_alias) = (owner(&alias), true, true);
            link.full_name = full_name(&alias).map(str::to_owned);
        }
        LinkChange::SetUp { interface } => link(observed, at, &interface).up = true,
        LinkChange::SetMaster { interface, master, before } => {
            let link = link(observed, at, &interface);
            assert_eq!(link.master, before);
            link.master = master;
        }
        LinkChange::SetMtu { interface, mtu, before } => {
            let link = link(observed, at, &interface);
            assert_eq!(link.mtu, before);
            link.mtu = mtu;
        }
        LinkChange::SetMac { interface, .. } => drop(link(observed, at, &interface)),
        LinkChange::Rename { interface, name } => {
            let renamed = place(observed, at).links.remove(&interface).expect("No such device");
            assert!(place(observed, at).links.insert(name, renamed).is_none(), "File exists");
        }
        LinkChange::Move { interface, to, name } => move_link(observed, at, &interface, &to, name),
        change @ LinkChange::SetDown { .. } => panic!("{}", Op::new(at, change)),
    }
}

/// It arrives down, with nothing but its mark.
fn move_link(observed: &mut Observed, at: &Place, interface: &IfName, to: &Place, name: IfName) {
    let mut moved = place(observed, at).links.remove(interface).expect("No such device");
    let before = moved.index;
    let there = &mut place(observed, to).links;
    moved.index = there.values().map(|link| link.index).max().unwrap_or(1) + 1;
    (moved.up, moved.master) = (false, None);
    moved.addresses.clear();
    moved.owned.clear();
    let (index, peer) = (moved.index, moved.peer_index);
    assert!(there.insert(name, moved).is_none(), "File exists");
    let is_peer = |link: &&mut ObservedLink| Some(link.index) == peer && link.peer_index == Some(before);
    let links = observed.places.values_mut().flat_map(|there| there.links.values_mut());
    links.filter(is_peer).for_each(|link| link.peer_index = Some(index));
    forget_lost_routes(observed, at);
}

fn run_nat(change: NatChange, place: &mut ObservedPlace) {
    if let NatChange::LoadNat { max_flows, .. } = change {
        let nat = place.nat.get_or_insert_default();
        assert!(!nat.is_loaded);
        (nat.is_loaded, nat.max_flows) = (true, Some(max_flows));
        return;
    }
    if let NatChange::UnloadNat { .. } = change {
        assert!(place.nat.take().is_some());
        return;
    }
    let nat = place.nat.as_mut().expect("the programs are loaded");
    match change {
        NatChange::SetAsideNat { before, .. } => {
            assert_eq!(nat.max_flows.take(), Some(before));
            let other = Some(nat.own.aside());
            *nat = ObservedNat {
                other,
                attached: nat.attached.clone(),
                local: nat.local,
                ..ObservedNat::default()
            };
        }
        NatChange::SetTimeout { timeout, lifetime, .. } => {
            nat.timeouts.insert(timeout, lifetime);
        }
        NatChange::SetShortcut { shortcut, .. } => nat.shortcut = shortcut,
        NatChange::RenewNat { .. } => assert!(nat.is_loaded),
        NatChange::PruneNat { .. } => nat.other = None,
        NatChange::AttachNat { interface, side } => assert!(nat.attached.insert((interface, side))),
        NatChange::DetachNat { interface, side } => assert!(nat.attached.remove(&(interface, side))),
        NatChange::AttachLocal => nat.local = true,
        NatChange::DetachLocal => nat.local = false,
        NatChange::AddMasquerade { rule } => nat.masquerades.push(rule),
        NatChange::RemoveMasquerade { rule } => nat.masquerades.retain(|other| !other.is_same(&rule)),
        NatChange::AddForward { rule } => nat.forwards.push(rule),
        NatChange::RemoveForward { rule } => nat.forwards.retain(|other| *other != rule),
        NatChange::ChangeMasquerades { before, after } => {
            nat.masquerades.retain(|rule| !before.iter().any(|old| old.is_same(rule)));
            nat.masquerades.extend(after);
        }
        NatChange::ChangeForwards { before, after } => {
            nat.forwards.retain(|rule| !before.contains(rule));
            nat.forwards.extend(after);
        }
        NatChange::LoadNat { .. } | NatChange::UnloadNat { .. } => unreachable!("done above"),
        NatChange::RestoreNat => panic!("only undoes"),
    }
}

/// A cable's other end and the routes through both go too; a bridge's ports are free; TCX links end with the device.
fn delete_link(observed: &mut Observed, at: &Place, interface: &IfName) {
    let gone = place(observed, at).links.remove(interface).expect("the link exists");
    let is_far =
        |link: &ObservedLink| gone.peer_index == Some(link.index) && link.peer_index == Some(gone.index);
    for there in observed.places.values_mut() {
        there.links.retain(|_, link| !is_far(link));
    }
    for link in place(observed, at).links.values_mut() {
        link.master.take_if(|master| master == interface);
    }
    let places: Vec<Place> = observed.places.keys().cloned().collect();
    for place in places {
        forget_lost_routes(observed, &place);
        let there = observed.places.get_mut(&place).unwrap();
        if let Some(nat) = &mut there.nat {
            nat.attached.retain(|(interface, _)| there.links.contains_key(interface));
            // The rule still names the index, but that is nobody's.
            for rule in &mut nat.masquerades {
                rule.out.retain(|out| there.links.contains_key(out));
            }
        }
    }
}

/// With the first IPv4 address of a subnet go its others, unless that is said not to be; with the last IPv4 address of a
/// link go its IPv4 routes. An IPv6 route stays.
fn delete_address(observed: &mut Observed, at: &Place, interface: &IfName, address: &IpNet, promotes: bool) {
    let link = link(observed, at, interface);
    let is_v4 = |other: &IpNet| other.addr().is_ipv4();
    let is_beside = |other: &IpNet| is_v4(other) && other.trunc() == address.trunc();
    assert!(link.addresses.contains(address), "Cannot assign requested address: {address}");
    if !promotes && link.addresses.iter().find(|other| is_beside(other)) == Some(address) {
        link.addresses.retain(|other| !is_beside(other));
    }
    link.addresses.retain(|other| other != address);
    let left = link.addresses.clone();
    link.owned.retain(|other| left.contains(other));
    if is_v4(address) && !left.iter().any(is_v4) {
        let is_kept =
            |via: Option<std::net::IpAddr>| via.is_none_or(|via| via.is_ipv6() || !address.contains(&via));
        place(observed, at).routes.retain(|seen| is_kept(seen.route.via));
    }
}

fn forget_lost_routes(observed: &mut Observed, at: &Place) {
    let place = place(observed, at);
    let addresses: Vec<_> = place.links.values().flat_map(|link| link.addresses.clone()).collect();
    let is_reached = |via: std::net::IpAddr| addresses.iter().any(|address| address.contains(&via));
    place.routes.retain(|seen| seen.route.via.is_some_and(is_reached));
}

#[test]
fn what_was_brought_up_needs_nothing_more() {
    let (topology, mut observed) = (quickstart(), machine());
    assert!(!up(&topology, &mut observed).is_empty());
    assert_eq!(plan(&topology, &observed).unwrap(), []);
}

fn is_nat(op: &Op, is: fn(&NatChange) -> bool) -> bool {
    matches!(&op.change, Change::Nat(change) if is(change))
}

#[test]
fn translation_is_in_force_before_anything_is_forwarded() {
    let ops = plan(&quickstart(), &machine()).unwrap();
    let last_nat = ops
        .iter()
        .rposition(|op| {
            is_nat(op, |change| {
                matches!(change, NatChange::AttachNat { .. } | NatChange::AddMasquerade { .. })
            })
        })
        .unwrap();
    let first_forwarding = ops
        .iter()
        .position(|op| matches!(&op.change, Change::Sysctl(change) if matches!(change.key.as_str(), keys::IPV4 | keys::IPV6)))
        .unwrap();
    assert!(last_nat < first_forwarding);
    let first_attach =
        ops.iter().position(|op| is_nat(op, |change| matches!(change, NatChange::AttachNat { .. }))).unwrap();
    let last_rule = ops
        .iter()
        .rposition(|op| is_nat(op, |change| matches!(change, NatChange::AddMasquerade { .. })))
        .unwrap();
    assert!(last_rule < first_attach);
}

/// Two versions of a file, and what may be planned between them.
#[test]
fn a_changed_file_changes_what_differs_and_nothing_else() {
    let base = spec::QUICKSTART;
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (
            "an address",
            "192.168.15.2/24",
            "192.168.15.3/24",
            &[
                "delete route default via 192.168.15.5 in namespace `blue`",
                "add address 192.168.15.3/24 to `eth0` in namespace `blue`",
                "delete address 192.168.15.2/24 of `eth0` in namespace `blue`",
                "replace forward 203.0.113.1:8080/tcp to 192.168.15.2:80 by 203.0.113.1:8080/tcp to 192.168.15.3:80 \
                 in namespace `router`",
                "add route default via 192.168.15.5 in namespace `blue`",
            ],
        ),
        (
            "a forwarded port",
            "203.0.113.1:8080",
            "203.0.113.1:9090",
            &[
                "remove forward 203.0.113.1:8080/tcp to 192.168.15.2:80 in namespace `router`",
                "add forward 203.0.113.1:9090/tcp to 192.168.15.2:80 in namespace `router`",
            ],
        ),
    ];
    for (what, old, new, expected) in cases {
        let mut observed = machine();
        up(&parse(base), &mut observed);
        let text = base.replace(old, new).replace("192.168.15.2:80", &new_target(new));
        let changed = parse(&text);
        let ops: Vec<String> = up(&changed, &mut observed).iter().map(ToString::to_string).collect();
        assert_eq!(ops, *expected, "{what}");
        assert_eq!(plan(&changed, &observed).unwrap(), [], "{what}: not settled");
    }
}

#[test]
fn another_backend_is_in_force_before_the_one_before_ends_and_undone_it_is_there_again() {
    let by = |backend: &str| parse(&format!("{}\n[nat]\nbackend = '{backend}'\n", spec::QUICKSTART));
    let words = ["ebpf", "iptables", "nftables"];
    for (from, to) in
        words.iter().flat_map(|from| words.map(|to| (from, to))).filter(|(from, to)| *from != to)
    {
        let mut observed = machine();
        up(&by(from), &mut observed);
        let before = observed.clone();
        let ops = up(&by(to), &mut observed);
        assert_eq!(plan(&by(to), &observed).unwrap(), [], "{from} to {to}");
        let begins = |op: &Op| match &op.change {
            Change::Filter(change) => !change.rules.is_empty(),
            Change::Nat(change) => matches!(
                change,
                NatChange::LoadNat { .. } | NatChange::AddForward { .. } | NatChange::AttachNat { .. }
            ),
            _ => false,
        };
        let ends = |op: &Op| {
            let is_either = matches!(op.change, Change::Nat(NatChange::UnloadNat { .. }) | Change::Filter(_));
            is_either && !begins(op)
        };
        let (last, first) = (ops.iter().rposition(begins).unwrap(), ops.iter().position(ends).unwrap());
        assert!(last < first, "{from} to {to}: {ops:#?}");
        for op in ops.iter().rev().flat_map(Op::inverse) {
            run(&op, &by(from), &mut observed);
        }
        let translation = |observed: &Observed| {
            let there = observed.places.values();
            there.map(|there| (there.nat.clone(), there.rules.clone())).collect::<Vec<_>>()
        };
        assert_eq!(translation(&observed), translation(&before), "{from} to {to}");
    }
}

/// The forward follows where its server went.
fn new_target(new: &str) -> String {
    let address = new.strip_suffix("/24").unwrap_or("192.168.15.2");
    format!("{address}:80")
}

#[test]
fn a_smaller_file_removes_the_rest_and_ends_where_a_fresh_one_would() {
    let small = parse(
        "name = \"quickstart\"\n[namespaces.red]\n[namespaces.blue]\n[bridges.br0]\nnamespace = \"blue\"\n",
    );
    let (mut changed, mut fresh) = (machine(), machine());
    up(&quickstart(), &mut changed);
    up(&small, &mut changed);
    up(&small, &mut fresh);
    for observed in [&mut changed, &mut fresh] {
        // Left as they were set: namespaces that stay keep sysctls that are no longer spoken of.
        observed.places.values_mut().for_each(|place| place.sysctls.clear());
        observed
            .places
            .values_mut()
            .flat_map(|place| place.links.values_mut())
            .for_each(|link| link.index = 0);
    }
    assert_eq!(changed, fresh);
}

#[test]
fn a_cable_whose_other_end_is_another_one_is_made_again() {
    let (topology, mut observed) = (quickstart(), machine());
    up(&topology, &mut observed);
    link(&mut observed, &netns("red"), &"eth0".parse().unwrap()).peer_index = Some(99);
    let ops = up(&topology, &mut observed);
    assert!(ops.iter().any(|op| matches!(op.change, Change::Link(LinkChange::CreateCable { .. }))));
    assert!(ops.iter().all(|op| op.place != netns("internet")), "what is sound stays: {ops:#?}");
    assert_eq!(plan(&topology, &observed).unwrap(), []);
}

#[test]
fn an_uplink_made_again_gets_its_programs_and_its_rules_index_anew() {
    let (topology, mut observed) = (quickstart(), machine());
    up(&topology, &mut observed);
    delete_link(&mut observed, &netns("router"), &"wan0".parse().unwrap());
    let ops = up(&topology, &mut observed);
    let count = |wanted: fn(&Op) -> bool| ops.iter().filter(|op| wanted(op)).count();
    assert_eq!(
        count(|op| is_nat(op, |change| matches!(change, NatChange::AttachNat { side: Side::Uplink, .. }))),
        1
    );
    assert_eq!(count(|op| is_nat(op, |change| matches!(change, NatChange::RemoveMasquerade { .. }))), 2);
    assert_eq!(count(|op| is_nat(op, |change| matches!(change, NatChange::AddMasquerade { .. }))), 2);
    assert_eq!(plan(&topology, &observed).unwrap(), []);
}

/// A hairpin takes somebody behind an outside address: a forward, or an endpoint-independent mapping.
#[test]
fn programs_run_at_the_insides_only_where_there_may_be_hairpins() {
    let masquerade = spec::QUICKSTART.split("[[nat.forward]]").next().unwrap();
    let mapped = format!("{masquerade}mapping = \"endpoint-independent\"\n");
    let has_insides = |observed: &Observed| {
        let nat = observed.places[&netns("router")].nat.as_ref().unwrap();
        nat.attached.iter().any(|(_, side)| *side == Side::Inside)
    };
    let mut observed = machine();
    for (file, wanted) in [
        (masquerade, false),
        (spec::QUICKSTART, true),
        (masquerade, false),
        (&mapped, true),
        (masquerade, false),
    ] {
        up(&parse(file), &mut observed);
        assert_eq!(has_insides(&observed), wanted, "{file}");
    }
}

#[test]
fn addresses_and_the_routes_through_them_are_changed_in_place() {
    let topology = |addresses: &str| {
        let addresses = addresses.replace(' ', "', '");
        parse(&format!(
            "[namespaces.red]\n[namespaces.blue]\n[[cables]]\na = {{ namespace = 'red', interface = 'eth0', \
             addresses = ['{addresses}'] }}\nb = {{ namespace = 'blue', interface = 'eth0' }}\n[[routes]]\n\
             namespace = 'red'\nto = 'default'\nvia = '10.0.0.5'\n[[routes]]\nnamespace = 'red'\nto = '::/0'\n\
             via = 'fd00::5'"
        ))
    };
    for (before, after) in [
        ("10.0.0.1/24 fd00::1/64", "10.0.0.2/24 fd00::2/64"),
        ("10.0.0.1/24 10.0.0.2/24 fd00::1/64", "10.0.0.2/24 fd00::1/64"),
        ("10.0.0.1/24 10.0.0.2/24 fd00::1/64 fd00::2/64", "10.0.0.1/24 fd00::2/64"),
        ("10.0.0.1/24 10.1.0.1/24 fd00::1/64", "10.0.0.2/24 10.1.0.1/24 fd00::1/64"),
        ("10.0.0.1/24 10.0.0.2/24 10.0.0.3/24 fd00::1/64", "10.0.0.3/24 10.0.0.2/24 fd00::1/64"),
    ] {
        let (before, after, mut observed) = (topology(before), topology(after), machine());
        up(&before, &mut observed);
        up(&after, &mut observed);
        assert_eq!(plan(&after, &observed).unwrap(), []);
    }
}

#[test]
fn what_others_have_added_stays() {
    let topology = quickstart();
    let (red, eth0) = (netns("red"), "eth0".parse::<IfName>().unwrap());
    let mut observed = machine();
    up(&topology, &mut observed);
    let lease = ["192.0.2.7/24", "192.168.15.77/24"].map(|address| address.parse::<IpNet>().unwrap());
    link(&mut observed, &red, &eth0).addresses.extend(lease);
    let through = |to: &str, metric| Route {
        metric,
        ..Route::through(red.clone(), to.parse().unwrap(), "192.168.15.5".parse().unwrap())
    };
    for (route, protocol) in [(through("198.51.100.0/24", None), 3), (through("0.0.0.0/0", Some(100)), 16)] {
        place(&mut observed, &red).routes.push(ObservedRoute { route, owned: false, protocol });
    }
    assert_eq!(up(&topology, &mut observed), []);
    // The file's address goes, the lease of its subnet does not go with it.
    let moved = parse(&spec::QUICKSTART.replace("192.168.15.1/24", "192.168.15.9/24"));
    up(&moved, &mut observed);
    let left = &link(&mut observed, &red, &eth0).addresses;
    assert!(lease.iter().all(|address| left.contains(address)), "{left:?}");
    assert_eq!(place(&mut observed, &red).routes.iter().filter(|seen| !seen.owned).count(), 2);
}

#[test]
fn a_route_in_the_way_is_replaced_if_it_was_set_by_hand_and_else_refused() {
    let topology = quickstart();
    let red = netns("red");
    let mut observed = machine();
    up(&topology, &mut observed);
    let other = Route::through(red.clone(), "0.0.0.0/0".parse().unwrap(), "192.168.15.2".parse().unwrap());
    let put = |observed: &mut Observed, protocol| {
        let routes = &mut place(observed, &red).routes;
        routes.retain(|seen| seen.route.to.addr().is_ipv6());
        routes.push(ObservedRoute { route: other.clone(), owned: false, protocol });
    };
    put(&mut observed, 3);
    let steps: Vec<String> = up(&topology, &mut observed).iter().map(ToString::to_string).collect();
    assert_eq!(
        steps,
        [
            "delete route default via 192.168.15.2 in namespace `red`",
            "add route default via 192.168.15.5 in namespace `red`"
        ]
    );
    put(&mut observed, 16);
    let conflict = plan(&topology, &observed).unwrap_err();
    assert_eq!(
        conflict.to_string(),
        "add route default via 192.168.15.5 in namespace `red`: there is default via 192.168.15.2 already, and this topology \
         did not set it"
    );
}

/// Something done by hand to an interface.
type Damage = fn(&mut Observed, &Place, &IfName);

#[test]
fn changes_by_hand_are_repaired() {
    let topology = quickstart();
    let (red, eth0) = (netns("red"), "eth0".parse::<IfName>().unwrap());
    let damages: &[(&str, Damage)] = &[
        ("set down", |observed, at, interface| link(observed, at, interface).up = false),
        ("address removed", |observed, at, interface| {
            link(observed, at, interface).addresses.remove(0);
            forget_lost_routes(observed, at);
        }),
        ("MTU changed", |observed, at, interface| link(observed, at, interface).mtu = 1400),
        ("mark removed", |observed, at, interface| {
            let link = link(observed, at, interface);
            (link.marked, link.has_alias) = (false, false);
        }),
        ("namespace removed", |observed, at, interface| {
            delete_link(observed, at, interface);
            observed.places.remove(at);
        }),
    ];
    for (what, damage) in damages {
        let mut observed = machine();
        up(&topology, &mut observed);
        damage(&mut observed, &red, &eth0);
        assert!(!up(&topology, &mut observed).is_empty(), "{what}: not noticed");
        assert_eq!(plan(&topology, &observed).unwrap(), [], "{what}: not repaired");
    }
}

#[test]
fn what_is_foreign_is_refused_and_named() {
    let mut observed = machine();
    observed.places.insert(netns("red"), ObservedPlace::default());
    let conflict = plan(&quickstart(), &observed).unwrap_err();
    assert_eq!(conflict.to_string(), "create namespace `red`: it exists already and was not made by netctl");
    assert!(advice::of(&conflict).unwrap().contains("netctl ns del red"));

    let other = ObservedPlace { owner: Some("lab".parse().unwrap()), ..ObservedPlace::default() };
    observed.places.insert(netns("red"), other);
    let conflict = plan(&quickstart(), &observed).unwrap_err();
    assert_eq!(
        conflict.to_string(),
        "create namespace `red`: it exists already and belongs to the topology `lab`"
    );
    assert_eq!(advice::of(&conflict).unwrap(), "`netctl down lab` removes that topology");

    let mut observed = machine();
    let end = CableEnd::named(Place::Host, "br0".parse().unwrap());
    add_link(&mut observed, &end, "bridge", true);
    let conflict = plan(&parse("[bridges.br0]\n"), &observed).unwrap_err();
    assert_eq!(
        conflict.to_string(),
        "create link `br0` on the host: it exists already and was not made by netctl"
    );
}

#[test]
fn undoing_a_plan_leads_back() {
    let (topology, mut observed) = (quickstart(), machine());
    let ops = up(&topology, &mut observed);
    for op in ops.iter().rev().flat_map(Op::inverse) {
        // As `apply` does: what is in a namespace goes with it.
        if op.change == Change::Namespace(NamespaceChange::DeleteNamespace) {
            run(&op, &topology, &mut observed);
        }
    }
    assert_eq!(observed, machine());
}

/// What is planned for `red` and `blue`'s gateway when this is added to the file.
fn planned_with(text: &str) -> Vec<String> {
    let (before, after) = (quickstart(), parse(&format!("{}{text}", spec::QUICKSTART)));
    let mut observed = machine();
    up(&before, &mut observed);
    let ops = up(&after, &mut observed);
    assert_eq!(plan(&after, &observed).unwrap(), [], "{text}: not settled");
    ops.iter().map(ToString::to_string).collect()
}

#[test]
fn a_timeout_that_changes_touches_nothing_else() {
    assert_eq!(
        planned_with("[nat.timeouts]\nudp = '10m'\nicmp = '1m'\ntcp-closing = 10\n"),
        [
            "set timeout `tcp-closing` to 10s (was 4m) in namespace `router`",
            "set timeout `udp` to 10m (was 5m) in namespace `router`",
        ]
    );
}

#[test]
fn a_flow_table_of_another_size_takes_over_with_every_rule_in_force() {
    assert_eq!(
        planned_with("[nat]\nmax-flows = 1000\ntimeouts.udp = '10m'\n"),
        [
            "set max-flows to 1000 (was 131072) in namespace `router`; its flows end",
            "load the NAT programs in namespace `router`",
            "set timeout `udp` to 10m (was 5m) in namespace `router`",
            "add masquerade 192.168.15.0/24 out wan0 in namespace `router`",
            "add masquerade fd15::/64 out wan0 in namespace `router`",
            "add forward 203.0.113.1:8080/tcp to 192.168.15.2:80 in namespace `router`",
            "add forward [2001:db8:113::1]:8080/tcp to [fd15::2]:80 in namespace `router`",
            "replace the NAT programs in namespace `router`",
            "remove what is left of the NAT in namespace `router`",
        ]
    );
}

#[test]
fn who_may_use_a_forward_changes_that_forward_alone() {
    let forward = "[[nat.forward]]\nnamespace = 'router'\nlisten = '9000'\nto = '192.168.15.1'\n";
    let topology = |allow: &str| parse(&format!("{}{forward}allow = [{allow}]\n", spec::QUICKSTART));
    let mut observed = machine();
    up(&topology("'10.0.0.0/8', '192.0.2.0/24'"), &mut observed);
    assert_eq!(up(&topology("'192.0.2.1/24', '10.0.0.0/8'"), &mut observed), []);
    let ops: Vec<String> =
        up(&topology("'10.0.0.0/8'"), &mut observed).iter().map(ToString::to_string).collect();
    assert_eq!(
        ops,
        ["replace forward 9000/tcp to 192.168.15.1:9000 allow 10.0.0.0/8,192.0.2.0/24 by 9000/tcp to \
             192.168.15.1:9000 allow 10.0.0.0/8 in namespace `router`",]
    );
}

#[test]
fn another_build_of_the_programs_is_replaced_beside_the_one_that_runs() {
    let (topology, mut observed) = (quickstart(), machine());
    up(&topology, &mut observed);
    let router = Place::Netns("router".parse().unwrap());
    let nat = place(&mut observed, &router).nat.as_mut().unwrap();
    let other = nat.own;
    (nat.is_loaded, nat.other) = (false, Some(other));
    let load = NatChange::LoadNat { beside: Some(other), max_flows: topology.max_flows };
    let renew = NatChange::RenewNat { build: None, before: Some(other) };
    let [load, renew, prune] =
        [load, renew, NatChange::PruneNat { keep: None }].map(|change| Op::new(&router, change));
    assert_eq!(plan(&topology, &observed).unwrap(), [load, renew.clone(), prune.clone()]);
    // Killed between the two.
    place(&mut observed, &router).nat.as_mut().unwrap().is_loaded = true;
    assert_eq!(plan(&topology, &observed).unwrap(), [renew, prune]);
}

/// A namespace with a cable to another, and these sysctls.
fn with_sysctls(sysctls: &str, peer: &str) -> Topology {
    parse(&format!(
        "[namespaces.red]\nsysctls = {{ {sysctls} }}\n[namespaces.blue]\n[namespaces.green]\n[[cables]]\n\
         a = {{ namespace = 'red', interface = 'w' }}\nb = {{ namespace = '{peer}', interface = 'e' }}\n"
    ))
}

fn position(ops: &[Op], is_it: impl Fn(&Op) -> bool) -> usize {
    ops.iter().position(is_it).unwrap()
}

fn sets(op: &Op, sought: &str) -> bool {
    matches!(&op.change, Change::Sysctl(change) if change.key == sought)
}

#[test]
fn what_links_begin_with_is_set_before_there_are_links() {
    let key = "net.ipv6.conf.default.accept_dad";
    let ops = up(&with_sysctls(&format!("'{key}' = '0'"), "blue"), &mut machine());
    let cable = position(&ops, |op| matches!(op.change, Change::Link(LinkChange::CreateCable { .. })));
    assert!(position(&ops, |op| sets(op, key)) < cable);
    assert_eq!(ops.iter().filter(|op| sets(op, key)).count(), 1);
}

#[test]
fn a_remade_link_s_sysctls_are_set_again() {
    let key = "net.ipv4.conf.w.rp_filter";
    let sysctls = format!("'{key}' = '2'");
    let mut observed = machine();
    up(&with_sysctls(&sysctls, "blue"), &mut observed);
    assert_eq!(up(&with_sysctls(&sysctls, "blue"), &mut observed), []);
    // Its other end goes elsewhere: it is the same link.
    let ops = up(&with_sysctls(&sysctls, "green"), &mut observed);
    assert!(!ops.is_empty() && !ops.iter().any(|op| sets(op, key)), "{ops:?}");
    delete_link(&mut observed, &netns("red"), &"w".parse().unwrap());
    let ops = up(&with_sysctls(&sysctls, "green"), &mut observed);
    let cable = position(&ops, |op| matches!(op.change, Change::Link(LinkChange::CreateCable { .. })));
    assert!(position(&ops, |op| sets(op, key)) > cable, "{ops:?}");
}

#[test]
fn what_turning_forwarding_sets_too_is_set_after_it() {
    let (one, default) = ("net.ipv4.conf.w.forwarding", "net.ipv4.conf.default.forwarding");
    let sysctls = format!("'{one}' = '0', '{default}' = '0'");
    let mut observed = machine();
    up(&with_sysctls(&sysctls, "blue"), &mut observed);
    let ops = up(&with_sysctls(&format!("{sysctls}, '{}' = '1'", keys::IPV4), "blue"), &mut observed);
    let forwarding = position(&ops, |op| sets(op, keys::IPV4));
    for key in [one, default] {
        assert!(position(&ops, |op| sets(op, key)) > forwarding, "{key}: {ops:?}");
    }
}

#[test]
fn an_mtu_that_the_file_no_longer_has_goes_back_to_the_kernels() {
    let with = |bridge: &str, cable: &str| {
        parse(&format!(
            "[namespaces.red]\n[namespaces.blue]\n[bridges.br0]\naddresses = ['10.9.0.1/24']\n{bridge}\nports.red = {{}}\n[[cables]]\n\
             a = {{ namespace = 'red', interface = 'w'{cable} }}\nb = {{ namespace = 'blue', interface = 'e' }}\n"
        ))
    };
    let mut observed = machine();
    up(&with("mtu = 1400", ", mtu = 9000"), &mut observed);
    let ops: Vec<String> = up(&with("", ""), &mut observed).iter().map(ToString::to_string).collect();
    for link in [
        "`br0` on the host",
        "`veth-red-br` on the host",
        "`eth0` in namespace `red`",
        "`w` in namespace `red`",
    ] {
        let expected = format!("set MTU 1500 of link {link}");
        assert!(ops.contains(&expected), "{expected}: {ops:?}");
    }
    assert_eq!(plan(&with("", ""), &observed).unwrap(), []);
}

#[test]
fn a_bridge_without_an_mtu_has_the_smallest_of_its_ports_somebody_elses_among_them() {
    let topology = parse("[namespaces.red]\n[bridges.br0]\naddresses = ['10.9.0.1/24']\nports.red = {}\n");
    let mut observed = machine();
    up(&topology, &mut observed);
    let (vpn, br0): (IfName, IfName) = ("vpn0".parse().unwrap(), "br0".parse().unwrap());
    let end = CableEnd { mtu: Some(1420), master: Some(br0.clone()), ..CableEnd::named(Place::Host, vpn) };
    add_link(&mut observed, &end, "wireguard", true);
    place(&mut observed, &Place::Host).links.get_mut(&br0).unwrap().mtu = 1420;
    assert_eq!(plan(&topology, &observed).unwrap(), []);
}

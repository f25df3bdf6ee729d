//! Rules read back from the maps are the rules that were written: by that, `up` sees what differs.

use netctl::model::{Filtering, Forward, Mapping, Masquerade};
use netctl_tests::prog::{self, Nat};

fn masquerade(filtering: Filtering) -> Masquerade {
    Masquerade { mapping: Mapping::EndpointIndependent, filtering, ..prog::masquerade("192.168.15.0/24") }
}

fn forward(listen: &str, to: &str, allow: &[&str]) -> Forward {
    let allow = allow.iter().map(|network| network.parse().unwrap()).collect();
    Forward { allow: Some(allow), ..prog::forward(listen, to) }
}

fn forwards(nat: &Nat) -> Vec<Forward> {
    nat.tables.forwards().unwrap().into_iter().map(|numbered| numbered.rule).collect()
}

#[test]
fn mapping_and_filtering_of_a_masquerade_rule() {
    let names = [(prog::UPLINK_INDEX, "wan0".parse().unwrap())].into();
    let rules = [
        prog::masquerade("192.168.15.0/24"),
        masquerade(Filtering::AddressAndPortDependent),
        masquerade(Filtering::AddressDependent),
        masquerade(Filtering::EndpointIndependent),
    ];
    for rule in rules {
        let mut nat = Nat::new();
        nat.masquerade(&rule);
        let [found] = &nat.tables.masquerades(&names).unwrap()[..] else { panic!("one rule") };
        assert_eq!(found.rule, rule);
    }
}

#[test]
fn who_may_use_a_forward() {
    let mut nat = Nat::new();
    let rules = [
        forward("203.0.113.1:80/tcp", "192.168.15.2:80", &["0.0.0.0/0"]),
        forward("203.0.113.1:81/tcp", "192.168.15.2:81", &["192.0.2.0/24", "192.0.2.9/32", "10.0.0.0/8"]),
        forward("0.0.0.0:82/udp", "192.168.15.2:82", &["203.0.113.2/32"]),
        forward("[2001:db8:113::1]:83/tcp", "[fd15::2]:83", &["::/0"]),
        forward("[::]:84/tcp", "[fd15::2]:84", &["2001:db8::/32", "::1/128"]),
        prog::forward("203.0.113.1:85/tcp", "192.168.15.2:85"),
    ];
    rules.iter().for_each(|rule| nat.forward(rule));
    assert_eq!(forwards(&nat), rules);
}

#[test]
fn nobody_inherits_the_permission_of_a_rule_that_went() {
    let mut nat = Nat::new();
    let [old, other, new] = [
        forward("203.0.113.1:80/tcp", "192.168.15.2:80", &["192.0.2.0/24", "10.0.0.0/8"]),
        forward("203.0.113.1:81/tcp", "192.168.15.2:81", &["192.0.2.0/24"]),
        forward("203.0.113.1:82/tcp", "192.168.15.2:82", &["198.51.100.0/24"]),
    ];
    nat.forward(&old);
    nat.forward(&other);
    let id = nat.tables.forwards().unwrap()[0].id;
    nat.tables.remove_forward(id).unwrap();
    assert_eq!(forwards(&nat), std::slice::from_ref(&other));
    nat.forward(&new);
    assert_eq!(nat.tables.forwards().unwrap()[0].id, id, "the number is used again");
    assert_eq!(forwards(&nat), [new, other]);
}

//! On a host that others administer, too: a lease, a daemon's routes, a shaper, a firewall, and the rest of what
//! [`Lab::bystander`] has.

use netctl_tests::lab::{Change, Dump, Lab};

const FILE: &str = "
name = 'guest'
[namespaces.red]
[bridges.br-guest]
addresses = ['10.44.0.1/24', 'fd44::1/64']
ports.red = {}
[[cables]]
a = { namespace = 'host', interface = 'guest0', addresses = ['10.45.0.1/24'] }
b = { namespace = 'red', interface = 'up0', addresses = ['10.45.0.2/24'] }
[[routes]]
namespace = 'host'
to = '10.46.0.0/24'
via = '10.45.0.2'
";

const MASQUERADE: &str = "
[[nat.masquerade]]
namespace = 'host'
source = '10.44.0.0/24'
out = 'up0'
";

/// Nothing of others is gone, and nothing of it differs but by what forwarding and translation on the host need.
#[track_caller]
fn assert_only_added(before: &Dump, after: &Dump) {
    const NEEDED: [&str; 5] =
        ["forwarding", "accept_redirects", "accept_ra", "route_localnet", "nf_conntrack_tcp_be_liberal"];
    let mut changes = before.changes(after);
    changes.retain(|(_, name), change| match change {
        Change::Added => false,
        Change::Removed => true,
        Change::Parts(parts) => {
            let key = name.rsplit('.').next().unwrap();
            let is_needed =
                |part: &str| NEEDED.contains(&part) || key == "ip_forward" || NEEDED.contains(&key);
            !(name.starts_with("sysctl ") && parts.iter().all(|(part, ..)| is_needed(part)))
        }
    });
    assert!(changes.is_empty(), "{changes:#?}");
}

#[test]
fn up_plan_and_down_touch_nothing_of_others() {
    let backends = ["", "[nat]\nbackend = 'nftables'\n", "[nat]\nbackend = 'iptables'\n"];
    let files = backends.map(|backend| format!("{FILE}{backend}{MASQUERADE}"));
    for file in [FILE.to_owned()].into_iter().chain(files) {
        let lab = Lab::bystander();
        lab.file("guest.toml", &file);
        let before = lab.settle();
        assert_eq!(lab.netctl(["plan", "guest.toml"]).code(), Some(3));
        lab.assert_unchanged_since(&before);
        for _ in 0..2 {
            lab.netctl(["up", "guest.toml"]).success();
            assert_only_added(&before, &lab.settle());
            lab.netctl(["plan", "guest.toml"]).success();
        }
        lab.netctl(["down", "guest"]).success();
        lab.assert_unchanged_since(&before);
    }
}

#[test]
fn a_namespace_of_another_kind_in_run_netns_is_in_nobodys_way() {
    let lab = Lab::bystander();
    lab.bind_another_kind_of_namespace();
    lab.file("guest.toml", FILE);
    let before = lab.settle();
    lab.netctl(["up", "guest.toml"]).success();
    assert_only_added(&before, &lab.settle());
    lab.netctl(["ls"]).success();
    lab.netctl(["down", "guest"]).success();
    lab.assert_unchanged_since(&before);
}

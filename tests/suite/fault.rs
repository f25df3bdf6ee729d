//! Killed at every step of `up` and of `down`: the one takes away what is there, the other completes it.
//!
//! The netctl under test is built with its feature `fault-injection`, which `cargo xtask test` sees to.

use netctl_tests::lab::{Lab, Output};

/// A topology with every kind of object, half of them on the host.
const ALL_KINDS: &str = r#"
name = "all"

[namespaces.red]
[namespaces.gateway]
sysctls = { "net.ipv4.conf.all.rp_filter" = "2" }
[namespaces.outside]

[bridges.the-office-network]
addresses = ["10.9.0.1/24", "fd09::1/64"]
mtu = 1400
[bridges.the-office-network.ports]
red = {}

[[cables]]
a = { namespace = "host", interface = "to-gateway", addresses = ["10.8.0.1/24"] }
b = { namespace = "gateway", interface = "in0", addresses = ["10.8.0.2/24"] }
[[cables]]
a = { namespace = "gateway", interface = "wan0", addresses = ["203.0.113.1/24"] }
b = { namespace = "outside", interface = "eth0", addresses = ["203.0.113.2/24"] }

[[routes]]
namespace = "gateway"
to = "10.9.0.0/24"
via = "10.8.0.1"
[[routes]]
namespace = "host"
to = "203.0.113.0/24"
via = "10.8.0.2"

[[nat.masquerade]]
namespace = "gateway"
source = "10.8.0.0/15"
out = "wan0"
[[nat.masquerade]]
namespace = "host"
source = "10.9.0.0/24"
out = "to-gateway"

[[nat.forward]]
namespace = "gateway"
listen = "203.0.113.1:8000-8009/tcp+udp"
to = "10.8.0.1:80"
"#;

/// More steps than there are: a bound for the loops below.
const MANY: u32 = 500;

/// Runs netctl with death waiting at a step; what it said, if it lived.
fn dies<'a>(lab: &'a Lab, step: u32, arguments: &[&str]) -> Option<Output<'a>> {
    let netctl = std::env::var("NETCTL_BIN").unwrap();
    let fatal = format!("NETCTL_KILL_AT={step}");
    let words = [&[fatal.as_str(), netctl.as_str()], arguments].concat();
    let output = lab.host().run("env", words);
    output.code().map(|_| output.success())
}

fn lab() -> Lab {
    let lab = Lab::new();
    lab.file("netctl.toml", ALL_KINDS);
    // What the first namespace of a machine leaves for ever: the shared mount of /run/netns.
    lab.netctl(["ns", "add", "first"]).success();
    lab.netctl(["ns", "del", "first"]).success();
    lab
}

#[test]
fn row_162_after_a_kill_at_any_step_of_up_the_machine_can_be_had_as_it_was() {
    let lab = lab();
    let before = lab.snapshot();
    let points = (1..MANY).find(|&step| {
        let survived = dies(&lab, step, &["-q", "up"]).is_some();
        lab.netctl(["-q", "down"]).success();
        lab.assert_unchanged_since(&before);
        survived
    });
    let points = points.expect("an `up` that is not killed any more") - 1;
    assert!(points > 30, "only {points} steps: was netctl built with `fault-injection`?");
    println!("killed `up` at {points} steps; `down` left the machine as it was after each");
}

#[test]
fn row_162_after_a_kill_at_any_step_of_up_another_up_completes_it() {
    let lab = lab();
    let points = (1..MANY).find(|&step| {
        let survived = dies(&lab, step, &["-q", "up"]).is_some();
        lab.netctl(["-q", "up"]).success();
        lab.netctl(["-q", "plan"]).success();
        lab.ns("red").run("ping", ["-c", "1", "-W", "5", "203.0.113.2"]).success();
        lab.netctl(["-q", "down"]).success();
        survived
    });
    let points = points.expect("an `up` that is not killed any more") - 1;
    assert!(points > 30, "only {points} steps: was netctl built with `fault-injection`?");
    println!("killed `up` at {points} steps; another `up` completed it after each");
}

#[test]
fn row_162_after_a_kill_at_any_step_of_down_another_down_completes_it() {
    let lab = lab();
    let before = lab.snapshot();
    let points = (1..MANY).find(|&step| {
        lab.netctl(["-q", "up"]).success();
        let survived = dies(&lab, step, &["-q", "down"]).is_some();
        lab.netctl(["-q", "down"]).success();
        lab.assert_unchanged_since(&before);
        survived
    });
    let points = points.expect("a `down` that is not killed any more") - 1;
    assert!(points > 4, "only {points} steps: was netctl built with `fault-injection`?");
    println!("killed `down` at {points} steps; another `down` completed it after each");
}

#[test]
fn after_a_kill_of_an_up_that_removes_a_namespace_down_finds_that_one_too() {
    let lab = lab();
    let before = lab.snapshot();
    let both = "name = 'all'\n[namespaces.red]\n[namespaces.blue]\n";
    for step in 1..MANY {
        lab.file("netctl.toml", both);
        lab.netctl(["-q", "up"]).success();
        lab.file("netctl.toml", both.replace("[namespaces.blue]", ""));
        let survived = dies(&lab, step, &["-q", "up"]).is_some();
        lab.netctl(["-q", "down"]).success();
        lab.assert_unchanged_since(&before);
        if survived {
            return;
        }
    }
    panic!("no `up` that is not killed any more");
}

/// The same by another backend.
fn write(lab: &Lab, backend: &str) {
    lab.file("netctl.toml", format!("{ALL_KINDS}\n[nat]\nbackend = '{backend}'\n"));
}

fn assert_nothing_of_netctls(lab: &Lab) {
    let rules = lab.host().run("nft", ["list", "ruleset"]).success();
    assert!(!rules.stdout().contains("netctl"), "{rules}");
}

#[test]
fn row_162_after_a_kill_at_any_step_to_another_backend_all_can_be_had() {
    for (from, to) in [("ebpf", "iptables"), ("iptables", "nftables"), ("nftables", "ebpf")] {
        let lab = lab();
        let before = lab.snapshot();
        let points = (1..MANY).find(|&step| {
            // What one kill leaves is completed, what the same kill leaves once more taken down.
            for is_completed in [true, false] {
                write(&lab, from);
                lab.netctl(["-q", "up"]).success();
                write(&lab, to);
                let survived = dies(&lab, step, &["-q", "up"]).is_some();
                if is_completed {
                    lab.netctl(["-q", "up"]).success();
                    lab.netctl(["-q", "plan"]).success();
                    lab.ns("red").run("ping", ["-c", "1", "-W", "5", "203.0.113.2"]).success();
                }
                lab.netctl(["-q", "down"]).success();
                assert_nothing_of_netctls(&lab);
                if survived {
                    lab.assert_unchanged_since(&before);
                    return true;
                }
            }
            false
        });
        let points = points.expect("an `up` that is not killed any more") - 1;
        assert!(points > 4, "only {points} steps: was netctl built with `fault-injection`?");
        println!("killed `up` from {from} to {to} at {points} steps");
    }
}

#[test]
fn after_a_kill_at_any_step_a_sysctl_still_goes_back_to_what_was_found() {
    const KEY: &str = "net.ipv4.conf.all.log_martians";
    let lab = Lab::new();
    let write = |sysctls: &str| {
        let text = format!("name = 'office'\n[namespaces.red]\nsysctls = {{ {sysctls} }}\n");
        lab.file("netctl.toml", text);
    };
    let (with, without) = (format!("'{KEY}' = '1'"), "");
    let value = || lab.ns("red").run("sysctl", ["-n", KEY]).success().stdout().trim().to_owned();
    write(without);
    lab.netctl(["-q", "up"]).success();
    let found = value();
    for (from, to) in [(without, with.as_str()), (&with, without)] {
        let points = (1..MANY).find(|&step| {
            write(from);
            lab.netctl(["-q", "up"]).success();
            write(to);
            let survived = dies(&lab, step, &["-q", "up"]).is_some();
            lab.netctl(["-q", "up"]).success();
            assert_eq!(value() == found, to == without);
            write(without);
            lab.netctl(["-q", "up"]).success();
            lab.netctl(["-q", "plan"]).success();
            assert_eq!(value(), found, "killed at step {step} on the way to {to:?}");
            survived
        });
        assert!(points.expect("an `up` that is not killed any more") > 3);
    }
}

//! One forward more or less beside many: what is read of them is the list, which says what the programs look up, also
//! after a command was killed, and beside other commands.

use std::collections::BTreeSet;

use netctl_tests::lab::{Lab, netctl};
use serde_json::Value;

use super::{rules::by_hand, type_in};

/// The mark of a change that was cut short: while it is there, the programs' own table is read.
const MARK: &str = "/sys/fs/bpf/netctl/*/*/changing";

fn listed(lab: &Lab) -> Value {
    type_in(lab, "--json nat forward ls").json()
}

/// The rules of a gateway, which are listed as the programs have them.
#[track_caller]
fn forwards(lab: &Lab) -> Vec<(String, u64)> {
    let run = |command: &str| lab.host().run("sh", ["-c", command]).success().stdout().to_owned();
    assert_eq!(run(&format!("ls -d {MARK} 2> /dev/null || true")), "", "no change was cut short");
    let by_list = listed(lab);
    run("for gateway in /sys/fs/bpf/netctl/*/*; do mkdir $gateway/changing; done");
    let by_table = listed(lab);
    run(&format!("rmdir {MARK}"));
    assert_eq!(by_list, by_table);
    let rule = |rule: &Value| {
        let mut what = rule.clone();
        let number = what.as_object_mut().unwrap().remove("number").unwrap().as_u64().unwrap();
        (what.to_string(), number)
    };
    by_list.as_array().unwrap().iter().map(rule).collect()
}

#[test]
fn what_is_listed_is_what_the_programs_look_up() {
    let lab = by_hand();
    let mut count = 0;
    for (line, more) in [
        ("forward add --listen 8080/tcp+udp --to 10.0.0.2:80", 2),
        ("forward add --listen 203.0.113.1:9001-9030 --to 10.0.0.2:1001", 1),
        ("forward add --listen [2001:db8::1]:8080 --to [fd00::2]:80", 1),
        ("masquerade add --source 10.0.0.0/24", 0),
        ("forward add --listen 443 --to 10.0.0.2 --allow 198.51.100.0/24,192.0.2.1", 1),
        ("forward add --listen 203.0.113.1:7000-7003 --to 10.0.0.2:80", 1),
        ("forward add --listen 10.0.0.1:7002 --to 10.0.0.2:80", 1),
        ("forward del --listen 203.0.113.1:7000-7003", -1),
        ("forward del --listen 8080/tcp+udp", -2),
        ("masquerade del --source 10.0.0.0/24", 0),
        ("forward add --listen 1-65535/udp --to 10.0.0.2", 1),
        ("forward del --listen 443", -1),
        ("forward add --listen 443 --to 10.0.0.2", 1),
    ] {
        type_in(&lab, &format!("-n gateway nat {line}"));
        count += more;
        assert_eq!(forwards(&lab).len() as i32, count, "{line}");
    }
}

#[test]
fn row_162_a_kill_while_one_forward_comes_or_goes_leaves_a_list_that_is_put_right() {
    /// More steps than there are.
    const MANY: u32 = 100;
    let lab = by_hand();
    type_in(&lab, "-n gateway nat forward add --listen 203.0.113.1:8001-8008 --to 10.0.0.2:1001");
    let stays = forwards(&lab);
    let change = |step: u32, words: &str| {
        let line = format!("NETCTL_KILL_AT={step} {} -n gateway nat forward {words}", netctl());
        lab.host().run("sh", ["-c", &line]).code() == Some(0)
    };
    // The next command puts in order what is left.
    let next = |step| {
        type_in(&lab, &format!("-n gateway nat forward add --listen {step}/udp --to 10.0.0.2"));
        type_in(&lab, &format!("-n gateway nat forward del --listen {step}/udp"));
        forwards(&lab)
    };
    let mut steps = 0;
    for step in 1..MANY {
        // The range is of several entries: it may be there in part, and nothing else has come or gone.
        let has_come = change(step, "add --listen 203.0.113.1:9001-9006 --to 10.0.0.2:2001");
        let there = next(step);
        assert!(there.len() <= 2 && there.starts_with(&stays), "step {step}: {there:?}");
        if let [_, (_, number)] = &there[..] {
            let has_gone = change(step, &format!("del {number}"));
            let there = next(step);
            assert!(there.len() <= 2 && there.starts_with(&stays), "step {step}: {there:?}");
            if let [_, (_, number)] = &there[..] {
                type_in(&lab, &format!("-n gateway nat forward del {number}"));
            }
            if has_come && has_gone {
                steps = step;
                break;
            }
        }
        assert_eq!(forwards(&lab), stays, "step {step}");
    }
    assert!(steps > 8, "only {steps} steps: was netctl built with `fault-injection`?");
}

/// A gateway with so many forwards from port 10001 on, and one of ten ports before them.
fn with_many(many: u16) -> Lab {
    let lab = Lab::new();
    let mut file = "namespaces.gateway = {}\nnamespaces.inside = {}\nnamespaces.outside = {}\n\
         [[cables]]\n\
         a = { namespace = 'gateway', interface = 'wan0', addresses = ['203.0.113.1/24', '203.0.113.9/24'] }\n\
         b = { namespace = 'outside', interface = 'eth0', addresses = ['203.0.113.2/24'] }\n\
         [[cables]]\n\
         a = { namespace = 'gateway', interface = 'lan0', addresses = ['10.0.0.1/24'] }\n\
         b = { namespace = 'inside', interface = 'eth0', addresses = ['10.0.0.2/24'] }\n"
        .to_owned();
    for port in (10_001..=10_000 + many).map(|port| port.to_string()).chain(["9000-9009".to_owned()]) {
        file += "[[nat.forward]]\nnamespace = 'gateway'\nto = '10.0.0.2:80'\n";
        file += &format!("listen = '203.0.113.1:{port}'\n");
    }
    lab.file("netctl.toml", &file);
    type_in(&lab, "up");
    lab
}

#[test]
fn row_29_beside_many_forwards_one_that_crosses_any_of_them_is_refused_and_that_one_named() {
    let lab = with_many(2000);
    let before = forwards(&lab);
    assert_eq!(before.len(), 2001);
    for (listen, port, there) in [
        ("203.0.113.1:10777", 10777, "203.0.113.1:10777/tcp to 10.0.0.2:80"),
        ("10777", 10777, "203.0.113.1:10777/tcp to 10.0.0.2:80"),
        ("203.0.113.1:11999-20000", 11999, "203.0.113.1:11999/tcp to 10.0.0.2:80"),
        ("9009-9999/tcp+udp", 9009, "203.0.113.1:9000-9009/tcp to 10.0.0.2:80-89"),
        ("203.0.113.1:9005", 9005, "203.0.113.1:9000-9009/tcp to 10.0.0.2:80-89"),
    ] {
        let add = ["-n", "gateway", "nat", "forward", "add", "--listen", listen, "--to", "10.0.0.2:1000"];
        let refused = lab.netctl(add).fails(1);
        let words = format!("tcp port {port} is forwarded already: {there}");
        assert!(refused.stderr().contains(&words), "{listen}: {refused}");
    }
    for owned in ["203.0.113.1:12000", "203.0.113.1:9000-9009", "1"] {
        let rule = if owned == "1" { vec![owned] } else { vec!["--listen", owned] };
        let refused = lab.netctl(["-n", "gateway", "nat", "forward", "del"].into_iter().chain(rule)).fails(1);
        assert!(refused.stderr().contains("it belongs to the topology `"), "{owned}: {refused}");
    }
    for listen in ["203.0.113.9:10777", "203.0.113.1:10777/udp", "9999", "203.0.113.9:20000-60000"] {
        type_in(&lab, &format!("-n gateway nat forward add --listen {listen} --to 10.0.0.2:1000"));
        assert_eq!(forwards(&lab).len(), 2002, "{listen}");
        type_in(&lab, &format!("-n gateway nat forward del --listen {listen}"));
    }
    assert_eq!(forwards(&lab), before);
    lab.netctl(["plan"]).success();

    // What the file has goes by force only, and comes back.
    type_in(&lab, "-n gateway nat forward del --listen 203.0.113.1:10777 --force");
    assert_eq!(forwards(&lab).len(), 2000);
    lab.netctl(["plan"]).fails(3);
    type_in(&lab, "up");
    assert_eq!(forwards(&lab), before, "under the lowest number that was free");
}

#[test]
fn forwards_that_come_and_go_at_once_are_all_there_once() {
    let lab = with_many(100);
    let run = |command: &str| lab.host().run("sh", ["-c", command]).success().stdout().to_owned();
    let words = format!("{} -q -n gateway nat forward", netctl());
    let ports = "5001 5002 5003 5004 5005 5006 5007 5008";
    run(&format!("for p in {ports}; do {words} add --listen $p --to 10.0.0.2 & done; wait"));
    let there = forwards(&lab);
    let numbers: BTreeSet<u64> = there.iter().map(|(_, number)| *number).collect();
    assert_eq!((there.len(), numbers.len()), (109, 109));
    run(&format!(
        "for p in {ports}; do {words} del --listen $p & \
         {words} add --listen 1$p/udp --to 10.0.0.2 & done; wait"
    ));
    let there = forwards(&lab);
    let numbers: BTreeSet<u64> = there.iter().map(|(_, number)| *number).collect();
    assert_eq!((there.len(), numbers.len()), (109, 109));
    assert_eq!(there.iter().filter(|(rule, _)| rule.contains("udp")).count(), 8);
}

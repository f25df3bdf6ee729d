//! Bringing up what is up already.

use netctl_tests::lab::{Lab, Ns, Server, eventually};

#[test]
fn row_172_up_again_changes_nothing_and_says_so() {
    let lab = Lab::new();
    lab.netctl(["plan"]).fails(3);
    lab.netctl(["up"]).success();
    let plan = lab.netctl(["plan"]).success();
    for said in [plan, lab.netctl(["up"]).success()] {
        assert_eq!(said.stdout(), "quickstart is up and as the file says: nothing to change\n");
    }
}

#[test]
fn up_again_sends_the_kernel_nothing_that_others_hear() {
    let lab = Lab::quickstart();
    let places = [lab.host(), lab.ns("router"), lab.ns("red")];
    places.into_iter().for_each(settle);
    let mut monitors = places.map(|place| (place, place.start("ip", ["monitor", "all"])));
    for (place, monitor) in &mut monitors {
        mark(*place, monitor, "192.0.2.1");
    }
    lab.netctl(["up"]).success();
    for (place, monitor) in &mut monitors {
        mark(*place, monitor, "192.0.2.2");
        let log = monitor.log();
        let between = log.split("192.0.2.1").last().and_then(|rest| rest.split("192.0.2.2").next()).unwrap();
        let is_news = |line: &str| ["[LINK]", "[ADDR]", "[ROUTE]"].iter().any(|kind| line.starts_with(kind));
        let mut lines = between.lines().filter(|line| !line.starts_with("[ROUTE]unreachable"));
        assert!(!lines.any(is_news), "{}:\n{log}", monitor.command());
    }
}

/// Waits until the kernel is done with its own changes: the last is that a link-local address is nobody else's.
fn settle(place: Ns<'_>) {
    eventually("all addresses are settled", || {
        place.run("ip", ["address", "show", "tentative"]).success().stdout().is_empty()
    });
}

/// Puts a mark into what a monitor hears: a route in a table that nobody looks at.
fn mark(place: Ns<'_>, monitor: &mut Server<'_>, address: &str) {
    eventually("the monitor hears", || {
        place.run("ip", ["route", "replace", "unreachable", address, "table", "99"]).success();
        monitor.assert_alive();
        monitor.log().contains(address)
    });
}

#[test]
fn row_167_several_at_once_wait_for_each_other() {
    let lab = Lab::new();
    let before = lab.snapshot();
    for _ in 0..3 {
        let verbs = ["up", "up", "down", "up", "down", "ls"];
        let running: Vec<_> = verbs.iter().map(|verb| (verb, lab.start_netctl(["-q", verb]))).collect();
        for (verb, netctl) in running {
            let ended = netctl.finish();
            assert_eq!(ended.code(), Some(0), "{verb}: {}", ended.stderr());
        }
        // Whoever came last, the result is one or the other, and whole.
        let plan = lab.netctl(["-q", "plan"]);
        assert!(matches!(plan.code(), Some(0 | 3)), "{}", plan.stderr());
        lab.netctl(["-q", "up"]).success();
        lab.netctl(["-q", "plan"]).success();
        lab.ns("red").run("ping", ["-c", "1", "-W", "5", "203.0.113.2"]).success();
        lab.netctl(["-q", "down"]).success();
        lab.assert_unchanged_since(&before);
    }
}

#[test]
fn what_was_changed_by_hand_of_its_own_is_planned_and_mended() {
    const FILE: &str = "
[namespaces.red]
sysctls = { 'net.ipv4.conf.all.rp_filter' = '2' }
[bridges.br0]
addresses = ['10.0.0.1/24', 'fd10::1/64']
ports.red = { addresses = ['10.0.0.2/24'] }
";
    let lab = Lab::new();
    lab.file("netctl.toml", FILE);
    lab.netctl(["up"]).success();
    let before = lab.settle();
    for line in [
        "ip link set br0 down",
        "ip -n red link set eth0 down",
        "ip link set veth-red-br nomaster",
        "ip address del 10.0.0.1/24 dev br0",
        "ip -n red route del default",
        "ip netns exec red sysctl -qw net.ipv4.conf.all.rp_filter=0",
    ] {
        lab.host().run("sh", ["-e", "-c", line]).success();
        assert_eq!(lab.netctl(["plan"]).code(), Some(3), "after {line}");
        lab.netctl(["up"]).success();
        lab.netctl(["plan"]).success();
        let after = lab.settle();
        assert_eq!(before.difference(&after), "", "after {line}");
    }
}

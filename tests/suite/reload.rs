//! Programs and rules that are replaced while they are in use.

mod traffic;

use netctl_tests::lab::Lab;

use self::traffic::{TOPOLOGY, Traffic, flows};

const RENEWED: &str = "~ replace the NAT programs in namespace `router`; flows go on";

const ANOTHER_FORWARD: &str = r#"
[[nat.forward]]
namespace = "router"
listen = "203.0.113.1:9001/tcp"
to = "192.168.15.129:80"
"#;

fn office() -> Lab {
    let lab = Lab::new();
    lab.file("netctl.toml", TOPOLOGY);
    lab.netctl(["up"]).success();
    lab
}

/// Makes another build of the programs that the gateway should have, as another binary would: the ports that its own
/// sockets draw from are one of the constants that they are loaded with.
fn outdate(lab: &Lab, ports: &str) {
    lab.ns("router").run("sysctl", ["-qw", &format!("net.ipv4.ip_local_port_range={ports}")]).success();
}

#[test]
fn row_159_flows_go_on_when_rules_are_added_and_when_another_build_takes_over() {
    let lab = office();
    let mut traffic = Traffic::start(&lab);
    let before = flows(&lab, "office");
    assert!(before.len() >= 4, "two of iperf3, datagrams, the conversation: {before:?}");

    lab.file("netctl.toml", [TOPOLOGY, ANOTHER_FORWARD].concat());
    lab.netctl(["up"]).success();
    traffic.goes_on();
    assert_eq!(flows(&lab, "office"), before);

    for ports in ["20000 29999", "30000 39999"] {
        outdate(&lab, ports);
        let plan = lab.netctl(["plan"]).fails(3);
        assert!(plan.stdout().lines().any(|line| line == RENEWED), "{plan}");
        let programs = programs(&lab);
        lab.netctl(["up"]).success();
        let renewed = self::programs(&lab);
        assert!(renewed.len() == programs.len() && renewed.iter().all(|id| !programs.contains(id)));
        lab.netctl(["plan"]).success();
        traffic.goes_on();
        assert_eq!(flows(&lab, "office"), before);
    }
    traffic.end(3);
}

/// The ids of the programs at the gateway's hooks.
fn programs(lab: &Lab) -> Vec<String> {
    let shown = lab.ns("router").run("bpftool", ["-j", "net", "show"]).success().json();
    let programs = shown[0]["tc"].as_array().unwrap();
    programs.iter().map(|program| program["prog_id"].to_string()).collect()
}

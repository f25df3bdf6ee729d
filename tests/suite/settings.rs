//! `[nat]`'s settings and the rules' own: in force, read back, and changed alone.

use netctl::{
    model::{NetnsName, Place, Seconds, Timeout, TopologyName},
    nat::ebpf::{Pins, maps::Tables},
};
use netctl_tests::{
    capture::Capture,
    lab::{Lab, Output, Server, eventually},
};

const TOPOLOGY: &str = r#"
name = "office"

[namespaces.red]
[namespaces.blue]
[namespaces.router]
sysctls = { "net.ipv4.ip_default_ttl" = "64" }
[namespaces.internet]

[bridges.br0]
namespace = "router"
addresses = ["192.168.15.5/24"]
ports.red = {}
ports.blue = {}

[[cables]]
a = { namespace = "router", interface = "wan0", addresses = ["203.0.113.1/24"] }
b = { namespace = "internet", interface = "eth0", addresses = ["203.0.113.2/24"] }

[[nat.masquerade]]
namespace = "router"
source = "192.168.15.0/25"
out = "wan0"
mapping = "address-and-port-dependent"

[[nat.masquerade]]
namespace = "router"
source = "192.168.15.128/25"
out = "wan0"
mapping = "endpoint-independent"
filtering = "address-dependent"

[[nat.forward]]
namespace = "router"
listen = "203.0.113.1:8080/tcp"
to = "192.168.15.2:80"
allow = ["203.0.113.0/24", "198.51.100.7"]

[nat]
max-flows = 1000

[nat.timeouts]
tcp-established = "1d"
udp = 90
"#;

/// Another file, what of it is planned, and whether flows stay.
struct Case {
    old: &'static str,
    new: &'static str,
    plan: &'static [&'static str],
}

const CASES: [Case; 4] = [
    Case {
        old: "udp = 90",
        new: "udp = \"2m\"",
        plan: &["~ set timeout `udp` to 2m (was 1m30s) in namespace `router`"],
    },
    Case {
        old: "\"203.0.113.0/24\", ",
        new: "",
        plan: &[
            "~ replace forward 203.0.113.1:8080/tcp to 192.168.15.2:80 allow 198.51.100.7/32,203.0.113.0/24 by ",
        ],
    },
    Case {
        old: "filtering = \"address-dependent\"",
        new: "filtering = \"endpoint-independent\"",
        plan: &[
            "~ replace masquerade 192.168.15.128/25 out wan0 mapping endpoint-independent filtering address-dependent by ",
        ],
    },
    Case {
        old: "tcp-established = \"1d\"\n",
        new: "",
        plan: &["~ set timeout `tcp-established` to 2h4m (was 1d) in namespace `router`"],
    },
];

/// What the gateway's maps hold.
fn tables<T: Send>(lab: &Lab, look: impl FnOnce(&Tables) -> T + Send) -> T {
    let (topology, router): (TopologyName, NetnsName) =
        ("office".parse().unwrap(), "router".parse().unwrap());
    lab.host().enter(|| {
        let pins = Pins::new("/sys/fs/bpf".as_ref(), &topology, &Place::Netns(router));
        look(&Tables::open(&pins).unwrap())
    })
}

/// The live flows, in words.
fn flows(lab: &Lab) -> Vec<String> {
    tables(lab, |tables| {
        let flows = tables.flows().unwrap();
        flows.iter().map(|flow| format!("{:?} -> {:?}", flow.original, flow.translated)).collect()
    })
}

/// `red` pings the internet, where somebody watches.
struct Traffic<'a> {
    pings: Server<'a>,
    heard: Capture,
}

impl<'a> Traffic<'a> {
    fn start(lab: &'a Lab) -> Self {
        let heard = lab.ns("internet").capture("eth0");
        let pings = lab.ns("red").start("ping", ["-i", "0.02", "-w", "120", "203.0.113.2"]);
        let mut traffic = Self { pings, heard };
        traffic.goes_on();
        traffic
    }

    #[track_caller]
    fn goes_on(&mut self) {
        let before = self.pings.log().lines().count();
        eventually("the pings go on", || {
            self.pings.assert_alive();
            self.pings.log().lines().count() > before + 10
        });
    }

    /// Nothing came out under an inside address.
    #[track_caller]
    fn end(self) {
        let heard = self.heard.stop();
        let sources = || heard.packets().map(|packet| packet.src.ip().to_string());
        assert!(sources().any(|source| source == "203.0.113.1"));
        let leaked = sources().filter(|source| source.starts_with("192.168.")).count();
        assert_eq!(leaked, 0, "of {}", sources().count());
    }
}

fn bring_up<'a>(lab: &'a Lab, text: &str) -> Output<'a> {
    lab.file("netctl.toml", text);
    lab.netctl(["up"]).success()
}

/// The lines of a plan that say what changes, without the small steps.
fn planned(lab: &Lab, text: &str) -> Vec<String> {
    lab.file("netctl.toml", text);
    let plan = lab.netctl(["plan"]).fails(3);
    plan.stdout().lines().filter(|line| line.starts_with(['+', '~', '-'])).map(str::to_owned).collect()
}

#[test]
fn settings_are_read_back_and_a_change_is_of_what_differs_alone() {
    let lab = Lab::new();
    bring_up(&lab, TOPOLOGY);
    assert_eq!(tables(&lab, |tables| tables.room().unwrap()), 1000);
    let timeouts = tables(&lab, |tables| tables.timeouts().unwrap());
    assert_eq!(timeouts[&Timeout::TcpEstablished], Seconds(86_400));
    assert_eq!(timeouts[&Timeout::Icmp], Seconds(60));
    let mut traffic = Traffic::start(&lab);
    let before = flows(&lab);
    assert_eq!(before.len(), 1, "{before:?}");
    for Case { old, new, plan } in CASES {
        assert!(
            lab.netctl(["plan"]).success().stdout().lines().all(|line| !line.starts_with(['+', '~', '-']))
        );
        let changed = TOPOLOGY.replace(old, new);
        let lines = planned(&lab, &changed);
        assert!(
            lines.len() == plan.len() && lines.iter().zip(plan).all(|(line, start)| line.starts_with(start)),
            "{lines:#?} instead of {plan:#?}"
        );
        bring_up(&lab, &changed);
        traffic.goes_on();
        assert_eq!(flows(&lab), before, "{new}");
        lab.netctl(["plan"]).success();
        bring_up(&lab, TOPOLOGY);
    }
    assert_eq!(flows(&lab), before);
    traffic.end();
}

#[test]
fn only_those_who_are_allowed_may_use_a_forward() {
    let lab = Lab::new();
    let up = |allow: &str| bring_up(&lab, &TOPOLOGY.replace("\"203.0.113.0/24\", ", allow));
    up("\"203.0.113.2\", ");
    let _server = lab.ns("blue").serve(80, "python3", ["-m", "http.server", "80"]);
    let ask =
        || lab.ns("internet").run("curl", ["-sS", "-m", "3", "-o", "/dev/null", "http://203.0.113.1:8080"]);
    ask().success();
    up("\"203.0.113.3\", ");
    assert_ne!(ask().code(), Some(0));
    up("\"203.0.113.0/24\", ");
    ask().success();
}

#[test]
fn a_flow_table_of_another_size_lets_nothing_out_untranslated() {
    let lab = Lab::new();
    bring_up(&lab, TOPOLOGY);
    let mut traffic = Traffic::start(&lab);
    let before = flows(&lab);

    let larger = TOPOLOGY.replace("max-flows = 1000", "max-flows = 2000");
    assert_eq!(
        planned(&lab, &larger)[0],
        "~ set max-flows to 2000 (was 1000) in namespace `router`; its flows end"
    );
    // The kernel refuses that value, late.
    lab.file("netctl.toml", larger.replace("\"64\"", "\"0\""));
    let failed = lab.netctl(["up"]).fails(1);
    assert!(!failed.stderr().contains("could not be undone"), "{failed}");
    traffic.goes_on();
    assert_eq!(flows(&lab), before, "as it was");
    bring_up(&lab, TOPOLOGY);

    bring_up(&lab, &larger);
    traffic.goes_on();
    assert_eq!(tables(&lab, |tables| tables.room().unwrap()), 2000);
    assert_eq!(flows(&lab).len(), 1);
    lab.netctl(["plan"]).success();
    traffic.end();
}

#[test]
fn row_162_after_a_kill_while_the_flow_table_is_changed_another_up_completes_it() {
    let lab = Lab::new();
    let sized = |flows: u32| TOPOLOGY.replace("max-flows = 1000", &format!("max-flows = {flows}"));
    bring_up(&lab, &sized(1000));
    let mut traffic = Traffic::start(&lab);
    let netctl = std::env::var("NETCTL_BIN").unwrap();
    let points = (1..100).find(|step| {
        let fatal = format!("NETCTL_KILL_AT={step}");
        lab.file("netctl.toml", sized(2000));
        let survived = lab.host().run("env", [&fatal, &netctl, "-q", "up"]).code().is_some();
        // Half of the time the user thinks better of it.
        let flows = if step % 2 == 0 { 1000 } else { 2000 };
        bring_up(&lab, &sized(flows));
        assert_eq!(tables(&lab, |tables| tables.room().unwrap()), flows);
        lab.netctl(["-q", "plan"]).success();
        traffic.goes_on();
        bring_up(&lab, &sized(1000));
        survived
    });
    let points = points.expect("an `up` that is not killed any more") - 1;
    assert!(points > 8, "only {points} steps: was netctl built with `fault-injection`?");
    traffic.end();
}

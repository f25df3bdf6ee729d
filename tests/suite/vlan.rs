//! An uplink that is a VLAN device: what it carries is tagged on the wire, and not where the programs see it.

use netctl_tests::{
    capture::Heard,
    lab::{Lab, Ns, eventually},
    skip,
};

/// A network behind the host, which masquerades it out of a device that netctl did not make.
const TOPOLOGY: &str = r#"
[namespaces.red]
[bridges.br0]
addresses = ["192.168.15.5/24", "fd15::5/64"]
ports.red = { addresses = ["192.168.15.1/24", "fd15::1/64"] }
[[nat.masquerade]]
namespace = "host"
source = "192.168.15.0/24"
out = "UPLINK"
[[nat.masquerade]]
namespace = "host"
source = "fd15::/64"
out = "UPLINK"
[[nat.forward]]
namespace = "host"
listen = "203.0.113.1:8080/tcp"
to = "192.168.15.1:80"
"#;

/// The device at both ends of a cable, and what makes it there.
struct Tagged {
    device: &'static str,
    links: &'static [&'static str],
}

const ONCE: Tagged = Tagged { device: "one", links: &["link cable name one type vlan id 100"] };
const TWICE: Tagged = Tagged {
    device: "two",
    links: &["link cable name one type vlan id 100 protocol 802.1ad", "link one name two type vlan id 7"],
};

/// The end of the cable at one place, with its devices and addresses.
fn equip(place: Ns<'_>, tagged: &Tagged, addresses: [&str; 2]) {
    let ip = |words: &str| {
        place.run("ip", words.split(' ')).success();
    };
    ip("link set cable up");
    for link in tagged.links {
        ip(&format!("link add {link}"));
    }
    for device in ["one", tagged.device] {
        ip(&format!("link set {device} up"));
    }
    for address in addresses {
        ip(&format!(
            "address add {address} dev {}{}",
            tagged.device,
            if address.contains(':') { " nodad" } else { "" }
        ));
    }
}

#[test]
fn row_158_a_vlan_device_is_an_uplink_like_any_other_however_its_frames_are_tagged() {
    let lab = Lab::new();
    lab.host().run("ip", "link add cable type veth peer name other".split(' ')).success();
    let tried = lab.host().run("ip", "link add link cable name one type vlan id 100".split(' '));
    if tried.stderr().contains("Unknown device type") {
        skip!("kernel: no VLAN devices");
    }
    tried.success();
    // Where the hardware does not take tags off, they stay in the packet until the kernel does.
    for (tagged, offload) in [(ONCE, "on"), (ONCE, "off"), (TWICE, "on"), (TWICE, "off")] {
        works(&tagged, offload);
    }
}

fn works(tagged: &Tagged, offload: &str) {
    let lab = Lab::new();
    let internet = lab.ns("internet");
    lab.host().run("ip", "netns add internet".split(' ')).success();
    lab.host().run("ip", "link add cable type veth peer name cable netns internet".split(' ')).success();
    for place in [lab.host(), internet] {
        for feature in ["rxvlan", "txvlan"] {
            place.run("ethtool", ["-K", "cable", feature, offload]).success();
        }
    }
    equip(lab.host(), tagged, ["203.0.113.1/24", "2001:db8:113::1/64"]);
    equip(internet, tagged, ["203.0.113.2/24", "2001:db8:113::2/64"]);
    lab.file("netctl.toml", TOPOLOGY.replace("UPLINK", tagged.device));
    lab.netctl(["up"]).success();

    let heard = internet.capture(tagged.device);
    for server in ["203.0.113.2", "2001:db8:113::2"] {
        lab.ns("red").run("ping", ["-c", "2", "-i", "0.1", "-W", "5", server]).success();
    }
    lab.file("index.html", "a page\n");
    let _server = lab.ns("red").serve(80, "python3", ["-m", "http.server", "80"]);
    let page = internet.run("curl", ["-sS", "-m", "5", "http://203.0.113.1:8080"]).success();
    assert_eq!(page.stdout(), "a page\n");
    assert_only_the_gateway_spoke(&heard.stop());
}

fn assert_only_the_gateway_spoke(heard: &Heard) {
    let known = ["203.0.113.", "2001:db8:113:", "fe80:", "::"];
    let sources: Vec<String> = heard.packets().map(|packet| packet.src.ip().to_string()).collect();
    assert!(sources.len() > 8, "{sources:?}");
    for source in &sources {
        assert!(known.iter().any(|prefix| source.starts_with(prefix)), "{source}");
    }
}

/// Calls a forwarded port from inside, in a frame with a tag or without. Debian's scapy is for Debian's interpreter.
const CALL: &str = "
from scapy.all import *
import sys
mac, port, tag = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
frame = Ether(dst=mac)
for vlan in tag: frame /= Dot1Q(vlan=int(vlan))
sendp(frame / IP(src='192.168.15.1', dst='203.0.113.1') / TCP(sport=port, dport=8080, flags='S'), iface='eth0', verbose=0)
";

/// The bridge gives itself tagged frames too, and its IP layer drops them: there is no such VLAN.
#[test]
fn row_137_a_frame_of_a_vlan_that_the_inside_has_not_makes_no_flow() {
    let lab = Lab::quickstart();
    let (red, router) = (lab.ns("red"), lab.ns("router"));
    let shown = router.run("ip", ["-j", "link", "show", "v-net-0"]).success().json();
    let mac = shown[0]["address"].as_str().unwrap().to_owned();
    let heard = lab.ns("blue").capture("eth0");
    let call = |words: &[&str]| {
        let words = [&["-c", CALL, &mac], words].concat();
        red.run("/usr/bin/python3", words).success();
    };
    let flows = || {
        let shown = lab.netctl(["--json", "show"]).success().json();
        shown["places"][2]["nat"][0]["forwards"][0]["live"].as_u64().unwrap_or_else(|| panic!("{shown}"))
    };
    call(&["4321"]);
    eventually("the call makes its flows", || flows() > 0);
    let of_a_call = flows();
    call(&["4322", "5"]);
    call(&["4323"]);
    eventually("the next one makes as many", || flows() >= 2 * of_a_call);
    assert_eq!(flows(), 2 * of_a_call, "the one with a tag made none");
    let ports: Vec<u16> = heard
        .stop()
        .packets()
        .filter(|packet| packet.dst.port() == 80)
        .map(|packet| packet.src.port())
        .collect();
    assert_eq!(ports, [4321, 4323]);
}

//! "Network namespaces, red and blue": a cable, then a bridge, then the host, its LAN, the internet, and back in.

use super::Reader;

const TOPOLOGY: &str = include_str!("../../../docs/examples/walkthrough.toml");

#[test]
fn the_walkthrough_one_command_at_a_time() {
    let reader = Reader::new();
    namespaces_come_and_go(&reader);
    a_cable_joins_two_namespaces(&reader);
    a_bridge_takes_the_cables_place(&reader);
    the_bridges_address_lets_the_host_in(&reader);
    masquerading_leads_out(&reader);
    a_forwarded_port_leads_in(&reader);
}

fn namespaces_come_and_go(reader: &Reader) {
    reader.netctl("ns add red");
    assert_eq!(reader.names("ns ls"), ["red"]);
    reader.netctl("ns delete red");
    assert!(reader.names("ns ls").is_empty());
    reader.netctl("ns add red");
    reader.netctl("ns add blue");
    let inside = reader.netctl("exec red -- ip a");
    assert!(inside.stdout().starts_with("1: lo: <LOOPBACK,UP,LOWER_UP>"), "{inside}");
    assert_eq!(inside.stdout().matches("<").count(), 1, "{inside}");
}

fn a_cable_joins_two_namespaces(reader: &Reader) {
    reader.netctl("link add veth veth-red veth-blue");
    assert_eq!(reader.row("link", "veth-red")[..3], ["down", "veth", "veth-blue"]);
    assert_eq!(reader.row("link", "veth-blue")[..3], ["down", "veth", "veth-red"]);
    reader.netctl("link set veth-red netns red");
    reader.netctl("link set veth-blue netns blue");
    assert_eq!(reader.row("-n red link", "veth-red")[2], "blue:veth-blue");

    reader.netctl("-n red addr add 192.168.15.1/24 dev veth-red");
    assert_eq!(reader.row("-n red a", "veth-red"), ["down", "192.168.15.1/24"]);
    reader.netctl("-n blue addr add 192.168.15.2/24 dev veth-blue");
    reader.netctl("-n red link set veth-red up");
    assert_eq!(reader.row("-n red a", "veth-red")[0], "no-carrier");
    reader.netctl("-n blue link set veth-blue up");

    reader.pings("red", "192.168.15.2");
    reader.pings("blue", "192.168.15.1");
    for (place, interface) in [("red", "veth-red"), ("blue", "veth-blue")] {
        assert_eq!(reader.row(&format!("-n {place} a"), interface)[0], "up");
    }
    let (red, blue) = (reader.mac("red", "veth-red"), reader.mac("blue", "veth-blue"));
    assert_eq!(reader.row("-n red neigh ls", "192.168.15.2")[..2], ["veth-red", &blue]);
    assert_eq!(reader.row("-n blue arp", "192.168.15.1")[..2], ["veth-blue", &red]);

    // "The host has no idea about the namespaces that we have created."
    assert!(reader.names("arp").is_empty());
    assert_eq!(reader.names("link"), ["lo"]);
}

fn a_bridge_takes_the_cables_place(reader: &Reader) {
    reader.netctl("link add bridge v-net-0");
    assert_eq!(reader.row("link", "v-net-0")[..2], ["down", "bridge"]);
    reader.netctl("link set dev v-net-0 up");
    reader.netctl("-n red link delete veth-red");
    for place in ["red", "blue"] {
        assert_eq!(reader.names(&format!("-n {place} a")), ["lo"], "the other end goes as well");
    }

    for (place, address) in [("red", "192.168.15.1/24"), ("blue", "192.168.15.2/24")] {
        let (near, far) = (format!("veth-{place}-br"), format!("veth-{place}"));
        reader.netctl(&format!("link add veth {far} {near}"));
        assert_eq!(reader.row("link", &near)[..3], ["down", "veth", &far]);
        reader.netctl(&format!("link set {far} netns {place}"));
        reader.netctl(&format!("link set {near} master v-net-0"));
        assert_eq!(reader.row("link", &near)[..4], ["down", "veth", &format!("{place}:{far}"), "v-net-0"]);
        reader.netctl(&format!("-n {place} addr add {address} dev {far}"));
        reader.netctl(&format!("-n {place} link set dev {far} up"));
        // Left out by the tutorial, though its next listing shows the ports up.
        reader.netctl(&format!("link set dev {near} up"));
    }
    reader.pings("red", "192.168.15.2");
    reader.pings("blue", "192.168.15.1");
    assert_eq!(reader.names("link ls --master v-net-0"), ["veth-red-br", "veth-blue-br"]);
    for place in ["red", "blue"] {
        let port = reader.row("link ls --master v-net-0", &format!("veth-{place}-br"));
        assert_eq!(port[0], "up");
        assert_eq!(port.last(), Some(&reader.mac(place, &format!("veth-{place}"))), "learned");
    }
}

fn the_bridges_address_lets_the_host_in(reader: &Reader) {
    reader.has_no_route("host", "192.168.15.1");
    reader.netctl("addr add 192.168.15.5/24 dev v-net-0");
    reader.pings("host", "192.168.15.1");
    reader.pings("host", "192.168.15.2");
}

fn masquerading_leads_out(reader: &Reader) {
    reader.make_the_world_outside("192.168.1.2/24", &["192.168.1.3/24", "8.8.8.8/32"]);
    reader.has_no_route("red", "192.168.1.3");
    reader.netctl("-n red route add 192.168.1.0/24 via 192.168.15.5");
    assert_eq!(reader.row("-n red route", "192.168.1.0/24")[..2], ["192.168.15.5", "veth-red"]);
    assert_eq!(reader.row("-n red route", "192.168.15.0/24")[..2], ["-", "veth-red"]);

    // The tutorial's host forwards already. The packets leave it, from an address that nobody outside can answer.
    reader.netctl("sysctl set net.ipv4.ip_forward=1");
    let heard = reader.lab.ns("outside").capture("eth0");
    reader.gets_no_answer("red", "192.168.1.3");
    assert!(heard.stop().packets().any(|packet| packet.src.ip().to_string() == "192.168.15.1"));

    reader.netctl("nat masquerade add --source 192.168.15.0/24");
    the_forward_chain_has_to_accept(reader);
    let heard = reader.lab.ns("outside").capture("eth0");
    reader.pings("red", "192.168.1.3");
    assert!(!heard.stop().packets().any(|packet| packet.src.ip().to_string() == "192.168.15.1"));

    reader.has_no_route("red", "8.8.8.8");
    reader.netctl("-n red route add default via 192.168.15.5");
    reader.pings("red", "8.8.8.8");
}

/// "The iptables FORWARD chain policy should accept packets."
fn the_forward_chain_has_to_accept(reader: &Reader) {
    reader.lab.host().run("iptables", ["-P", "FORWARD", "DROP"]).success();
    reader.gets_no_answer("red", "192.168.1.3");
    // Whoever tries the rule again, or another one, is told why.
    reader.netctl("nat masquerade del 192.168.15.0/24");
    let warned = reader.netctl("nat masquerade add --source 192.168.15.0/24");
    let remedy = "`iptables -P FORWARD ACCEPT` lets it through";
    assert!(warned.stderr().contains(remedy), "{warned}");
    reader.lab.host().run("iptables", ["-P", "FORWARD", "ACCEPT"]).success();
}

fn a_forwarded_port_leads_in(reader: &Reader) {
    let server = reader.serves("red", "", 80);
    assert!(!reader.fetches("outside", "http://192.168.1.2"));
    // The tutorial says red, though its command has blue's address, and no protocol before `--dport`.
    reader.netctl("nat forward add --listen 80/tcp --to 192.168.15.1:80");
    assert!(reader.fetches("outside", "http://192.168.1.2"), "{}", server.log());
    assert!(server.log().contains("192.168.1.3"), "{}", server.log());
}

#[test]
fn the_walkthroughs_network_from_one_file() {
    Reader::builds(TOPOLOGY, "machine", |reader| {
        assert_eq!(reader.names("link ls --master v-net-0"), ["veth-red-br", "veth-blue-br"]);
        for place in ["host", "blue"] {
            reader.pings(place, "192.168.15.1");
        }
        for address in ["192.168.15.2", "192.168.1.3", "8.8.8.8"] {
            reader.pings("red", address);
        }
        let server = reader.serves("red", "", 80);
        assert!(reader.fetches("outside", "http://192.168.1.2"), "{}", server.log());
    });
}

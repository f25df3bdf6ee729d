//! "Summary": a lecture in pictures, whose commands are the usual ones. Its bridge has four namespaces.

use super::Reader;

const TOPOLOGY: &str = include_str!("../../../docs/examples/summary.toml");

const NAMESPACES: [(&str, &str); 4] =
    [("red", "192.168.15.1"), ("blue", "192.168.15.2"), ("orange", "192.168.15.3"), ("gray", "192.168.15.4")];

#[test]
fn the_summary_one_command_at_a_time() {
    let reader = Reader::new();
    reader.make_the_world_outside("192.168.1.2/24", &["192.168.1.3/24"]);
    a_namespace_is_isolated(&reader);
    a_cable_is_unknown_to_the_host(&reader);
    a_bridge_joins_many(&reader);
    the_host_is_the_gateway(&reader);
}

fn a_namespace_is_isolated(reader: &Reader) {
    for (name, _) in NAMESPACES {
        reader.netctl(&format!("ns add {name}"));
    }
    // Processes: the host sees what runs inside.
    let server = reader.serves("red", "", 80);
    assert_eq!(reader.row("ns ls", "red"), ["present", "-", "1"]);
    drop(server);
    // "On running `ip link` on the host machine, it will show `eth0`."
    assert_eq!(reader.names("link"), ["lo", "eth0"]);
    assert_eq!(reader.names("-n red link"), ["lo"]);
    reader.pings("host", "192.168.1.3");
    assert_eq!(reader.row("arp", "192.168.1.3")[..2], ["eth0", &reader.mac("outside", "eth0")]);
    assert!(reader.names("-n red arp").is_empty());
    // "These namespaces have no connectivity."
    for (_, address) in &NAMESPACES[1..] {
        reader.has_no_route("red", address);
    }
}

fn a_cable_is_unknown_to_the_host(reader: &Reader) {
    // Each end is born where it belongs.
    reader.netctl("link add veth veth-red red veth-blue blue");
    reader.netctl("-n red addr add 192.168.15.1/24 dev veth-red");
    reader.netctl("-n blue addr add 192.168.15.2/24 dev veth-blue");
    reader.netctl("-n red link set veth-red up");
    reader.netctl("-n blue link set veth-blue up");
    reader.pings("red", "192.168.15.2");
    assert_eq!(reader.row("-n red arp", "192.168.15.2")[1], reader.mac("blue", "veth-blue"));
    assert_eq!(reader.row("-n blue arp", "192.168.15.1")[1], reader.mac("red", "veth-red"));
    assert_eq!(reader.names("link"), ["lo", "eth0"]);
    assert_eq!(reader.names("arp"), ["192.168.1.3"]);
}

fn a_bridge_joins_many(reader: &Reader) {
    reader.netctl("link add bridge v-net-0");
    reader.netctl("link set v-net-0 up");
    reader.netctl("-n red link del veth-red");
    assert_eq!(reader.names("-n blue link"), ["lo"], "the other end goes as well");
    for (name, address) in NAMESPACES {
        let (near, far) = (format!("veth-{name}-br"), format!("veth-{name}"));
        reader.netctl(&format!("link add veth {far} {name} {near}"));
        // The pictures have the `-br` ends in the namespaces; they belong to the bridge.
        reader.netctl(&format!("link set {near} master v-net-0 up"));
        reader.netctl(&format!("-n {name} addr add {address}/24 dev {far}"));
        reader.netctl(&format!("-n {name} link set {far} up"));
    }
    let ports: Vec<_> = NAMESPACES.iter().map(|(name, _)| format!("veth-{name}-br")).collect();
    assert_eq!(reader.names("link ls --master v-net-0"), ports);
    for (name, own) in NAMESPACES {
        for (_, address) in NAMESPACES.iter().filter(|(_, address)| *address != own) {
            reader.pings(name, address);
        }
    }
}

fn the_host_is_the_gateway(reader: &Reader) {
    reader.netctl("addr add 192.168.15.5/24 dev v-net-0");
    reader.pings("host", "192.168.15.4");
    // "This network is still private and restricted to the host."
    reader.has_no_route("blue", "192.168.1.3");
    reader.has_no_route("outside", "192.168.15.2");
    reader.netctl("-n blue route add 192.168.1.0/24 via 192.168.15.5");
    reader.gets_no_answer("blue", "192.168.1.3");
    reader.netctl("nat masquerade add --source 192.168.15.0/24");
    reader.pings("blue", "192.168.1.3");

    let server = reader.serves("blue", "", 80);
    assert!(!reader.fetches("outside", "http://192.168.1.2"));
    reader.netctl("nat forward add --listen 192.168.1.2:80/tcp --to 192.168.15.2:80");
    assert!(reader.fetches("outside", "http://192.168.1.2"), "{}", server.log());
}

#[test]
fn the_summarys_network_from_one_file() {
    Reader::builds(TOPOLOGY, "machine", |reader| {
        for (_, address) in &NAMESPACES[1..] {
            reader.pings("red", address);
        }
        for (name, address) in NAMESPACES {
            reader.pings("host", address);
            reader.pings(name, "192.168.1.3");
            assert_eq!(reader.names(&format!("-n {name} link")), ["lo", "eth0"]);
        }
        let server = reader.serves("blue", "", 80);
        assert!(reader.fetches("outside", "http://192.168.1.2"), "{}", server.log());
    });
}

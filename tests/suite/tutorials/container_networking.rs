//! "Replicating container networking": why two cables in one subnet do not do, then a bridge, a default route,
//! forwarding, NAT and a published port.

use super::Reader;

const TOPOLOGY: &str = include_str!("../../../docs/examples/container-networking.toml");

#[test]
fn container_networking_one_command_at_a_time() {
    let reader = Reader::new();
    a_cable_joins_the_host_and_a_namespace(&reader);
    a_second_cable_in_the_same_subnet_does_not(&reader);
    a_bridge_joins_the_namespaces(&reader);
    the_bridges_address_joins_the_host(&reader);
    forwarding_and_masquerading_lead_out(&reader);
    a_published_port_leads_in(&reader);
}

fn a_cable_joins_the_host_and_a_namespace(reader: &Reader) {
    reader.make_the_world_outside("10.0.2.15/24", &["10.0.2.2/24", "8.8.8.8/32"]);
    reader.netctl("ns add netns0");
    assert_eq!(reader.names("ns"), ["netns0", "outside"]);
    // `nsenter --net=/var/run/netns/netns0 bash`, where one looks around.
    let inside = reader.lab.netctl(["exec", "netns0", "--", "bash", "-c", "ip -br link | wc -l"]).success();
    assert_eq!(inside.stdout(), "1\n");

    reader.netctl("link add veth veth0 ceth0");
    reader.netctl("link set ceth0 netns netns0");
    reader.netctl("link set veth0 up");
    reader.netctl("addr add 172.18.0.11/16 dev veth0");
    reader.netctl("-n netns0 link set lo up");
    reader.netctl("-n netns0 link set ceth0 up");
    reader.netctl("-n netns0 addr add 172.18.0.10/16 dev ceth0");
    reader.pings("netns0", "172.18.0.11");
    reader.pings("host", "172.18.0.10");
}

fn a_second_cable_in_the_same_subnet_does_not(reader: &Reader) {
    reader.netctl("ns add netns1");
    reader.netctl("link add veth veth1 host ceth1 netns1");
    reader.netctl("addr add 172.18.0.21/16 dev veth1");
    reader.netctl("link set veth1 up");
    reader.netctl("-n netns1 addr add 172.18.0.20/16 dev ceth1");
    reader.netctl("-n netns1 link set ceth1 up");
    // Two routes to the same subnet: the first wins, so answers to netns1 leave by the wrong cable.
    let routes = reader.names("route");
    assert_eq!(routes.iter().filter(|to| *to == "172.18.0.0/16").count(), 2, "{routes:?}");
    reader.gets_no_answer("netns1", "172.18.0.11");
    reader.gets_no_answer("host", "172.18.0.20");
    reader.pings("netns0", "172.18.0.21");
}

fn a_bridge_joins_the_namespaces(reader: &Reader) {
    // Everything anew, and the host's ends without addresses. The cables first: the kernel takes its time to clear up a
    // namespace, and they would go with it.
    reader.netctl("link del veth0");
    reader.netctl("link del veth1");
    assert_eq!(reader.names("-n netns0 link"), ["lo"], "the other end goes as well");
    reader.netctl("ns del netns0 netns1");
    assert_eq!(reader.names("ns"), ["outside"]);
    for number in [0, 1] {
        let address = format!("172.18.0.{}0/16", number + 1);
        reader.netctl(&format!("ns add netns{number}"));
        reader.netctl(&format!("link add veth veth{number} ceth{number}"));
        reader.netctl(&format!("link set ceth{number} netns netns{number}"));
        reader.netctl(&format!("link set veth{number} up"));
        reader.netctl(&format!("-n netns{number} link set ceth{number} up"));
        reader.netctl(&format!("-n netns{number} addr add {address} dev ceth{number}"));
    }
    reader.gets_no_answer("netns0", "172.18.0.20");

    reader.netctl("link add bridge br0");
    reader.netctl("link set br0 up");
    reader.netctl("link set veth0 master br0");
    reader.netctl("link set veth1 master br0");
    reader.pings("netns0", "172.18.0.20");
    reader.pings("netns1", "172.18.0.10");
    assert_eq!(reader.names("link ls --master br0"), ["veth0", "veth1"]);
}

fn the_bridges_address_joins_the_host(reader: &Reader) {
    assert!(!reader.names("route").contains(&"172.18.0.0/16".to_owned()));
    reader.netctl("addr add 172.18.0.1/16 dev br0");
    // "Once we do this one route will be added to the host."
    assert_eq!(reader.row("route", "172.18.0.0/16")[..2], ["-", "br0"]);
    reader.pings("host", "172.18.0.10");
    reader.pings("host", "172.18.0.20");

    reader.has_no_route("netns0", "10.0.2.15");
    for namespace in ["netns0", "netns1"] {
        reader.netctl(&format!("-n {namespace} route add default via 172.18.0.1"));
        reader.pings(namespace, "10.0.2.15");
    }
    // "It still hangs."
    reader.gets_no_answer("netns0", "8.8.8.8");
}

fn forwarding_and_masquerading_lead_out(reader: &Reader) {
    assert_eq!(reader.netctl("sysctl get net.ipv4.ip_forward").stdout(), "net.ipv4.ip_forward = 0\n");
    reader.netctl("sysctl set net.ipv4.ip_forward=1");
    assert_eq!(reader.netctl("sysctl get net.ipv4.ip_forward").stdout(), "net.ipv4.ip_forward = 1\n");
    reader.gets_no_answer("netns0", "8.8.8.8");
    // `! -o br0` is every other interface.
    reader.netctl("nat masquerade add --source 172.18.0.0/16");
    reader.pings("netns0", "8.8.8.8");
    reader.pings("netns1", "8.8.8.8");
}

fn a_published_port_leads_in(reader: &Reader) {
    let server = reader.serves("netns0", "172.18.0.10", 5000);
    assert!(reader.fetches("host", "http://172.18.0.10:5000"));
    assert!(!reader.fetches("outside", "http://10.0.2.15:5000"));
    assert!(!reader.fetches("host", "http://10.0.2.15:5000"));

    // One rule for PREROUTING and OUTPUT. "Try ping 10.0.2.15:5000" means a request: a ping has no port.
    reader.netctl("nat forward add --listen 10.0.2.15:5000/tcp --to 172.18.0.10:5000");
    assert!(reader.fetches("outside", "http://10.0.2.15:5000"), "{}", server.log());
    assert!(server.log().contains("10.0.2.2"), "{}", server.log());
    assert!(reader.fetches("host", "http://10.0.2.15:5000"), "{}", server.log());
}

#[test]
fn container_networking_from_one_file() {
    Reader::builds(TOPOLOGY, "machine", |reader| {
        reader.pings("netns0", "172.18.0.20");
        reader.pings("host", "172.18.0.10");
        for namespace in ["netns0", "netns1"] {
            reader.pings(namespace, "10.0.2.15");
            reader.pings(namespace, "8.8.8.8");
        }
        let server = reader.serves("netns0", "172.18.0.10", 5000);
        for place in ["outside", "host"] {
            assert!(reader.fetches(place, "http://10.0.2.15:5000"), "{place}: {}", server.log());
        }
    });
}

//! "A bridge and NAT, step by step": terse notes whose commands contain mistakes, which netctl names.

use super::Reader;

const TOPOLOGY: &str = include_str!("../../../docs/examples/bridge-steps.toml");

#[test]
fn the_steps_one_command_at_a_time() {
    let reader = Reader::new();
    a_namespace_sees_nothing_of_the_host(&reader);
    an_address_without_a_length_is_alone(&reader);
    a_switch_in_the_host(&reader);
    a_way_out(&reader);
    a_way_in(&reader);
}

fn a_namespace_sees_nothing_of_the_host(reader: &Reader) {
    reader.make_the_world_outside("192.168.1.2/24", &["192.168.1.3/24", "8.8.8.8/32"]);
    for name in ["red", "blue"] {
        reader.netctl(&format!("ns add {name}"));
    }
    assert_eq!(reader.names("ns"), ["blue", "outside", "red"]);
    assert_eq!(reader.names("link"), ["lo", "eth0"]);
    for name in ["red", "blue"] {
        let inside = reader.netctl(&format!("exec {name} -- ip -br link"));
        assert_eq!(inside.stdout().lines().count(), 1, "{inside}");
        assert_eq!(reader.names(&format!("-n {name} link")), ["lo"]);
        assert!(reader.names(&format!("-n {name} route")).is_empty());
        assert!(reader.names(&format!("-n {name} neigh")).is_empty());
    }
}

fn an_address_without_a_length_is_alone(reader: &Reader) {
    reader.netctl("link add veth veth-red veth-blue");
    reader.netctl("link set veth-red netns red");
    // `ip link add veth-blue netns blue` in the tutorial.
    reader.netctl("link set veth-blue netns blue");
    for (place, number) in [("red", 1), ("blue", 2)] {
        let add = format!("-n {place} addr add 192.168.15.{number} dev veth-{place}");
        let warned = reader.netctl(&add);
        let hint = format!("`192.168.15.{number}/24` would reach its neighbours");
        assert!(warned.stderr().contains(&hint), "{warned}");
        reader.netctl(&format!("-n {place} link set veth-{place} up"));
    }
    // What the tutorial overlooks.
    reader.has_no_route("red", "192.168.15.2");
    for (place, number) in [("red", 1), ("blue", 2)] {
        reader.netctl(&format!("-n {place} addr del 192.168.15.{number}/32 dev veth-{place}"));
        reader.netctl(&format!("-n {place} addr add 192.168.15.{number}/24 dev veth-{place}"));
    }
    reader.pings("red", "192.168.15.2");
}

fn a_switch_in_the_host(reader: &Reader) {
    reader.netctl("link add bridge v-net-0");
    reader.netctl("link set dev v-net-0 up");
    reader.netctl("link add veth veth-blue veth-blue-br");
    reader.netctl("link add veth veth-red veth-red-br");
    // The first cable is still there, which the tutorial forgets.
    reader.netctl_refuses("link set veth-red netns red", "there is an interface `veth-red` already");
    reader.netctl("-n red link del veth-red");
    assert_eq!(reader.names("-n blue link"), ["lo"]);
    for (place, number) in [("red", 1), ("blue", 2)] {
        reader.netctl(&format!("link set veth-{place} netns {place}"));
        reader.netctl(&format!("link set veth-{place}-br master v-net-0"));
        reader.netctl(&format!("-n {place} addr add 192.168.15.{number}/24 dev veth-{place}"));
        reader.netctl(&format!("-n {place} link set veth-{place} up"));
    }
    // The ports are down until someone sets them up; the tutorial does not.
    assert_eq!(reader.row("-n red link", "veth-red")[0], "no-carrier");
    assert_eq!(reader.row("link ls --master v-net-0", "veth-red-br")[0], "down");
    reader.netctl("link set veth-red-br up");
    reader.netctl("link set veth-blue-br up");
    reader.pings("red", "192.168.15.2");

    reader.netctl("addr add 192.168.15.5/24 dev v-net-0");
    reader.pings("host", "192.168.15.1");
}

fn a_way_out(reader: &Reader) {
    reader.has_no_route("blue", "192.168.1.3");
    reader.netctl("-n blue route add 192.168.1.0/24 via 192.168.15.5");
    reader.gets_no_answer("blue", "192.168.1.3");
    // Also turns forwarding on.
    reader.netctl("nat masquerade add --source 192.168.15.0/24");
    assert_eq!(reader.netctl("sysctl get net.ipv4.ip_forward").stdout(), "net.ipv4.ip_forward = 1\n");
    reader.pings("blue", "192.168.1.3");

    reader.has_no_route("blue", "8.8.8.8");
    reader.netctl("-n blue route add default via 192.168.15.5");
    assert_eq!(reader.row("-n blue route ls", "default")[..2], ["192.168.15.5", "veth-blue"]);
    reader.pings("blue", "8.8.8.8");
}

fn a_way_in(reader: &Reader) {
    // "To tell the outside about the private network is not recommended", and netctl does not let it in unless the rule
    // says `routed = true`.
    reader.netctl("-n outside route add 192.168.15.0/24 via 192.168.1.2");
    reader.gets_no_answer("outside", "192.168.15.2");
    reader.netctl("-n outside route del 192.168.15.0/24");

    let server = reader.serves("blue", "", 80);
    // The tutorial's `iptables` line has no protocol before `--dport`, and the target before `-j DNAT`.
    reader.netctl("nat forward add --listen 80/tcp --to 192.168.15.2:80");
    assert!(reader.fetches("outside", "http://192.168.1.2"), "{}", server.log());
    assert!(server.log().contains("192.168.1.3"), "{}", server.log());
}

#[test]
fn the_steps_network_from_one_file() {
    Reader::builds(TOPOLOGY, "machine", |reader| {
        reader.pings("red", "192.168.15.2");
        reader.pings("host", "192.168.15.1");
        reader.pings("blue", "192.168.1.3");
        reader.pings("blue", "8.8.8.8");
        let server = reader.serves("blue", "", 80);
        assert!(reader.fetches("outside", "http://192.168.1.2"), "{}", server.log());
    });
}

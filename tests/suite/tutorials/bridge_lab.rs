//! "Veth and bridge, a lab": a namespace inside a container, which the lab's host plays. It is plugged into a bridge as
//! Docker plugs in its containers.

use super::Reader;

const TOPOLOGY: &str = include_str!("../../../docs/examples/bridge-lab.toml");

#[test]
fn the_bridge_lab_one_command_at_a_time() {
    let reader = Reader::new();
    reader.make_the_world_outside("172.17.0.2/16", &["172.17.0.1/16", "8.8.8.8/32"]);
    an_end_moves_and_gets_another_name(&reader);
    a_bridge_leads_to_the_host(&reader);
    masquerading_leads_to_the_internet(&reader);
}

fn an_end_moves_and_gets_another_name(reader: &Reader) {
    reader.netctl("ns add red");
    assert!(reader.names("ns").contains(&"red".to_owned()));
    assert!(reader.lab.host().run("ls", ["/var/run/netns/"]).success().stdout().contains("red"));

    // As short as the tutorial is: `l`, `a` and `r`.
    reader.netctl("l add veth veth0 veth1");
    reader.netctl("l set veth1 netns red");
    reader.netctl("-n red l set veth1 name eth0");
    assert_eq!(reader.names("-n red l"), ["lo", "eth0"]);
    assert_eq!(reader.row("l", "veth0")[2], "red:eth0");
    reader.netctl("-n red link set eth0 up");
    reader.netctl("-n red a add 10.0.0.2/16 dev eth0");
    reader.netctl("-n red r add default via 10.0.0.1");
    assert_eq!(reader.row("-n red r", "default")[..2], ["10.0.0.1", "eth0"]);
    // `ip route flush cache` needs no counterpart; these two change nothing, as in the tutorial.
    reader.netctl("-n red l set eth0 up");
    reader.netctl("-n red l set dev lo up");
    reader.pings("red", "127.0.0.1");

    assert_eq!(reader.row("-n red l", "eth0")[0], "no-carrier");
    reader.gets_no_answer("red", "172.17.0.2");
    reader.gets_no_answer("red", "8.8.8.8");
}

fn a_bridge_leads_to_the_host(reader: &Reader) {
    reader.netctl("l add bridge br0");
    reader.netctl("l set br0 up");
    reader.netctl("a add 10.0.0.1/16 dev br0");
    // "Check the routing table .. what do you see?"
    assert_eq!(reader.row("r", "10.0.0.0/16"), ["-", "br0", "kernel", "link", "10.0.0.1", "0"]);
    reader.netctl("l set veth0 up");
    reader.netctl("l set veth0 master br0");
    // `brctl show`
    assert_eq!(reader.names("link ls --master br0"), ["veth0"]);
    assert_eq!(reader.row("l", "br0")[1], "bridge");
    reader.pings("red", "172.17.0.2");

    // The tutorial's container forwards already: its packets get out, and no answer back.
    reader.netctl("sysctl set net.ipv4.ip_forward=1");
    reader.gets_no_answer("red", "8.8.8.8");
}

fn masquerading_leads_to_the_internet(reader: &Reader) {
    // "Do we need br0 MASQUERADE also?" No: what goes out of br0 stays untranslated.
    reader.netctl("nat masquerade add --source 10.0.0.0/16");
    reader.pings("red", "8.8.8.8");
    let heard = reader.lab.ns("red").capture("eth0");
    reader.pings("host", "10.0.0.2");
    let from_the_bridge = heard.stop().packets().any(|packet| packet.src.ip().to_string() == "10.0.0.1");
    assert!(from_the_bridge, "the host speaks for itself");

    // "Remember layer 2?" `arping 172.17.0.2` from inside: the host answers for any address that it has, by br0's MAC.
    reader.netctl("-n red route add 172.17.0.2 dev eth0");
    reader.pings("red", "172.17.0.2");
    assert_eq!(reader.row("-n red neigh", "172.17.0.2")[..2], ["eth0", &reader.mac("host", "br0")]);
}

#[test]
fn the_bridge_labs_network_from_one_file() {
    Reader::builds(TOPOLOGY, "c1", |reader| {
        assert_eq!(reader.row("link ls --master br0", "veth0")[2], "red:eth0");
        assert_eq!(reader.row("-n red route", "default")[..2], ["10.0.0.1", "eth0"]);
        reader.pings("red", "172.17.0.2");
        reader.pings("red", "8.8.8.8");
    });
}

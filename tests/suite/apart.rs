//! Networks that are kept apart, by a firewall or by reverse-path filters: what crosses, and what has to be said for it.

use netctl_tests::{lab::Lab, skip};

/// The server is in both networks of the gateway and leaves by the first.
const TOPOLOGY: &str = r#"
[namespaces.red]
[namespaces.server]
[namespaces.outside]
[namespaces.gateway]
sysctls = { SYSCTLS }

[bridges.lan]
namespace = "gateway"
addresses = ["10.1.0.1/24", "fd01::1/64"]
[bridges.lan.ports]
red = { addresses = ["10.1.0.2/24", "fd01::2/64"] }
server = { addresses = ["10.1.0.3/24", "fd01::3/64"], SERVER_IN_LAN }

[bridges.dmz]
namespace = "gateway"
addresses = ["10.2.0.1/24", "fd02::1/64"]
[bridges.dmz.ports]
server = { addresses = ["10.2.0.2/24", "fd02::2/64"], port = "server-dmz", SERVER_IN_DMZ }

[[cables]]
a = { namespace = "gateway", interface = "wan0", addresses = ["198.51.100.1/24", "2001:db8:51::1/64"] }
b = { namespace = "outside", interface = "eth0", addresses = ["198.51.100.2/24", "2001:db8:51::2/64"] }

[nat]
masquerade = [
    { namespace = "gateway", source = "10.1.0.0/24", out = "wan0" },
    { namespace = "gateway", source = "10.2.0.0/24", out = "wan0" },
    { namespace = "gateway", source = "fd01::/64", out = "wan0" },
    { namespace = "gateway", source = "fd02::/64", out = "wan0" },
]
forward = [
    { namespace = "gateway", listen = "198.51.100.1:8081/tcp", to = "10.1.0.3:80" },
    { namespace = "gateway", listen = "198.51.100.1:8082/tcp", to = "10.2.0.2:80" },
    { namespace = "gateway", listen = "[2001:db8:51::1]:8081/tcp", to = "[fd01::3]:80" },
    { namespace = "gateway", listen = "[2001:db8:51::1]:8082/tcp", to = "[fd02::2]:80" },
]
"#;

const OUTSIDE: [&str; 2] = ["198.51.100.1", "2001:db8:51::1"];

/// Tells who asked.
const WHO: &str = "
import socket, sys
s = socket.create_server(('::', int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    call, (host, *_) = s.accept()
    call.send(host.removeprefix('::ffff:').encode())
    call.close()
";

const ASK: &str = "
import socket, sys
to, port, patience = sys.argv[1:]
print(socket.create_connection((to, int(port)), float(patience)).makefile().read())
";

/// The gateway with these sysctls; the server's default route is by the network that is named.
fn lab(sysctls: &str, default_route: &str) -> Lab {
    let route = |network| format!("default-route = {}", network == default_route);
    let topology = TOPOLOGY.replace("SYSCTLS", sysctls);
    let topology = topology.replace("SERVER_IN_LAN", &route("lan")).replace("SERVER_IN_DMZ", &route("dmz"));
    let lab = Lab::new();
    lab.file("netctl.toml", topology);
    lab.netctl(["up"]).success();
    lab
}

/// Whom the server takes the caller for; nobody if the call does not come through.
fn ask(lab: &Lab, place: &str, to: &str, port: &str) -> Option<String> {
    let output = lab.ns(place).run("python3", ["-c", ASK, to, port, "5"]);
    (output.code() == Some(0)).then(|| output.stdout().trim().to_owned())
}

#[track_caller]
fn assert_cut_off(lab: &Lab, place: &str, to: &str, port: &str) {
    let output = lab.ns(place).run("python3", ["-c", ASK, to, port, "1"]);
    assert!(output.stderr().contains("timed out"), "{place} reaches {to} at {port}: {output}");
}

const STRICT: &str = r#""net.ipv4.conf.all.rp_filter" = "1", "net.ipv4.conf.default.rp_filter" = "1""#;

/// The filter drops answers that come from another network than the one that their source is in: a server answers by its
/// default route, whichever of its addresses was called. IPv6 has no such filter.
#[test]
fn row_35_a_server_in_two_networks_is_reached_past_reverse_path_filters() {
    let strict = lab(STRICT, "lan");
    let _server = strict.ns("server").serve(80, "python3", ["-c", WHO, "80"]);
    for (place, to, seen) in [
        ("outside", OUTSIDE[0], "198.51.100.2"),
        ("outside", OUTSIDE[1], "2001:db8:51::2"),
        ("red", OUTSIDE[0], OUTSIDE[0]),
        ("red", OUTSIDE[1], OUTSIDE[1]),
        ("gateway", OUTSIDE[0], "10.1.0.1"),
        ("gateway", "127.0.0.1", "10.1.0.1"),
    ] {
        assert_eq!(ask(&strict, place, to, "8081").as_deref(), Some(seen), "{place}, by {to}");
    }
    assert_cut_off(&strict, "outside", OUTSIDE[0], "8082");
    assert_eq!(ask(&strict, "outside", OUTSIDE[1], "8082").as_deref(), Some("2001:db8:51::2"));

    // Where the answers come in, it need not be the same interface any more.
    let loose = lab(&format!(r#"{STRICT}, "net.ipv4.conf.lan.rp_filter" = "2""#), "lan");
    let _server = loose.ns("server").serve(80, "python3", ["-c", WHO, "80"]);
    for (place, port) in [("outside", "8081"), ("outside", "8082"), ("gateway", "8082")] {
        assert!(ask(&loose, place, OUTSIDE[0], port).is_some(), "{place}, at {port}");
    }
}

const APART: [&str; 2] = [
    "for program in iptables ip6tables; do
        $program -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
        $program -A FORWARD -i lan -o dmz -j DROP
        $program -A FORWARD -i dmz -o lan -j DROP
        $program -A FORWARD -i wan0 -j DROP
    done",
    "nft -f - << END
        table inet apart {
            chain forward {
                type filter hook forward priority 0
                ct state established,related accept
                iifname lan oifname dmz drop
                iifname dmz oifname lan drop
                iifname wan0 drop
            }
        }
END",
];

/// For the forward, by where it leads.
const BUT_FOR_THE_FORWARD: [&str; 2] = [
    "iptables -I FORWARD -d 10.2.0.2 -p tcp --dport 80 -j ACCEPT
     ip6tables -I FORWARD -d fd02::2 -p tcp --dport 80 -j ACCEPT",
    "nft insert rule inet apart forward ip daddr 10.2.0.2 tcp dport 80 accept
     nft insert rule inet apart forward ip6 daddr fd02::2 tcp dport 80 accept",
];

/// Whether bridges show netfilter what passes their ports, if the kernel can be asked (`br_netfilter`). It then sees what
/// comes from inside before netctl does.
fn show_netfilter(lab: &Lab, yes: bool) -> bool {
    let set = format!("cd /proc/sys/net/bridge && echo {} | tee bridge-nf-call-ip*tables", u8::from(yes));
    lab.ns("gateway").run("sh", ["-c", &set]).code() == Some(0)
}

#[track_caller]
fn firewall(lab: &Lab, rules: &str) {
    lab.ns("gateway").run("sh", ["-e", "-c", rules]).success();
}

/// A firewall on the gateway sees a forwarded packet on its way to the server, and its answers on their way to the caller,
/// as one connection.
#[test]
fn row_36_a_forward_crosses_an_isolation_by_a_rule_for_where_it_leads_and_nothing_else_does() {
    for (apart, but_for_the_forward) in APART.into_iter().zip(BUT_FOR_THE_FORWARD) {
        let lab = lab("", "dmz");
        // In the dmz alone, or red would be its neighbour.
        lab.ns("server").run("ip", ["link", "delete", "eth0"]).success();
        let _servers = ["80", "81"]
            .map(|port| lab.ns("server").serve(port.parse().unwrap(), "python3", ["-c", WHO, port]));
        show_netfilter(&lab, false);

        firewall(&lab, apart);
        for to in OUTSIDE {
            for place in ["red", "outside"] {
                assert_cut_off(&lab, place, to, "8082");
            }
        }
        firewall(&lab, but_for_the_forward);
        for ((to, server), caller) in
            OUTSIDE.into_iter().zip(["10.2.0.2", "fd02::2"]).zip(["198.51.100.2", "2001:db8:51::2"])
        {
            assert_eq!(ask(&lab, "red", to, "8082").as_deref(), Some(to));
            assert_eq!(ask(&lab, "outside", to, "8082").as_deref(), Some(caller));
            assert_cut_off(&lab, "red", server, "81");
            let ping = lab.ns("red").run("ping", ["-c", "1", "-W", "1", server]);
            assert_eq!(ping.code(), Some(1), "{ping}");
        }
    }
}

#[test]
fn row_36_where_bridges_show_netfilter_what_passes_the_answers_from_inside_need_a_rule_of_their_own() {
    let lab = lab("", "dmz");
    if !show_netfilter(&lab, true) {
        skip!("kernel: no br_netfilter");
    }
    lab.ns("server").run("ip", ["link", "delete", "eth0"]).success();
    let _server = lab.ns("server").serve(80, "python3", ["-c", WHO, "80"]);
    firewall(&lab, APART[0]);
    firewall(&lab, BUT_FOR_THE_FORWARD[0]);
    assert_eq!(ask(&lab, "outside", OUTSIDE[0], "8082").as_deref(), Some("198.51.100.2"));
    assert_cut_off(&lab, "red", OUTSIDE[0], "8082");
    firewall(&lab, "iptables -I FORWARD -s 10.2.0.2 -p tcp --sport 80 -j ACCEPT");
    assert_eq!(ask(&lab, "red", OUTSIDE[0], "8082").as_deref(), Some(OUTSIDE[0]));
}

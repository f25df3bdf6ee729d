//! Networks that are broken in one way each: trace names the cause, the packet really is lost, and the remedy helps.

use netctl_tests::lab::{Lab, Output};

use super::{send, serve};

/// One way to break the quickstart.
struct Broken {
    /// What breaks it, where.
    by: &'static [(&'static str, &'static str)],
    /// What is asked.
    from: &'static str,
    to: &'static str,
    /// What is said of it.
    verdict: &'static str,
    hint: &'static str,
    /// What puts it right, if it is not the hint itself.
    cure: Option<&'static str>,
}

/// Where the hint is the remedy, its words are a command.
fn run(lab: &Lab, command: &str) {
    let words: Vec<String> = shell_words(command);
    match words.split_first().unwrap() {
        (program, words) if program == "netctl" => lab.netctl(words.iter().map(String::as_str)).success(),
        (program, words) => lab.host().run(program, words.iter().map(String::as_str)).success(),
    };
}

/// Words, of which one may be in quotes.
fn shell_words(command: &str) -> Vec<String> {
    let mut parts = command.split('\'');
    let mut words: Vec<String> = parts.next().unwrap().split_whitespace().map(str::to_owned).collect();
    words.extend(parts.next().map(str::to_owned));
    words
}

fn words<'a>(lab: &'a Lab, question: &[&str]) -> (Output<'a>, String, String) {
    let said = lab.netctl([&["trace", "--json"], question].concat());
    let document = said.json();
    let word = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
    (said, word("verdict"), word("hint"))
}

#[track_caller]
fn assert_found(lab: &Lab, broken: &Broken) {
    let Broken { by, from, to, verdict, hint, cure } = broken;
    for (place, command) in *by {
        lab.ns(place).run("sh", ["-c", command]).success();
    }
    let (said, found, advice) = words(lab, &[from, "-", to]);
    let said = said.fails(3);
    assert!(found.contains(verdict), "`{verdict}` is not in `{found}` of {said}");
    assert!(advice.contains(hint), "`{hint}` is not in `{advice}` of {said}");
    assert_ne!(send(lab, from, to, "1").code(), Some(0), "{by:?} does not keep {from} from {to}: {said}");
    run(lab, cure.unwrap_or(&advice));
    lab.netctl(["trace", from, "-", to]).success();
    send(lab, from, to, "10").success();
}

#[track_caller]
fn assert_all_found(all: &[Broken]) {
    let lab = Lab::quickstart();
    let _servers = [serve(&lab, "blue"), serve(&lab, "internet")];
    all.iter().for_each(|broken| assert_found(&lab, broken));
}

#[test]
fn links_and_carriers() {
    let up = Some("netctl up");
    assert_all_found(&[
        Broken {
            by: &[("router", "ip link set wan0 down")],
            from: "red",
            to: "203.0.113.2:80/tcp",
            verdict: "dies in `router`: `wan0` is down",
            hint: "`netctl up` again, with the file of `quickstart`",
            cure: up,
        },
        Broken {
            by: &[("red", "ip link set eth0 down")],
            from: "red",
            to: "203.0.113.2:80/tcp",
            verdict: "dies in `red`: `eth0` is down",
            hint: "netctl -n red link set eth0 up",
            cure: up,
        },
        Broken {
            by: &[("blue", "ip link set eth0 down")],
            from: "red",
            to: "192.168.15.2:80/tcp",
            verdict: "`veth-blue-br` to `eth0` of `blue`: `eth0` is down",
            hint: "netctl -n blue link set eth0 up",
            cure: up,
        },
        Broken {
            by: &[("router", "ip link set veth-red-br down")],
            from: "red",
            to: "[2001:db8:113::2]:80/tcp",
            verdict: "`veth-red-br` is down",
            hint: "netctl -n router link set veth-red-br up",
            cure: up,
        },
        Broken {
            by: &[("internet", "ip link set eth0 down")],
            from: "red",
            to: "203.0.113.2:80/tcp",
            verdict: "dies in `internet`: `wan0` to `eth0` of `internet`: `eth0` is down",
            hint: "netctl -n internet link set eth0 up",
            cure: up,
        },
        Broken {
            by: &[("router", "ip link set veth-blue-br nomaster")],
            from: "red",
            to: "192.168.15.2:80/tcp",
            verdict: "nobody answers for 192.168.15.2 at `eth0`",
            hint: "give somebody there the address",
            cure: up,
        },
    ]);
}

#[test]
fn routes_here_and_at_the_answering_end() {
    assert_all_found(&[
        Broken {
            by: &[("red", "ip route del default")],
            from: "red",
            to: "203.0.113.2:80/tcp",
            verdict: "dies in `red`: no route to 203.0.113.2",
            hint: "netctl -n red route add default via 192.168.15.5",
            cure: None,
        },
        Broken {
            by: &[("blue", "ip -6 route del default")],
            from: "blue",
            to: "2001:db8:113::2",
            verdict: "dies in `blue`: no route to 2001:db8:113::2",
            hint: "netctl -n blue route add default via fd15::5",
            cure: None,
        },
        Broken {
            by: &[("blue", "ip route del default")],
            from: "internet",
            to: "203.0.113.1:8080/tcp",
            verdict: "arrives at `blue` as 192.168.15.2:80/tcp, from 203.0.113.2; the answer dies in `blue`: no route",
            hint: "netctl -n blue route add default via 192.168.15.5",
            cure: None,
        },
        Broken {
            by: &[("red", "ip route add blackhole 203.0.113.0/24")],
            from: "red",
            to: "203.0.113.2",
            verdict: "dies in `red`: a route blackhole 203.0.113.0/24 is in the way of 203.0.113.2",
            hint: "netctl show red",
            cure: Some("ip -n red route del blackhole 203.0.113.0/24"),
        },
        Broken {
            by: &[("red", "ip -6 route add unreachable 2001:db8:113::2/128")],
            from: "red",
            to: "2001:db8:113::2",
            verdict: "dies in `red`: a route unreachable 2001:db8:113::2/128 is in the way of 2001:db8:113::2",
            hint: "netctl show red",
            cure: Some("ip -n red -6 route del unreachable 2001:db8:113::2/128"),
        },
        Broken {
            by: &[("red", "ip rule add priority 50 to 203.0.113.2 prohibit")],
            from: "red",
            to: "203.0.113.2",
            verdict: "dies in `red`: a policy rule priority 50 to 203.0.113.2/32 prohibit is in the way of 203.0.113.2",
            hint: "netctl show red",
            cure: Some("ip -n red rule del priority 50"),
        },
    ]);
}

#[test]
fn an_inside_source_that_leaves_as_it_is_gets_no_answer() {
    let lab = Lab::new();
    let quickstart = include_str!("../../../netctl/quickstart.toml");
    let without = quickstart.replacen("source = \"192.168.15.0/24\"", "source = \"10.0.0.0/24\"", 1);
    lab.file("netctl.toml", without);
    lab.netctl(["up"]).success();
    let _server = serve(&lab, "internet");
    let broken = Broken {
        by: &[],
        from: "red",
        to: "203.0.113.2:80/tcp",
        verdict: "arrives at `internet` as 203.0.113.2:80/tcp, from 192.168.15.1; the answer dies in `internet`: no route \
                  to 192.168.15.1",
        hint: "netctl -n router nat masquerade add --source 192.168.15.0/24 --out wan0",
        cure: None,
    };
    assert_found(&lab, &broken);
}

#[test]
fn packet_filters_of_each_kind() {
    let lost =
        |by, to, hint| Broken { by, from: "red", to, verdict: "dies in `router`: chain `", hint, cure: None };
    assert_all_found(&[
        lost(
            &[("router", "iptables -P FORWARD DROP")],
            "203.0.113.2:80/tcp",
            "netctl exec router -- iptables -P FORWARD ACCEPT",
        ),
        lost(
            &[("router", "iptables-legacy -P FORWARD DROP")],
            "203.0.113.2:80/tcp",
            "netctl exec router -- iptables-legacy -P FORWARD ACCEPT",
        ),
        lost(
            &[(
                "router",
                "nft 'table inet fw { chain onward { type filter hook forward priority 0; policy drop; }; }'",
            )],
            "[2001:db8:113::2]:80/tcp",
            "netctl exec router -- nft 'chain inet fw onward { policy accept; }'",
        ),
        lost(
            &[("router", "ip6tables -P INPUT DROP")],
            "fd15::5",
            "netctl exec router -- ip6tables -P INPUT ACCEPT",
        ),
    ]);
    // Rules are not looked into: it is said that they are there.
    let lab = Lab::quickstart();
    for command in ["-P FORWARD DROP", "-A FORWARD -j ACCEPT"] {
        lab.ns("router").run("iptables", command.split(' ')).success();
    }
    let said = lab.netctl(["trace", "red", "203.0.113.2"]).success();
    assert!(said.stdout().contains("drops it unless one of its rules accepts it"), "{said}");
}

#[test]
fn sysctls() {
    assert_all_found(&[
        Broken {
            by: &[("router", "sysctl -q net.ipv4.ip_forward=0")],
            from: "red",
            to: "203.0.113.2:80/tcp",
            verdict: "dies in `router`: `router` has no address 203.0.113.2, and does not forward IPv4: \
                      net.ipv4.ip_forward is 0",
            hint: "netctl -n router sysctl set net.ipv4.ip_forward=1",
            cure: None,
        },
        Broken {
            by: &[("router", "sysctl -q net.ipv6.conf.all.forwarding=0")],
            from: "red",
            to: "[2001:db8:113::2]:80/tcp",
            verdict: "does not forward IPv6: net.ipv6.conf.all.forwarding is 0",
            hint: "netctl -n router sysctl set net.ipv6.conf.all.forwarding=1",
            cure: None,
        },
        Broken {
            by: &[("internet", "sysctl -q net.ipv4.icmp_echo_ignore_all=1")],
            from: "red",
            to: "203.0.113.2",
            verdict: "`internet` answers no echo requests",
            hint: "netctl -n internet sysctl set net.ipv4.icmp_echo_ignore_all=0",
            cure: None,
        },
        // Asymmetric: blue's packets come by the bridge, and the way back to it is said to be elsewhere.
        Broken {
            by: &[
                ("router", "ip link add away type bridge && ip link set away up"),
                ("router", "ip route add 192.168.15.2 dev away"),
                ("router", "sysctl -q net.ipv4.conf.v-net-0.rp_filter=1"),
            ],
            from: "blue",
            to: "192.168.15.5",
            verdict: "strict rp_filter: it comes by `v-net-0`, and the way back to 192.168.15.2 is by `away` \
                      (net.ipv4.conf.v-net-0.rp_filter is 1)",
            hint: "netctl -n router sysctl set net.ipv4.conf.all.rp_filter=2",
            cure: Some("ip -n router link del away"),
        },
    ]);
}

#[test]
fn sockets() {
    let lab = Lab::quickstart();
    for (question, port, answer) in [
        ("192.168.15.2:80/tcp", "80/tcp", "a reset: connection refused"),
        ("192.168.15.2:80/udp", "80/udp", "ICMP's \"port unreachable\""),
    ] {
        let (said, verdict, hint) = words(&lab, &["red", "-", question]);
        said.fails(3);
        let expected = format!("dies in `blue`: nobody listens on {port}; the answer is {answer}");
        assert_eq!((verdict, hint.as_str()), (expected, "start the server in `blue`"));
        assert_ne!(send(&lab, "red", question, "1").code(), Some(0));
    }
    let near = lab.ns("blue").serve(80, "python3", ["-m", "http.server", "80", "--bind", "127.0.0.1"]);
    let (said, verdict, hint) = words(&lab, &["red", "-", "192.168.15.2:80/tcp"]);
    said.fails(3);
    assert!(
        verdict.contains("who listens on 80/tcp is bound to 127.0.0.1, not to 192.168.15.2"),
        "{verdict}"
    );
    assert_eq!(hint, "have it listen on 192.168.15.2, or on all addresses");
    drop(near);
    let _server = serve(&lab, "blue");
    lab.netctl(["trace", "red", "-", "192.168.15.2:80/tcp"]).success();
    lab.netctl(["trace", "red", "-", "192.168.15.2:80/udp"]).success();
}

#[test]
fn a_process_that_has_the_port_of_a_forward_is_named() {
    let lab = Lab::quickstart();
    let _server = serve(&lab, "blue");
    let _holder = lab.ns("router").serve(8080, "python3", ["-m", "http.server", "8080"]);
    let said = lab.netctl(["trace", "internet", "-", "203.0.113.1:8080/tcp"]).success();
    assert!(said.stdout().contains("tcp port 8080 is held by `python3`"), "{said}");
    assert_eq!(send(&lab, "internet", "203.0.113.1:8080/tcp", "10").success().stdout().trim(), "203.0.113.2");
}

#[test]
fn what_is_too_long() {
    let lab = Lab::quickstart();
    let big = |lab: &Lab| {
        lab.ns("red").run("ping", ["-c", "1", "-W", "1", "-M", "do", "-s", "1372", "203.0.113.2"]).code()
    };
    lab.ns("router").run("ip", ["link", "set", "wan0", "mtu", "1300"]).success();
    let question = ["red", "-", "203.0.113.2", "--size", "1400"];
    let (said, verdict, hint) = words(&lab, &question);
    said.fails(3);
    assert!(
        verdict.contains("1400 bytes are too long for `wan0` (mtu 1300): `router` answers with ICMP's"),
        "{verdict}"
    );
    assert_eq!(hint, "send less at once, or netctl -n router link set wan0 mtu 1400");
    assert_ne!(big(&lab), Some(0));
    lab.netctl(["trace", "red", "203.0.113.2"]).success();
    lab.ns("router").run("ip", ["link", "set", "wan0", "mtu", "1500"]).success();
    lab.netctl([&["trace"], &question[..]].concat()).success();
    // The other end of the cable drops it without telling anybody.
    lab.ns("internet").run("ip", ["link", "set", "eth0", "mtu", "1300"]).success();
    let (said, verdict, _) = words(&lab, &question);
    said.fails(3);
    assert!(verdict.contains("too long for `eth0` (mtu 1300), which drops them without a word"), "{verdict}");
    lab.ns("red").run("ip", ["route", "flush", "cache"]).success();
    assert_ne!(big(&lab), Some(0));
}

#[test]
fn what_the_programs_drop() {
    let lab = Lab::quickstart();
    let _servers = [serve(&lab, "blue"), serve(&lab, "internet")];
    let add = "netctl -n router nat forward add --listen 203.0.113.1:8081/tcp --to 192.168.15.2:80 --allow 198.51.100.0/24";
    run(&lab, add);
    let (said, verdict, hint) = words(&lab, &["internet", "-", "203.0.113.1:8081/tcp"]);
    said.fails(3);
    assert!(
        verdict.contains("dies in `router`: dropped (not-allowed): client that the forward does not allow"),
        "{verdict}"
    );
    assert_eq!(hint, "have `allow` of the forward name the client's network");
    assert_ne!(send(&lab, "internet", "203.0.113.1:8081/tcp", "1").code(), Some(0));

    lab.ns("internet").run("ip", ["route", "add", "192.168.15.0/24", "via", "203.0.113.1"]).success();
    let (said, verdict, hint) = words(&lab, &["internet", "-", "192.168.15.2:80/tcp"]);
    said.fails(3);
    assert!(
        verdict.contains("dropped (unsolicited): from outside straight to an inside address"),
        "{verdict}"
    );
    assert!(hint.contains("`netctl nat forward add`"), "{hint}");
    assert_ne!(send(&lab, "internet", "192.168.15.2:80/tcp", "1").code(), Some(0));
}

#[test]
fn a_full_table_has_no_room_for_another_flow() {
    let lab = Lab::new();
    let quickstart = include_str!("../../../netctl/quickstart.toml");
    lab.file("netctl.toml", format!("{quickstart}\n[nat]\nmax-flows = 2\n"));
    lab.netctl(["up"]).success();
    let _server = serve(&lab, "internet");
    for place in ["red", "blue"] {
        lab.netctl(["trace", "red", "-", "203.0.113.2:80/udp"]).success();
        send(&lab, place, "203.0.113.2:80/udp", "10").success();
    }
    let (said, verdict, hint) = words(&lab, &["red", "-", "203.0.113.2:80/udp"]);
    said.fails(3);
    assert!(verdict.contains("dropped (table-full): flow table full"), "{verdict}");
    assert_eq!(hint, "`[nat] max-flows`, or shorter `[nat.timeouts]`");
    assert_ne!(send(&lab, "red", "203.0.113.2:80/udp", "1").code(), Some(0));
}

#[test]
fn a_rule_whose_only_port_is_taken_has_none_for_the_next() {
    let lab = Lab::new();
    let quickstart = include_str!("../../../netctl/quickstart.toml");
    let one = quickstart.replacen(
        "source = \"192.168.15.0/24\"",
        "source = \"192.168.15.0/24\"\nports = \"20000-20000\"",
        1,
    );
    lab.file("netctl.toml", one);
    lab.netctl(["up"]).success();
    let _server = serve(&lab, "internet");
    lab.netctl(["trace", "red", "-", "203.0.113.2:80/udp"]).success();
    lab.netctl(["trace", "red", "-", "203.0.113.2:80/udp"]).success();
    send(&lab, "blue", "203.0.113.2:80/udp", "10").success();
    let (said, verdict, hint) = words(&lab, &["red", "-", "203.0.113.2:80/udp"]);
    said.fails(3);
    assert!(verdict.contains("dropped (no-port): no free port to translate to"), "{verdict}");
    assert_eq!(hint, "a wider `ports` of the rule, or another `address` beside it");
    assert_ne!(send(&lab, "red", "203.0.113.2:80/udp", "1").code(), Some(0));
}

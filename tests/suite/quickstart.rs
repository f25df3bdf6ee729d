//! The quickstart, as a user meets it.

use netctl_tests::{
    capture::Heard,
    lab::{Lab, eventually},
};

/// The quickstart in one address family.
struct Family {
    /// What the web server in `blue` is told beside its port.
    bind: &'static [&'static str],
    /// The forwarded port, by the gateway's outside address.
    forwarded: &'static str,
    /// The server itself, for who is inside.
    direct: &'static str,
    /// The forwarded port by the gateway's loopback.
    loopback: &'static str,
    /// The machine in `internet`.
    client: &'static str,
    /// The same in a URL.
    internet: &'static str,
}

const FAMILIES: [Family; 2] = [
    Family {
        bind: &[],
        forwarded: "http://203.0.113.1:8080",
        direct: "http://192.168.15.2",
        loopback: "http://127.0.0.1:8080",
        client: "203.0.113.2",
        internet: "http://203.0.113.2",
    },
    Family {
        bind: &["--bind", "::"],
        forwarded: "http://[2001:db8:113::1]:8080",
        direct: "http://[fd15::2]",
        loopback: "http://[::1]:8080",
        client: "2001:db8:113::2",
        internet: "http://[2001:db8:113::2]",
    },
];

#[test]
fn rows_20_21_38_40_51_everything_answers_everyone_and_the_outside_never_sees_the_inside() {
    let lab = Lab::quickstart();
    lab.file("index.html", "a page\n");
    let capture = lab.ns("internet").capture("eth0");
    for family in &FAMILIES {
        the_web_server_answers_everyone(&lab, family);
        red_reaches_the_internet(&lab, family);
    }
    assert_no_inside_source(&capture.stop());
    no_rules_of_netfilter(&lab);
}

fn the_web_server_answers_everyone(lab: &Lab, family: &Family) {
    let words = ["exec", "blue", "--", "python3", "-u", "-m", "http.server", "80"];
    let mut server = lab.start_netctl(words.iter().chain(family.bind).copied());
    eventually("the web server listens", || {
        server.assert_alive();
        lab.ns("blue").listens(80)
    });
    for (place, url) in [
        ("internet", family.forwarded),
        ("router", family.forwarded),
        ("router", family.loopback),
        ("red", family.forwarded),
        ("blue", family.forwarded),
        ("red", family.direct),
    ] {
        fetch(lab, place, url);
    }
    let log = server.log();
    let clients: Vec<_> =
        log.lines().filter_map(|line| line.split_once(" - - ")).map(|line| line.0).collect();
    assert_eq!(clients.len(), 6, "{log}");
    assert_eq!(clients[0], family.client, "the server sees the client's own address");
}

fn red_reaches_the_internet(lab: &Lab, family: &Family) {
    lab.ns("red").run("ping", ["-c", "3", "-i", "0.1", "-W", "5", family.client]).success();
    let _server = lab.ns("internet").serve(80, "python3", ["-m", "http.server", "80", "--bind", "::"]);
    fetch(lab, "red", family.internet);
}

#[track_caller]
fn fetch(lab: &Lab, from: &str, url: &str) {
    let page = lab.ns(from).run("curl", ["-sS", "-g", "-m", "5", url]).success();
    assert_eq!(page.stdout(), "a page\n", "{page}");
}

/// Neither 192.168.15.0/24 nor fd15::/64.
fn assert_no_inside_source(heard: &Heard) {
    let both = [true, false].map(|v4| heard.packets().filter(|packet| packet.src.is_ipv4() == v4).count());
    assert!(both.iter().all(|count| *count > 20), "{both:?}");
    for packet in heard.packets() {
        let source = packet.src.ip().to_string();
        assert!(!source.starts_with("192.168.15.") && !source.starts_with("fd15:"), "{packet:?}");
    }
}

fn no_rules_of_netfilter(lab: &Lab) {
    assert_eq!(lab.ns("router").run("nft", ["list", "ruleset"]).success().stdout(), "");
    for program in ["iptables-save", "ip6tables-save"] {
        let saved = lab.ns("router").run(program, []).success();
        assert!(!saved.stdout().lines().any(|line| line.starts_with('-')), "{saved}");
    }
}

#[test]
fn nothing_of_netctl_runs_on_and_translation_does() {
    let lab = Lab::quickstart();
    let processes = lab.host().run("ps", ["-e", "-o", "comm="]).success();
    assert_eq!(processes.stdout().lines().collect::<Vec<_>>(), ["cat", "ps"], "the lab's own ones");
    for Family { client, .. } in &FAMILIES {
        lab.ns("red").run("ping", ["-c", "1", "-W", "5", client]).success();
    }
}

#[test]
fn iproute2_sees_what_netctl_made() {
    let lab = Lab::quickstart();
    let names = lab.host().run("ip", ["netns", "list"]).success();
    let mut names: Vec<_> = names.stdout().lines().filter_map(|line| line.split(' ').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["blue", "internet", "red", "router"]);
    let addresses = lab.host().run("ip", ["-n", "red", "address", "show", "eth0"]).success();
    for address in ["192.168.15.1/24", "fd15::1/64"] {
        assert!(addresses.stdout().contains(address), "{addresses}");
    }
}

//! `netctl ping`: who reaches whom, on a network that is whole and on broken ones.

use netctl_tests::lab::{Lab, Output};
use serde_json::Value;

/// Time enough for a busy machine; what answers does so at once.
const PATIENT: [&str; 3] = ["ping", "--timeout", "5"];

/// `FROM TO ADDRESS` of what did not answer and should have.
fn failures(document: &Value) -> Vec<String> {
    let word = |probe: &Value, key: &str| probe[key].as_str().unwrap().to_owned();
    let probes = document["probes"].as_array().unwrap().iter();
    let failed = probes.filter(|probe| probe["expected"] == true && probe["answered"] == false);
    failed.map(|probe| ["from", "to", "address"].map(|key| word(probe, key)).join(" ")).collect()
}

#[track_caller]
fn failed(lab: &Lab) -> Vec<String> {
    let said = lab.netctl(["ping", "--json"]).fails(3);
    let document = said.json();
    assert_eq!(document["holds"], false, "{said}");
    failures(&document)
}

/// The rows below this title, a word each cell.
fn rows<'a>(said: &'a Output<'_>, title: &str) -> Vec<Vec<&'a str>> {
    let lines = said.stdout().lines().skip_while(|line| !line.starts_with(title));
    let table = lines.take_while(|line| !line.is_empty());
    table.map(|line| line.split_whitespace().filter(|word| *word != "ms").collect()).collect()
}

#[test]
fn everybody_reaches_everybody_of_the_quickstart_but_the_internet_what_is_inside() {
    let lab = Lab::quickstart();
    let said = lab.netctl(PATIENT).success();
    for (title, cells) in [("IPv4", [5, 4, 4, 4, 4]), ("IPv6", [5, 4, 4, 4, 4])] {
        let rows = rows(&said, title);
        assert_eq!(rows.iter().map(Vec::len).collect::<Vec<_>>(), cells, "{said}");
        assert_eq!(rows[0][1..], ["red", "blue", "router", "internet"]);
        assert_eq!(rows[4][..3], ["internet", "-", "-"], "{said}");
    }
    assert_eq!(rows(&said, "forward").len(), 3, "{said}");
    assert!(said.stdout().contains("internet to red, blue, router: `internet` has no route\n"), "{said}");
    assert!(said.stdout().ends_with("quickstart: all 32 that should answer do\n"), "{said}");
    assert!(!said.stdout().contains("FAIL"), "{said}");
    let document = lab.netctl(["ping", "quickstart", "--json", "-t", "5"]).success().json();
    assert_eq!((&document["topology"], &document["holds"]), (&"quickstart".into(), &true.into()));
    let probes = document["probes"].as_array().unwrap();
    let expected = probes.iter().filter(|probe| probe["expected"] == true);
    assert_eq!((probes.len(), expected.count()), (38, 32));
    assert_eq!(probes.iter().filter(|probe| probe["protocol"] == "tcp").count(), 8);
    for probe in probes {
        assert_eq!(probe["expected"], probe["answered"], "{probe}");
        assert_eq!(probe["answered"], probe["microseconds"].is_u64(), "{probe}");
        assert_eq!(probe["answered"], probe["error"].is_null(), "{probe}");
        assert_eq!(probe["expected"], probe["why_not"].is_null(), "{probe}");
    }
    assert!(!lab.ns("blue").listens(80), "the listener goes with the command");
}

#[test]
fn a_link_that_is_down_fails_all_that_goes_through_it() {
    let lab = Lab::quickstart();
    lab.ns("red").run("ip", ["link", "set", "eth0", "down"]).success();
    let failed = failed(&lab);
    assert!(failed.iter().all(|probe| probe.contains("red ")), "{failed:?}");
    for probe in [
        "red blue 192.168.15.2",
        "blue red fd15::1",
        "red internet 203.0.113.2",
        "red router 203.0.113.1:8080",
    ] {
        assert!(failed.contains(&probe.to_owned()), "{probe}: {failed:?}");
    }
    let said = lab.netctl(["ping", "-t", "0.3"]).fails(3);
    assert!(said.stdout().contains("FAIL  red to blue, 192.168.15.2: Network is unreachable\n"), "{said}");
    assert!(said.stdout().contains("FAIL  blue to red, 192.168.15.1: no answer\n"), "{said}");
}

#[test]
fn a_route_that_is_missing_fails_what_it_leads_to() {
    let lab = Lab::quickstart();
    lab.ns("blue").run("ip", ["route", "del", "default"]).success();
    let outside = ["router 203.0.113.1", "internet 203.0.113.2", "router 203.0.113.1:8080"];
    let mut expected = outside.map(|to| format!("blue {to}")).to_vec();
    // The server in blue does not find its way back either.
    expected.push("internet router 203.0.113.1:8080".to_owned());
    let mut failed = failed(&lab);
    failed.retain(|probe| probe != "red router 203.0.113.1:8080");
    failed.sort();
    expected.sort();
    assert_eq!(failed, expected);
}

#[test]
fn a_dropping_policy_fails_what_is_forwarded_and_nothing_else() {
    let lab = Lab::quickstart();
    lab.ns("router").run("iptables", ["-P", "FORWARD", "DROP"]).success();
    let failed = failed(&lab);
    for probe in ["red internet 203.0.113.2", "internet router 203.0.113.1:8080"] {
        assert!(failed.contains(&probe.to_owned()), "{probe}: {failed:?}");
    }
    // (Whether red reaches blue is up to `bridge-nf-call-iptables`.)
    for probe in &failed {
        assert!(
            !probe.contains("::") && !probe.starts_with("router ") && !probe.contains(" 203.0.113.1 "),
            "{failed:?}"
        );
    }
}

#[test]
fn a_server_that_is_there_is_the_one_that_is_called() {
    let lab = Lab::quickstart();
    let mut server = lab.ns("blue").serve(80, "python3", ["-u", "-m", "http.server", "80", "--bind", "::"]);
    lab.netctl(PATIENT).success();
    server.assert_alive();
    assert!(lab.ns("blue").listens(80));
}

#[test]
fn what_answers_against_expectation_is_shown_and_is_no_failure() {
    let lab = Lab::quickstart();
    for sysctl in ["net.ipv4.conf.all.proxy_arp=1", "net.ipv4.ip_forward=1"] {
        lab.ns("internet").run("sysctl", ["-q", sysctl]).success();
    }
    let file = lab.file(
        "two.toml",
        "[namespaces.a]\n[namespaces.b]\n[namespaces.c]\n\
        [[cables]]\na = { namespace = 'a', interface = 'x', addresses = ['10.0.0.1/24'] }\n\
        b = { namespace = 'b', interface = 'x', addresses = ['10.0.0.2/24'] }\n\
        [[cables]]\na = { namespace = 'b', interface = 'y', addresses = ['10.0.1.2/24'] }\n\
        b = { namespace = 'c', interface = 'y', addresses = ['10.0.1.3/24'] }",
    );
    lab.netctl(["up", file.to_str().unwrap()]).success();
    lab.netctl(["ping", "two", "-t", "5"]).success();
    for (place, words) in
        [("a", "route add 10.0.1.0/24 via 10.0.0.2"), ("c", "route add 10.0.0.0/24 via 10.0.1.2")]
    {
        lab.ns(place).run("ip", words.split(' ')).success();
    }
    lab.ns("b").run("sysctl", ["-q", "net.ipv4.ip_forward=1"]).success();
    let said = lab.netctl(["ping", "two", "-t", "5"]).success();
    assert!(said.stdout().contains(" ms !"), "{said}");
    assert!(said.stdout().contains("!     a to b, c: `a` has no route\n"), "{said}");
}

#[test]
fn who_is_gone_or_not_up_is_said_by_name() {
    let lab = Lab::quickstart();
    lab.netctl(["ns", "del", "red", "--force"]).success();
    let said = lab.netctl(["ping"]).fails(3);
    assert!(
        said.stdout().contains("FAIL  red to blue, 192.168.15.2: there is no namespace `red`\n"),
        "{said}"
    );
    let said = lab.netctl(["ping", "office"]).fails(1);
    assert_eq!(
        said.stderr(),
        "error: there is no topology `office`\nhint: `netctl ls` lists the topologies that are up, `netctl up FILE` brings one up\n"
    );
    lab.netctl(["ping", "-t", "0"]).fails(2);
}

#[test]
fn many_places_are_told_by_number_and_forget_each_other() {
    let lab = Lab::new();
    let file = lab.file(
        "many.toml",
        "[namespaces.worker]\ncount = 40\n[bridges.lan]\naddresses = ['10.0.0.1/24']\nports.worker = {}",
    );
    lab.netctl(["up", file.to_str().unwrap()]).success();
    let said = lab.netctl(["ping", "many", "-t", "10"]).success();
    let rows = rows(&said, "IPv4");
    assert_eq!(rows.len(), 42, "{said}");
    assert_eq!(rows[1], ["worker-0", "40", "of", "40"], "{said}");
    assert!(said.stdout().ends_with("many: all 1640 that should answer do\n"), "{said}");
    let known = lab.ns("worker-7").run("ip", ["neigh"]).success();
    assert!(known.stdout().lines().count() < 5, "the kernel's table is everybody's: {known}");
}

/// A site behind a gateway of its own, whose inside is like that of every other.
fn site(name: &str, number: u8) -> String {
    format!(
        "[namespaces.{name}-pc]\n[namespaces.{name}-gate]\n\
         [bridges.{name}-lan]\nnamespace = '{name}-gate'\naddresses = ['10.0.0.1/24']\n\
         ports.{name}-pc = {{ addresses = ['10.0.0.2/24'] }}\n\
         [bridges.net.ports.{name}-gate]\ninterface = 'wan'\naddresses = ['203.0.113.{number}/24']\ndefault-route = false\n\
         [[nat.masquerade]]\nnamespace = '{name}-gate'\nsource = '10.0.0.0/24'\nout = 'wan'\n\
         [[nat.forward]]\nnamespace = '{name}-gate'\nlisten = '8080/tcp'\nto = '10.0.0.2:80'\n"
    )
}

#[test]
fn two_sites_with_one_inside_network_are_told_apart() {
    let lab = Lab::new();
    let sites = [site("east", 1), site("west", 2)].concat();
    let text = format!(
        "[namespaces.net]\n[bridges.net]\nnamespace = 'net'\naddresses = ['203.0.113.9/24']\n{sites}"
    );
    let file = lab.file("sites.toml", &text);
    lab.netctl(["up", file.to_str().unwrap()]).success();
    let said = lab.netctl(["ping", "sites", "-t", "5"]).success();
    let forwards = rows(&said, "forward");
    let named: Vec<&[&str]> = forwards[1..].iter().map(|row| &row[..2]).collect();
    assert_eq!(named, [["east-gate", "8080/tcp"], ["west-gate", "8080/tcp"]], "{said}");
    assert!(!said.stdout().contains("FAIL") && !said.stdout().contains('!'), "{said}");
    assert!(said.stdout().contains("`east-pc` has that address, too, and gets it\n"), "{said}");
}

#[test]
fn policy_rules_and_routes_to_nowhere_are_expected_as_the_kernel_has_them() {
    let lab = Lab::new();
    let file = lab.file(
        "policy.toml",
        "[namespaces.a]\n[namespaces.b]\nforwarding = true\n[namespaces.c]\n\
        [[cables]]\na = { namespace = 'a', interface = 'x', addresses = ['10.0.0.1/24', 'fd00::1/64'] }\n\
        b = { namespace = 'b', interface = 'x', addresses = ['10.0.0.2/24', 'fd00::2/64'] }\n\
        [[cables]]\na = { namespace = 'b', interface = 'y', addresses = ['10.0.1.2/24', 'fd01::2/64'] }\n\
        b = { namespace = 'c', interface = 'y', addresses = ['10.0.1.3/24', '10.0.2.3/32', '10.0.3.3/32', 'fd01::3/64'] }\n\
        [[routes]]\nnamespace = 'c'\nto = 'default'\nvia = '10.0.1.2'\n\
        [[routes]]\nnamespace = 'c'\nto = '::/0'\nvia = 'fd01::2'\n\
        [[routes]]\nnamespace = 'b'\nto = '10.0.2.0/23'\ndev = 'y'\n\
        [[routes]]\nnamespace = 'b'\nto = '10.0.3.0/24'\ntype = 'prohibit'\nmetric = 5\n\
        [[routes]]\nnamespace = 'a'\nto = 'default'\nvia = '10.0.0.2'\ntable = 7\n\
        [[rules]]\nnamespace = 'a'\npriority = 10\nto = '10.0.0.0/16'\ntable = 7\n\
        [[routes]]\nnamespace = 'a'\nto = '::/0'\nvia = 'fd00::2'\ntable = 8\n\
        [[rules]]\nnamespace = 'a'\npriority = 10\nfrom = 'fd00::/64'\ntable = 8",
    );
    lab.netctl(["up", file.to_str().unwrap()]).success();
    let said = lab.netctl(["ping", "policy", "--json", "-t", "5"]).success();
    let document = said.json();
    let mut unexpected = Vec::new();
    for probe in document["probes"].as_array().unwrap() {
        assert_eq!(probe["expected"], probe["answered"], "{probe}");
        if probe["expected"] == false {
            let words = ["from", "address", "why_not"].map(|key| probe[key].as_str().unwrap());
            unexpected.push(words.join(" "));
        }
    }
    let refused = "`b` has route prohibit 10.0.3.0/24 metric 5";
    assert_eq!(unexpected, [format!("a 10.0.3.3 {refused}"), format!("b 10.0.3.3 {refused}")], "{said}");
}

//! What netctl refuses: it says why in the user's words, tells it by its exit status, and leaves all as it was.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use netctl_tests::lab::{self, Lab, eventually};
use nix::sys::signal::Signal;

/// Runs netctl, which has to refuse with exactly these words and change nothing.
#[track_caller]
fn refuses(lab: &Lab, words: &[&str], code: i32, stderr: &str) {
    let before = lab.snapshot();
    let said = lab.netctl(words.iter().copied()).fails(code);
    assert_eq!((said.stdout(), said.stderr()), ("", stderr), "{said}");
    lab.assert_unchanged_since(&before);
}

#[test]
fn a_file_that_is_wrong_says_where_and_what_was_meant() {
    let lab = Lab::new();
    for (text, stderr) in [
        (
            "[namespaces.red]\n[bridges.br0.ports]\nred = { addreses = ['10.0.0.1/24'] }\n",
            "error: office.toml:3: unknown key `addreses` in `bridges.br0.ports.red`\n\
             hint: did you mean `addresses`?\n",
        ),
        (
            "[bridges.br0]\ncolour = 'red'\n",
            "error: office.toml:2: unknown key `colour` in `bridges.br0`\n\
             hint: the keys here are `namespace`, `addresses`, `mtu`, `ports`\n",
        ),
        (
            "[bridges.br0]\naddresses = ['10.0.0.300/24']\n",
            "error: office.toml:2: `10.0.0.300/24` is not an address with a prefix length \
             (`bridges.br0.addresses[0]`)\n",
        ),
        (
            "[namespaces.red]\n[bridges.br0.ports]\n\
             red = { addresses = ['10.0.0.1/24'], interface = 'interface-of-16b' }\n",
            "error: office.toml:3: `interface-of-16b` is 16 bytes long, at most 15 are allowed \
             (`bridges.br0.ports.red.interface`)\n",
        ),
        (
            "[namespaces.red]\n[namespaces.blue]\n[bridges.br0.ports]\n\
             red = { addresses = ['10.0.0.1/24'] }\nblue = { addresses = ['10.0.0.1/24'] }\n",
            "error: office.toml:5: two ports with one address: `eth0` of `red` and `eth0` of `blue` both have \
             10.0.0.1 (`bridges.br0.ports.blue.addresses[0]`)\n",
        ),
        (
            "[namespaces.red]\n[[routes]]\nnamespace = 'rde'\nto = 'default'\nvia = '10.0.0.1'\n",
            "error: office.toml:3: unknown namespace `rde` (`routes[0].namespace`)\nhint: did you mean `red`?\n",
        ),
    ] {
        lab.file("office.toml", text);
        for verb in ["up", "plan"] {
            refuses(&lab, &[verb, "office.toml"], 2, stderr);
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_wrong_usage() {
    let lab = Lab::new();
    for (path, why) in [("office.toml", "No such file or directory"), ("/", "Is a directory")] {
        for verb in ["up", "plan", "down", "show"] {
            refuses(&lab, &[verb, path], 2, &format!("error: read `{path}`: {why}\n"));
        }
    }
}

#[test]
fn what_is_there_already_and_not_its_own_stays() {
    let lab = Lab::new();
    lab.host().run("ip", ["netns", "add", "red"]).success();
    refuses(
        &lab,
        &["up"],
        1,
        "error: create namespace `red`: it exists already and was not made by netctl\n\
         hint: choose another name in the file, or remove it with `netctl ns del red`\n",
    );

    lab.file("office.toml", "[namespaces.green]\n");
    lab.file("other.toml", "[namespaces.green]\n");
    lab.netctl(["up", "office.toml"]).success();
    refuses(
        &lab,
        &["up", "other.toml"],
        1,
        "error: create namespace `green`: it exists already and belongs to the topology `office`\n\
         hint: `netctl down office` removes that topology\n",
    );
}

#[test]
fn row_168_what_fails_half_way_is_undone() {
    let lab = Lab::new();
    lab.host().run("ip", ["link", "add", "taken0", "type", "veth", "peer", "taken1"]).success();
    for (text, stderr) in [
        (
            "[namespaces.red]\nsysctls = { 'net.ipv4.conf.nosuch.rp_filter' = '1' }\n",
            "error: set sysctl `net.ipv4.conf.nosuch.rp_filter` to `1` in namespace `red`: the kernel has no such key\n\
             hint: `netctl exec red -- sysctl -a` lists the keys that are there; some come with a module, or with an \
             interface\n",
        ),
        (
            "[namespaces.red]\n[[cables]]\na = { namespace = 'red', interface = 'eth0' }\n\
             b = { namespace = 'host', interface = 'taken0' }\n",
            "error: create link `taken0` on the host: it exists already and was not made by netctl\n\
             hint: choose another interface name in the file\n",
        ),
        (
            "[namespaces.red]\nsysctls = { 'net.ipv4.ip_forward' = 'many' }\n",
            "error: set sysctl `net.ipv4.ip_forward` to `many` in namespace `red`: Invalid argument\n\
             hint: the kernel does not take that value\n",
        ),
    ] {
        lab.file("office.toml", text);
        refuses(&lab, &["up", "office.toml"], 1, stderr);
    }
}

#[test]
fn row_168_a_change_that_fails_leaves_the_old_network_working() {
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../netctl/quickstart.toml");
    let quickstart = fs::read_to_string(FILE).unwrap();
    let lab = Lab::quickstart();
    for (what, old, new) in [
        ("a namespace", "[namespaces.red]", "[namespaces.green]\n[namespaces.red]"),
        ("a forward's port", "203.0.113.1:8080", "203.0.113.1:9090"),
        ("a masquerade's source", "\"192.168.15.0/24\"", "\"192.168.15.0/25\""),
        ("an IPv4 address", "192.168.15.1/24", "192.168.15.3/24"),
        ("an IPv6 address", "fd15::1/64", "fd15::3/64"),
        ("the uplink's address", "203.0.113.1/24\"", "203.0.113.1/24\", \"203.0.113.9/24\""),
        ("an interface", "red = {", "red = { interface = \"lan0\","),
        ("a port", "red = {", "red = { port = \"to-red\","),
        ("the bridge", "v-net-0", "v-net-1"),
        ("the uplink", "wan0", "wan1"),
        ("an MTU", "namespace = \"router\"\naddresses", "namespace = \"router\"\nmtu = 1400\naddresses"),
    ] {
        // The kernel refuses this as one of the last steps.
        let broken = quickstart
            .replace(old, new)
            .replace("[namespaces.blue]", "[namespaces.blue]\nsysctls = { 'net.ipv4.nosuch' = '1' }");
        lab.file("broken.toml", broken);
        let stderr = "error: set sysctl `net.ipv4.nosuch` to `1` in namespace `blue`: the kernel has no such key\n\
                      hint: `netctl exec blue -- sysctl -a` lists the keys that are there; some come with a module, or \
                      with an interface\n";
        refuses(&lab, &["up", "broken.toml"], 1, stderr);
        let plan = lab.netctl(["plan"]);
        assert_eq!(plan.code(), Some(0), "{what}: {plan}");
        for target in ["203.0.113.2", "2001:db8:113::2"] {
            lab.ns("red").run("ping", ["-c", "1", "-W", "5", target]).success();
        }
    }
}

#[test]
fn row_168_only_root_may() {
    let lab = Lab::new();
    fs::set_permissions(lab.directory(), Permissions::from_mode(0o755)).unwrap();
    let copy = lab.directory().join("netctl");
    fs::copy(lab::netctl(), &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    let before = lab.snapshot();
    for verb in [&["up"][..], &["plan"], &["down"], &["show"], &["exec", "red", "true"]] {
        let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "./netctl"];
        let said = lab.host().run("setpriv", nobody.iter().chain(verb).copied()).fails(1);
        assert_eq!(
            (said.stdout(), said.stderr()),
            (
                "",
                "error: netctl needs root: it makes namespaces and loads eBPF programs\nhint: run it with sudo\n"
            ),
            "{said}"
        );
    }
    lab.assert_unchanged_since(&before);
}

#[test]
fn an_interrupted_up_undoes_what_it_did() {
    const MANY: usize = 200;
    let lab = Lab::new();
    let (namespaces, ports): (Vec<_>, Vec<_>) = (0..MANY)
        .map(|n| {
            (format!("[namespaces.n{n}]\n"), format!("n{n} = {{ addresses = ['10.0.0.{}/24'] }}\n", n + 1))
        })
        .unzip();
    lab.file("many.toml", [namespaces.concat(), "[bridges.br0.ports]\n".into(), ports.concat()].concat());
    let before = lab.snapshot();
    for (signal, exit) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let up = lab.start_netctl(["up", "many.toml"]);
        eventually("some namespaces are there", || {
            lab.host().enter(|| fs::read_dir("/run/netns").is_ok_and(|names| names.count() > 10))
        });
        up.signal(signal);
        let said = up.finish().fails(exit);
        assert!(said.stdout().starts_with("error: interrupted before: "), "{said}");
        lab.assert_unchanged_since(&before);
    }
}

/// As containers often have it.
fn make_sysctls_read_only(lab: &Lab) {
    let remount = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys";
    lab.host().run("sh", ["-c", remount]).success();
}

#[test]
fn row_168_a_sysctl_that_cannot_be_written_is_named_and_the_rest_undone() {
    let lab = Lab::new();
    make_sysctls_read_only(&lab);
    let before = lab.snapshot();
    let said = lab.netctl(["up"]).fails(1);
    assert!(said.stderr().contains("forward") && said.stderr().contains("Read-only file system"), "{said}");
    lab.assert_unchanged_since(&before);
}

#[test]
fn row_169_a_sysctl_that_is_right_already_need_not_be_writable() {
    const FILE: &str = "
name = 'hosted'
[namespaces.red]
[namespaces.outside]
[bridges.br-test]
addresses = ['10.2.0.1/24']
ports.red = {}
[[cables]]
a = { namespace = 'host', interface = 'wan-test', addresses = ['198.51.100.1/24'] }
b = { namespace = 'outside', interface = 'eth0', addresses = ['198.51.100.2/24'] }
[[nat.masquerade]]
namespace = 'host'
source = '10.2.0.0/24'
out = 'wan-test'
";
    let lab = Lab::new();
    for right in ["net.ipv4.ip_forward=1", "net.netfilter.nf_conntrack_tcp_be_liberal=1"] {
        lab.host().run("sysctl", ["-qew", right]).success();
    }
    make_sysctls_read_only(&lab);
    lab.file("netctl.toml", FILE);
    let before = lab.snapshot();
    lab.netctl(["up"]).success();
    lab.ns("red").run("ping", ["-c", "1", "-W", "5", "198.51.100.2"]).success();
    lab.netctl(["down"]).success();
    lab.assert_unchanged_since(&before);
}

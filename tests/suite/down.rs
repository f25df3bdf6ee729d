//! Taking down: what `up` made goes, all of it and nothing else, whatever happened meanwhile.

use std::collections::BTreeSet;

use aya::programs::{ProgramInfo, loaded_programs};
use netctl_tests::lab::{Lab, eventually};

/// Bridge, cable, translation and forwarding on the host itself.
const ON_THE_HOST: &str = r#"
name = "hosted"

[namespaces.red]
[namespaces.outside]

[bridges.br-test]
addresses = ["10.2.0.1/24", "fd02::1/64"]
mtu = 1400
[bridges.br-test.ports]
red = { addresses = ["10.2.0.2/24", "fd02::2/64"] }

[[cables]]
a = { namespace = "host", interface = "wan-test", addresses = ["198.51.100.1/24", "2001:db8:51::1/64"] }
b = { namespace = "outside", interface = "eth0", addresses = ["198.51.100.2/24", "2001:db8:51::2/64"] }

[[nat.masquerade]]
namespace = "host"
source = "10.2.0.0/24"
out = "wan-test"

[[nat.masquerade]]
namespace = "host"
source = "fd02::/64"
out = "wan-test"
"#;

#[test]
fn row_165_down_removes_all_that_up_made() {
    for (file, said) in [
        (None, "quickstart is down: removed 4 namespaces, its NAT\n"),
        (
            Some(ON_THE_HOST),
            "hosted is down: removed 2 namespaces, 3 links on the host, its NAT; put back 3 sysctls of the host\n",
        ),
    ] {
        let lab = Lab::new();
        if let Some(text) = file {
            lab.file("netctl.toml", text);
        }
        let before = lab.snapshot();
        lab.netctl(["up"]).success();
        let objects = pinned(&lab);
        assert_eq!(lab.netctl(["down"]).success().stdout(), said);
        lab.assert_unchanged_since(&before);
        for (kind, id) in objects {
            eventually(&format!("{kind} {id} is freed"), || !exists(&lab, kind, &id));
        }
        lab.assert_unchanged_since(&before);
    }
}

#[test]
fn row_172_a_hundred_times_up_and_down_leaves_nothing_behind() {
    const PLAIN: &str =
        "name = 'plain'\n[namespaces.red]\n[bridges.br-plain]\naddresses = ['10.3.0.1/24']\nports.red = {}\n";
    let lab = Lab::new();
    lab.file("plain.toml", PLAIN);
    lab.file("hosted.toml", ON_THE_HOST);
    let before = lab.snapshot();
    let mut objects = BTreeSet::new();
    for round in 0..100 {
        // Loading programs takes long: now and then.
        let name = if round % 5 == 0 { "hosted" } else { "plain" };
        lab.netctl(["-q", "up", &format!("{name}.toml")]).success();
        if name == "hosted" {
            objects.extend(loaded(&lab));
        }
        lab.netctl(["-q", "down", name]).success();
    }
    lab.assert_unchanged_since(&before);
    assert!(objects.len() >= 20 * 12, "{objects:?}");
    eventually("all programs, and with them their maps and links, are freed", || {
        let alive: BTreeSet<u32> = loaded_programs().map(|program| program.unwrap().id()).collect();
        alive.is_disjoint(&objects)
    });
}

/// The ids of the pinned programs.
fn loaded(lab: &Lab) -> BTreeSet<u32> {
    let pins =
        lab.host().run("find", ["/sys/fs/bpf/netctl", "-path", "*/programs/*", "-type", "f"]).success();
    lab.host().enter(|| pins.stdout().lines().map(|pin| ProgramInfo::from_pin(pin).unwrap().id()).collect())
}

/// The kind and the id of every pinned program, map and link, and of the maps that are a program's alone.
fn pinned(lab: &Lab) -> Vec<(&'static str, String)> {
    const KINDS: [(&str, &str); 4] =
        [("/programs/", "prog"), ("/maps/", "map"), ("/links/", "link"), ("/local/", "link")];
    let pins = lab.host().run("find", ["/sys/fs/bpf/netctl", "-type", "f"]).success();
    let of_kind = |path: &str| {
        let (_, kind) = KINDS.iter().find(|(part, _)| path.contains(part)).unwrap();
        let shown = lab.host().run("bpftool", ["-j", kind, "show", "pinned", path]).success().json();
        (*kind, shown["id"].to_string())
    };
    let mut objects: Vec<_> = pins.stdout().lines().map(of_kind).collect();
    let programs: Vec<String> =
        objects.iter().filter(|object| object.0 == "prog").map(|object| object.1.clone()).collect();
    for id in programs {
        let shown = lab.host().run("bpftool", ["-j", "prog", "show", "id", &id]).success().json();
        let maps = shown["map_ids"].as_array().into_iter().flatten();
        objects.extend(maps.map(|id| ("map", id.to_string())));
    }
    objects.sort();
    objects.dedup();
    // No links before 6.6, where filters run the programs.
    for kind in ["prog", "map"] {
        assert!(objects.iter().any(|object| object.0 == kind), "no {kind} among {pins}");
    }
    assert!(objects.iter().all(|(kind, id)| exists(lab, kind, id)), "{objects:?}");
    objects
}

fn exists(lab: &Lab, kind: &str, id: &str) -> bool {
    lab.host().run("bpftool", [kind, "show", "id", id]).code() == Some(0)
}

#[test]
fn row_167_down_again_has_nothing_to_do() {
    let lab = Lab::quickstart();
    lab.netctl(["down"]).success();
    let before = lab.snapshot();
    let again = lab.netctl(["down", "quickstart"]).success();
    assert_eq!(again.stdout(), "quickstart is not up: nothing to do\n");
    for words in [&["down"][..], &["down", "--all"]] {
        let again = lab.netctl(words.iter().copied()).success();
        assert_eq!(again.stdout(), "no topology is up: nothing to do\n");
    }
    lab.assert_unchanged_since(&before);
}

#[test]
fn down_all_takes_every_topology_down() {
    let lab = Lab::new();
    let before = lab.snapshot();
    lab.netctl(["up"]).success();
    lab.file(
        "hosted.toml",
        ON_THE_HOST.replace("namespaces.red", "namespaces.pink").replace("red =", "pink ="),
    );
    lab.netctl(["up", "hosted.toml"]).success();
    lab.netctl(["down", "--all"]).success();
    lab.assert_unchanged_since(&before);
}

#[test]
fn row_167_down_removes_what_is_left_after_someone_lent_a_hand() {
    for hand in [
        "rm /run/netctl/*.json",
        "rm -r /run/netctl",
        "ip netns delete blue",
        "ip netns delete router",
        "ip -n router link delete wan0",
        "ip -n red link delete eth0",
        "ip -n router address flush dev v-net-0",
        "find /sys/fs/bpf/netctl -type f -delete",
    ] {
        let lab = Lab::new();
        let before = lab.snapshot();
        lab.netctl(["up"]).success();
        lab.host().run("sh", ["-c", hand]).success();
        let down = lab.netctl(["down"]).success();
        assert!(down.stdout().starts_with("quickstart is down: "), "after {hand}: {down}");
        assert_eq!(down.stderr(), "", "after {hand}");
        lab.assert_unchanged_since(&before);
    }
}

#[test]
fn down_leaves_alone_what_is_not_its_own() {
    let lab = Lab::quickstart();
    lab.host().run("ip", ["netns", "add", "green"]).success();
    lab.host().run("ip", ["link", "add", "cable0", "type", "veth", "peer", "cable1"]).success();
    lab.netctl(["down"]).success();
    let names = lab.host().run("ip", ["netns", "list"]).success();
    assert_eq!(names.stdout(), "green\n");
    lab.host().run("ip", ["link", "show", "cable1"]).success();
}

#[test]
fn down_names_the_processes_that_live_in_its_namespaces() {
    let lab = Lab::new();
    let before = lab.snapshot();
    lab.netctl(["up"]).success();
    let mut resident = lab.ns("blue").start("sh", ["-c", "echo $$; exec sleep 1000"]);
    resident.wait_for("\n");
    let down = lab.netctl(["down"]).success();
    let warning = format!("warning: processes still live in namespace `blue`: {}\n", resident.log().trim());
    assert_eq!(down.stderr(), warning);
    resident.assert_alive();
    drop(resident);
    lab.assert_unchanged_since(&before);
}

#[test]
fn a_damaged_record_is_named_and_goes_with_the_rest() {
    let lab = Lab::new();
    let before = lab.snapshot();
    lab.netctl(["up"]).success();
    lab.host().run("sh", ["-c", "echo '{' > /run/netctl/quickstart.json"]).success();
    for verb in ["show", "plan", "up", "down"] {
        let said = lab.netctl([verb]).fails(1);
        assert!(
            said.stderr().starts_with("error: read the record `/run/netctl/quickstart.json`: "),
            "{said}"
        );
    }
    lab.assert_unchanged_since(&before);
    lab.netctl(["down"]).success();
}

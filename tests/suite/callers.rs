//! Every verb from everywhere: from the host, from another directory, from inside another namespace, and with mounts of
//! one's own, which `exec` has, too. A dump around each tells what it did.

use std::fs;

use netctl_tests::lab::{Change, Dump, HOST, Lab, Output, netctl};

/// Links on the host, a namespace, a route. No translation, which has its own conditions (`exec`).
const HOSTY: &str = "
[namespaces.red]
[bridges.br-hosty]
addresses = ['10.44.0.1/24']
ports.red = {}
[[cables]]
a = { namespace = 'host', interface = 'hosty0', addresses = ['10.45.0.1/24'] }
b = { namespace = 'red', interface = 'up0', addresses = ['10.45.0.2/24'] }
[[routes]]
namespace = 'host'
to = '10.46.0.0/24'
via = '10.45.0.2'
";

/// Whence netctl is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Host,
    OtherDirectory,
    /// In another namespace, with the mounts of all.
    Nsenter,
    /// In another namespace, with mounts of its own, as is the next.
    Exec,
    IpNetnsExec,
    PrivateMounts,
}

use Caller::{Exec, Host, IpNetnsExec, Nsenter, OtherDirectory, PrivateMounts};

const CALLERS: [Caller; 6] = [Host, OtherDirectory, Nsenter, Exec, IpNetnsExec, PrivateMounts];

impl Caller {
    fn calls<'a>(self, lab: &'a Lab, words: &[&str]) -> Output<'a> {
        let netctl = netctl();
        let before: &[&str] = match self {
            Host => &[],
            OtherDirectory => &["env", "-C", "/"],
            Nsenter => &["nsenter", "--net=/run/netns/other"],
            Exec => &[&netctl, "exec", "other", "--"],
            IpNetnsExec => &["ip", "netns", "exec", "other"],
            PrivateMounts => &["unshare", "--mount"],
        };
        let line = [before, &[&netctl], words].concat();
        lab.host().run(line[0], line[1..].iter().copied())
    }

    /// The namespace that is its host.
    fn place(self) -> &'static str {
        match self {
            Host | OtherDirectory | PrivateMounts => HOST,
            Nsenter | Exec | IpNetnsExec => "other",
        }
    }

    /// Who has the same host and the mounts of all.
    fn with_all_mounts(self) -> Self {
        if self.place() == HOST { Host } else { Nsenter }
    }
}

fn lab() -> (Lab, String) {
    let lab = Lab::new();
    lab.host().run("ip", ["netns", "add", "other"]).success();
    lab.host().run("ip", ["-n", "other", "link", "set", "lo", "up"]).success();
    let file = lab.file("hosty.toml", HOSTY).to_str().unwrap().to_owned();
    (lab, file)
}

fn said(output: &Output<'_>) -> String {
    [output.stdout(), output.stderr()].concat()
}

#[track_caller]
fn assert_only_in(before: &Dump, after: &Dump, places: &[&str]) {
    let elsewhere = before.changes(after);
    let elsewhere: Vec<_> = elsewhere.keys().filter(|(place, _)| !places.contains(&place.as_str())).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
}

#[test]
fn what_only_looks_changes_nothing_from_anywhere() {
    let (lab, file) = lab();
    lab.netctl(["up", &file]).success();
    let before = lab.settle();
    for caller in CALLERS {
        for words in
            [&["plan", &file][..], &["up", "--dry-run", &file], &["show", "hosty"], &["ls"], &["export"]]
        {
            let output = caller.calls(&lab, words);
            assert!(output.code().is_some_and(|code| code <= 3), "{caller:?}: {output}");
            lab.assert_unchanged_since(&before);
        }
        let output = caller.calls(&lab, &["ls"]).success();
        assert!(output.stdout().contains("hosty"), "{caller:?}: {output}");
        if caller.place() == HOST {
            caller.calls(&lab, &["plan", &file]).success();
        }
    }
}

#[test]
fn down_from_where_up_was_called_leaves_what_was_there() {
    for caller in [Host, OtherDirectory, Nsenter] {
        let (lab, file) = lab();
        let before = lab.settle();
        caller.calls(&lab, &["up", &file]).success();
        let up = lab.settle();
        assert_only_in(&before, &up, &["machine", "red", caller.place()]);
        assert!(up.get(caller.place(), "link br-hosty").is_some(), "{caller:?}");
        caller.calls(&lab, &["plan", &file]).success();
        caller.calls(&lab, &["down", "hosty"]).success();
        lab.assert_unchanged_since(&before);
    }
}

#[test]
fn up_with_mounts_of_its_own_says_so_and_leaves_nothing_that_down_does_not_find() {
    for caller in [PrivateMounts, Exec, IpNetnsExec] {
        let (lab, file) = lab();
        let before = lab.settle();
        let output = caller.calls(&lab, &["up", &file]);
        assert!(said(&output).contains("mount"), "{caller:?}: {output}");
        if output.code() == Some(0) {
            caller.with_all_mounts().calls(&lab, &["down", "hosty"]).success();
        }
        lab.assert_unchanged_since(&before);
    }
}

#[test]
fn down_from_another_namespace_is_refused_and_names_the_host() {
    for caller in [Nsenter, Exec, IpNetnsExec] {
        let (lab, file) = lab();
        let before = lab.settle();
        lab.netctl(["up", &file]).success();
        let up = lab.settle();
        for words in [&["down", "hosty"][..], &["down", "--all"], &["down", &file]] {
            let output = caller.calls(&lab, words);
            assert_ne!(output.code(), Some(0), "{output}");
            assert!(output.stderr().contains("host"), "{output}");
            lab.assert_unchanged_since(&up);
        }
        lab.netctl(["down", "hosty"]).success();
        lab.assert_unchanged_since(&before);
    }
}

#[test]
fn up_from_another_namespace_does_not_take_a_topology_over() {
    for (first, second) in [(Host, Nsenter), (Host, Exec), (Host, IpNetnsExec), (Nsenter, Host)] {
        let (lab, file) = lab();
        let before = lab.settle();
        first.calls(&lab, &["up", &file]).success();
        let up = lab.settle();
        for words in [&["up", &file][..], &["up", "--force", &file]] {
            let output = second.calls(&lab, words);
            assert_ne!(output.code(), Some(0), "{second:?}: {output}");
            lab.assert_unchanged_since(&up);
        }
        first.calls(&lab, &["down", "hosty"]).success();
        lab.assert_unchanged_since(&before);
    }
}

#[test]
fn single_commands_change_the_namespace_that_they_are_called_in() {
    const LINES: [&str; 6] = [
        "link add bridge one0",
        "link set one0 up",
        "addr add 10.47.0.1/24 one0",
        "route add 10.48.0.0/24 via 10.47.0.2",
        "rule add iif one0 priority 47 table 47",
        "neigh add 10.47.0.9 lladdr 02:00:00:00:00:09 dev one0",
    ];
    for caller in CALLERS {
        let (lab, _) = lab();
        let before = lab.settle();
        for line in LINES {
            caller.calls(&lab, &line.split(' ').collect::<Vec<_>>()).success();
        }
        let after = lab.settle();
        assert_only_in(&before, &after, &[caller.place()]);
        let place = caller.place().to_owned();
        for name in ["link one0", "address 10.47.0.1/24 dev one0"] {
            let change = before.changes(&after).get(&(place.clone(), name.to_owned())).cloned();
            assert_eq!(change, Some(Change::Added), "{caller:?}: {name}");
        }
        caller.calls(&lab, &["rule", "del", "priority", "47"]).success();
        caller.calls(&lab, &["link", "del", "one0"]).success();
        lab.assert_unchanged_since(&before);
    }
}

/// A directory of the lab with a file of this name in it; its path.
fn project(lab: &Lab, directory: &str, name: &str, namespace: &str) -> String {
    let path = lab.directory().join(directory);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join(name), format!("[namespaces.{namespace}]\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

fn in_directory<'a>(lab: &'a Lab, directory: &str, words: &[&str]) -> Output<'a> {
    let netctl = netctl();
    lab.host().run("env", [&["-C", directory, &netctl], words].concat())
}

#[test]
fn a_netctl_toml_is_called_like_its_directory() {
    let lab = Lab::new();
    let [a, b] =
        [("alpha", "red"), ("beta", "blue")].map(|(name, ns)| project(&lab, name, "netctl.toml", ns));
    let before = lab.settle();
    in_directory(&lab, &b, &["up"]).success();
    let with_b = lab.settle();
    in_directory(&lab, &a, &["up"]).success();
    let listed = lab.netctl(["ls"]).success();
    assert!(["alpha", "beta"].iter().all(|name| listed.stdout().contains(name)), "{listed}");
    let with_both = lab.settle();
    assert!(["red", "blue"].iter().all(|place| with_both.get(place, "namespace").is_some()));
    in_directory(&lab, &a, &["plan"]).success();
    in_directory(&lab, &b, &["plan"]).success();
    in_directory(&lab, &a, &["down"]).success();
    lab.assert_unchanged_since(&with_b);
    in_directory(&lab, &b, &["down"]).success();
    lab.assert_unchanged_since(&before);
}

#[test]
fn another_file_of_the_same_name_replaces_nothing_unless_it_is_forced() {
    for file in ["netctl.toml", "office.toml"] {
        let lab = Lab::new();
        let [a, b] =
            [("one/app", "red"), ("two/app", "blue")].map(|(name, ns)| project(&lab, name, file, ns));
        let before = lab.settle();
        in_directory(&lab, &a, &["up", file]).success();
        let mut inside = lab.ns("red").start("sleep", ["600"]);
        let up = lab.settle();
        let refused = in_directory(&lab, &b, &["up", file]);
        assert_ne!(refused.code(), Some(0), "{refused}");
        assert!(refused.stderr().contains("one/app"), "names the other file: {refused}");
        assert!(refused.stderr().contains("--force"), "{refused}");
        lab.assert_unchanged_since(&up);
        inside.assert_alive();
        drop(inside);
        // The same file by another way to it is the same file.
        in_directory(&lab, &b, &["up", &format!("../../one/app/{file}")]).success();
        lab.assert_unchanged_since(&up);

        in_directory(&lab, &b, &["up", "--force", file]).success();
        let forced = lab.settle();
        assert!(forced.get("blue", "namespace").is_some() && forced.get("red", "namespace").is_none());
        in_directory(&lab, &b, &["down", file]).success();
        lab.assert_unchanged_since(&before);
    }
}

#[test]
fn down_without_a_name_takes_the_only_topology_and_asks_where_there_are_more() {
    let lab = Lab::new();
    let [a, b] =
        [("office.toml", "red"), ("plant.toml", "blue")].map(|(name, ns)| project(&lab, "files", name, ns));
    assert_eq!(a, b);
    let before = lab.settle();
    in_directory(&lab, &a, &["up", "office.toml"]).success();
    let one = lab.settle();
    in_directory(&lab, &a, &["up", "plant.toml"]).success();
    let two = lab.settle();
    let asked = in_directory(&lab, &a, &["down"]);
    assert_ne!(asked.code(), Some(0), "{asked}");
    assert!(["office", "plant"].iter().all(|name| asked.stderr().contains(name)), "{asked}");
    lab.assert_unchanged_since(&two);
    let mistyped = in_directory(&lab, &a, &["down", "plnt"]).fails(2);
    assert!(mistyped.stderr().contains("`plant`"), "{mistyped}");
    lab.assert_unchanged_since(&two);
    in_directory(&lab, &a, &["down", "plant"]).success();
    lab.assert_unchanged_since(&one);
    in_directory(&lab, &a, &["down"]).success();
    lab.assert_unchanged_since(&before);
}

#[test]
fn up_without_a_file_says_that_it_builds_the_quickstart() {
    let lab = Lab::new();
    let before = lab.settle();
    let output = lab.netctl(["up"]).success();
    let words = said(&output);
    assert!(words.contains("netctl.toml") && words.contains("quickstart"), "{output}");
    lab.netctl(["down"]).success();
    lab.assert_unchanged_since(&before);
}

//! `exec`: a command in a namespace, as `ip netns exec` has it.

use netctl_tests::lab::{Lab, netctl};

#[test]
fn the_exit_status_is_the_commands_own() {
    let lab = Lab::quickstart();
    lab.file("notes", "no program");
    for (command, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "exit 3"], 3),
        (&["no-such-command"], 127),
        (&["./notes"], 126),
    ] {
        let said = lab.netctl(["exec", "red", "--"].iter().chain(command).copied()).fails(code);
        assert_eq!(said.stderr().starts_with("error: run `"), code >= 126, "{said}");
    }
    let killed = lab.netctl(["exec", "red", "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(killed.code(), None, "the command takes netctl's place: {killed}");
}

#[test]
fn input_and_output_are_the_commands_own() {
    let lab = Lab::quickstart();
    let said =
        lab.host().run_with(&netctl(), ["exec", "red", "--", "tr", "a-z", "A-Z"], b"words\n").success();
    assert_eq!((said.stdout(), said.stderr()), ("WORDS\n", ""));
    let said = lab.netctl(["exec", "red", "--", "sh", "-c", "echo complaint >&2"]).success();
    assert_eq!((said.stdout(), said.stderr()), ("", "complaint\n"));
    let said = lab.netctl(["exec", "red", "echo", "--json", "-q"]).success();
    assert_eq!(said.stdout(), "--json -q\n", "what follows the command is its own");
}

#[test]
fn the_command_sees_the_namespaces_links_sysfs_and_files_of_etc() {
    let lab = Lab::quickstart();
    let etc = "mount -t tmpfs tmpfs /etc && mkdir -p /etc/netns/red && echo red > /etc/netns/red/hosts \
               && echo host > /etc/hosts";
    lab.host().run("sh", ["-c", etc]).success();
    let script = "ls /sys/class/net; ip netns identify; cat /etc/hosts";
    let said = lab.netctl(["exec", "red", "--", "sh", "-c", script]).success();
    assert_eq!(said.stdout().lines().collect::<Vec<_>>(), ["eth0", "lo", "red", "red"], "{said}");
    assert_eq!(lab.host().run("cat", ["/etc/hosts"]).success().stdout(), "host\n");
}

#[test]
fn a_namespace_that_is_not_there_is_named() {
    let lab = Lab::new();
    let said = lab.netctl(["exec", "red", "true"]).fails(1);
    assert_eq!(
        said.stderr(),
        "error: open namespace `red`: there is no such namespace\n\
         hint: `netctl ns ls` lists them, `netctl ns add red` makes it\n"
    );
    lab.netctl(["ns", "add", "read"]).success();
    let said = lab.netctl(["exec", "red", "true"]).fails(1);
    assert!(said.stderr().ends_with("hint: did you mean `read`?\n"), "{said}");
}

#[test]
fn translation_is_not_set_up_where_it_would_end_with_the_command() {
    const FILE: &str = "
name = 'inner'
[namespaces.client]
[[cables]]
a = { namespace = 'host', interface = 'lan0', addresses = ['10.1.0.1/24'] }
b = { namespace = 'client', interface = 'eth0', addresses = ['10.1.0.2/24'] }
[[nat.masquerade]]
namespace = 'host'
source = '10.1.0.0/24'
out = 'wan0'
";
    let lab = Lab::new();
    for words in ["netns add red", "-n red link add wan0 type veth peer name wan1"] {
        lab.host().run("ip", words.split(' ')).success();
    }
    lab.file("netctl.toml", FILE);
    let before = lab.snapshot();
    let netctl = netctl();
    let rule = "nat masquerade add --source 10.1.0.0/24 --out wan0";
    for line in ["up", rule] {
        let words = ["netns", "exec", "red", &netctl].into_iter().chain(line.split(' '));
        let said = lab.host().run("ip", words).fails(1);
        let error = "no bpffs is mounted at `/sys/fs/bpf`, and one mounted now would go with this command\n\
                     hint: `ip netns exec` hides what is mounted below /sys: name the namespace instead";
        assert!(said.stderr().contains(error), "{said}");
        lab.assert_unchanged_since(&before);
    }
    // What the hint says works, and lasts.
    lab.netctl(["-n", "red"].into_iter().chain(rule.split(' '))).success();
    let rules = lab.netctl(["-n", "red", "nat", "masquerade", "ls"]).success();
    assert!(rules.stdout().contains("10.1.0.0/24"), "{rules}");
    lab.netctl(["-n", "red", "nat", "masquerade", "del", "--source", "10.1.0.0/24", "--out", "wan0"])
        .success();

    // Namespaces that it made would go with its mounts.
    let before = lab.settle();
    let said = lab.netctl(["exec", "red", "--", &netctl, "up"]);
    assert!([said.stdout(), said.stderr()].concat().contains("mount"), "{said}");
    if said.code() == Some(0) {
        lab.netctl(["exec", "red", "--", &netctl, "down", "inner"]).success();
    }
    lab.assert_unchanged_since(&before);
}

//! What root's netctl reads, writes and runs is root's alone, and what others have written does not reach root's terminal
//! or shell.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    time::{Duration, Instant},
};

use netctl_tests::lab::{Lab, netctl};

/// A gateway on the host, by netfilter's rules.
const HOSTED: &str = "
name = 'hosted'
[namespaces.red]
[bridges.br-test]
addresses = ['10.2.0.1/24']
[bridges.br-test.ports]
red = { addresses = ['10.2.0.2/24'] }
[namespaces.outside]
[[cables]]
a = { namespace = 'host', interface = 'wan-test', addresses = ['198.51.100.1/24'] }
b = { namespace = 'outside', interface = 'eth0', addresses = ['198.51.100.2/24'] }
[[nat.masquerade]]
namespace = 'host'
source = '10.2.0.0/24'
out = 'wan-test'
[nat]
backend = 'nftables'
";

fn modes(lab: &Lab, path: &str) -> Vec<(String, u32)> {
    lab.host().enter(|| {
        let mode = |path: &str| fs::symlink_metadata(path).unwrap().mode() & 0o7777;
        let mut modes = vec![(path.to_owned(), mode(path))];
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path().display().to_string();
            modes.push((path.clone(), mode(&path)));
        }
        modes
    })
}

#[test]
fn what_is_remembered_is_roots_alone_whatever_the_umask() {
    let lab = Lab::new();
    let script = format!(
        "umask 0; {0} up && ip netns add own && {0} -n own link add bridge br0 && \
         {0} -n own nat masquerade add --source 10.7.0.0/16 --out br0",
        netctl()
    );
    lab.host().run("bash", ["-c", &script]).success();
    for directory in ["/run/netctl", "/run/netctl/by-hand"] {
        for (path, mode) in modes(&lab, directory) {
            let is_directory = path == "/run/netctl" || path.ends_with("by-hand");
            assert_eq!(mode, if is_directory { 0o700 } else { 0o600 }, "{path} is {mode:o}");
        }
    }
    for directory in ["/sys/fs/bpf/netctl", "/sys/fs/bpf/netctl/quickstart"] {
        for (path, mode) in modes(&lab, directory) {
            assert_eq!(mode & 0o077, 0, "{path} is {mode:o}");
        }
    }
}

#[test]
fn a_directory_that_is_open_to_others_is_closed_and_one_of_theirs_is_refused() {
    let lab = Lab::new();
    lab.host().enter(|| {
        fs::create_dir("/run/netctl").unwrap();
        fs::set_permissions("/run/netctl", Permissions::from_mode(0o777)).unwrap();
        fs::write("/run/netctl/lock", "").unwrap();
        fs::write("/run/target", "whole").unwrap();
        symlink("/run/target", "/run/netctl/quickstart.new").unwrap();
    });
    lab.netctl(["up"]).success();
    assert!(modes(&lab, "/run/netctl").iter().all(|(_, mode)| mode & 0o077 == 0));
    assert_eq!(lab.host().enter(|| fs::read_to_string("/run/target").unwrap()), "whole");
    let locked = lab.host().run("setpriv", ["--reuid", "65534", "flock", "-n", "/run/netctl/lock", "true"]);
    assert_ne!(locked.code(), Some(0), "{locked}");
    lab.netctl(["down"]).success();
    lab.host().enter(|| {
        fs::create_dir("/run/netctl").unwrap();
        chown("/run/netctl", Some(65534), None).unwrap();
    });
    let before = lab.snapshot();
    let refused = lab.netctl(["up"]).fails(1);
    assert_eq!(
        refused.stderr(),
        "error: use `/run/netctl`: it belongs to user 65534\n\
         hint: remove it, or give it to root: `chown root /run/netctl`\n"
    );
    lab.assert_unchanged_since(&before);
}

#[test]
fn who_is_not_root_is_told_to_be() {
    let lab = Lab::quickstart();
    for words in ["ls", "show", "plan", "down", "up"] {
        let script = format!(
            "cp {} /run/netctl-copy; setpriv --reuid 65534 --clear-groups /run/netctl-copy {words}",
            netctl()
        );
        let said = lab.host().run("bash", ["-c", &script]).fails(1);
        assert!(said.stderr().contains("hint: ") && said.stderr().contains("run it with sudo"), "{said}");
    }
}

#[test]
fn who_holds_a_lock_is_said_after_a_second() {
    let lab = Lab::new();
    lab.netctl(["ns", "add", "red"]).success();
    for path in ["/run/netctl/lock", "/run/netns"] {
        lab.host().enter(|| fs::create_dir_all("/run/netctl").unwrap());
        if path == "/run/netctl/lock" {
            lab.host().enter(|| fs::write(path, "").unwrap());
        }
        let mut holder = lab.host().start("flock", [path, "-c", "echo held; exec sleep 1000"]);
        holder.wait_for("held");
        let begin = Instant::now();
        let mut waiting = lab.start_netctl(["ns", "add", "blue"]);
        waiting.wait_for("waiting for process");
        assert!(begin.elapsed() >= Duration::from_millis(900));
        assert!(waiting.log().contains(&format!("which holds the lock `{path}`")), "{}", waiting.log());
        assert!(
            waiting.log().contains("(`flock ") || waiting.log().contains("(`sleep "),
            "{}",
            waiting.log()
        );
        holder.signal(nix::sys::signal::Signal::SIGKILL);
        drop(holder);
        // The child of `flock` has the lock, too.
        lab.host().run("pkill", ["-x", "sleep"]);
        waiting.finish().success();
        lab.netctl(["ns", "del", "blue"]).success();
    }
}

#[test]
fn a_wait_for_a_lock_ends_with_ctrl_c() {
    let lab = Lab::new();
    lab.netctl(["ns", "add", "red"]).success();
    let mut holder = lab.host().start("flock", ["/run/netns", "-c", "echo held; exec sleep 1000"]);
    holder.wait_for("held");
    let mut waiting = lab.start_netctl(["ns", "add", "blue"]);
    waiting.wait_for("waiting for process");
    waiting.signal(nix::sys::signal::Signal::SIGINT);
    waiting.finish().fails(130);
}

#[test]
fn no_tool_is_run_that_others_can_change() {
    let lab = Lab::new();
    lab.file("hosted.toml", HOSTED);
    let script = "#!/bin/sh\ntouch /run/was-run\nexec /usr/sbin/nft \"$@\"\n";
    lab.host().run("mount", ["-t", "tmpfs", "-o", "mode=755", "none", "/usr/local/sbin"]).success();
    lab.host().enter(|| {
        fs::write("/usr/local/sbin/nft", script).unwrap();
        fs::set_permissions("/usr/local/sbin/nft", Permissions::from_mode(0o755)).unwrap();
        chown("/usr/local/sbin/nft", Some(65534), None).unwrap();
    });
    let own = lab.file("nft", script);
    fs::set_permissions(&own, Permissions::from_mode(0o755)).unwrap();
    let path = format!("PATH={}:/usr/sbin:/usr/bin", lab.directory().display());
    let was_run = || lab.host().enter(|| fs::exists("/run/was-run").unwrap());
    lab.host().run("env", [&path, &netctl(), "up", "hosted.toml"]).success();
    assert!(!was_run());
    assert!(lab.host().run("/usr/sbin/nft", ["list", "tables"]).success().stdout().contains("netctl"));
    lab.host().run("env", [&path, &netctl(), "down", "hosted"]).success();
    assert!(!was_run());
    // Where there is no other, it is said.
    let tools = "NETCTL_TOOLS=/usr/local/sbin";
    let refused = lab.host().run("env", [tools, &netctl(), "up", "hosted.toml"]).fails(1);
    assert!(
        refused
            .stderr()
            .contains("run `nft`: others than root can change `/usr/local/sbin/nft`\nhint: what root runs"),
        "{refused}"
    );
    // One of root's is taken.
    lab.host().enter(|| chown("/usr/local/sbin/nft", Some(0), None).unwrap());
    lab.netctl(["up", "hosted.toml"]).success();
    assert!(was_run());
}

#[test]
fn rules_stay_on_record_while_the_tool_that_takes_them_away_is_missing() {
    for (backend, package) in [("nftables", "nftables"), ("iptables", "iptables")] {
        let lab = Lab::new();
        lab.file("hosted.toml", HOSTED.replace("nftables", backend));
        let before = lab.snapshot();
        lab.netctl(["up", "hosted.toml"]).success();
        let down = lab.host().run("env", ["NETCTL_TOOLS=/nonexistent", &netctl(), "down", "hosted"]).fails(1);
        let hint = format!(
            "hint: the rules and the record stay: install the package `{package}`, and `netctl down` again removes them"
        );
        assert!(down.stderr().contains("remove the rules on the host: there is no `"), "{down}");
        assert!(down.stderr().contains(&hint), "{down}");
        assert!(lab.host().enter(|| fs::exists("/run/netctl/hosted.json").unwrap()));
        lab.netctl(["down", "hosted"]).success();
        lab.assert_unchanged_since(&before);
    }
}

#[test]
fn what_is_no_network_namespace_is_left_alone_and_named_once() {
    let lab = Lab::new();
    lab.netctl(["ns", "add", "green"]).success();
    let script = "touch /run/netns/uts && mount --bind /proc/self/ns/uts /run/netns/uts; \
                  mkdir /run/netns/folder";
    lab.host().run("bash", ["-c", script]).success();
    let names = |said: &str| said.matches("`/run/netns/uts` is no network namespace: left alone").count();
    for words in [&["up"][..], &["ns", "ls"], &["show"], &["nat", "flows"], &["down"]] {
        let said = lab.netctl(words.iter().copied()).success();
        assert!(names(said.stderr()) <= 1, "{said}");
    }
    let listed = lab.netctl(["ns", "ls"]).success();
    assert_eq!(names(listed.stderr()), 1, "{listed}");
    let rows = listed.stdout().lines().skip(1).filter_map(|line| line.split(' ').next());
    assert_eq!(rows.collect::<Vec<_>>(), ["green"]);
    assert_eq!(lab.netctl(["-q", "ns", "ls"]).success().stderr(), "");
    lab.netctl(["exec", "uts", "--", "true"]).fails(1);
    lab.netctl(["ns", "del", "uts"]).fails(1);
    lab.netctl(["ns", "add", "uts"]).fails(1);
    lab.host().run("mountpoint", ["/run/netns/uts"]).success();
}

#[test]
fn words_of_others_do_not_command_the_terminal() {
    let lab = Lab::new();
    lab.netctl(["ns", "add", "red"]).success();
    let red = lab.ns("red");
    red.run("ip", ["link", "add", "v\x1b[31mx", "type", "veth", "peer", "name", "peer"]).success();
    red.run("ip", ["link", "set", "peer", "alias", "a\x1b]0;owned\x07b"]).success();
    let copy = lab.directory().join("s\x1b[5m");
    fs::copy("/usr/bin/sleep", &copy).unwrap();
    let _resident = red.start(copy.to_str().unwrap(), ["1000"]);
    for words in [
        "-n red link ls",
        "show red",
        "show red --color=always",
        "-n red addr ls",
        "-n red link set nosuch up",
    ] {
        let said = lab.netctl(words.split(' '));
        let all = format!("{}{}", said.stdout(), said.stderr());
        assert!(!all.contains("\x1b[31mx") && !all.contains('\x07') && !all.contains("\x1b]"), "{said}");
    }
    let shown = lab.netctl(["-n", "red", "link", "ls"]).success();
    assert!(shown.stdout().contains("v\\x1b[31mx"), "{shown}");
}

#[test]
fn nobody_who_listens_is_no_reason_to_fail() {
    let lab = Lab::new();
    let ends = |script: &str, code: i32| {
        let script = script.replace("netctl", &netctl());
        lab.host().run("bash", ["-c", &script]).fails(code)
    };
    // Closed, full, and a pipe that nobody reads.
    for to in ["2>&-", "2>/dev/full", "2> >(:)", "2>&- >&-", ">&-"] {
        ends(&format!("sleep 0.2 | netctl show nosuch {to}"), 1);
        ends(&format!("netctl -vv plan {to}"), 3);
        ends(&format!("netctl no-such-verb {to}"), 2);
        ends(&format!("netctl --json show nosuch {to}"), 1);
    }
    ends("netctl up >&- 2>&-", 0);
    ends("netctl up > >(:)", 0);
    ends("netctl plan > >(:)", 0);
    ends("netctl down 2>/dev/full", 0);
}

#[test]
fn names_that_nobody_else_sees_are_told_with_the_remedy() {
    let lab = Lab::new();
    lab.netctl(["ns", "add", "red"]).success();
    let in_mounts = |propagation: &str, words: &str| {
        let script = format!("unshare -m --propagation {propagation} {} {words}", netctl());
        lab.host().run("bash", ["-c", &script])
    };
    let is_there = |name: &str| lab.host().run("ip", ["-n", name, "link"]).code() == Some(0);
    let seen = in_mounts("unchanged", "ns add blue").success();
    assert_eq!((seen.stderr(), is_there("blue")), ("", true));
    for propagation in ["private", "slave"] {
        let hidden = in_mounts(propagation, "ns add green").success();
        assert!(
            hidden.stderr().starts_with("warning: namespaces made here have no name outside"),
            "{hidden}"
        );
        assert!(hidden.stderr().contains("in a systemd unit `PrivateMounts=no`"), "{hidden}");
        assert!(!is_there("green"));
    }
    lab.file("one.toml", "[namespaces.one]\n");
    let hidden = in_mounts("slave", "up one.toml").success();
    assert!(hidden.stderr().contains("`PrivateMounts=no`"), "{hidden}");
    let told = in_mounts("private", "doctor --json").json();
    let user = told["sections"][0]["findings"].as_array().unwrap();
    assert!(
        user.iter()
            .any(|its| its["verdict"] == "warning" && its["fix"].as_str().unwrap().contains("PrivateMounts"))
    );
}

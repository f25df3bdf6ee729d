//! What this user may do, and what netctl keeps things in.

use std::{fs, path::Path};

use super::{Finding, Verdict};
use crate::{
    advice,
    nat::ebpf::{attach, load},
    netns,
};

/// What netctl needs, by its number in include/uapi/linux/capability.h.
const CAPABILITIES: [(u32, &str); 4] =
    [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW"), (21, "CAP_SYS_ADMIN"), (39, "CAP_BPF")];

/// What namespaces are that are named where nobody else sees the names.
pub const HIDDEN: &str =
    "namespaces made here have no name outside: this process has mounts of its own, which others do not see";
/// What to do about it.
pub const UNHIDE: &str = "in a systemd unit `PrivateMounts=no`, and none of `PrivateTmp=`, `ProtectSystem=` and the like, which \
     imply it; else run netctl outside of `unshare -m`, `ip netns exec` and `netctl exec`";

/// What there is to say, and whether the rights suffice to try anything.
pub(super) fn examine(bpffs: &Path) -> (Vec<Finding>, bool) {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let mut findings = vec![capabilities(&read("status")), user_namespace(&read("uid_map"))];
    let may_try = findings[0].verdict == Verdict::Ok;
    if may_try {
        findings.extend([self::bpffs(bpffs), cgroups()]);
        findings.extend(netns::is_hidden().then(|| Finding::warning(HIDDEN, UNHIDE)));
    }
    (findings, may_try)
}

fn bpffs(path: &Path) -> Finding {
    let shown = path.display();
    match load::has_bpffs(path) {
        Ok(true) => Finding::ok(format!("a bpffs is mounted at `{shown}`")),
        Ok(false) => Finding::ok(format!("no bpffs is mounted at `{shown}`: netctl mounts one")),
        Err(error) => Finding::problem(error.to_string(), advice::of(&error).unwrap_or_default()),
    }
}

fn cgroups() -> Finding {
    match attach::has_cgroups() {
        Ok(()) => Finding::ok("cgroup v2: processes of a gateway reach its forwards"),
        Err(error) => Finding::warning(
            format!("no cgroup v2 ({error}): processes of a gateway do not reach its forwards"),
            "a kernel with CONFIG_CGROUPS and CONFIG_CGROUP_BPF",
        ),
    }
}

/// What `/proc/self/status` says of the right to do things.
fn capabilities(status: &str) -> Finding {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    let missing: Vec<&str> =
        CAPABILITIES.iter().filter(|(bit, _)| effective >> bit & 1 == 0).map(|(_, name)| *name).collect();
    if missing.is_empty() {
        return Finding::ok("all capabilities that netctl needs");
    }
    Finding::problem(format!("no {}", missing.join(", no ")), "run netctl with sudo")
}

/// What `/proc/self/uid_map` says: in the first user namespace every number stands for itself.
fn user_namespace(map: &str) -> Finding {
    let words: Vec<&str> = map.split_whitespace().collect();
    if words == ["0", "0", "4294967295"] {
        return Finding::ok("the first user namespace");
    }
    Finding::problem(
        "in a user namespace of its own, where the kernel loads no eBPF",
        "run netctl outside of the container, or translate with `backend = \"nftables\"`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(capabilities("Name:\tx\nCapEff:\t000001ffffffffff\n").verdict, Verdict::Ok);
        let of = |set: &str| capabilities(&format!("CapEff:\t{set}\n")).text;
        assert_eq!(of("0000000000000000"), "no CAP_NET_ADMIN, no CAP_NET_RAW, no CAP_SYS_ADMIN, no CAP_BPF");
        assert_eq!(of("0000008000203000").as_str(), "all capabilities that netctl needs");
        assert_eq!(of("0000008000202000").as_str(), "no CAP_NET_ADMIN");
        assert_eq!(capabilities("").verdict, Verdict::Problem);
    }

    #[test]
    fn a_user_namespace_is_known_by_its_map() {
        assert_eq!(user_namespace("         0          0 4294967295\n").verdict, Verdict::Ok);
        assert_eq!(user_namespace("         0       1000          1\n").verdict, Verdict::Problem);
    }
}

//! What the kernel has, tried out: in a namespace of nobody, which goes with the trial.

use std::{fs, os::fd::AsFd as _};

use aya::{
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported},
};

use super::Finding;
use crate::{
    advice,
    model::IfName,
    nat::ebpf::{attach, load},
    netlink::{self, Refusal, Socket, link},
    netns::{Netns, NetnsError},
};

/// The oldest kernel that netctl is run on.
const OLDEST: (u32, u32) = (6, 1);
/// What it calls itself.
const RELEASE: &str = "/proc/sys/kernel/osrelease";
/// The kernel's own description of its types.
const BTF: &str = "/sys/kernel/btf/vmlinux";

pub(super) fn examine(may_try: bool) -> Vec<Finding> {
    let mut findings = vec![release()];
    if !may_try {
        findings.push(Finding::warning("what takes rights was not tried", "run netctl with sudo"));
        return findings;
    }
    findings.extend([links(), programs(), tcx()]);
    findings.extend([
        helper(BpfHelper::BPF_FUNC_redirect_peer, "bpf_redirect_peer", "shortcuts inwards"),
        helper(BpfHelper::BPF_FUNC_redirect_neigh, "bpf_redirect_neigh", "shortcuts outwards"),
    ]);
    findings.extend(types());
    findings
}

fn release() -> Finding {
    let release = match fs::read_to_string(RELEASE) {
        Ok(release) => release.trim_end().to_owned(),
        Err(error) => return Finding::unknown("the kernel's release", &error),
    };
    match version(&release) {
        Some(version) if version < OLDEST => Finding::warning(
            format!("Linux {release}: netctl is tested on {}.{} and newer", OLDEST.0, OLDEST.1),
            "a newer kernel, or `backend = \"nftables\"`",
        ),
        _ => Finding::ok(format!("Linux {release}")),
    }
}

/// The first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// What went wrong with a trial.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}")]
    Netns(#[from] NetnsError),
    #[error("{0}")]
    Netlink(#[from] netlink::Error),
    #[error("{0}")]
    Refused(Refusal),
}

/// Makes a bridge with a cable plugged in.
fn links() -> Finding {
    let made = Netns::in_a_new_one(|| {
        let name = |text: &str| text.parse::<IfName>();
        let (Ok(bridge), Ok(a), Ok(b)) = (name("br0"), name("a"), name("b")) else { return Ok(()) };
        let here = Netns::current()?;
        let bridge = link::NewLink { index: Some(10), ..link::NewLink::named(&bridge) };
        let plugged = link::NewLink { master: bridge.index, ..link::NewLink::named(&a) };
        let end = link::Peer { name: &b, index: None, mtu: None, address: None, netns: here.as_fd() };
        let requests = vec![link::create_bridge(&bridge), link::create_veth(&plugged, &end)];
        Socket::open()?.execute(requests)?.into_iter().try_for_each(|answer| answer.map_err(Failed::Refused))
    });
    match made {
        Ok(()) => Finding::ok("namespaces, bridges and cables can be made"),
        Err(error) => Finding::problem(
            format!("namespaces, bridges or cables cannot be made: {error}"),
            "run netctl with sudo, on a kernel with CONFIG_NET_NS, CONFIG_BRIDGE and CONFIG_VETH",
        ),
    }
}

/// Loads every program of a gateway, and lets go of it again.
fn programs() -> Finding {
    match load::rehearse() {
        Ok(load::Rehearsed { programs, compiled }) if programs == compiled => {
            Finding::ok(format!("all {programs} programs load, and are compiled to machine code (JIT)"))
        }
        Ok(load::Rehearsed { programs, .. }) => Finding::warning(
            format!("all {programs} programs load, and are interpreted: slow"),
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        Err(error) => Finding::problem(
            error.to_string(),
            advice::of(&error).unwrap_or_else(|| "see `dmesg`".to_owned()),
        ),
    }
}

fn tcx() -> Finding {
    match Netns::in_a_new_one(|| Ok::<_, Failed>(attach::has_tcx())) {
        Ok(Ok(true)) => Finding::ok("TCX: programs are attached by links"),
        Ok(Ok(false)) => {
            Finding::ok("no TCX (Linux 6.6): programs are attached as filters on a `clsact` qdisc, as well")
        }
        Ok(Err(error)) => Finding::unknown("TCX", &error),
        Err(error) => Finding::unknown("TCX", &error),
    }
}

fn helper(helper: BpfHelper, name: &str, what: &str) -> Finding {
    match is_helper_supported(ProgramType::SchedClassifier, helper) {
        Ok(true) => Finding::ok(format!("{name}: {what}")),
        Ok(false) => {
            Finding::warning(format!("no {name}: no {what}, which are only slower"), "Linux 5.10 or newer")
        }
        Err(error) => Finding::unknown(name, &error),
    }
}

/// What the kernel says of itself by the names of its types.
fn types() -> Vec<Finding> {
    let types = match fs::read(BTF) {
        Ok(types) => types,
        Err(error) => {
            return vec![Finding::warning(
                format!(
                    "no BTF (`{BTF}`: {error}): it cannot be told whether forwarded sources follow the routes"
                ),
                "a kernel with CONFIG_DEBUG_INFO_BTF",
            )];
        }
    };
    let has = |name: &str| types.split(|byte| *byte == 0).any(|its| its == name.as_bytes());
    let source = if has("BPF_FIB_LOOKUP_SRC") {
        Finding::ok("source lookup: a flow takes the address that routing has at that moment")
    } else {
        Finding::warning(
            "no source lookup: flows take the address that the uplink had when the rule was put in force",
            "after the uplink's address has changed, `netctl up` again; or Linux 6.7",
        )
    };
    vec![Finding::ok("BTF: the kernel describes its types"), source]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_its_version() {
        assert_eq!(version("6.18.44"), Some((6, 18)));
        assert_eq!(version("6.1.0-30-amd64"), Some((6, 1)));
        assert_eq!(version("7.0-rc1"), Some((7, 0)));
        assert_eq!(version("unknown"), None);
    }
}

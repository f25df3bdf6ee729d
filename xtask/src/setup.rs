//! What a fresh machine lacks: found first, said, then installed. `NETCTL_NO_INSTALL=1` only says it.

mod apt;
mod emulator;

use std::{env, path::Path};

use anyhow::{Context as _, Result, bail};

pub(crate) use self::emulator::Emulator;
use crate::{
    run::find_program,
    toolchain::{Way, debian, nightly},
    workspace::Workspace,
};

/// A package, and what shows that it is installed.
pub(crate) struct Wanted {
    /// Debian's name for it.
    pub(crate) package: &'static str,
    evidence: Evidence,
}

enum Evidence {
    Program(&'static str),
    File(&'static str),
}

impl Wanted {
    const fn program(package: &'static str, program: &'static str) -> Self {
        Self { package, evidence: Evidence::Program(program) }
    }

    pub(crate) const fn file(package: &'static str, file: &'static str) -> Self {
        Self { package, evidence: Evidence::File(file) }
    }

    fn is_there(&self) -> bool {
        match self.evidence {
            Evidence::Program(name) => find_program(name).is_some(),
            // Not followed: some of these packages consist of links into packages that they only suggest.
            Evidence::File(path) => Path::new(path).symlink_metadata().is_ok(),
        }
    }
}

/// What the tests run beside netctl: judges, traffic, and the classic tools for comparison.
const TEST_PROGRAMS: [Wanted; 12] = [
    Wanted::program("iproute2", "ip"),
    Wanted::program("nftables", "nft"),
    Wanted::program("iptables", "iptables"),
    Wanted::program("iperf3", "iperf3"),
    Wanted::program("tcpdump", "tcpdump"),
    Wanted::program("ethtool", "ethtool"),
    Wanted::program("python3", "python3"),
    Wanted::program("curl", "curl"),
    Wanted::program("iputils-ping", "ping"),
    Wanted::program("procps", "sysctl"),
    Wanted::program("bpftool", "bpftool"),
    Wanted::file("python3-scapy", "/usr/lib/python3/dist-packages/scapy/__init__.py"),
];

const CLIPPY: Wanted = Wanted::file("rust-web-clippy", debian::CARGO_CLIPPY);

/// Makes a toolchain for the BPF target available and says which.
pub(crate) fn toolchain(workspace: &Workspace) -> Result<Way> {
    ensure(workspace, &[])
}

/// Likewise, and the programs that the tests use.
pub(crate) fn toolchain_and_test_programs(workspace: &Workspace) -> Result<Way> {
    ensure(workspace, &missing(&TEST_PROGRAMS))
}

/// An emulated machine with a kernel of that version.
pub(crate) fn emulator(workspace: &Workspace, version: &str) -> Result<Emulator> {
    emulator::ready(workspace, version)
}

/// Likewise, and the linter for the second way.
pub(crate) fn everything(workspace: &Workspace) -> Result<Way> {
    let mut packages = missing(&TEST_PROGRAMS);
    if nightly::find(workspace).is_err() {
        packages.extend(missing(&[CLIPPY]));
    }
    ensure(workspace, &packages)
}

/// Those of `wanted` that are not there.
pub(crate) fn missing(wanted: &[Wanted]) -> Vec<&'static str> {
    wanted.iter().filter(|wanted| !wanted.is_there()).map(|wanted| wanted.package).collect()
}

/// Fails, naming `what`, if the user wants to install things by hand.
pub(crate) fn may_install(what: &str) -> Result<()> {
    if env::var_os("NETCTL_NO_INSTALL").is_some_and(|value| !value.is_empty() && value != "0") {
        bail!("{what}: missing, and NETCTL_NO_INSTALL forbids to install it");
    }
    Ok(())
}

/// Debian's way, installed where it is missing; for when the nightly turned out unable.
pub(crate) fn debian(workspace: &Workspace) -> Result<Way> {
    apt::install(&debian::missing_packages())?;
    Ok(Way::Debian(debian::ready(workspace)?))
}

fn ensure(workspace: &Workspace, other_packages: &[&'static str]) -> Result<Way> {
    match nightly::find(workspace) {
        Ok(nightly) => {
            apt::install(other_packages)?;
            Ok(Way::Nightly(nightly))
        }
        Err(why) => {
            eprintln!("eBPF: not with a nightly ({why})");
            let toolchain = debian::missing_packages();
            let packages: Vec<_> = toolchain.iter().chain(other_packages).copied().collect();
            let installed = apt::install(&packages).and_then(|()| Ok(Way::Debian(debian::ready(workspace)?)));
            if toolchain.is_empty() { installed } else { installed.with_context(|| no_way(&why)) }
        }
    }
}

/// Both ways, as commands to type.
fn no_way(why_not_nightly: &str) -> String {
    let packages: Vec<_> = debian::all_packages().collect();
    format!(
        "nothing here can build the eBPF programs ({why_not_nightly}). Install either\n\
         \n    rustup toolchain install nightly --component rust-src\n    \
         cargo install --locked bpf-linker    # needs an LLVM at least as new as the nightly's\n\
         \nor, on Debian 12,\n\
         \n    apt-get install --no-install-recommends {}\n\
         \nand try again. What stopped it",
        packages.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_named() {
        let wanted = [
            Wanted::program("shell", "sh"),
            Wanted::program("nothing", "no-such-program-of-netctl"),
            Wanted::file("root", "/"),
            Wanted::file("void", "/no/such/file"),
        ];
        assert_eq!(missing(&wanted), ["nothing", "void"]);
    }

    #[test]
    fn the_advice_names_both_ways() {
        let advice = no_way("no nightly toolchain is installed");
        assert!(advice.contains("--component rust-src"));
        assert!(
            advice.contains("rustc-web libstd-rust-web-dev-bpf rust-web-llvm llvm-22-dev libpolly-22-dev")
        );
    }
}

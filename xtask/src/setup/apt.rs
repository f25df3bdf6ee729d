//! Installing Debian packages, as root or through sudo.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::may_install;
use crate::run::{ask, find_program, is_root, run};

/// Installs `packages`, having said so; nothing to do for none.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    may_install(&list)?;
    if find_program("apt-get").is_none() {
        bail!("{list}: missing, and there is no apt-get to install them with");
    }
    let through = if is_root() {
        ""
    } else if find_program("sudo").is_some() {
        " through sudo"
    } else {
        bail!("{list}: missing. Run this as root, or install them: apt-get install {list}");
    };
    eprintln!("installing{through}: {list}");
    if !without_candidate(packages).is_empty() {
        run(&mut apt_get(&["update"]))?;
        let unknown = without_candidate(packages);
        if !unknown.is_empty() {
            bail!("apt offers no {}", unknown.join(" or "));
        }
    }
    // Lists that are only old name files that are gone.
    run(&mut apt_install(packages)).or_else(|_| {
        run(&mut apt_get(&["update"]))?;
        run(&mut apt_install(packages))
    })
}

fn apt_install(packages: &[&str]) -> Command {
    let mut command = apt_get(&["install", "-y", "--no-install-recommends"]);
    command.args(packages);
    command
}

fn apt_get(args: &[&str]) -> Command {
    let mut command = Command::new(if is_root() { "env" } else { "sudo" });
    if !is_root() {
        command.arg("env");
    }
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    // A machine that has just booted may be upgrading itself: wait for its lock. A terminal of dpkg's own would
    // fill a log with progress bars.
    command.args(["-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"]).args(args);
    command
}

/// The first of `packages` that apt offers in a version that begins so.
pub(crate) fn of_version(packages: &[String], version: &str) -> Result<String> {
    let names: Vec<_> = packages.iter().map(String::as_str).collect();
    let find = || {
        let policy = policy(&names);
        let fits = |name: &&String| candidate(&policy, name).is_some_and(|offer| offer.starts_with(version));
        packages.iter().find(fits).cloned()
    };
    if let Some(found) = find() {
        return Ok(found);
    }
    may_install(&format!("{} {version}…", names.join(" or ")))?;
    run(&mut apt_get(&["update"]))?;
    find().with_context(|| format!("apt offers no {} of version {version}…", names.join(" or ")))
}

/// Those of `packages` that apt cannot install from the lists it has.
fn without_candidate<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    lacking(&policy(packages), packages)
}

fn policy(packages: &[&str]) -> String {
    ask(Command::new("apt-cache").arg("policy").args(packages).env("LC_ALL", "C")).unwrap_or_default()
}

fn lacking<'a>(policy: &str, packages: &[&'a str]) -> Vec<&'a str> {
    packages.iter().copied().filter(|package| candidate(policy, package).is_none()).collect()
}

/// Reads `apt-cache policy`: a line `name:` for each package it knows, the version that it would install below.
fn candidate<'a>(policy: &'a str, package: &str) -> Option<&'a str> {
    policy
        .lines()
        .skip_while(|line| line.strip_suffix(':') != Some(package))
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .find_map(|line| line.trim().strip_prefix("Candidate:"))
        .map(str::trim)
        .filter(|version| *version != "(none)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_without_a_candidate_are_found() {
        let policy = "ethtool:\n  Installed: (none)\n  Candidate: 1:6.1-1\n  Version table:\n     1:6.1-1 500\n\
                      gone:\n  Installed: 1.0\n  Candidate: (none)\n";
        assert_eq!(lacking(policy, &["ethtool", "gone", "unheard-of"]), ["gone", "unheard-of"]);
        assert_eq!(lacking("", &["ethtool"]), ["ethtool"]);
        assert_eq!(candidate(policy, "ethtool"), Some("1:6.1-1"));
    }
}

//! `build-ebpf`: the TC programs, as one object at a stable path, and the benchmark's as another.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    run::{announce, colour, run},
    setup,
    toolchain::{PACKAGES, Verb, Way, built_file, nightly},
    workspace::Workspace,
};

/// How to build it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// With programs that log what they decide about each packet, for `netctl monitor --debug`; they are slower
    #[arg(long)]
    log: bool,
}

/// Builds the object as asked for.
pub(crate) fn build_as(workspace: &Workspace, way: Way, args: &Args) -> Result<()> {
    if !args.log {
        return build(workspace, way);
    }
    eprintln!("eBPF: with {way}");
    run(way.command(workspace, Verb::Build).args(["--features", "netctl-ebpf/log"]))
        .context("building the eBPF programs")?;
    publish(workspace)
}

/// Builds the object; where the nightly proves unable, by Debian's compiler.
pub(crate) fn build(workspace: &Workspace, way: Way) -> Result<()> {
    build_with(workspace, way).map(drop)
}

/// As `build`; tells the way that worked.
pub(crate) fn build_with(workspace: &Workspace, way: Way) -> Result<Way> {
    eprintln!("eBPF: with {way}");
    let worked = match way {
        Way::Nightly(nightly) => try_nightly(workspace, nightly)?,
        debian @ Way::Debian(_) => {
            build_again(workspace, &debian)?;
            return Ok(debian);
        }
    };
    publish(workspace)?;
    Ok(worked)
}

/// Builds the object in a way that has worked.
pub(crate) fn build_again(workspace: &Workspace, way: &Way) -> Result<()> {
    run(&mut way.command(workspace, Verb::Build)).context("building the eBPF programs")?;
    publish(workspace)
}

fn try_nightly(workspace: &Workspace, nightly: nightly::Nightly) -> Result<Way> {
    let way = Way::Nightly(nightly);
    let Some(stderr) = run_listening(&mut way.command(workspace, Verb::Build))? else {
        return Ok(way);
    };
    let Some(reason) = nightly::blames_toolchain(&stderr) else {
        bail!("building the eBPF programs failed");
    };
    eprintln!("eBPF: the nightly cannot build it ({reason}), trying Debian's compiler");
    let debian = setup::debian(workspace)?;
    run(&mut debian.command(workspace, Verb::Build)).context("building the eBPF programs")?;
    if let Way::Nightly(nightly) = way {
        nightly.remember_refusal(workspace, reason).context("remembering that the nightly cannot")?;
    }
    Ok(debian)
}

/// Runs `command` with its stderr passed through and, if it fails, returned.
fn run_listening(command: &mut Command) -> Result<Option<String>> {
    if colour() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    announce(command);
    let mut child = command.stderr(Stdio::piped()).spawn().context("running rustup")?;
    let mut heard = String::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n') {
            let line = line.context("reading cargo's messages")?;
            let line = String::from_utf8_lossy(&line);
            eprintln!("{line}");
            heard.push_str(&plain(&line));
            heard.push('\n');
        }
    }
    let status = child.wait().context("waiting for cargo")?;
    Ok((!status.success()).then_some(heard))
}

/// `line` without the escape sequences of its colours.
fn plain(line: &str) -> String {
    let mut pieces = line.split("\x1b[");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once('m').map_or("", |(_, rest)| rest))
}

fn publish(workspace: &Workspace) -> Result<()> {
    let objects = [workspace.object(), workspace.bench_object()];
    PACKAGES
        .iter()
        .zip(objects)
        .try_for_each(|(package, object)| copy(&built_file(workspace, package), &object))
}

/// Puts an object at its stable path, untouched if it is the same: its time decides whether netctl is rebuilt.
fn copy(built: &Path, object: &Path) -> Result<()> {
    let bytes = fs::read(built).with_context(|| format!("reading {}", built.display()))?;
    if fs::read(object).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    // Renamed into place, so that a build at the same time never embeds half of it.
    let unfinished = object.with_extension("o.new");
    fs::write(&unfinished, bytes)
        .and_then(|()| fs::rename(&unfinished, object))
        .with_context(|| format!("writing {}", object.display()))
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn colours_do_not_hide_the_words() {
        assert_eq!(plain("\x1b[1m\x1b[91merror\x1b[0m: linking with"), "error: linking with");
        assert_eq!(plain("no colours"), "no colours");
    }
}

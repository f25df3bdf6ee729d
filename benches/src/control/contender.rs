//! Who builds the network, and with which command each phase is done.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::network::Network;

/// A way to build the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Contender {
    /// netctl, from its file.
    Netctl,
    /// A shell script, one `ip` process a step.
    Script,
    /// `ip -batch`, one process for the host and one a namespace.
    Batch,
}

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// From nothing.
    Up,
    /// Again, with the same file.
    Again,
    /// With a file in which one address is another.
    Change,
    /// To nothing, until the command returns.
    Down,
    /// To nothing, from when `down` began until the kernel has freed all of it.
    Gone,
}

impl Contender {
    pub(super) const ALL: [Self; 3] = [Self::Netctl, Self::Script, Self::Batch];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Netctl => "netctl",
            Self::Script => "script of `ip`",
            Self::Batch => "`ip -batch`",
        }
    }

    /// The phases that it has commands for, in order: only netctl can compare.
    pub(super) const fn phases(self) -> &'static [Phase] {
        match self {
            Self::Netctl => &[Phase::Up, Phase::Again, Phase::Change, Phase::Down],
            Self::Script | Self::Batch => &[Phase::Up, Phase::Down],
        }
    }
}

impl Phase {
    /// Whether nothing goes on behind the command's back that its processor time leaves out.
    pub(super) const fn is_all_done_by_the_command(self) -> bool {
        matches!(self, Self::Up | Self::Down)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Again => "up again",
            Self::Change => "one change",
            Self::Down => "down",
            Self::Gone => "down, freed",
        }
    }
}

/// The topology file that netctl is given.
const NETWORK: &str = "network.toml";
/// What becomes of it by [`Phase::Change`].
const CHANGED: &str = "changed.toml";

/// The files that the contenders work from, written beforehand.
pub(super) struct Stage {
    directory: PathBuf,
    netctl: PathBuf,
}

impl Stage {
    /// Writes the files of one network into `directory`.
    pub(super) fn set(network: Network, directory: &Path, netctl: &Path) -> Result<Self> {
        let batches = network.batches();
        let removal = network.removal();
        let mut files = batches.files;
        files.extend([
            (NETWORK.to_owned(), network.toml(false)),
            (CHANGED.to_owned(), network.toml(true)),
            ("script-up.sh".to_owned(), network.script()),
            ("script-down.sh".to_owned(), removal.iter().map(|line| format!("ip {line}\n")).collect()),
            ("batch-up.sh".to_owned(), batches.script),
            ("batch-down.sh".to_owned(), "ip -batch down.batch\n".to_owned()),
            ("down.batch".to_owned(), removal.iter().map(|line| format!("{line}\n")).collect()),
        ]);
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        for (name, content) in files {
            let path = directory.join(name);
            fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(Self { directory: directory.to_owned(), netctl: netctl.to_owned() })
    }

    /// The command that does a phase; `Gone` has none. Before a change, the file is edited in place: a topology goes by
    /// its file.
    pub(super) fn command(&self, contender: Contender, phase: Phase) -> Result<Command> {
        if phase == Phase::Change {
            let [changed, network] = [CHANGED, NETWORK].map(|name| self.directory.join(name));
            fs::copy(&changed, &network).with_context(|| format!("editing {}", network.display()))?;
        }
        let words: &[&str] = match (contender, phase) {
            (Contender::Netctl, Phase::Up | Phase::Again | Phase::Change) => &["up", NETWORK],
            (Contender::Netctl, _) => &["down", "bench"],
            (Contender::Script, Phase::Up) => &["script-up.sh"],
            (Contender::Script, _) => &["script-down.sh"],
            (Contender::Batch, Phase::Up) => &["batch-up.sh"],
            (Contender::Batch, _) => &["batch-down.sh"],
        };
        let program = if contender == Contender::Netctl { self.netctl.as_path() } else { Path::new("sh") };
        let mut command = Command::new(program);
        command.args(words).current_dir(&self.directory);
        Ok(command)
    }
}

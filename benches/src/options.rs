//! What to measure, and how much of it.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};

use crate::contender::Contender;

/// Measures netctl beside what else there is, on networks of its own. Without a suite, all of them.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench")]
pub(crate) struct Options {
    /// What to measure
    #[arg(value_enum)]
    suites: Vec<Suite>,
    /// A small part of all suites, in less than two minutes
    #[arg(long)]
    pub(crate) quick: bool,
    /// Whom to measure; default: everyone, with --quick all but netctl-slow
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME,..")]
    contenders: Vec<Contender>,
    /// Another NAT: a command that makes the gateway, in whose namespace it runs, masquerade 10.0.0.0/24 out of wan0
    #[arg(long, value_name = "CMD")]
    pub(crate) peer: Option<String>,
    /// How often everyone has a turn; default: by suite
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    rounds: Option<u16>,
    /// packet-rate: numbers of flows that take turns
    #[arg(long, value_delimiter = ',', value_name = "N,..")]
    flows: Vec<u32>,
    /// packet-rate: sizes of frames in bytes
    #[arg(long, value_delimiter = ',', value_name = "N,..")]
    sizes: Vec<usize>,
    /// packet-rate, stream: IP versions
    #[arg(long, value_delimiter = ',', value_name = "4,6")]
    versions: Vec<u8>,
    /// packet-rate, stream: ways of the packets
    #[arg(long, value_enum, value_delimiter = ',', value_name = "out,in")]
    ways: Vec<Way>,
    /// packet-rate: packets in a burst, at least one of each flow
    #[arg(long, value_name = "N")]
    packets: Option<u32>,
    /// connections, rules: numbers of forwards
    #[arg(long, value_delimiter = ',', value_name = "N,..")]
    forwards: Vec<u16>,
    /// control: numbers of namespaces
    #[arg(long, value_delimiter = ',', value_name = "N,..")]
    namespaces: Vec<usize>,
    /// Print tables in Markdown
    #[arg(long)]
    pub(crate) markdown: bool,
    /// Where the report goes: results.json, report.html and a picture of each suite
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Tell what has become slower since these results
    #[arg(long, value_name = "results.json")]
    pub(crate) compare: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Nanoseconds a packet, by a generator and a sink in the kernel
    PacketRate,
    /// What iperf3 gets through
    Stream,
    /// Short connections and answers, beside many forwards
    Connections,
    /// How long a rule takes to add, and many to load
    Rules,
    /// What a flow takes in the kernel
    Memory,
    /// How long NAT takes to be there
    Load,
    /// Networks built by netctl, by a script of `ip` commands and by `ip -batch`
    Control,
}

/// Of the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// From the client
    Out,
    /// To the client
    In,
}

impl Way {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

impl Options {
    /// Fails if they ask for what there is not.
    pub(crate) fn check(&self) -> Result<()> {
        if self.versions().iter().any(|version| ![4, 6].contains(version)) {
            bail!("--versions: there are IPv4 and IPv6");
        }
        if self.sizes().iter().any(|size| !(64..=1514).contains(size)) {
            bail!("--sizes: frames have from 64 to 1514 bytes");
        }
        if self.forwards().iter().any(|&forwards| forwards > 10_000) {
            bail!("--forwards: up to 10000");
        }
        if self.contenders.contains(&Contender::Peer) && self.peer.is_none() {
            bail!("--contenders: the peer takes a command, --peer CMD");
        }
        Ok(())
    }

    pub(crate) fn suites(&self) -> &[Suite] {
        if self.suites.is_empty() { Suite::value_variants() } else { &self.suites }
    }

    pub(crate) fn contenders(&self) -> Vec<Contender> {
        let not_slow: Vec<_> =
            Contender::ALL.into_iter().filter(|all| *all != Contender::NetctlSlow).collect();
        let mut contenders = self.choose(&self.contenders, &Contender::ALL, &not_slow);
        if self.peer.is_some() && !contenders.contains(&Contender::Peer) {
            contenders.push(Contender::Peer);
        }
        contenders
    }

    /// As asked for, else by suite.
    pub(crate) fn rounds(&self, full: u16, quick: u16) -> u16 {
        self.rounds.unwrap_or(if self.quick { quick } else { full })
    }

    pub(crate) fn flows(&self) -> Vec<u32> {
        self.choose(&self.flows, &[1, 1000, 100_000, 1_000_000], &[1, 1000])
    }

    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.choose(&self.sizes, &[64, 1500], &[64])
    }

    pub(crate) fn versions(&self) -> Vec<u8> {
        self.choose(&self.versions, &[4, 6], &[4])
    }

    pub(crate) fn ways(&self) -> Vec<Way> {
        self.choose(&self.ways, &[Way::Out, Way::In], &[Way::Out, Way::In])
    }

    pub(crate) fn packets(&self) -> u32 {
        self.packets.unwrap_or(if self.quick { 50_000 } else { 200_000 })
    }

    pub(crate) fn forwards(&self) -> Vec<u16> {
        self.choose(&self.forwards, &[0, 1, 100, 1000, 10_000], &[0, 1, 1000])
    }

    pub(crate) fn namespaces(&self) -> Vec<usize> {
        self.choose(&self.namespaces, &[1, 10, 100, 1000], &[10])
    }

    fn choose<T: Clone>(&self, given: &[T], full: &[T], quick: &[T]) -> Vec<T> {
        match (given, self.quick) {
            ([], false) => full,
            ([], true) => quick,
            _ => given,
        }
        .to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Options {
        Options::try_parse_from(["bench"].into_iter().chain(line.split_whitespace())).unwrap()
    }

    #[test]
    fn quick_is_smaller_but_not_than_what_is_asked_for() {
        assert_eq!(options("").flows().len(), 4);
        assert_eq!(options("--quick").flows(), [1, 1000]);
        assert_eq!(options("packet-rate --quick --flows 7 --rounds 2").flows(), [7]);
        assert_eq!(options("--quick --rounds 2").rounds(9, 3), 2);
        assert_eq!(options("stream").suites(), [Suite::Stream]);
        assert_eq!(options("").suites().len(), 7);
    }

    #[test]
    fn a_peer_joins_the_others_and_takes_a_command() {
        assert!(!options("").contenders().contains(&Contender::Peer));
        assert!(options("--peer einat").contenders().contains(&Contender::Peer));
        assert!(options("--contenders peer").check().is_err());
        assert!(options("--sizes 63").check().is_err());
    }
}

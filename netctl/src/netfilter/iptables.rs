//! The words of iptables and ip6tables: rules for `iptables-restore`, and what `iptables-save` tells of them. Pure.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr};

use super::{
    Chain, Rules, mark,
    rule::{Hook, Match, Net, Rule, Verdict},
};
use crate::model::TopologyName;

/// What a chain's name ends with, and the built-in chain that jumps to it.
impl Hook {
    const ALL: [Self; 5] = [Self::Prerouting, Self::Output, Self::Postrouting, Self::Forward, Self::Input];

    const fn table(self) -> &'static str {
        match self {
            Self::Prerouting | Self::Output | Self::Postrouting => "nat",
            Self::Forward | Self::Input => "filter",
        }
    }

    const fn built_in(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Output => "OUTPUT",
            Self::Postrouting => "POSTROUTING",
            Self::Forward => "FORWARD",
            Self::Input => "INPUT",
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Prerouting => "pre",
            Self::Output => "out",
            Self::Postrouting => "post",
            Self::Forward => "fwd",
            Self::Input => "in",
        }
    }

    /// The topology's own chain.
    fn chain(self, topology: &TopologyName) -> String {
        format!("{}-{}", super::name(topology), self.suffix())
    }
}

/// The chains that hold `rules`, and the jumps to them.
pub(super) fn chains<'a>(topology: &TopologyName, rules: impl Iterator<Item = &'a Rule>) -> Rules {
    let mut by_hook: BTreeMap<Hook, Vec<String>> = BTreeMap::new();
    for rule in rules {
        let (matches, target) = words(rule);
        let mark = mark(&format!("{matches} {target}"));
        let line = format!("{matches} -m comment --comment \"{mark}\" -j {target}");
        by_hook.entry(rule.hook).or_default().push(line);
    }
    let chains = by_hook.into_iter().flat_map(|(hook, rules)| {
        let (table, name) = (hook.table().to_owned(), hook.chain(topology));
        let jump = vec![format!("-j {name}")];
        [
            Chain { table: table.clone(), name, rules },
            Chain { table, name: hook.built_in().to_owned(), rules: jump },
        ]
    });
    Rules::new(chains.collect())
}

/// The command's arguments, as a shell reads them, that put one rule at the end of a built-in chain, or take it out.
pub(crate) fn arguments(rule: &Rule, action: &str) -> String {
    let words = |wanted: &Match| match wanted {
        Match::In(interface) => format!("-i {interface:#}"),
        Match::Out(interface) => format!("-o {interface:#}"),
        wanted => match_words(wanted),
    };
    let matches = rule.matches.iter().map(words).collect::<Vec<_>>().join(" ");
    let target = target(&rule.verdict);
    format!("-t {} {action} {} {matches} -j {target}", rule.hook.table(), rule.hook.built_in())
}

/// The matches and the target.
fn words(rule: &Rule) -> (String, String) {
    let matches: Vec<String> = rule.matches.iter().map(match_words).collect();
    (matches.join(" "), target(&rule.verdict))
}

fn match_words(wanted: &Match) -> String {
    match wanted {
        Match::From(network) => format!("-s {}", Net(network)),
        Match::NotFrom(network) => format!("! -s {}", Net(network)),
        Match::To(network) => format!("-d {}", Net(network)),
        Match::NotTo(network) => format!("! -d {}", Net(network)),
        Match::FromLocal => "-m addrtype --src-type LOCAL".to_owned(),
        Match::ToLocal => "-m addrtype --dst-type LOCAL".to_owned(),
        Match::In(interface) => format!("-i {interface}"),
        Match::Out(interface) => format!("-o {interface}"),
        Match::Protocol(protocol) => format!("-p {protocol}"),
        Match::Ports(protocol, (first, last)) if first == last => format!("-p {protocol} --dport {first}"),
        Match::Ports(protocol, (first, last)) => format!("-p {protocol} --dport {first}:{last}"),
        Match::New => "-m conntrack --ctstate NEW".to_owned(),
        Match::Stray => "-m conntrack --ctstate INVALID,UNTRACKED".to_owned(),
        Match::Forwarded => "-m conntrack --ctstate DNAT".to_owned(),
        Match::NotForwarded => "-m conntrack ! --ctstate DNAT".to_owned(),
    }
}

fn target(verdict: &Verdict) -> String {
    match *verdict {
        Verdict::Drop => "DROP".to_owned(),
        Verdict::Return => "RETURN".to_owned(),
        Verdict::Source { address: None, ports: None } => "MASQUERADE".to_owned(),
        Verdict::Source { address: None, ports: Some((first, last)) } => {
            format!("MASQUERADE --to-ports {first}-{last}")
        }
        Verdict::Source { address: Some(address), ports } => {
            let ports = ports.map(|(first, last)| format!("{first}-{last}"));
            format!("SNAT --to-source {}", endpoint(address, ports.as_deref()))
        }
        Verdict::Destination { to, ports: (first, last), to_port, .. } => {
            let to_last = to_port.saturating_add(last - first);
            let ports = match (first == last, to_port == first) {
                (true, _) => Some(to_port.to_string()),
                // Each keeps its port.
                (false, true) => None,
                // A range that is not mapped onto itself needs the base port to shift from.
                (false, false) => Some(format!("{to_port}-{to_last}/{first}")),
            };
            format!("DNAT --to-destination {}", endpoint(to, ports.as_deref()))
        }
    }
}

/// `ADDRESS[:PORTS]`
fn endpoint(address: IpAddr, ports: Option<&str>) -> String {
    match (address, ports) {
        (address, None) => address.to_string(),
        (IpAddr::V4(v4), Some(ports)) => format!("{v4}:{ports}"),
        (IpAddr::V6(v6), Some(ports)) => format!("[{v6}]:{ports}"),
    }
}

/// The topology's chains, and the jumps to them, in what `iptables-save` says.
pub(crate) fn parse(topology: &TopologyName, saved: &str) -> Rules {
    let own: Vec<String> = Hook::ALL.iter().map(|hook| hook.chain(topology)).collect();
    let mut table = "";
    let mut chains: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if let Some(name) = line.strip_prefix(':').and_then(|rest| rest.split(' ').next()) {
            if own.iter().any(|chain| chain == name) {
                chains.entry((table, name)).or_default();
            }
        } else if let Some((name, rule)) = line.strip_prefix("-A ").and_then(|rest| rest.split_once(' ')) {
            let jumps = || own.iter().any(|chain| rule.rsplit_once("-j ").is_some_and(|(_, to)| to == chain));
            if own.iter().any(|chain| chain == name) || jumps() {
                chains.entry((table, name)).or_default().push(rule.to_owned());
            }
        }
    }
    let chain = |((table, name), rules): ((&str, &str), _)| Chain {
        table: table.to_owned(),
        name: name.to_owned(),
        rules,
    };
    Rules::new(chains.into_iter().map(chain).collect())
}

/// The input of `iptables-restore --noflush` that makes `before` into `after`. Each table changes at once.
pub(super) fn transaction(before: &Rules, after: &Rules) -> String {
    let is_own = |chain: &&Chain| chain.is_own();
    let mut text = String::new();
    for table in ["nat", "filter"] {
        let [before, after] = [before, after]
            .map(|rules| rules.0.iter().filter(|chain| chain.table == table).collect::<Vec<&Chain>>());
        if before.is_empty() && after.is_empty() {
            continue;
        }
        let mut say = |line: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        };
        let gone = |chain: &&&Chain| !after.iter().any(|other| other.name == chain.name);
        say(format_args!("*{table}"));
        // Makes a chain, or empties it.
        for chain in after.iter().chain(before.iter().filter(gone)).copied().filter(is_own) {
            say(format_args!(":{} - [0:0]", chain.name));
        }
        for chain in before.iter().filter(|chain| !chain.is_own() && !after.contains(chain)) {
            chain.rules.iter().for_each(|rule| say(format_args!("-D {} {rule}", chain.name)));
        }
        for chain in after.iter().filter(|chain| !chain.is_own() && !before.contains(chain)) {
            // What is to be dropped must not be accepted before by a rule of somebody else's.
            let action = if table == "filter" { "-I" } else { "-A" };
            chain.rules.iter().for_each(|rule| say(format_args!("{action} {} {rule}", chain.name)));
        }
        for chain in after.iter().copied().filter(is_own) {
            chain.rules.iter().for_each(|rule| say(format_args!("-A {} {rule}", chain.name)));
        }
        for chain in before.iter().filter(gone).copied().filter(is_own) {
            say(format_args!("-X {}", chain.name));
        }
        say(format_args!("COMMIT"));
    }
    text
}

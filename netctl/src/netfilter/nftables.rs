//! The words of nft: rules in a table of the topology's own, and what `nft list table` tells of them. Pure.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr};

use super::{
    Chain, Rules, mark,
    rule::{Hook, Match, Net, Rule, Verdict},
};
use crate::model::TopologyName;

/// A chain's name, and where it is hooked in, which is its first line. The numbers of the priorities are older than
/// their names.
const fn base(hook: Hook) -> (&'static str, &'static str) {
    match hook {
        Hook::Prerouting => ("prerouting", "type nat hook prerouting priority -100; policy accept;"),
        Hook::Output => ("output", "type nat hook output priority -100; policy accept;"),
        Hook::Postrouting => ("postrouting", "type nat hook postrouting priority 100; policy accept;"),
        Hook::Forward => ("forward", "type filter hook forward priority 0; policy accept;"),
        Hook::Input => ("input", "type filter hook input priority 0; policy accept;"),
    }
}

/// The chains that hold `rules`.
pub(super) fn chains<'a>(topology: &TopologyName, rules: impl Iterator<Item = &'a Rule>) -> Rules {
    let mut by_hook: BTreeMap<Hook, Vec<String>> = BTreeMap::new();
    for rule in rules {
        let line = words(rule);
        let lines = by_hook.entry(rule.hook).or_insert_with(|| vec![base(rule.hook).1.to_owned()]);
        lines.push(format!("{line} comment \"{}\"", mark(&line)));
    }
    let table = super::name(topology);
    let chain = |(hook, rules)| Chain { table: table.clone(), name: base(hook).0.to_owned(), rules };
    Rules::new(by_hook.into_iter().map(chain).collect())
}

fn words(rule: &Rule) -> String {
    let is_address = |wanted: &Match| {
        matches!(wanted, Match::From(_) | Match::NotFrom(_) | Match::To(_) | Match::NotTo(_))
    };
    let family = if rule.ipv4 { "ip" } else { "ip6" };
    let nfproto = if rule.ipv4 { "meta nfproto ipv4" } else { "meta nfproto ipv6" };
    // A match of addresses is one of their family, too.
    let implied = rule.matches.iter().any(is_address);
    let first = (!implied).then(|| nfproto.to_owned());
    let matches = rule.matches.iter().map(|wanted| match_words(family, wanted));
    let words: Vec<String> = first.into_iter().chain(matches).collect();
    format!("{} {}", words.join(" "), statement(family, &rule.verdict))
}

fn match_words(family: &str, wanted: &Match) -> String {
    match wanted {
        Match::From(network) => format!("{family} saddr {}", Net(network)),
        Match::NotFrom(network) => format!("{family} saddr != {}", Net(network)),
        Match::To(network) => format!("{family} daddr {}", Net(network)),
        Match::NotTo(network) => format!("{family} daddr != {}", Net(network)),
        Match::FromLocal => "fib saddr type local".to_owned(),
        Match::ToLocal => "fib daddr type local".to_owned(),
        Match::In(interface) => format!("iifname \"{interface}\""),
        Match::Out(interface) => format!("oifname \"{interface}\""),
        Match::Protocol(protocol) => format!("meta l4proto {protocol}"),
        Match::Ports(protocol, (first, last)) if first == last => format!("{protocol} dport {first}"),
        Match::Ports(protocol, (first, last)) => format!("{protocol} dport {first}-{last}"),
        Match::New => "ct state new".to_owned(),
        Match::Stray => "ct state invalid,untracked".to_owned(),
        Match::Forwarded => "ct status dnat".to_owned(),
        Match::NotForwarded => "ct status & dnat == 0".to_owned(),
    }
}

fn statement(family: &str, verdict: &Verdict) -> String {
    match *verdict {
        Verdict::Drop => "drop".to_owned(),
        Verdict::Return => "return".to_owned(),
        Verdict::Source { address: None, ports: None } => "masquerade".to_owned(),
        Verdict::Source { address: None, ports: Some((first, last)) } => {
            format!("masquerade to :{first}-{last}")
        }
        Verdict::Source { address: Some(address), ports: None } => format!("snat {family} to {address}"),
        Verdict::Source { address: Some(address), ports: Some((first, last)) } => {
            format!("snat {family} to {}:{first}-{last}", bracketed(address))
        }
        Verdict::Destination { to, ports: (first, last), to_port, protocol } => {
            if first == last {
                format!("dnat {family} to {}:{to_port}", bracketed(to))
            } else if first == to_port {
                format!("dnat {family} to {to}")
            } else {
                // nft has no word for the kernel's shifted ranges (NF_NAT_RANGE_PROTO_OFFSET).
                let pairs = (first..=last).zip(to_port..).map(|(port, to)| format!("{port} : {to}"));
                let pairs = pairs.collect::<Vec<_>>().join(", ");
                format!("dnat {family} to {} : {protocol} dport map {{ {pairs} }}", bracketed(to))
            }
        }
    }
}

/// As before a port.
fn bracketed(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

/// The chains in what `nft list table` says.
pub(crate) fn parse(topology: &TopologyName, listed: &str) -> Rules {
    let table = super::name(topology);
    let mut chains: Vec<Chain> = Vec::new();
    // Braces that are open: 1 in the table, 2 in a chain, more in a rule that goes on in the next line.
    let (mut depth, mut line, mut is_chain) = (0, String::new(), false);
    for part in listed.lines().map(str::trim).filter(|part| !part.is_empty()) {
        let began = if line.is_empty() { depth } else { 2 };
        line = if line.is_empty() { part.to_owned() } else { format!("{line} {part}") };
        depth += braces(part);
        if began == 2 && depth > 2 {
            continue;
        }
        let line = std::mem::take(&mut line);
        if began == 1 {
            let name = line.strip_prefix("chain ").and_then(|rest| rest.strip_suffix(" {"));
            is_chain = name.is_some();
            let new = |name: &str| Chain { table: table.clone(), name: name.to_owned(), rules: Vec::new() };
            chains.extend(name.map(new));
        } else if began == 2 && depth == 2 && is_chain {
            chains.last_mut().into_iter().for_each(|chain| chain.rules.push(line.clone()));
        }
    }
    Rules::new(chains)
}

/// Braces opened less those closed, outside of quotes.
fn braces(part: &str) -> i32 {
    let mut quoted = false;
    part.chars().fold(0, |sum, c| {
        quoted ^= c == '"';
        match c {
            '{' if !quoted => sum + 1,
            '}' if !quoted => sum - 1,
            _ => sum,
        }
    })
}

/// The input of `nft -f` that replaces the topology's table by one with these chains, at once; by none if there are none.
pub(super) fn transaction(before: &Rules, after: &Rules) -> String {
    let Some(chain) = before.0.first().or(after.0.first()) else { return String::new() };
    let table = format!("inet {}", chain.table);
    // To delete what may not be there, it is added first.
    let mut text = format!("add table {table}\ndelete table {table}\n");
    if after.is_empty() {
        return text;
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, "add table {table}");
    for Chain { name, rules, .. } in &after.0 {
        let (base, rules) = match rules.split_first() {
            Some((base, rest)) if base.starts_with("type ") => (format!(" {{ {base} }}"), rest),
            _ => (String::new(), &rules[..]),
        };
        let _ = writeln!(text, "add chain {table} {name}{base}");
        for rule in rules {
            let _ = writeln!(text, "add rule {table} {name} {rule}");
        }
    }
    text
}

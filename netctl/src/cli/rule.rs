//! `netctl rule`: policy rules, one at a time.

use ipnet::IpNet;
use netctl::{
    model::{Family, Place, Problem, RuleAction, read_mark, read_table},
    single::rule::{self, Listed, Sought},
};

use super::{
    Exit, Failure, cells,
    namespace::{Desk, Placed},
    words::{self, Words, interface, network, parse, settle},
};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl -n router rule add from 192.168.15.0/24 table 100
  netctl rule add fwmark 0x1/0xff iif eth0 priority 50 blackhole
  netctl rule add to fd09::/16 prohibit
  netctl rule del priority 50
  netctl rule ls

A rule has `from NETWORK`, `to NETWORK`, `iif IF`, `oif IF`, `fwmark MARK` or `MARK/MASK`, and `priority N`; it asks
`table N` (or `main`, `default`, `local`; without a word the main one), or is `blackhole`, `unreachable` or `prohibit`.
`family ipv6` is for one that names no network.";

/// What to do with policy rules.
pub(super) type Args = Placed<Verb>;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Put a policy rule in force; without a priority it comes before all but the first
    #[command(
        override_usage = "netctl rule add [from NETWORK] [to NETWORK] [iif IF] [oif IF] [fwmark MARK] [priority N] \
                                [family ipv4|ipv6] [table N|blackhole|unreachable|prohibit]"
    )]
    Add {
        /// Which packets, and what decides
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
    },
    /// End the first policy rule that fits, and that one alone
    #[command(visible_alias = "delete", override_usage = "netctl rule del WORD... [--force]")]
    Del {
        /// As of `add`: only one that has these
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
        /// Also if a topology wants it
        #[arg(long)]
        force: bool,
    },
    /// List the policy rules in the order in which they are asked, IPv4 first
    #[command(visible_aliases = ["list", "show"])]
    Ls,
}

pub(super) fn run(args: &Args, desk: &mut Desk<'_>) -> Result<Exit, Failure> {
    let place = args.namespace.or(desk.before)?;
    let ops = match &args.verb {
        Some(Verb::Add { words }) => rule::add(&mut desk.session(false)?, &read(place, words)?)?,
        Some(Verb::Del { words, force }) => rule::delete(&mut desk.session(*force)?, &read(place, words)?)?,
        None | Some(Verb::Ls) => {
            let titles = ["PRIORITY", "FAMILY", "FROM", "TO", "IIF", "OIF", "FWMARK", "ACTION", "PROTOCOL"];
            return cells::list(&rule::ls(&place)?, &titles, row, "there are no policy rules", desk.printer);
        }
    };
    cells::done(&ops, None, desk.printer)
}

const KNOWN: &[&str] = &[
    "from",
    "to",
    "iif",
    "oif",
    "fwmark",
    "priority",
    "family",
    "table",
    "blackhole",
    "unreachable",
    "prohibit",
];

/// Reads the words of a rule, in any order; `lookup`, `pref` and `type` are those of `ip`.
fn read(place: Place, words: &[String]) -> Result<Sought, words::Error> {
    let (mut from, mut to, mut iif, mut oif, mut mark) = (None, None, None, None, None);
    let (mut priority, mut family, mut action) = (None, None, None);
    let mut words = Words::new(words);
    while let Some(word) = words.keyword() {
        match word {
            "from" => words.value(&mut from, "from", packets)?,
            "to" => words.value(&mut to, "to", packets)?,
            "iif" => words.value(&mut iif, "iif", interface)?,
            "oif" => words.value(&mut oif, "oif", interface)?,
            "fwmark" => words.value(&mut mark, "fwmark", |text| Ok(read_mark(text)?))?,
            "priority" | "pref" => words.value(&mut priority, "priority", parse("priority"))?,
            "family" => words.value(&mut family, "family", read_family)?,
            "table" | "lookup" => {
                words.value(&mut action, "table", |text| Ok(RuleAction::Table(read_table(text)?)))?;
            }
            "blackhole" => settle(&mut action, "blackhole", RuleAction::Blackhole)?,
            "unreachable" => settle(&mut action, "unreachable", RuleAction::Unreachable)?,
            "prohibit" => settle(&mut action, "prohibit", RuleAction::Prohibit)?,
            "type" => {}
            word => return Err(words::Error::unknown(word, KNOWN)),
        }
    }
    let (from, to) = (from.flatten(), to.flatten());
    let family = family_of(from, to, family)?;
    let everything = |network: &IpNet| network.prefix_len() == 0;
    // To the kernel, a network of everyone is none.
    let [from, to] = [from, to].map(|network| network.filter(|network| !everything(network)));
    Ok(Sought { place, family, priority, from, to, iif, oif, mark, action })
}

/// A network; none where it is all of them.
fn packets(text: &str) -> Result<Option<IpNet>, words::Error> {
    if matches!(text, "all" | "any" | "default") { Ok(None) } else { network(text, "network").map(Some) }
}

fn read_family(text: &str) -> Result<Family, words::Error> {
    match text {
        "ipv4" | "inet" => Ok(Family::Ipv4),
        "ipv6" | "inet6" => Ok(Family::Ipv6),
        text => Err(words::Error::unknown(text, &["ipv4", "ipv6"])),
    }
}

/// That of the networks, else the one that is said, else IPv4, as with `ip`.
fn family_of(from: Option<IpNet>, to: Option<IpNet>, said: Option<Family>) -> Result<Family, words::Error> {
    let of = |network: IpNet| if network.addr().is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
    let differ = |one: IpNet, other: String| Err(Problem::Families { one: one.to_string(), other }.into());
    match (from, to, said) {
        (Some(from), Some(to), _) if of(from) != of(to) => differ(to, from.to_string()),
        (Some(network), _, Some(said)) | (None, Some(network), Some(said)) if of(network) != said => {
            let other = match said {
                Family::Ipv4 => "ipv4",
                Family::Ipv6 => "ipv6",
            };
            differ(network, other.to_owned())
        }
        (Some(network), _, _) | (None, Some(network), _) => Ok(of(network)),
        (None, None, said) => Ok(said.unwrap_or(Family::Ipv4)),
    }
}

fn row(its: &Listed) -> cells::Row {
    let family = match its.family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    };
    let action = its
        .table
        .map_or_else(|| its.action.to_owned(), |table| format!("table {}", cells::routing_table(table)));
    let action = if its.narrower { format!("{action} (and more)") } else { action };
    vec![
        cells::name(its.priority.to_string()),
        cells::plain(family),
        cells::or_dash(its.from),
        cells::or_dash(its.to),
        cells::or_dash(its.iif.as_ref()),
        cells::or_dash(its.oif.as_ref()),
        cells::or_dash(its.fwmark.as_ref()),
        cells::plain(action),
        cells::plain(its.protocol),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<Sought, words::Error> {
        read(Place::Host, &text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_rule_is_read_as_ip_reads_it() {
        let rule = said("from 10.0.0.0/24 to 10.0.1.7 fwmark 1/0xff pref 100 lookup 7").unwrap();
        assert_eq!((rule.from, rule.to), ("10.0.0.0/24".parse().ok(), "10.0.1.7/32".parse().ok()));
        assert_eq!((rule.mark, rule.priority), (Some((1, 0xff)), Some(100)));
        assert_eq!((rule.action, rule.family), (Some(RuleAction::Table(7)), Family::Ipv4));
        let rule = said("from all iif eth0 oif wan0 family ipv6 type prohibit").unwrap();
        assert_eq!((rule.from, rule.family), (None, Family::Ipv6));
        assert_eq!((rule.action, rule.priority), (Some(RuleAction::Prohibit), None));
        let everyone = said("from ::/0 table local").unwrap();
        assert_eq!((everyone.from, everyone.family), (None, Family::Ipv6));
    }

    #[test]
    fn words_that_make_no_rule_are_refused() {
        for (text, message) in [
            ("from 10.0.0.1/24", "`10.0.0.1/24` is an address in a network, not a network"),
            ("from 10.0.0.0/24 to fd00::/8", "fd00::/8 and 10.0.0.0/24 are of different address families"),
            ("from fd00::/8 family ipv4", "fd00::/8 and ipv4 are of different address families"),
            ("table 7 blackhole", "`blackhole` is said twice, or against itself"),
            ("fwmark 0x", "`0x` is not a mark"),
            ("tabel 7", "unknown word `tabel`"),
            ("family ipx", "unknown word `ipx`"),
        ] {
            assert_eq!(said(text).unwrap_err().to_string(), message);
        }
    }
}

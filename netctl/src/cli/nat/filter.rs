//! Which flows: switches as `conntrack` and `ss` have them.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use ipnet::IpNet;
use netctl::single::nat::{Filter, Kind, Proto, RuleName, State};

use super::super::words;

/// All of them have to fit.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Filters {
    /// Of this protocol: `tcp`, `udp`, `icmp`, `icmpv6` or a number
    #[arg(short, long, value_name = "PROTO", value_parser = proto)]
    proto: Option<Proto>,
    /// Whose first packet came from this network or address
    #[arg(short, long, value_name = "NETWORK", value_parser = network)]
    src: Option<IpNet>,
    /// Whose first packet was for this network or address, before translation
    #[arg(short, long, value_name = "NETWORK", value_parser = network)]
    dst: Option<IpNet>,
    /// With an address in this network, before or after translation
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    address: Option<IpNet>,
    /// Whose first packet came from this port
    #[arg(long, value_name = "PORT")]
    sport: Option<u16>,
    /// Whose first packet was for this port, before translation
    #[arg(long, value_name = "PORT")]
    dport: Option<u16>,
    /// With this port, before or after translation
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// That have come so far; the last two are of protocols other than TCP
    #[arg(long, value_name = "STATE", value_parser = one_of(&State::ALL))]
    state: Option<State>,
    /// That exist for this reason
    #[arg(long, value_name = "KIND", value_parser = one_of(&Kind::ALL))]
    kind: Option<Kind>,
    /// Of this rule: its number, its source, or what it listens on, as `nat stats` has them
    #[arg(long, value_name = "RULE")]
    rule: Option<RuleName>,
}

impl From<&Filters> for Filter {
    fn from(its: &Filters) -> Self {
        Self {
            proto: its.proto,
            source: its.src,
            destination: its.dst,
            address: its.address,
            source_port: its.sport,
            destination_port: its.dport,
            port: its.port,
            state: its.state,
            kind: its.kind,
            rule: its.rule.clone(),
        }
    }
}

fn proto(text: &str) -> Result<Proto, String> {
    let known = &["tcp", "udp", "icmp", "icmpv6"];
    let unknown = || words::Error::Unknown { word: text.to_owned(), known };
    Proto::of(text).ok_or_else(|| unknown().in_full())
}

fn network(text: &str) -> Result<IpNet, String> {
    words::network(text, "network").map_err(|error| error.in_full())
}

/// The words of a table, of which the help and a wrong one's error tell.
fn one_of<T>(all: &'static [(T, &'static str)]) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.iter().map(|(_, word)| *word)).try_map(|text| {
        let found = all.iter().find(|(_, word)| *word == text).map(|(it, _)| *it);
        found.ok_or(words::Error::Unknown { word: text, known: &[] })
    })
}

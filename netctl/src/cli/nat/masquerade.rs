//! `netctl nat masquerade`: source NAT, a rule at a time.

use ipnet::IpNet;
use netctl::{
    model::{IfName, Place},
    single::nat::{self, RuleKind, RuleName, Which},
    spec,
};

use super::{
    super::{Exit, Failure, namespace::Desk, words},
    rules,
};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl nat masquerade add --source 172.18.0.0/16
  netctl nat masquerade add --out eth0
  netctl -n router nat masquerade add --source 192.168.15.0/24 --out wan0 --ports 20000-29999
  netctl -n router nat masquerade del --source 192.168.15.0/24";

/// What to do with masquerade rules.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Put a rule in force; the namespace forwards from then on
    Add(Rule),
    /// End a rule and its flows
    #[command(visible_alias = "delete", aliases = ["rm", "remove"])]
    Del {
        /// Its number, or its source
        #[arg(value_name = "RULE", required_unless_present_any = ["source", "out"], conflicts_with_all = ["source", "out"])]
        rule: Option<RuleName>,
        /// Its source
        #[arg(short, long, value_name = "NETWORK", value_parser = network)]
        source: Option<IpNet>,
        /// Only what goes out of this interface; without a source, the rules that have none
        #[arg(short, long, value_name = "IF")]
        out: Option<IfName>,
        /// Also if a topology wants it
        #[arg(long)]
        force: bool,
    },
    /// List the rules, of one gateway (`-n`) or of all
    #[command(visible_aliases = ["list", "show"])]
    Ls,
}

/// The keys of the file.
#[derive(Debug, clap::Args)]
struct Rule {
    /// The inside network [default: everyone whose packets are sent on out of `--out`]
    #[arg(short, long, value_name = "NETWORK", required_unless_present = "out")]
    source: Option<String>,
    /// The uplink [default: every interface that no part of the source lives behind]
    #[arg(short, long, value_name = "IF")]
    out: Option<String>,
    /// The outside address to take [default: the one that routing chooses]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// The ports to choose from [default: the packet's own, else any free one]
    #[arg(long, value_name = "FIRST-LAST")]
    ports: Option<String>,
    /// `address-and-port-dependent` [default] or `endpoint-independent`: one outside port for an inside one
    #[arg(long, value_name = "MAPPING")]
    mapping: Option<String>,
    /// With an endpoint-independent mapping, who may send to it: `address-and-port-dependent` [default],
    /// `address-dependent` or `endpoint-independent`
    #[arg(long, value_name = "FILTERING")]
    filtering: Option<String>,
    /// Let in what comes from outside straight to an inside address
    #[arg(long)]
    routed: bool,
    /// Also if a topology's inside interface becomes an uplink by it
    #[arg(long)]
    force: bool,
}

impl Rule {
    fn spec(&self, place: &Place) -> spec::Masquerade {
        spec::Masquerade {
            namespace: place.to_string(),
            source: self.source.clone(),
            out: self.out.clone(),
            address: self.address.clone(),
            ports: self.ports.clone(),
            routed: self.routed,
            mapping: self.mapping.clone(),
            filtering: self.filtering.clone(),
        }
    }
}

fn network(text: &str) -> Result<IpNet, words::Error> {
    words::network(text, "network")
}

pub(super) fn run(args: &Args, place: Option<&Place>, desk: &mut Desk<'_>) -> Result<Exit, Failure> {
    let changed = match &args.verb {
        None | Some(Verb::Ls) => {
            let listed = nat::ls_masquerades(place, desk.directories)?;
            return rules::list(&listed, place.is_none(), "there are no masquerade rules", desk.printer);
        }
        Some(Verb::Add(rule)) => {
            let place = rules::place_of(place);
            let mut session = desk.session(rule.force)?;
            nat::add_masquerade(&mut session, &place, &rule.spec(&place))?
        }
        Some(Verb::Del { rule, source, out, force }) => {
            let which = match (rule, source) {
                (Some(rule), _) => Which::Named(rule.clone()),
                (None, Some(source)) => Which::From(*source, out.clone()),
                (None, None) if let Some(out) = out => Which::Out(out.clone()),
                (None, None) => return Err(words::Error::NoValue { keyword: "del" }.into()),
            };
            let mut session = desk.session(*force)?;
            nat::delete(&mut session, &rules::place_of(place), RuleKind::Masquerade, &which)?
        }
    };
    rules::done(&rules::place_of(place), &changed, desk.printer)
}

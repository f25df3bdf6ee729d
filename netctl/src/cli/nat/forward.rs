//! `netctl nat forward`: destination NAT, a rule at a time.

use netctl::{
    model::Place,
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
  netctl nat forward add --listen 80/tcp --to 192.168.15.2:80
  netctl -n router nat forward add --listen 203.0.113.1:8000-8009/tcp+udp --to 192.168.15.2 --allow 198.51.100.0/24
  netctl -n router nat forward del --listen 203.0.113.1:8000-8009/udp";

/// What to do with forwards.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Put a forward in force; the namespace forwards from then on
    Add {
        /// Where to listen: [ADDRESS:]PORT[-PORT][/tcp|udp|tcp+udp]
        #[arg(long, value_name = "LISTEN")]
        listen: String,
        /// Where to: ADDRESS[:PORT]; a range maps onto as long a range
        #[arg(long, value_name = "TO")]
        to: String,
        /// Who may use it, more than once or with commas [default: everyone]
        #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
        allow: Vec<String>,
        /// Also if a socket of the gateway has the port: the forward gets what comes from outside
        #[arg(long)]
        force: bool,
    },
    /// End a forward and its flows
    #[command(visible_alias = "delete", aliases = ["rm", "remove"])]
    Del {
        /// Its number, or where it listens
        #[arg(value_name = "RULE", required_unless_present = "listen", conflicts_with = "listen")]
        rule: Option<RuleName>,
        /// Where it listens; with `tcp+udp` both
        #[arg(long, value_name = "LISTEN")]
        listen: Option<String>,
        /// Also if a topology wants it
        #[arg(long)]
        force: bool,
    },
    /// List the forwards, of one gateway (`-n`) or of all
    #[command(visible_aliases = ["list", "show"])]
    Ls,
}

pub(super) fn run(args: &Args, place: Option<&Place>, desk: &mut Desk<'_>) -> Result<Exit, Failure> {
    let changed = match &args.verb {
        None | Some(Verb::Ls) => {
            let listed = nat::ls_forwards(place, desk.directories)?;
            return rules::list(&listed, place.is_none(), "there are no forwards", desk.printer);
        }
        Some(Verb::Add { listen, to, allow, force }) => {
            let place = rules::place_of(place);
            let spec = spec::Forward {
                namespace: place.to_string(),
                listen: listen.clone(),
                to: to.clone(),
                allow: Some(allow.clone()).filter(|allow| !allow.is_empty()),
            };
            nat::add_forward(&mut desk.session(*force)?, &place, &spec)?
        }
        Some(Verb::Del { rule, listen, force }) => {
            let which = match (rule, listen) {
                (Some(rule), _) => Which::Named(rule.clone()),
                (None, Some(listen)) => Which::Listening(listen.clone()),
                (None, None) => return Err(words::Error::NoValue { keyword: "del" }.into()),
            };
            let mut session = desk.session(*force)?;
            nat::delete(&mut session, &rules::place_of(place), RuleKind::Forward, &which)?
        }
    };
    rules::done(&rules::place_of(place), &changed, desk.printer)
}

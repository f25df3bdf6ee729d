//! `netctl nat`: rules, one at a time, a look into translation, and flows forgotten.

mod filter;
pub(super) mod flows;
mod forward;
mod masquerade;
mod rules;
mod stats;

use netctl::single::nat::{self, Flushed};

use self::filter::Filters;
use super::{
    Exit, Failure,
    namespace::{Acting, Desk},
};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl nat masquerade add --source 192.168.15.0/24
  netctl -n router nat forward add --listen 203.0.113.1:8080/tcp --to 192.168.15.2:80
  netctl -n router nat forward del --listen 203.0.113.1:8080/tcp
  netctl nat flows                                    of every gateway
  netctl -n router nat flows --proto tcp --dst 203.0.113.0/24 --state established
  netctl -n router nat stats
  netctl -n router nat flush --rule 203.0.113.1:8080/tcp";

/// What to do with translation.
pub(super) type Args = Acting<Verb>;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Put a masquerade rule in force, end one, or list them
    #[command(visible_alias = "masq", after_help = masquerade::EXAMPLES)]
    Masquerade(masquerade::Args),
    /// Put a port forward in force, end one, or list them
    #[command(after_help = forward::EXAMPLES)]
    Forward(forward::Args),
    /// List the live flows, of one gateway (`-n`) or of all
    #[command(visible_alias = "flow")]
    Flows {
        #[command(flatten)]
        filters: Filters,
    },
    /// Show what has passed by each rule, how full the flow table is, and what was dropped
    Stats,
    /// Forget flows: those that fit, or all; their next packets are new ones
    Flush {
        #[command(flatten)]
        filters: Filters,
    },
}

pub(super) fn run(args: &Args, desk: &mut Desk<'_>) -> Result<Exit, Failure> {
    let place = args.namespace.given(desk.before)?;
    match &args.verb {
        Verb::Masquerade(args) => return masquerade::run(args, place, desk),
        Verb::Forward(args) => return forward::run(args, place, desk),
        Verb::Flows { filters } => {
            let listed = nat::flows(place, &filters.into(), desk.directories)?;
            desk.printer.show(&listed, |printer| flows::tell(&listed, place.is_none(), printer))?;
            for its in nat::unseen(place, desk.directories)? {
                desk.printer.note(&format!(
                    "the flows of `{}` are netfilter's (backend `{}`): `{}` shows them",
                    its.gateway, its.backend, its.flows
                ));
            }
        }
        Verb::Stats => {
            let stats = nat::stats(place, desk.directories)?;
            let unseen = nat::unseen(place, desk.directories)?;
            desk.printer.show(&stats, |printer| match (stats.as_slice(), unseen.as_slice()) {
                ([], [_, ..]) => Ok(()),
                _ => stats::tell(&stats, printer),
            })?;
            for its in unseen {
                let commands: Vec<String> = its.counters.iter().map(|words| format!("`{words}`")).collect();
                desk.printer.note(&format!(
                    "the counters of `{}` are netfilter's (backend `{}`): see {}",
                    its.gateway,
                    its.backend,
                    commands.join(" and ")
                ));
            }
        }
        Verb::Flush { filters } => {
            let flushed = nat::flush(&mut desk.session(false)?, place, &filters.into())?;
            desk.printer.report(&flushed, |printer| printer.line(&forgotten(&flushed)))?;
        }
    }
    Ok(Exit::Done)
}

fn forgotten(flushed: &[Flushed]) -> String {
    match flushed.iter().map(|gateway| gateway.flows).sum::<u64>() {
        1 => "forgot 1 flow".to_owned(),
        n => format!("forgot {n} flows"),
    }
}

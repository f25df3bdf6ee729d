//! `netctl route`: routes, one at a time.

use netctl::{
    model::Place,
    model::Route,
    single::{
        Session,
        route::{self, Listed},
    },
    state::Directories,
};

use super::{
    Exit, Failure, Printer, cells,
    namespace::Namespace,
    words::{self, Words, destination, parse},
};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl -n blue route add 192.168.1.0/24 via 192.168.15.5
  netctl -n blue route add default via 192.168.15.5
  netctl route ls";

/// What to do with routes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    namespace: Namespace,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Set a route
    Add {
        /// `default`, a network, or an address
        #[arg(value_name = "TO")]
        to: String,
        /// `via ADDRESS`, `dev IF`, `metric N`
        #[arg(value_name = "BY", required = true)]
        by: Vec<String>,
    },
    /// Remove the first route that fits
    #[command(visible_alias = "delete")]
    Del {
        /// `default`, a network, or an address
        #[arg(value_name = "TO")]
        to: String,
        /// `via ADDRESS`, `dev IF`, `metric N`: only one that has these
        #[arg(value_name = "BY")]
        by: Vec<String>,
        /// Also if a topology wants it
        #[arg(long)]
        force: bool,
    },
    /// List the routes, IPv4 and IPv6
    #[command(visible_aliases = ["list", "show"])]
    Ls,
}

pub(super) fn run(
    args: &Args,
    before: Option<&Place>,
    directories: &Directories,
    printer: &mut Printer,
) -> Result<Exit, Failure> {
    let place = args.namespace.or(before)?;
    let ops = match &args.verb {
        Some(Verb::Add { to, by }) => {
            let route = read(place, to, by)?;
            if route.via.is_none() && route.dev.is_none() {
                return Err(words::Error::Nowhere.into());
            }
            route::add(&mut Session::begin(directories, false)?, &route)?
        }
        Some(Verb::Del { to, by, force }) => {
            route::delete(&mut Session::begin(directories, *force)?, &read(place, to, by)?)?
        }
        None | Some(Verb::Ls) => {
            let listed = route::ls(&place)?;
            printer.show(&listed, |printer| {
                let titles = ["TO", "VIA", "DEV", "PROTOCOL", "SCOPE", "SOURCE", "METRIC"];
                cells::table(&titles, listed.iter().map(row), "there are no routes", printer)
            })?;
            return Ok(Exit::Done);
        }
    };
    cells::done(&ops, None, printer)
}

fn read(place: Place, to: &str, by: &[String]) -> Result<Route, words::Error> {
    let (mut via, mut dev, mut metric) = (None, None, None);
    let mut words = Words::new(by);
    while let Some(word) = words.keyword() {
        match word {
            "via" => words.value(&mut via, "via", parse("address"))?,
            "dev" => words.value(&mut dev, "dev", |text| Ok(text.parse()?))?,
            "metric" => words.value(&mut metric, "metric", parse("metric"))?,
            word => {
                let known = &["via", "dev", "metric"];
                return Err(words::Error::Unknown { word: word.to_owned(), known });
            }
        }
    }
    let to = destination(to, via)?;
    match via {
        // The other way round works (RFC 5549).
        Some(via) if via.is_ipv4() && to.addr().is_ipv6() => Err(words::Error::Families { to, via }),
        via => {
            let (kind, onlink, table) = Default::default();
            Ok(Route { place, to, kind, via, dev, onlink, metric, table })
        }
    }
}

fn row(its: &Listed) -> cells::Row {
    let to = if its.kind == "unicast" { its.to.clone() } else { format!("{} {}", its.kind, its.to) };
    let via = if its.multipath { cells::plain("several") } else { cells::or_dash(its.via) };
    vec![
        cells::name(to),
        via,
        cells::or_dash(its.interface.as_ref()),
        cells::plain(its.protocol),
        cells::plain(its.scope),
        cells::or_dash(its.source),
        cells::plain(its.metric.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_as_ip_reads_it() {
        let by: Vec<String> = "via fe80::1 dev eth0 metric 5".split(' ').map(str::to_owned).collect();
        let route = read(Place::Host, "default", &by).unwrap();
        assert_eq!(route.to_string(), "default via fe80::1 dev eth0 metric 5");
        assert!(route.to.addr().is_ipv6());
        let error = read(Place::Host, "default", &["vai".to_owned()]).unwrap_err();
        assert_eq!(error.hint().unwrap(), "did you mean `via`?");
        let by = ["via".to_owned(), "10.0.0.1".to_owned()];
        let error = read(Place::Host, "fd00::/64", &by).unwrap_err();
        assert_eq!(error.to_string(), "fd00::/64 is not of the family of 10.0.0.1");
    }
}

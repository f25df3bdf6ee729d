//! `netctl route`: routes, one at a time.

use netctl::{
    model::{IfName, Place, Route, RouteKind, read_table},
    single::route::{self, Listed, Tables},
};

use super::{
    Exit, Failure, cells,
    namespace::{Desk, Placed},
    words::{self, Words, destination, interface, parse, settle},
};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl -n blue route add 192.168.1.0/24 via 192.168.15.5
  netctl -n blue route add default via 192.168.15.5
  netctl route add default via fe80::1 dev eth0 metric 50
  netctl route add 10.9.0.0/16 via 203.0.113.9 dev wan0 onlink table 100
  netctl route add blackhole 10.0.0.0/8
  netctl route replace default via 192.168.15.6
  netctl route ls table all

The types are `unicast`, which needs no word, `blackhole`, `unreachable` and `prohibit`; the words `via ADDRESS`,
`dev IF`, `onlink`, `metric N` and `table N` (or `main`, `default`, `local`).";

/// What to do with routes.
pub(super) type Args = Placed<Verb>;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Set a route
    #[command(
        override_usage = "netctl route add [TYPE] TO [via ADDRESS] [dev IF] [onlink] [metric N] [table N]"
    )]
    Add {
        /// The type, the destination (`default`, a network, or an address), and how it is reached
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
    },
    /// Set a route, in the place of one of its destination, table and metric if there is one
    #[command(
        override_usage = "netctl route replace [TYPE] TO [via ADDRESS] [dev IF] [onlink] [metric N] [table N] [--force]"
    )]
    Replace {
        /// As of `add`
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
        /// Also if a topology wants the other one
        #[arg(long)]
        force: bool,
    },
    /// Remove the first route that fits, and that one alone
    #[command(
        visible_alias = "delete",
        override_usage = "netctl route del [TYPE] TO [via ADDRESS] [dev IF] [onlink] [metric N] [table N] [--force]"
    )]
    Del {
        /// As of `add`: only one that has these
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
        /// Also if a topology wants it
        #[arg(long)]
        force: bool,
    },
    /// List the routes, IPv4 and IPv6
    #[command(visible_aliases = ["list", "show"], override_usage = "netctl route ls [table N|all]")]
    Ls {
        /// Those of another table than the main one
        #[arg(value_name = "WORD")]
        words: Vec<String>,
    },
    /// Nothing: there is no cache
    #[command(hide = true)]
    Flush {
        #[arg(value_parser = ["cache"])]
        what: String,
    },
}

const NO_CACHE: &str = "there is nothing to flush: kernels since 3.6 have no cache of IPv4 routes";

pub(super) fn run(args: &Args, desk: &mut Desk<'_>) -> Result<Exit, Failure> {
    let place = args.namespace.or(desk.before)?;
    let ops = match &args.verb {
        Some(Verb::Add { words }) => route::add(&mut desk.session(false)?, &to_set(place, words)?)?,
        Some(Verb::Replace { words, force }) => {
            route::replace(&mut desk.session(*force)?, &to_set(place, words)?)?
        }
        Some(Verb::Del { words, force }) => {
            let Said { route, kind } = read(place, words)?;
            route::delete(&mut desk.session(*force)?, &route, kind.is_none())?
        }
        Some(Verb::Flush { .. }) => return cells::done(&[], Some(NO_CACHE), desk.printer),
        None => return list(&place, Tables::MAIN, desk),
        Some(Verb::Ls { words }) => return list(&place, tables(words)?, desk),
    };
    cells::done(&ops, None, desk.printer)
}

fn list(place: &Place, tables: Tables, desk: &mut Desk<'_>) -> Result<Exit, Failure> {
    let titles = ["TO", "VIA", "DEV", "PROTOCOL", "SCOPE", "SOURCE", "METRIC", "TABLE"];
    let shown = if tables == Tables::All { &titles[..] } else { &titles[..7] };
    let row = |its: &Listed| row(its).into_iter().take(shown.len()).collect();
    cells::list(&route::ls(place, tables)?, shown, row, "there are no routes", desk.printer)
}

/// Reads `[table N|all]`.
fn tables(words: &[String]) -> Result<Tables, words::Error> {
    let mut tables = None;
    let mut words = Words::new(words);
    while let Some(word) = words.keyword() {
        match word {
            "table" => words.value(&mut tables, "table", |text| match text {
                "all" => Ok(Tables::All),
                text => Ok(Tables::One(read_table(text)?)),
            })?,
            word => return Err(words::Error::unknown(word, &["table"])),
        }
    }
    Ok(tables.unwrap_or(Tables::MAIN))
}

/// What was said of a route: its type is another thing if it was left open.
struct Said {
    route: Route,
    kind: Option<RouteKind>,
}

/// The types that a route can be said to have.
const KINDS: [(&str, RouteKind); 4] = [
    ("unicast", RouteKind::Unicast),
    ("blackhole", RouteKind::Blackhole),
    ("unreachable", RouteKind::Unreachable),
    ("prohibit", RouteKind::Prohibit),
];

const KNOWN: &[&str] = &["via", "dev", "onlink", "metric", "table"];

/// Reads `[TYPE] TO [via ADDRESS] [dev IF] [onlink] [metric N] [table N]`.
fn read(place: Place, words: &[String]) -> Result<Said, words::Error> {
    let mut words = Words::new(words);
    let no_destination = || words::Error::NoValue { keyword: "route" };
    let mut to = words.keyword().ok_or_else(no_destination)?;
    let kind = KINDS.iter().find(|(word, _)| *word == to).map(|(_, kind)| *kind);
    if kind.is_some() {
        to = words.keyword().ok_or_else(no_destination)?;
    }
    let (mut via, mut dev, mut onlink, mut metric, mut table) = (None, None, None, None, None);
    while let Some(word) = words.keyword() {
        match word {
            "via" => {
                words.skip(&["inet", "inet6"]);
                words.value(&mut via, "via", parse("address"))?;
            }
            "dev" => words.value::<IfName>(&mut dev, "dev", interface)?,
            "onlink" => settle(&mut onlink, "onlink", true)?,
            "metric" => words.value(&mut metric, "metric", parse("metric"))?,
            "table" => words.value(&mut table, "table", |text| Ok(read_table(text)?))?,
            word => return Err(words::Error::unknown(word, KNOWN)),
        }
    }
    let to = destination(to, via)?;
    if let Some(via) = via.filter(|via| via.is_ipv4() && to.addr().is_ipv6()) {
        // The other way round works (RFC 5549).
        return Err(words::Error::Families { to, via });
    }
    let (onlink, is) = (onlink.unwrap_or(false), kind.unwrap_or_default());
    Ok(Said { route: Route { place, to, kind: is, via, dev, onlink, metric, table }, kind })
}

/// Reads one that is to be set, which has to lead somewhere, or is refused and does not.
fn to_set(place: Place, words: &[String]) -> Result<Route, words::Error> {
    let route = read(place, words)?.route;
    let is_link_local = |via: std::net::IpAddr| match via {
        std::net::IpAddr::V4(via) => via.is_link_local(),
        std::net::IpAddr::V6(via) => via.is_unicast_link_local(),
    };
    match (&route.via, &route.dev) {
        (Some(_), _) if !route.kind.is_unicast() => Err(words::Error::LeadsNowhere("via")),
        (None, Some(_)) if !route.kind.is_unicast() => Err(words::Error::LeadsNowhere("dev")),
        (None, None) if route.onlink && !route.kind.is_unicast() => Err(words::Error::LeadsNowhere("onlink")),
        (None, _) | (_, None) if route.onlink => Err(words::Error::OnLink),
        (None, None) if route.kind.is_unicast() => Err(words::Error::Nowhere),
        (Some(via), None) if via.is_ipv6() && is_link_local(*via) => Err(words::Error::LinkLocal(*via)),
        (Some(_) | None, Some(_) | None) => Ok(route),
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
        cells::plain(cells::routing_table(its.table)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<Said, words::Error> {
        read(Place::Host, &text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    fn set(text: &str) -> Result<Route, words::Error> {
        to_set(Place::Host, &text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_route_is_read_as_ip_reads_it() {
        for (text, same) in [
            ("default via fe80::1 dev eth0 metric 5", "default via fe80::1 dev eth0 metric 5"),
            ("10.9.0.0/16 via inet6 fe80::1 dev eth0", "10.9.0.0/16 via inet6 fe80::1 dev eth0"),
            ("unicast 10.9.0.0/16 dev eth0 table main", "10.9.0.0/16 dev eth0 table 254"),
            ("blackhole 10.0.0.0/8 table 100 metric 7", "blackhole 10.0.0.0/8 table 100 metric 7"),
            ("prohibit fd00::/8", "prohibit fd00::/8"),
            ("default onlink dev wan0 via 203.0.113.9", "default via 203.0.113.9 dev wan0 onlink"),
        ] {
            assert_eq!(set(text).unwrap().to_string(), same);
        }
        assert!(set("default via fe80::1 dev eth0").unwrap().to.addr().is_ipv6());
        assert_eq!(said("10.0.0.0/8").unwrap().kind, None);
        assert_eq!(said("unicast 10.0.0.0/8").unwrap().kind, Some(RouteKind::Unicast));
    }

    #[test]
    fn words_that_make_no_route_are_refused() {
        for (text, message, hint) in [
            ("default vai 10.0.0.1", "unknown word `vai`", "did you mean `via`?"),
            (
                "fd00::/64 via 10.0.0.1",
                "fd00::/64 is not of the family of 10.0.0.1",
                "a route and its next hop are both of IPv4, or both of IPv6",
            ),
            ("default", "a route needs `via ADDRESS`, `dev IF`, or both", ""),
            ("default via 10.0.0.1 onlink", "`onlink` needs `via ADDRESS` and `dev IF`", ""),
            ("default via fe80::1", "`fe80::1` is there on every link: `dev IF` says which", ""),
            ("blackhole 10.0.0.0/8 dev eth0", "what is refused leads nowhere: `dev` does not go with it", ""),
            ("blackhole", "`route` needs a value", ""),
            ("10.0.0.0/8 dev eth0 onlink", "`onlink` needs `via ADDRESS` and `dev IF`", ""),
            (
                "10.0.0.0/8 dev eth0 table mian",
                "`mian` is not a routing table",
                "write its number, from 1 to 4294967295, or \"main\", \"default\" or \"local\"",
            ),
        ] {
            let error = set(text).unwrap_err();
            assert_eq!(
                (error.to_string().as_str(), error.hint().unwrap_or_default().as_str()),
                (message, hint)
            );
        }
    }

    #[test]
    fn tables_are_named_or_numbered() {
        let read = |text: &str| tables(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(read("").unwrap(), Tables::MAIN);
        assert_eq!(read("table all").unwrap(), Tables::All);
        assert_eq!(read("table local").unwrap(), Tables::One(255));
        assert_eq!(read("dev eth0").unwrap_err().to_string(), "unknown word `dev`");
    }
}

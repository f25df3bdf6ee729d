//! `netctl neigh`: the neighbours, or ARP table.

use std::net::IpAddr;

use netctl::{
    model::{IfName, Place},
    op::Mac,
    single::neigh::{self, Listed, Neighbour},
};

use super::{
    Exit, Failure, cells,
    namespace::{Desk, Placed},
    print,
    words::{self, Words, interface, one_device, parse},
};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl neigh ls
  netctl -n red neigh add 192.168.15.7 lladdr 02:00:00:00:00:07 dev eth0
  netctl -n red neigh replace 192.168.15.5 lladdr 02:00:00:00:00:05 dev eth0
  netctl -n red neigh del 192.168.15.7 dev eth0

One that is set is permanent: nobody is asked for its MAC address.";

/// What to do with neighbours.
pub(super) type Args = Placed<Verb>;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Set a neighbour that the kernel does not know yet
    #[command(override_usage = "netctl neigh add ADDRESS lladdr MAC dev IF")]
    Add {
        /// Its address
        address: IpAddr,
        /// `lladdr MAC` and `dev IF`
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
    },
    /// Set a neighbour, whatever the kernel knows of it
    #[command(override_usage = "netctl neigh replace ADDRESS lladdr MAC dev IF")]
    Replace {
        /// Its address
        address: IpAddr,
        /// `lladdr MAC` and `dev IF`
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
    },
    /// Forget a neighbour
    #[command(visible_alias = "delete", override_usage = "netctl neigh del ADDRESS [dev] IF")]
    Del {
        /// Its address
        address: IpAddr,
        /// The link that it is behind
        #[arg(value_name = "IF", required = true, num_args = 1..)]
        words: Vec<String>,
    },
    /// List the neighbours: which MAC address an address was found at
    #[command(visible_aliases = ["list", "show"], override_usage = "netctl neigh ls [[dev] IF]")]
    Ls {
        /// Only those behind this link
        #[arg(value_name = "IF", num_args = 1..=2)]
        interface: Vec<String>,
    },
}

pub(super) fn run(args: &Args, desk: &mut Desk<'_>) -> Result<Exit, Failure> {
    let place = args.namespace.or(desk.before)?;
    let ops = match &args.verb {
        Some(Verb::Add { address, words }) => {
            neigh::add(&mut desk.session(false)?, &place, &read(*address, words)?)?
        }
        Some(Verb::Replace { address, words }) => {
            neigh::replace(&mut desk.session(false)?, &place, &read(*address, words)?)?
        }
        Some(Verb::Del { address, words }) => {
            neigh::delete(&mut desk.session(false)?, &place, &behind(words)?, *address)?
        }
        None => return list(&place, &[], desk),
        Some(Verb::Ls { interface }) => return list(&place, interface, desk),
    };
    cells::done(&ops, None, desk.printer)
}

/// The words of a neighbour. What is set is permanent, which may be said as `ip` has it.
#[derive(Default)]
struct Said {
    mac: Option<Mac>,
    interface: Option<IfName>,
    state: Option<()>,
}

impl Said {
    fn read(words: &[String]) -> Result<Self, words::Error> {
        let mut said = Self::default();
        let mut words = Words::new(words);
        while let Some(word) = words.keyword() {
            match word {
                "lladdr" => words.value(&mut said.mac, "lladdr", parse("MAC address"))?,
                "dev" => words.value(&mut said.interface, "dev", interface)?,
                "nud" => words.value(&mut said.state, "nud", |text| match text {
                    "permanent" => Ok(()),
                    text => Err(words::Error::unknown(text, &["permanent"])),
                })?,
                word => return Err(words::Error::unknown(word, &["lladdr", "dev", "nud"])),
            }
        }
        Ok(said)
    }

    fn interface(self) -> Result<IfName, words::Error> {
        self.interface.ok_or(words::Error::Missing("dev IF"))
    }
}

/// Reads `lladdr MAC dev IF`.
fn read(address: IpAddr, words: &[String]) -> Result<Neighbour, words::Error> {
    let said = Said::read(words)?;
    let mac = said.mac.ok_or(words::Error::Missing("lladdr MAC"))?;
    Ok(Neighbour { address, mac, interface: said.interface()? })
}

/// Reads `IF`, or `dev IF` and what `ip` lets stand beside it.
fn behind(words: &[String]) -> Result<IfName, words::Error> {
    if let [name] = words { interface(name) } else { Said::read(words)?.interface() }
}

fn list(place: &Place, interface: &[String], desk: &mut Desk<'_>) -> Result<Exit, Failure> {
    let listed = neigh::ls(place, one_device(interface)?.as_ref())?;
    let titles = ["ADDRESS", "DEV", "MAC", "STATE"];
    cells::list(&listed, &titles, row, "no neighbour is known yet", desk.printer)
}

fn row(its: &Listed) -> cells::Row {
    let style = match its.state {
        "REACHABLE" | "PERMANENT" => print::GOOD,
        "FAILED" | "INCOMPLETE" => print::BAD,
        _ => print::CHANGED,
    };
    vec![
        cells::name(its.address.to_string()),
        cells::plain(&*its.interface),
        cells::or_dash(its.mac),
        (style, its.state.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<Neighbour, words::Error> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        read([10, 0, 0, 7].into(), &words)
    }

    #[test]
    fn a_neighbour_is_read_as_ip_reads_it() {
        let neighbour = said("dev eth0 lladdr 02:00:00:00:00:07 nud permanent").unwrap();
        assert_eq!((neighbour.mac, neighbour.interface.as_str()), (Mac([2, 0, 0, 0, 0, 7]), "eth0"));
        for (text, message) in [
            ("dev eth0", "`lladdr MAC` is missing"),
            ("lladdr 02:00:00:00:00:07", "`dev IF` is missing"),
            ("lladdr 02:00", "`02:00` is no MAC address: write it as 02:00:00:00:00:01"),
            ("nud stale", "unknown word `stale`"),
            ("mac 02:00:00:00:00:07", "unknown word `mac`"),
        ] {
            assert_eq!(said(text).unwrap_err().to_string(), message);
        }
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for text in ["eth0", "dev eth0", "lladdr 02:00:00:00:00:07 dev eth0"] {
            assert_eq!(behind(&words(text)).unwrap().as_str(), "eth0");
        }
    }
}

//! `netctl up`: make the kernel match the file.

use std::{
    env, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use netctl::{
    doctor, holder,
    model::{Place, Protocol, Topology},
    netns,
    op::{Change, NamespaceChange, Op},
    ownership::sysctls::Disagreement,
    ping::Expected,
    shell,
    state::Directories,
    up,
};
use serde::Serialize;

use super::{Exit, Failure, Printer, cells, down, plan, print, source};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl up                     the topology in ./netctl.toml, else the built-in quickstart
  netctl up office.toml
  netctl up --explain           the ip, sysctl and iptables commands that it equals";

/// What to bring up, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The topology file [default: ./netctl.toml or ./netctl.json, else the built-in quickstart]
    file: Option<PathBuf>,
    /// Print the steps without doing them
    #[arg(long)]
    dry_run: bool,
    /// Print the command that each step equals, without doing it
    #[arg(long, conflicts_with = "dry_run")]
    explain: bool,
    /// Replace a topology of the same name that was brought up from another file
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    topology: &'a str,
    file: Option<&'a Path>,
    changed: bool,
    operations: usize,
    milliseconds: u64,
}

pub(super) fn run(args: &Args, directories: &Directories, printer: &mut Printer) -> Result<Exit, Failure> {
    let source = source::topology(args.file.as_deref())?;
    let (topology, wanted) = (&source.topology, source.wanted(args.force));
    if args.dry_run || args.explain {
        let ops = up::preview(wanted, directories)?;
        if args.explain {
            plan::explain(&ops, printer)?;
        } else {
            plan::print(topology.name.as_str(), &ops, printer)?;
        }
        return Ok(Exit::Done);
    }
    let start = Instant::now();
    let mut progress = printer.progress();
    let outcome = up::up(wanted, directories, &mut |step| progress.show(step));
    progress.clear();
    let up::Outcome { ops, residents, disagreements } = outcome?;
    let elapsed = start.elapsed();
    let document = Document {
        topology: topology.name.as_str(),
        file: source.file.as_deref(),
        changed: !ops.is_empty(),
        operations: ops.len(),
        milliseconds: elapsed.as_millis().try_into().unwrap_or(u64::MAX),
    };
    printer.report(&document, |printer| report(&source, ops.len(), elapsed, printer))?;
    down::warn_of_residents(&residents, printer);
    for Disagreement { key, value, other, theirs } in disagreements {
        printer.warning(&format!(
            "sysctl `{key}` on the host is {value} now, and topology `{other}` wants {theirs}"
        ));
    }
    let makes = |op: &Op| op.change == Change::Namespace(NamespaceChange::CreateNamespace);
    if ops.iter().any(makes) {
        warn_if_hidden(printer);
    }
    if !ops.is_empty() {
        for crowd in doctor::crowds(&source.topology) {
            printer.warning(&format!("{}: on the host, `{}`", crowd.text(), crowd.remedy()));
        }
    }
    for (place, held) in holder::of_ports(&ops) {
        printer.warning(&format!(
            "{held}: while `{place}` forwards the port, what comes from outside goes to where the forward leads"
        ));
    }
    Ok(Exit::Done)
}

/// Where nobody else sees the names of what was made.
pub(super) fn warn_if_hidden(printer: &Printer) {
    if netns::is_hidden() {
        printer.warning(&format!("{}: {}", doctor::HIDDEN, doctor::UNHIDE));
    }
}

fn report(
    source: &source::Source,
    operations: usize,
    elapsed: Duration,
    printer: &mut Printer,
) -> io::Result<()> {
    let topology = &source.topology;
    let name = printer.paint(print::NAME, topology.name.as_str());
    if operations == 0 {
        return printer.line(&format!("{name} is up and as the file says: nothing to change"));
    }
    let state = printer.paint(print::GOOD, "up");
    let steps = cells::count(operations as u64, "operation");
    let time = format!("{:.0} ms", elapsed.as_secs_f64() * 1000.0);
    printer.line(&format!("{name} is {state}: {} ({steps} in {time})", contents(topology)))?;
    if source.is_quickstart {
        printer.line("there is no ./netctl.toml: this is the built-in quickstart")?;
    }
    let ideas = suggestions(topology);
    if !ideas.is_empty() {
        printer.line("")?;
        printer.line("try:")?;
    }
    ideas.iter().try_for_each(|idea| printer.line(&format!("  {idea}")))
}

/// `4 namespaces, 1 bridge, 3 cables, 2 masquerade rules, 2 forwards`
fn contents(topology: &Topology) -> String {
    let rules =
        |count: fn(&netctl::model::Gateway) -> usize| topology.gateways.iter().map(count).sum::<usize>();
    let parts = [
        (topology.namespaces.len(), "namespace"),
        (topology.bridges.len(), "bridge"),
        (topology.cables.len(), "cable"),
        (rules(|gateway| gateway.masquerades.len()), "masquerade rule"),
        (rules(|gateway| gateway.forwards.len()), "forward"),
    ];
    let present: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| cells::count(*n as u64, what)).collect();
    present.join(", ")
}

/// Three commands that show what was built. Those that reach somebody are expected to.
fn suggestions(topology: &Topology) -> Vec<String> {
    let netctl = invocation();
    let expected = Expected::of(topology);
    let mut ideas = Vec::new();
    ideas.extend(ping(topology, &expected).map(|words| format!("{netctl} {words}")));
    let server = forwarded_server(topology, &expected);
    ideas.extend(server.into_iter().flatten().map(|words| format!("{netctl} {words}")));
    for words in [format!("show {:#}", topology.name), format!("down {:#}", topology.name)] {
        if ideas.len() < 3 {
            ideas.push(format!("{netctl} {words}"));
        }
    }
    ideas
}

/// More candidates than this are not looked at: nobody waits for a suggestion.
const CANDIDATES: usize = 1000;

/// The first namespace pings the last one; or the next that gets an answer, the next that gives one.
fn ping(topology: &Topology, expected: &Expected<'_>) -> Option<String> {
    let ends = topology.cables.iter().flat_map(|cable| [&cable.a, &cable.b]);
    let address = |place: &Place| {
        let own = ends.clone().filter(|end| end.place == *place).flat_map(|end| &end.addresses);
        own.map(ipnet::IpNet::addr).min_by_key(std::net::IpAddr::is_ipv6)
    };
    let names = || topology.namespaces.iter().map(|namespace| &namespace.name);
    let pairs =
        names().rev().flat_map(|to| names().filter(move |from| *from != to).map(move |from| (from, to)));
    pairs.take(CANDIDATES).find_map(|(from, to)| {
        let to = address(&Place::Netns(to.clone()))?;
        let is_answered = expected.answers(&Place::Netns(from.clone()), to);
        is_answered.then(|| format!("exec {from:#} -- ping -c 3 {to}"))
    })
}

/// A web server behind the first forward that somebody outside can use, who calls it.
fn forwarded_server(topology: &Topology, expected: &Expected<'_>) -> Option<[String; 2]> {
    let ends = || topology.cables.iter().flat_map(|cable| [(&cable.a, &cable.b), (&cable.b, &cable.a)]);
    let forwards = topology
        .gateways
        .iter()
        .flat_map(|gateway| gateway.forwards.iter().map(move |forward| (gateway, forward)))
        .filter(|(_, forward)| forward.protocol == Protocol::Tcp);
    forwards.take(CANDIDATES).find_map(|(gateway, forward)| {
        let is_server = |end: &netctl::model::End| end.addresses.iter().any(|a| a.addr() == forward.to);
        let (server, _) = ends().find(|(end, _)| is_server(end))?;
        let is_uplink =
            |end: &netctl::model::End| end.place == gateway.place && gateway.uplinks.contains(&end.interface);
        let (Place::Netns(server), (uplink, client)) =
            (&server.place, ends().find(|(end, _)| is_uplink(end))?)
        else {
            return None;
        };
        let Place::Netns(client) = &client.place else { return None };
        let own = uplink.addresses.iter().map(ipnet::IpNet::addr);
        let of_family = own.filter(|address| address.is_ipv4() == forward.to.is_ipv4());
        let address = forward.address.or_else(|| of_family.min_by_key(std::net::IpAddr::is_ipv6))?;
        let at = SocketAddr::new(address, forward.ports.0);
        expected.connects(&Place::Netns(client.clone()), at).then(|| {
            [
                format!("exec {server:#} -- python3 -m http.server {} &", forward.to_port),
                format!("exec {client:#} -- curl http://{at}"),
            ]
        })
    })
}

/// How this program was called: by its name if the shell finds it so, else by its path.
fn invocation() -> String {
    let this = env::current_exe().ok().filter(|_| !is_on_path());
    let Some(this) = this else { return "netctl".to_owned() };
    let here = env::current_dir().ok();
    let shown = here.as_deref().and_then(|here| this.strip_prefix(here).ok()).unwrap_or(&this);
    shell::quoted(&shown.to_string_lossy()).into_owned()
}

/// Whether the shell finds this program by its name, be it by a link.
pub(super) fn is_on_path() -> bool {
    let (Ok(this), Some(path)) = (env::current_exe(), env::var_os("PATH")) else { return false };
    let mut found = env::split_paths(&path).filter_map(|dir| fs::canonicalize(dir.join("netctl")).ok());
    found.next() == Some(this)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ideas(text: &str) -> Vec<String> {
        let topology = Topology::parse(text, "f", "trial".parse().unwrap()).unwrap();
        let expected = Expected::of(&topology);
        let server = forwarded_server(&topology, &expected).into_iter().flatten();
        ping(&topology, &expected).into_iter().chain(server).collect()
    }

    #[test]
    fn what_is_suggested_is_expected_to_answer() {
        let quickstart = netctl::spec::QUICKSTART;
        let server = "exec blue -- python3 -m http.server 80 &";
        assert_eq!(
            ideas(quickstart),
            ["exec red -- ping -c 3 203.0.113.2", server, "exec internet -- curl http://203.0.113.1:8080"]
        );
        // `internet` comes first in the file, and has no way in.
        let turned = quickstart.replace("[namespaces.internet]\n", "");
        let turned = turned.replace("[namespaces.red]\n", "[namespaces.internet]\n[namespaces.red]\n");
        assert_eq!(ideas(&turned)[0], "exec internet -- ping -c 3 203.0.113.1");
        // Nobody outside may use a forward.
        let closed =
            quickstart.replace("113.1:8080/tcp\"\n", "113.1:8080/tcp\"\nallow = [\"198.51.100.0/24\"]\n");
        let closed = closed.replace("::1]:8080/tcp\"\n", "::1]:8080/tcp\"\nallow = [\"fd99::/64\"]\n");
        assert_eq!(ideas(&closed), ["exec red -- ping -c 3 203.0.113.2"]);
        assert!(ideas("[namespaces.red]\n[namespaces.blue]").is_empty());
    }

    #[test]
    fn names_in_a_suggestion_are_only_names_to_a_shell() {
        let text = "[namespaces.'a;b']\n[namespaces.c]\n[[cables]]\n\
                    a = { namespace = 'a;b', interface = 'x', addresses = ['10.0.0.1/24'] }\n\
                    b = { namespace = 'c', interface = 'x', addresses = ['10.0.0.2/24'] }";
        assert_eq!(ideas(text), ["exec 'a;b' -- ping -c 3 10.0.0.2"]);
    }
}

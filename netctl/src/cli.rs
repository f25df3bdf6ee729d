//! The command line: flags, verbs and exit codes. A file a verb; only `print` prints.

mod addr;
mod cells;
mod check;
mod completions;
mod doctor;
mod down;
mod exec;
mod export;
mod failure;
mod graph;
mod iproute2;
mod link;
mod ls;
mod man;
mod monitor;
mod namespace;
mod nat;
mod neigh;
mod ns;
mod ping;
mod plan;
mod print;
mod progress;
mod route;
mod rule;
mod schema;
mod show;
mod source;
mod sysctl;
mod trace;
mod up;
mod words;

use std::{
    env,
    ffi::OsString,
    io, iter,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use clap::{ArgAction, Parser, Subcommand};
use netctl::{model::Place, notice::Notice, state::Directories};
use tracing::level_filters::LevelFilter;

use self::{
    failure::Failure,
    namespace::Desk,
    print::{Errors, Printer},
};

/// Builds container-style networks and translates their addresses in eBPF.
#[derive(Debug, Parser)]
#[command(name = "netctl", version, disable_help_subcommand = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    /// Act in this namespace, as in `ip -n`: for show, link, addr, route, neigh, rule, sysctl, nat, monitor and export, which
    /// take it anywhere
    #[arg(short = 'n', long = "netns", value_name = "NS", value_parser = namespace::place)]
    before_verb: Option<Place>,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Clone, clap::Args)]
struct Global {
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Say more on standard error: -v what is done, -vv each step
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Print what was asked for and errors, but no progress, warnings or reports of what was done
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Colour the output
    #[arg(long, global = true, value_enum, default_value_t = print::ColorChoice::Auto, value_name = "WHEN")]
    color: print::ColorChoice,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make the kernel match a topology file
    #[command(after_help = up::EXAMPLES)]
    Up(up::Args),
    /// Show what `up` would change now; exit 3 if anything
    #[command(after_help = plan::EXAMPLES)]
    Plan(plan::Args),
    /// Say whether a topology file is right, by the file alone: no root, no kernel; exit 2 if it is not
    #[command(after_help = check::EXAMPLES)]
    Check(check::Args),
    /// Write a topology file from what is there, made by netctl or by hand
    #[command(after_help = export::EXAMPLES)]
    Export(export::Args),
    /// Remove what `up` made and nothing else
    Down(down::Args),
    /// List the topologies that are up
    Ls,
    /// Show a topology, a namespace or a link as it is: addresses, routes, neighbours, NAT, and what was changed since
    #[command(after_help = show::EXAMPLES)]
    Show(show::Args),
    /// Draw a topology: in characters, as SVG, for Mermaid or Graphviz
    #[command(after_help = graph::EXAMPLES)]
    Graph(graph::Args),
    /// Ping from every namespace to every other, and try the forwarded ports; exit 3 if one fails that should not
    #[command(after_help = ping::EXAMPLES)]
    Ping(ping::Args),
    /// Tell what happens as it happens: links, addresses, routes, neighbours, flows, dropped packets
    #[command(after_help = monitor::EXAMPLES)]
    Monitor(monitor::Args),
    /// Say what would become of a packet, step by step, without sending it; exit 3 if it or its answer would be lost
    #[command(after_help = trace::EXAMPLES)]
    Trace(trace::Args),
    /// Say what this machine can and cannot do, what is in the way of what is up, and what to do about it
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::Args),
    /// Print the JSON Schema of the topology file, for editors
    #[command(after_help = schema::EXAMPLES)]
    Schema,
    /// Print the script that has a shell complete netctl's words
    #[command(after_help = completions::EXAMPLES)]
    Completions(completions::Args),
    /// Write the manual's pages
    #[command(hide = true)]
    Man(man::Args),
    /// Run a command in a namespace
    #[command(after_help = exec::EXAMPLES)]
    Exec(exec::Args),
    /// Make, delete and list namespaces
    #[command(after_help = ns::EXAMPLES)]
    Ns(ns::Args),
    /// Make, change, delete and list links
    #[command(visible_alias = "l", after_help = link::EXAMPLES)]
    Link(link::Args),
    /// Give, take and list addresses
    #[command(visible_aliases = ["a", "address"], after_help = addr::EXAMPLES)]
    Addr(addr::Args),
    /// Set, remove and list routes
    #[command(visible_alias = "r", after_help = route::EXAMPLES)]
    Route(route::Args),
    /// Set, forget and list neighbours (the ARP table)
    #[command(visible_alias = "arp", after_help = neigh::EXAMPLES)]
    Neigh(neigh::Args),
    /// Set, end and list policy rules: which routing table decides about which packets
    #[command(after_help = rule::EXAMPLES)]
    Rule(rule::Args),
    /// Show and set `net.*` sysctls
    #[command(after_help = sysctl::EXAMPLES)]
    Sysctl(sysctl::Args),
    /// Translate addresses: rules, flows, counters
    #[command(after_help = nat::EXAMPLES)]
    Nat(nat::Args),
}

impl Verb {
    /// Its name, if it has no use for `-n`.
    fn without_namespace(&self) -> Option<&'static str> {
        Some(match self {
            Self::Up(_) => "up",
            Self::Plan(_) => "plan",
            Self::Check(_) => "check",
            Self::Down(_) => "down",
            Self::Ls => "ls",
            Self::Graph(_) => "graph",
            Self::Ping(_) => "ping",
            Self::Trace(_) => "trace",
            Self::Doctor(_) => "doctor",
            Self::Schema => "schema",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
            Self::Exec(_) => "exec",
            Self::Ns(_) => "ns",
            Self::Export(_)
            | Self::Link(_)
            | Self::Addr(_)
            | Self::Show(_)
            | Self::Route(_)
            | Self::Neigh(_)
            | Self::Rule(_)
            | Self::Sysctl(_)
            | Self::Nat(_)
            | Self::Monitor(_) => return None,
        })
    }
}

/// The exit status, as scripts may rely on it. `exec` passes on the command's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Done.
    Done,
    /// Failed, and rolled back.
    Failed,
    /// Wrong usage or an invalid file.
    Usage,
    /// What was checked does not hold.
    NotHeld,
    /// The command that `exec` was to run cannot be, by the shell's number.
    Command(u8),
    /// Ended early because of a signal, of this number, and rolled back.
    Signal(usize),
}

impl Exit {
    fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotHeld => 3,
            Self::Command(code) => code,
            // As shells have it.
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(1),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// Runs the command line and says what failed.
pub(crate) fn main() -> impl Into<ExitCode> {
    completions::answer();
    let cli = match iproute2::read(env::args_os().skip(1).collect()) {
        Ok(arguments) => match Cli::try_parse_from(iter::once(OsString::from("netctl")).chain(arguments)) {
            Ok(cli) => cli,
            Err(error) => return usage(&error),
        },
        Err(answer) => return answered(answer),
    };
    let mut printer = Printer::new(cli.global.json, cli.global.quiet, cli.global.color);
    let errors = Errors::new(cli.global.quiet, cli.global.color);
    netctl::notice::hear(move |notice| match notice {
        Notice::Waiting { .. } => errors.notice(&notice.to_string()),
        Notice::NoNetwork { .. } => errors.warning(&notice.to_string()),
    });
    log(&cli.global);
    let signal = heed_signals();
    match run(&cli, &mut printer) {
        Ok(exit) => exit,
        // The reader of a pipe has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(failure) => {
            let exit = match signal.load(Ordering::Relaxed) {
                0 => failure.exit(),
                signal => Exit::Signal(signal),
            };
            printer.end(&failure, exit.number());
            exit
        }
    }
}

/// Prints the help or the version that was asked for, or what is wrong with the words.
fn usage(error: &clap::Error) -> Exit {
    // That nobody reads it changes nothing.
    let _ = error.print();
    if !error.use_stderr() {
        return Exit::Done;
    }
    let mut words = env::args_os().skip(1).take_while(|word| word != "--");
    if words.any(|word| word == "--json") {
        let said = error.render().to_string();
        let mut paragraphs = said.trim_start_matches("error: ").split("\n\n").map(str::trim);
        let message = paragraphs.next().unwrap_or_default();
        let hint = paragraphs.find_map(|words| words.strip_prefix("tip: "));
        let mut printer = Printer::new(true, true, print::ColorChoice::Never);
        printer.error_document(message, hint, Exit::Usage.number());
    }
    Exit::Usage
}

/// Says what to type instead.
fn answered(answer: iproute2::Answer) -> Exit {
    #[derive(Debug, Parser)]
    #[command(no_binary_name = true)]
    struct Switches {
        #[command(flatten)]
        global: Global,
    }
    let Switches { global } = Switches::try_parse_from(&answer.switches)
        .or_else(|_| Switches::try_parse_from([""; 0]))
        .unwrap_or_else(|error| error.exit());
    let failure = Failure::from(answer.error());
    Printer::new(global.json, global.quiet, global.color).failure(&failure);
    failure.exit()
}

fn run(cli: &Cli, printer: &mut Printer) -> Result<Exit, Failure> {
    let directories = Directories::default();
    let place = cli.before_verb.as_ref();
    if let (Some(_), Some(verb)) = (place, cli.verb.without_namespace()) {
        return Err(words::Error::NoNamespace(verb).into());
    }
    let is_here = !matches!(cli.verb, Verb::Check(_));
    if is_here && let Err(error) = netctl::single::nat::sweep(&directories) {
        tracing::debug!("what vanished gateways have left stays: {error}");
    }
    let mut desk = Desk { before: place, directories: &directories, printer };
    match &cli.verb {
        Verb::Up(args) => up::run(args, &directories, desk.printer),
        Verb::Plan(args) => plan::run(args, &directories, desk.printer),
        Verb::Check(args) => check::run(args, desk.printer),
        Verb::Export(args) => export::run(args, place, &directories, desk.printer),
        Verb::Down(args) => down::run(args, &directories, desk.printer),
        Verb::Ls => ls::run(&directories, desk.printer),
        Verb::Show(args) => show::run(args, place, &directories, desk.printer),
        Verb::Graph(args) => graph::run(args, &directories, desk.printer),
        Verb::Ping(args) => ping::run(args, &directories, desk.printer),
        Verb::Monitor(args) => monitor::run(args, place, &directories, desk.printer),
        Verb::Trace(args) => trace::run(args, &directories, desk.printer),
        Verb::Doctor(args) => doctor::run(args, &directories, desk.printer),
        Verb::Schema => schema::run(desk.printer),
        Verb::Completions(args) => completions::run(args, desk.printer),
        Verb::Man(args) => man::run(args),
        Verb::Exec(args) => exec::run(args),
        Verb::Ns(args) => ns::run(args, &mut desk),
        Verb::Link(args) => link::run(args, &mut desk),
        Verb::Addr(args) => addr::run(args, &mut desk),
        Verb::Route(args) => route::run(args, &mut desk),
        Verb::Neigh(args) => neigh::run(args, &mut desk),
        Verb::Rule(args) => rule::run(args, &mut desk),
        Verb::Sysctl(args) => sysctl::run(args, &mut desk),
        Verb::Nat(args) => nat::run(args, &mut desk),
    }
}

/// Ctrl-C and its like ask for an orderly end: what was done is undone first. Returns where the last one's number is.
fn heed_signals() -> Arc<AtomicUsize> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let last = Arc::new(AtomicUsize::new(0));
    for (signal, number) in [(SIGINT, 2), (SIGTERM, 15), (SIGHUP, 1)] {
        let registered = signal_hook::flag::register_usize(signal, Arc::clone(&last), number)
            .and_then(|_| signal_hook::flag::register(signal, netctl::interrupt::flag()));
        if let Err(error) = registered {
            tracing::debug!("signal {signal} cannot be heeded: {error}");
        }
    }
    last
}

fn log(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, _) => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_target(false)
        .without_time()
        .with_ansi(global.color.on_stderr())
        // A standard error that cannot be written to is no reason to end.
        .log_internal_errors(false)
        .init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_commands_that_take_the_place_of_others_are_commands() {
        let page = include_str!("../../docs/from-iproute2.md");
        let rows = page.lines().filter(|line| line.starts_with("| "));
        let column =
            rows.filter_map(|row| row.split(" | ").nth(1)).filter(|cell| !cell.starts_with("nothing"));
        let quoted = column.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        let lines: Vec<_> =
            quoted.filter(|words| words.starts_with("netctl ") && !words.contains('…')).collect();
        assert!(lines.len() > 40, "{lines:?}");
        for line in lines {
            let words = line.split(' ').map(|word| if word == "CMD" { "true" } else { word });
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }

    #[test]
    fn the_readmes_table_has_every_command() {
        let (_, page) = include_str!("../../README.md").split_once("\n## Commands\n").unwrap();
        let rows =
            page.split("\n## ").next().unwrap().lines().filter_map(|line| line.strip_prefix("| `netctl "));
        let mut shown: Vec<_> = rows.filter_map(|row| row.split([' ', '`']).next()).collect();
        let command = Cli::command();
        let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        let mut known: Vec<_> = verbs.map(clap::Command::get_name).collect();
        shown.sort_unstable();
        known.sort_unstable();
        assert_eq!(shown, known);
    }
}

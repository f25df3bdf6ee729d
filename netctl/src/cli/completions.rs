//! `netctl completions`: the shell asks netctl itself what may come next, so that the names of topologies, namespaces and
//! interfaces are those of the moment.

use std::{
    env,
    ffi::{OsStr, OsString},
};

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::{
    CompleteEnv,
    engine::{
        ArgValueCandidates, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter as _,
    },
    env::{Bash, EnvCompleter, Fish, Zsh},
};
use netctl::{
    model::Place,
    netns::Netns,
    single::link::{self, Filter},
    state::Directories,
};

use super::{Cli, Exit, Failure, Printer, namespace, up::is_on_path};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  source <(netctl completions bash)          in ~/.bashrc
  source <(netctl completions zsh)           in ~/.zshrc, after compinit
  netctl completions fish | source           in ~/.config/fish/config.fish

Best run anew by each shell, as above, so that script and netctl fit each other. Interfaces of other namespaces are known to
root alone.";

/// Set by the script when it asks.
const VARIABLE: &str = "NETCTL_COMPLETE";

/// For which shell.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    fn completer(self) -> &'static dyn EnvCompleter {
        match self {
            Self::Bash => &Bash,
            Self::Zsh => &Zsh,
            Self::Fish => &Fish,
        }
    }
}

/// Prints the script that has the shell ask.
pub(super) fn run(args: &Args, printer: &mut Printer) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    // Where the shell would not find it, the whole path: shells change their directories.
    let path = env::current_exe().ok().filter(|_| !is_on_path());
    let program = path.map_or_else(|| "netctl".to_owned(), |path| path.display().to_string());
    args.shell.completer().write_registration(VARIABLE, "netctl", "netctl", &program, &mut script)?;
    let script = String::from_utf8_lossy(&script).into_owned();
    printer.show(&script, |printer| printer.lines(&script))?;
    Ok(Exit::Done)
}

/// Answers the shell, if it is the shell that asks; then this does not return.
pub(super) fn answer() {
    CompleteEnv::with_factory(|| completed(Cli::command())).var(VARIABLE).complete();
}

/// The command line, with what its values may be.
fn completed(command: Command) -> Command {
    command.mut_args(value).mut_subcommands(completed)
}

/// What a value may be is known by its name.
fn value(arg: Arg) -> Arg {
    let name = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    match name.as_deref() {
        Some("NS" | "END") => arg.add(ArgValueCandidates::new(namespaces)),
        Some("IF") => arg.add(ArgValueCandidates::new(interfaces)),
        Some("CHANGE") => arg.add(ArgValueCandidates::new(changes)),
        Some("FILE") => arg.add(ArgValueCompleter::new(files)),
        Some("OBJECT") => arg.add(ArgValueCompleter::new(objects)),
        Some("NAME|FILE") => arg.add(ArgValueCompleter::new(topologies)),
        _ => arg,
    }
}

fn candidates(names: impl IntoIterator<Item = impl Into<OsString>>) -> Vec<CompletionCandidate> {
    names.into_iter().map(CompletionCandidate::new).collect()
}

fn namespaces() -> Vec<CompletionCandidate> {
    candidates(Netns::list().unwrap_or_default().iter().map(ToString::to_string))
}

/// The links of the namespace that `-n` names.
fn interfaces() -> Vec<CompletionCandidate> {
    let words: Vec<String> = env::args().collect();
    let named = words.windows(2).find(|pair| matches!(pair[0].as_str(), "-n" | "--netns"));
    let place = named.and_then(|pair| namespace::place(&pair[1]).ok()).unwrap_or(Place::Host);
    let links = link::ls(&place, &Filter::default()).unwrap_or_default();
    candidates(links.into_iter().map(|link| link.name))
}

/// What `link set` takes.
fn changes() -> Vec<CompletionCandidate> {
    let mut changes = candidates(super::link::parse::KNOWN.iter().copied());
    changes.extend(namespaces());
    changes.extend(interfaces());
    changes
}

/// Topology files, and the directories on the way to them.
fn files(current: &OsStr) -> Vec<CompletionCandidate> {
    let is_topology =
        |path: &std::path::Path| path.extension().is_some_and(|its| its == "toml" || its == "json");
    PathCompleter::file().filter(is_topology).complete(current)
}

/// What `show` takes.
fn objects(current: &OsStr) -> Vec<CompletionCandidate> {
    let current_text = current.to_string_lossy();
    let namespaces = Netns::list().unwrap_or_default().into_iter().map(|name| name.to_string());
    let mut all = topologies(current);
    all.extend(candidates(namespaces.filter(|name| name.starts_with(&*current_text))));
    all
}

/// The topologies that are up, and files.
fn topologies(current: &OsStr) -> Vec<CompletionCandidate> {
    let up = Directories::default().topologies().unwrap_or_default();
    let current_text = current.to_string_lossy();
    let names = up.iter().map(ToString::to_string).filter(|name| name.starts_with(&*current_text));
    let mut all = candidates(names);
    all.extend(files(current));
    all
}

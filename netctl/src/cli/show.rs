//! `netctl show`: a topology, a namespace or a link, as it is.

mod look;
mod page;
mod watch;

use std::time::Duration;

use netctl::{
    model::Place,
    show::{Object, Shown, show},
    state::Directories,
};

use super::{Exit, Failure, Printer, namespace::Namespace, source};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl show                     the topology that is up
  netctl show router              one namespace, with what the kernel added by itself
  netctl show router:wan0         one link; also: netctl -n router show wan0
  netctl show --watch             every two seconds, what has changed marked
  netctl show --json | jq '.places[].nat[].forwards[] | {to, live}'";

/// What to show.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    namespace: Namespace,
    /// A topology, by its name or its file; a namespace, `host`, or a link as NS:IF; with -n a link there [default: the
    /// topology that is up]
    #[arg(value_name = "OBJECT")]
    object: Option<String>,
    /// Show it again and again, every two seconds or as many as said, until Ctrl-C or until it is gone
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds)]
    watch: Option<Duration>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    /// More often than this shows nothing that anybody could read.
    const LEAST: f64 = 0.1;
    /// A day.
    const MOST: f64 = 86_400.0;
    match text.parse::<f64>() {
        Ok(seconds) if (LEAST..=MOST).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        Ok(_) => Err(format!("it takes {LEAST} to {MOST} seconds")),
        Err(_) => Err(format!("not a number of seconds; a name comes first: `netctl show {text} --watch`")),
    }
}

pub(super) fn run(
    args: &Args,
    before: Option<&Place>,
    directories: &Directories,
    printer: &mut Printer,
) -> Result<Exit, Failure> {
    let object = object(args.object.as_deref(), args.namespace.given(before)?, directories)?;
    if let Some(every) = args.watch {
        return watch::run(&object, every, directories, printer);
    }
    let shown = show(&object, directories)?;
    let page = look::page(&shown, &object);
    printer.show(&shown, |printer| page.print(printer))?;
    warn(&shown, printer);
    Ok(Exit::Done)
}

/// What the words mean.
fn object(text: Option<&str>, place: Option<&Place>, directories: &Directories) -> Result<Object, Failure> {
    match (text, place) {
        (None, Some(place)) => Ok(Object::Place(place.clone())),
        (Some(text), Some(place)) => link(place.clone(), text),
        (Some(text), None) if source::is_file(text) => source::name(text).map(Object::Topology),
        (Some(text), None) => match text.rsplit_once(':') {
            Some((place, interface)) => link(place_of(place)?, interface),
            None => Ok(Object::named(&source::name(text)?, directories)?),
        },
        (None, None) => source::up(None, directories).map(Object::Topology),
    }
}

fn link(place: Place, interface: &str) -> Result<Object, Failure> {
    let interface = interface.parse().map_err(super::words::Error::from)?;
    Ok(Object::Link(place, interface))
}

fn place_of(text: &str) -> Result<Place, Failure> {
    Ok(super::namespace::place(text).map_err(super::words::Error::from)?)
}

/// Of filters that let nothing through.
fn warn(shown: &Shown, printer: &Printer) {
    for place in &shown.places {
        for filter in place.nat.iter().flat_map(|nat| &nat.filters) {
            printer.warning(&filter.advice(&place.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_a_number_and_a_name_is_told_where_to_go() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "NaN", "inf"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert!(seconds("office").unwrap_err().ends_with("`netctl show office --watch`"));
    }
}

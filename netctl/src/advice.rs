//! What to do about an error of any kind: the first hint that is found on the way along `source()`.
//!
//! A type that gives hints implements `Advise` for what it knows itself and joins the list below, without which that does
//! not compile. No error passes on the hint of another one; but one that comes from another says so: `#[error("{0}")]`,
//! since `transparent` leaves out the one that it shows.

use std::{error::Error, iter::successors};

use crate::{
    apply, down, export,
    hint::{Advise, Listed},
    model, monitor,
    nat::{self, classic, ebpf},
    netns, ownership, place, plan, show, single, spec, state, tool, trace, up,
};

/// The next step, where one is known.
#[must_use]
pub fn of(error: &(dyn Error + 'static)) -> Option<String> {
    successors(Some(error), |&error| error.source()).find_map(own)
}

macro_rules! list {
    ($($error:ty,)*) => {
        $(impl Listed for $error {})*

        /// What the error itself says, whatever it comes from.
        fn own(error: &(dyn Error + 'static)) -> Option<String> {
            [$(of_type::<$error>,)*].into_iter().find_map(|of_type| of_type(error))
        }
    };
}

list! {
    apply::Failure,
    apply::Fault,
    classic::Error,
    down::Error,
    ebpf::Error,
    export::Error,
    model::Problem,
    model::Refused,
    monitor::Error,
    nat::Error,
    netns::NetnsError,
    ownership::Error,
    place::Error,
    plan::Conflict,
    show::Error,
    single::Error,
    spec::Error,
    state::Error,
    state::NotUp,
    tool::Error,
    trace::Error,
    up::Error,
}

fn of_type<E: Advise + Error + 'static>(error: &(dyn Error + 'static)) -> Option<String> {
    // A source in a box is the box.
    let boxed = || error.downcast_ref().map(Box::<E>::as_ref);
    error.downcast_ref::<E>().or_else(boxed)?.advice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("{0}")]
        Bare(#[from] up::Error),
        #[error("boxed: {0}")]
        Boxed(#[source] Box<netns::NetnsError>),
    }

    fn name() -> model::NetnsName {
        "red".parse().unwrap()
    }

    #[test]
    fn a_hint_is_found_however_deep_it_is_and_in_boxes() {
        let deep = || place::Error::from(netns::NetnsError::AlreadyExists { name: name() });
        let hint = Some("`netctl ns ls` lists the namespaces");
        for error in [
            Outer::Bare(up::Error::Place(deep())),
            Outer::Bare(up::Error::Addresses(nat::Error::Place(deep()))),
            Outer::Boxed(Box::new(netns::NetnsError::AlreadyExists { name: name() })),
        ] {
            assert_eq!(of(&error).as_deref(), hint, "{error}");
        }
        assert_eq!(of(&Outer::Bare(up::Error::NotRoot)).unwrap(), "run it with sudo");
        assert_eq!(of(&std::fmt::Error), None);
    }

    #[test]
    fn what_is_further_out_knows_better() {
        let missing = || classic::Error::Tool(tool::Error::Absent { program: "nft" });
        assert_eq!(of(&tool::Error::Absent { program: "nft" }).unwrap(), "install the package that has it");
        assert!(of(&missing()).unwrap().starts_with("install the package `nftables`, or set"));
        assert!(
            of(&down::Error::from(missing())).unwrap().starts_with("the rules and the record stay: install")
        );
        // What is said where rules are to be written is no help where they are read.
        let unread = up::Error::Observe(missing().into());
        assert_eq!(of(&unread).unwrap(), "install the package that has it");
    }

    #[test]
    fn nobody_is_told_to_do_what_is_being_done() {
        let record = || state::Error::Record {
            path: "/run/netctl/office.json".into(),
            source: serde_json::from_str::<u8>("").unwrap_err(),
        };
        assert!(of(&up::Error::from(record())).unwrap().starts_with("`netctl down office` removes"));
        assert_eq!(of(&down::Error::Record(record())), None);
    }
}

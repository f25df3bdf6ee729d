//! Names for the ports that a NAT chose: both sides choose at random, so what is compared are names, given in the order of
//! appearance. A name is itself a port number, from a range that no step uses, so that a frame can carry it.

use std::collections::HashMap;

use super::edit::{self, Tuple};
use crate::packet::check::View;

/// The first name. A port chosen in step N is called `FIRST + N`; a second one in the same step, which no NAT has a reason
/// to choose, `STRAY + N`.
pub const FIRST: u16 = 0xe000;
/// See [`FIRST`].
pub const STRAY: u16 = 0xf000;

/// The ports that steps use. A NAT's choice is never called by one of these: a case in which it falls on one is run again.
pub const LITERAL: [u16; 26] = [
    0, 1, 22, 53, 80, 99, 443, 500, 777, 778, 1000, 1023, 1024, 1405, 2222, 5000, 5001, 5002, 5003, 8080,
    8081, 8082, 40000, 40001, 50000, 65535,
];

/// Whether a port in the language of steps is a name.
#[must_use]
pub fn is_chosen(port: u16) -> bool {
    port >= FIRST && !LITERAL.contains(&port)
}

/// A NAT chose a port that cannot be told apart from another: the case says nothing and is run again.
#[derive(Debug)]
pub struct Coincidence;

/// Ports of different protocols have nothing to do with each other.
type Port = (u8, bool, u16);

/// One side's names.
#[derive(Debug, Default)]
pub struct Names {
    of: HashMap<Port, u16>,
    port: HashMap<Port, u16>,
    free: Option<u16>,
    coincided: bool,
}

impl Names {
    /// Makes a frame in the language of steps into one that this side understands.
    pub fn speak(&self, frame: &mut [u8]) {
        rename(frame, |key| self.port.get(&key).copied());
    }

    /// Makes a frame that this side sent in step number `step` into the language of steps.
    ///
    /// # Errors
    /// [`Coincidence`]
    pub fn hear(&mut self, frame: &mut [u8], step: u16) -> Result<(), Coincidence> {
        rename(frame, |key| self.name(key, step));
        if self.coincided { Err(Coincidence) } else { Ok(()) }
    }

    /// In the coming step, the port that this side chooses may be called by a name that another port had.
    pub fn pass_on(&mut self, name: Option<u16>) {
        self.free = name;
        self.of.retain(|_, named| Some(*named) != name);
        self.port.retain(|(_, _, named), _| Some(*named) != name);
    }

    fn name(&mut self, (proto, v6, port): Port, step: u16) -> Option<u16> {
        if LITERAL.contains(&port) {
            return None;
        }
        if let Some(name) = self.of.get(&(proto, v6, port)) {
            return Some(*name);
        }
        let is_free = |name: u16| !self.port.contains_key(&(proto, v6, name));
        let names = self.free.take().into_iter().chain([FIRST + step, STRAY + step]);
        let name = names.into_iter().find(|name| is_free(*name));
        let Some(name) = name else {
            self.coincided = true;
            return None;
        };
        self.of.insert((proto, v6, port), name);
        self.port.insert((proto, v6, name), port);
        Some(name)
    }
}

/// Renames the ports of a frame and of what it quotes.
fn rename(frame: &mut [u8], mut name: impl FnMut(Port) -> Option<u16>) {
    let Some(view) = View::read(frame) else { return };
    let mut renamed = |view: &View| {
        let mut tuple = Tuple::of(view);
        for end in [&mut tuple.src, &mut tuple.dst] {
            if let Some(port) = name((view.proto, end.is_ipv6(), end.port())) {
                end.set_port(port);
            }
        }
        tuple
    };
    let outer = renamed(&view);
    let quoted = edit::quote(frame, &view).map(|quote| renamed(&quote.view));
    if outer != Tuple::of(&view) {
        edit::retuple(frame, outer);
    }
    if let Some(quoted) = quoted {
        edit::retuple_quote(frame, quoted);
    }
}

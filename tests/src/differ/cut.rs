//! Datagrams in parts: cut up on the way in, put together again on the way out. Order and geometry of what comes out are
//! free (RFC 791, RFC 8200): the datagram is what is compared.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{
    step::{Lost, Order, Parts},
    world::Party,
};
use crate::packet::{check::View, parts};

/// The frames that a datagram's parts are.
#[must_use]
pub fn cut(frame: &[u8], how: Parts, id: u16) -> Vec<Vec<u8>> {
    let mut all = parts::parts(frame, usize::from(how.unit), id);
    match how.lost {
        Some(Lost::First) => drop(all.remove(0)),
        Some(Lost::Last) => all.truncate(all.len() - 1),
        None => {}
    }
    match how.order {
        Order::Forth => {}
        Order::Back => all.reverse(),
        Order::Swapped if all.len() > 1 => all.swap(0, 1),
        Order::Swapped => {}
    }
    all
}

/// Parts that have arrived and are no datagram yet, by where and what they are part of.
#[derive(Debug, Default)]
pub struct Waiting {
    groups: BTreeMap<(Party, SocketAddr, SocketAddr, u32), Vec<Vec<u8>>>,
}

impl Waiting {
    /// Another frame: itself if it is no part, the datagram if it is the last part that was missing.
    pub fn add(&mut self, by: Party, frame: &[u8]) -> Option<Vec<u8>> {
        let Some(view) = View::read(frame).filter(|view| view.is_fragment) else {
            return Some(frame.to_vec());
        };
        let key = (by, view.src, view.dst, parts::place(frame).0);
        let group = self.groups.entry(key).or_default();
        group.push(frame.to_vec());
        if !is_complete(group) {
            return None;
        }
        self.groups.remove(&key).map(parts::whole)
    }
}

fn is_complete(group: &[Vec<u8>]) -> bool {
    let mut pieces: Vec<(usize, usize, bool)> = group.iter().filter_map(|part| piece(part)).collect();
    pieces.sort_unstable();
    let mut end = 0;
    let is_gapless = pieces.iter().all(|(start, length, _)| {
        let fits = *start == end;
        end += length;
        fits
    });
    is_gapless && pieces.last().is_some_and(|(.., more)| !more)
}

/// Where a part starts, its length, and whether others follow.
fn piece(part: &[u8]) -> Option<(usize, usize, bool)> {
    let view = View::read(part)?;
    let more = if view.src.is_ipv4() { part[20] & 0x20 != 0 } else { part[57] & 1 != 0 };
    let start = usize::from(parts::place(part).1) * 8;
    Some((start, view.end - view.transport, more))
}

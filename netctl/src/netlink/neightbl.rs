//! Neighbour tables: how many neighbours the whole machine may know, and how often that was too few. Read only.
//!
//! Follows net/core/neighbour.c (`neightbl_fill_info`) and include/uapi/linux/neighbour.h.

use neli::consts::{nl::NlmF, rtnl::Rtm};

use super::{
    Error, Malformed, Request, Socket, family,
    message::{Message, attributes},
};

/// The attributes' numbers; neither libc nor neli has them.
const NDTA_THRESH3: u16 = 4;
const NDTA_STATS: u16 = 7;
/// Where `ndts_table_fulls` is in `struct ndt_stats`: behind ten other numbers.
const TABLE_FULLS: usize = 10 * size_of::<u64>();

/// A table of one family, for all namespaces together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Whether it has IPv4's neighbours, or IPv6's.
    pub ipv4: bool,
    /// More than this it does not hold: sysctl `net.ipv4.neigh.default.gc_thresh3`, or `net.ipv6.…`.
    pub limit: u32,
    /// How often there was no room, since the machine is up.
    pub overflows: u64,
}

/// `ip -s ntable`: both tables, from whichever namespace.
///
/// # Errors
/// Those of [`Socket::dump`].
pub fn dump(socket: &mut Socket) -> Result<Vec<Table>, Error> {
    // `struct ndtmsg`: the family, unspecified, and padding.
    socket.dump(Request::new(Rtm::Getneightbl, NlmF::DUMP, &[0; 4]), parse)
}

/// Reads an `RTM_NEWNEIGHTBL`; `None` for any other message, for other families, and for an interface's own parameters.
pub fn parse(message: &Message<'_>) -> Result<Option<Table>, Malformed> {
    if !message.is(Rtm::Newneightbl) {
        return Ok(None);
    }
    let (&[its_family, ..], rest) = message.body::<4>()?;
    if !family::is_ip(its_family) {
        return Ok(None);
    }
    let (mut limit, mut overflows) = (None, 0);
    for attribute in attributes(rest) {
        let attribute = attribute?;
        match attribute.kind {
            NDTA_THRESH3 => limit = Some(attribute.u32()?),
            NDTA_STATS => {
                let count = attribute.value.get(TABLE_FULLS..).and_then(|rest| rest.first_chunk());
                overflows = count.map_or(0, |count| u64::from_ne_bytes(*count));
            }
            _ => {}
        }
    }
    Ok(limit.map(|limit| Table { ipv4: i32::from(its_family) == libc::AF_INET, limit, overflows }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netns::tests::isolated;

    proptest! {
        #[test]
        fn no_message_makes_the_parser_panic(payload in prop::collection::vec(any::<u8>(), 0..120)) {
            let (kind, flags) = (Rtm::Newneightbl.into(), NlmF::empty());
            let _ = parse(&Message { kind, flags, sequence: 0, payload: &payload });
        }
    }

    #[test]
    fn both_tables_have_a_limit_also_in_a_namespace_without_the_sysctls() {
        isolated(|| {
            let tables = dump(&mut Socket::open().unwrap()).unwrap();
            let mut families: Vec<_> = tables.iter().map(|table| table.ipv4).collect();
            families.sort_unstable();
            assert_eq!(families, [false, true]);
            assert!(tables.iter().all(|table| table.limit > 0));
        });
    }
}

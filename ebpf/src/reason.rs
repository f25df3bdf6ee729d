//! Why a packet was dropped: numbers and words in one place.

use crate::numbered;

numbered! {
    /// Why a packet that netctl had to translate was dropped. Append-only: the number is an index into the counters of a
    /// pinned map.
    DropReason;

    /// A header is cut short or contradicts itself.
    Malformed = 0: "malformed", "header cut short or contradicting itself";
    /// A fragment that cannot be followed: its datagram's first one did not come, or too many did.
    Fragment = 1: "fragment", "fragment of a datagram whose ports are not known";
    /// A protocol that has no ports to translate.
    Protocol = 2: "protocol", "protocol that cannot be translated";
    /// An ICMP message that is not a query, or an error about an unknown flow.
    Icmp = 3: "icmp", "ICMP message that belongs to no flow";
    /// A TCP segment that cannot open a connection, of none that is known.
    NoConnection = 4: "no-connection", "TCP segment of an unknown connection";
    /// The uplink has no address to translate to.
    NoAddress = 5: "no-address", "no outside address to translate to";
    /// Every port tried is taken.
    NoPort = 6: "no-port", "no free port to translate to";
    /// The flow table is full.
    TableFull = 7: "table-full", "flow table full";
    /// From outside to an inside address, and no answer to anything.
    Unsolicited = 8: "unsolicited", "from outside straight to an inside address";
    /// The kernel refused to change the packet.
    Rewrite = 9: "rewrite", "the kernel refused to change the packet";
    /// A source address that cannot come from there: an inside one from outside, the gateway's own, or none at all.
    Spoofed = 10: "spoofed", "source address that cannot come from there";
    /// Its rule is being put in force or ended at this moment.
    Changing = 11: "changing", "while its rule was being changed";
    /// A client that the forward's `allow` does not have.
    NotAllowed = 12: "not-allowed", "client that the forward does not allow";
    /// An ICMP error whose checksum, or the quoted header's, is wrong (RFC 5508 REQ-3).
    Checksum = 13: "checksum", "ICMP error with a wrong checksum";
}

/// Counters in the map: room for reasons to come.
pub const SLOTS: usize = 32;

const _: () = assert!(DropReason::ALL.len() <= SLOTS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_words_are_unique() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert_eq!(DropReason::of(*reason as u32), Some(*reason));
            assert_eq!(DropReason::ALL.iter().filter(|other| other.id() == reason.id()).count(), 1);
        }
    }
}

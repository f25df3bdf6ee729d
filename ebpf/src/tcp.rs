//! What one direction of a TCP connection has shown, and how long that keeps the flow (RFC 5382, RFC 7857).
//!
//! No sequence numbers are tracked: a segment that the peers would accept must pass (RFC 5382 REQ-2).

/// Flag bits of the TCP header's 14th byte (RFC 9293 section 3.1).
pub mod flag {
    /// No more data from sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number is valid.
    pub const ACK: u8 = 0x10;
}

/// The flags that a flow remembers: those that open and close a connection.
#[inline(always)]
#[must_use]
pub const fn remembered(flags: u8) -> u8 {
    flags & (flag::FIN | flag::SYN | flag::RST | flag::ACK)
}

/// Whether a segment without a flow may make one: a SYN, or a plain ACK, which picks up a connection whose state was
/// lost. RST, FIN and SYN-ACK of an unknown connection, and segments without ACK, may not.
#[inline(always)]
#[must_use]
pub const fn may_open(flags: u8) -> bool {
    matches!(flags & (flag::SYN | flag::FIN | flag::RST | flag::ACK), flag::SYN | flag::ACK)
}

/// Whether a segment asks for a new connection.
#[inline(always)]
#[must_use]
pub const fn is_first(flags: u8) -> bool {
    flags & (flag::SYN | flag::FIN | flag::RST | flag::ACK) == flag::SYN
}

/// Whether both sides know of the connection: the one that asked for it has acknowledged something, and there was an
/// answer. Until then a SYN with a forged source looks the same, whatever the other side answers.
#[inline(always)]
#[must_use]
pub const fn is_established(original: u8, answered: bool) -> bool {
    answered && original & flag::ACK != 0
}

/// Whether the connection is over: reset by either side, or closed by both.
#[inline(always)]
#[must_use]
pub const fn is_closed(original: u8, reply: u8) -> bool {
    (original | reply) & flag::RST != 0 || original & reply & flag::FIN != 0
}

#[cfg(test)]
mod tests {
    use super::{flag::*, *};

    const PSH: u8 = 0x08;

    #[test]
    fn only_syn_and_plain_ack_open_a_flow() {
        for (flags, opens) in [
            (SYN, true),
            (SYN | PSH, true),
            (ACK, true),
            (ACK | PSH, true),
            (0, false),
            (RST, false),
            (RST | ACK, false),
            (FIN, false),
            (FIN | ACK, false),
            (SYN | ACK, false),
            (SYN | FIN, false),
            (0xff, false),
        ] {
            assert_eq!(may_open(flags), opens, "flags {flags:#04x}");
        }
    }

    #[test]
    fn closed_means_reset_or_both_fins() {
        assert!(!is_closed(SYN, SYN));
        assert!(!is_closed(SYN | FIN, SYN), "a half-closed connection still carries data");
        assert!(is_closed(SYN | FIN, SYN | FIN));
        assert!(is_closed(SYN, RST) && is_closed(SYN | RST, 0));
    }

    #[test]
    fn what_does_not_open_or_close_is_not_remembered() {
        assert_eq!(remembered(PSH), 0);
        assert_eq!(remembered(SYN | ACK | PSH), SYN | ACK);
    }

    #[test]
    fn established_is_what_both_sides_know_of() {
        assert!(!is_established(SYN, false));
        assert!(!is_established(SYN, true), "answered, but not acknowledged");
        assert!(!is_established(SYN | RST, true), "a reset without ACK: the client knows of no connection");
        assert!(is_established(SYN | ACK, true));
        assert!(!is_established(ACK, false) && is_established(ACK, true), "picked up");
    }
}

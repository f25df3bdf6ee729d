//! IP addresses as 16 wire bytes, IPv4 in its mapped form.

/// An address as the maps hold it.
pub type Addr = [u8; 16];

/// Stands for "no address" in a rule. Not `::` on the wire: a packet to or from `::` is never translated.
pub const NONE: Addr = [0; 16];

const V4_PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// The IPv4-mapped form of four wire bytes.
#[inline(always)]
#[must_use]
pub const fn from_v4(v4: [u8; 4]) -> Addr {
    let p = V4_PREFIX;
    [p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], v4[0], v4[1], v4[2], v4[3]]
}

/// Whether `addr` is an IPv4 address.
#[inline(always)]
#[must_use]
pub const fn is_v4(addr: &Addr) -> bool {
    let [high, low] = halves(addr);
    high == 0 && low >> 32 == 0x0000_ffff
}

/// Whether two addresses are the same. The BPF back end has no comparison of 16 bytes at once.
#[inline(always)]
#[must_use]
pub const fn eq(a: &Addr, b: &Addr) -> bool {
    let ([a_high, a_low], [b_high, b_low]) = (halves(a), halves(b));
    a_high == b_high && a_low == b_low
}

#[inline(always)]
const fn halves(addr: &Addr) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *addr;
    [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p])]
}

/// The four wire bytes of an IPv4 address.
#[inline(always)]
#[must_use]
pub const fn to_v4(addr: &Addr) -> [u8; 4] {
    [addr[12], addr[13], addr[14], addr[15]]
}

/// Whether `addr` is in 127.0.0.0/8 or `::1`.
#[inline(always)]
#[must_use]
pub const fn is_loopback(addr: &Addr) -> bool {
    if is_v4(addr) { addr[12] == 127 } else { eq(addr, &LOOPBACK_V6) }
}

/// Whether `addr` can be nobody's source: unspecified, loopback, multicast or broadcast (RFC 1812 section 5.3.7,
/// RFC 4291 section 2.7).
#[inline(always)]
#[must_use]
pub const fn is_no_source(addr: &Addr) -> bool {
    if is_v4(addr) {
        addr[12] == 0 || addr[12] == 127 || addr[12] >= 224
    } else {
        addr[0] == 0xff || is_loopback(addr) || eq(addr, &NONE)
    }
}

/// Whether `addr` is link-local (RFC 3927, RFC 4291 section 2.5.6): no router sends on what is from there or for there.
#[inline(always)]
#[must_use]
pub const fn is_link_local(addr: &Addr) -> bool {
    if is_v4(addr) { addr[12] == 169 && addr[13] == 254 } else { addr[0] == 0xfe && addr[1] & 0xc0 == 0x80 }
}

/// The address that stands for all of a family in a forward's key: 0.0.0.0 or `::`.
#[inline(always)]
#[must_use]
pub const fn any_of(family_of: &Addr) -> Addr {
    if is_v4(family_of) { from_v4([0; 4]) } else { [0; 16] }
}

/// The address that stands for all loopback addresses of a family in a forward's key: 127.0.0.1 or `::1`.
#[inline(always)]
#[must_use]
pub const fn loopback_of(family_of: &Addr) -> Addr {
    if is_v4(family_of) { from_v4([127, 0, 0, 1]) } else { LOOPBACK_V6 }
}

const LOOPBACK_V6: Addr = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;

    fn addr(text: &str) -> Addr {
        match text.parse::<IpAddr>().unwrap() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        }
    }

    #[test]
    fn the_mapped_form_is_the_standard_one() {
        assert_eq!(from_v4([192, 0, 2, 1]), addr("192.0.2.1"));
        assert_eq!(Ipv6Addr::from(from_v4([192, 0, 2, 1])).to_string(), "::ffff:192.0.2.1");
        assert_eq!(to_v4(&addr("192.0.2.1")), [192, 0, 2, 1]);
    }

    #[test]
    fn families_and_loopbacks_are_told_apart() {
        for (text, v4, loopback) in [
            ("0.0.0.0", true, false),
            ("127.0.0.1", true, true),
            ("127.255.0.9", true, true),
            ("203.0.113.1", true, false),
            ("::", false, false),
            ("::1", false, true),
            ("2001:db8::ffff:7f00:1", false, false),
            ("::fffe:7f00:1", false, false),
        ] {
            assert_eq!((is_v4(&addr(text)), is_loopback(&addr(text))), (v4, loopback), "{text}");
        }
    }

    #[test]
    fn nobody_sends_from_these() {
        for (text, none) in [
            ("0.0.0.0", true),
            ("0.1.2.3", true),
            ("127.0.0.1", true),
            ("224.0.0.1", true),
            ("255.255.255.255", true),
            ("::", true),
            ("::1", true),
            ("ff02::1", true),
            ("223.255.255.255", false),
            ("10.0.0.1", false),
            ("fe80::1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_no_source(&addr(text)), none, "{text}");
        }
    }

    #[test]
    fn links_keep_their_own_addresses() {
        for (text, is) in [
            ("169.254.0.1", true),
            ("169.253.0.1", false),
            ("10.254.0.1", false),
            ("fe80::1", true),
            ("febf::1", true),
            ("fec0::1", false),
            ("fd80::1", false),
        ] {
            assert_eq!(is_link_local(&addr(text)), is, "{text}");
        }
    }

    #[test]
    fn wildcards_keep_the_family() {
        assert_eq!(any_of(&addr("203.0.113.1")), addr("0.0.0.0"));
        assert_eq!(any_of(&addr("2001:db8::1")), addr("::"));
        assert_eq!(loopback_of(&addr("127.0.0.53")), addr("127.0.0.1"));
        assert_eq!(loopback_of(&addr("::1")), addr("::1"));
    }
}

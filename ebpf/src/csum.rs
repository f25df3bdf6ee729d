//! The Internet checksum's difference between two sets of words (RFC 1071, RFC 1624).
//!
//! Differences are in the form that `bpf_l3_csum_replace` and `bpf_l4_csum_replace` take as `to` when `from` and the
//! size are zero: a 32-bit ones' complement sum, as `bpf_csum_diff` returns it. Byte order does not matter as long as
//! both sides use the machine's own (RFC 1071 section 2 (B)).

/// The difference between equal bytes: ones' complement has two zeroes, and a word and its inverse add up to this one.
pub const NOTHING: u32 = u32::MAX;

/// What replacing `old` by `new` adds to the ones' complement sum of a packet.
#[inline(always)]
#[must_use]
pub fn difference<const N: usize>(old: &[u8; N], new: &[u8; N]) -> u32 {
    let mut sum = 0_u64;
    let mut i = 0;
    while i + 4 <= N {
        sum += u64::from(!u32::from_ne_bytes([old[i], old[i + 1], old[i + 2], old[i + 3]]));
        sum += u64::from(u32::from_ne_bytes([new[i], new[i + 1], new[i + 2], new[i + 3]]));
        i += 4;
    }
    fold(sum)
}

/// The same for one 16-bit word at an even offset.
#[inline(always)]
#[must_use]
pub fn word_difference(old: [u8; 2], new: [u8; 2]) -> u32 {
    difference(&[old[0], old[1], 0, 0], &[new[0], new[1], 0, 0])
}

/// The checksum field after a change of `difference` in what it covers (RFC 1624 equation 3).
#[inline(always)]
#[must_use]
pub fn update(field: [u8; 2], difference: u32) -> [u8; 2] {
    let sum = u64::from(difference) + u64::from(!u16::from_ne_bytes(field));
    let once = (sum & 0xffff) + (sum >> 16);
    let twice = (once & 0xffff) + (once >> 16);
    let thrice = (twice & 0xffff) + (twice >> 16);
    (!(thrice as u16)).to_ne_bytes()
}

/// Whether this is the sum of bytes with a right checksum among them.
#[inline(always)]
#[must_use]
pub const fn is_complete(sum: u32) -> bool {
    let once = (sum & 0xffff) + (sum >> 16);
    (once & 0xffff) + (once >> 16) == 0xffff
}

/// The sum of two differences.
#[inline(always)]
#[must_use]
pub fn add(a: u32, b: u32) -> u32 {
    fold(u64::from(a) + u64::from(b))
}

/// 64 bits folded to 32 with end-around carry.
#[inline(always)]
fn fold(sum: u64) -> u32 {
    let once = (sum & 0xffff_ffff) + (sum >> 32);
    ((once & 0xffff_ffff) + (once >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 over whole 16-bit words.
    fn checksum(bytes: &[u8]) -> u16 {
        let mut sum: u64 = bytes.chunks_exact(2).map(|w| u64::from(u16::from_ne_bytes([w[0], w[1]]))).sum();
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    proptest! {
        #[test]
        fn an_incremental_update_equals_a_full_recomputation(
            old: [u8; 16], new: [u8; 16], rest in proptest::collection::vec(any::<u8>(), 40)
        ) {
            let before = [&old[..], &rest[..]].concat();
            let after = [&new[..], &rest[..]].concat();
            let updated = u16::from_ne_bytes(update(checksum(&before).to_ne_bytes(), difference(&old, &new)));
            // 0x0000 and 0xffff are the same number in ones' complement.
            prop_assert_eq!(updated % 0xffff, checksum(&after) % 0xffff);
        }

        #[test]
        fn a_word_is_as_good_as_its_place_in_a_longer_one(old: [u8; 2], new: [u8; 2], rest: [u8; 6]) {
            let before = [&old[..], &rest[..]].concat();
            let after = [&new[..], &rest[..]].concat();
            let updated = update(checksum(&before).to_ne_bytes(), word_difference(old, new));
            prop_assert_eq!(u16::from_ne_bytes(updated) % 0xffff, checksum(&after) % 0xffff);
        }

        #[test]
        fn differences_add_up(a: [u8; 4], b: [u8; 4], c: [u8; 4]) {
            let (there, on, at_once) = (difference(&a, &b), difference(&b, &c), difference(&a, &c));
            prop_assert_eq!(u64::from(add(there, on)) % 0xffff_ffff, u64::from(at_once) % 0xffff_ffff);
        }
    }

    #[test]
    fn no_change_is_no_difference() {
        assert_eq!(difference(&[7; 16], &[7; 16]), NOTHING);
        assert_eq!(add(NOTHING, NOTHING), NOTHING);
        assert_eq!(update([0x12, 0x34], NOTHING), [0x12, 0x34]);
    }
}

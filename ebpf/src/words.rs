//! Eight bytes at a time, or two: keys are aligned to the one, frames to the other, and no byte changes its place.

/// Four words, one behind the other in memory.
#[inline(always)]
#[must_use]
pub const fn join(words: [u16; 4]) -> u64 {
    // SAFETY: as many bytes, any of which are a value.
    unsafe { core::mem::transmute(words) }
}

/// The four words that lie there in memory.
#[inline(always)]
#[must_use]
pub const fn split(word: u64) -> [u16; 4] {
    // SAFETY: as in `join`.
    unsafe { core::mem::transmute(word) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_where_they_are() {
        let words = [[1, 2], [3, 4], [5, 6], [7, 8]].map(u16::from_ne_bytes);
        assert_eq!(join(words).to_ne_bytes(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(split(join(words)), words);
    }
}

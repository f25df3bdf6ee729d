//! The name that was probably meant.

/// The candidate nearest to `word`, if one is near enough to be a slip of the fingers: a third of the word at most.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= limit && distance < candidate.chars().count())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_a_different_word_finds_none() {
        let names = ["red", "blue", "router", "default-route"];
        for (word, meant) in [
            ("rde", Some("red")),
            ("routr", Some("router")),
            ("default_route", Some("default-route")),
            ("internet", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, names), meant, "{word:?}");
        }
    }

    #[test]
    fn a_name_of_one_letter_is_near_to_nothing() {
        assert_eq!(nearest("x", ["a", "b"]), None);
    }
}

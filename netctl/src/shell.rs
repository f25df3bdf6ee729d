//! Words as a shell reads them.

use std::borrow::Cow;

/// A word that a shell takes for exactly this text. What cannot be shown as it is becomes an escape of `$'…'`.
#[must_use]
pub fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        Cow::Borrowed(word)
    } else if word.contains(char::is_control) {
        Cow::Owned(format!("$'{}'", word.chars().map(escaped).collect::<String>()))
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

/// A character between `$'` and `'`.
fn escaped(c: char) -> String {
    match c {
        '\\' | '\'' => format!("\\{c}"),
        c if c.is_control() => c.to_string().bytes().map(|byte| format!("\\x{byte:02x}")).collect(),
        c => c.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_word_that_needs_no_quotes_has_none() {
        for word in ["eth0", "veth-red@br.10", "fd00::1/64", "net.ipv4.ip_forward=1", "/run/netns/red"] {
            assert_eq!(quoted(word), word);
        }
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a b"), "'a b'");
    }

    #[test]
    fn a_shell_reads_back_what_was_quoted_and_runs_nothing_of_it() {
        for word in [
            "a;b",
            "$(id)",
            "`id`",
            "it's",
            "a\\b",
            "~",
            "*",
            "a\nb",
            "\x1b]0;x\x07'\\",
            "#x",
            "!!",
            "{a,b}",
            "\u{9b}31m",
            "ä",
        ] {
            let script = format!("printf %s {}", quoted(word));
            let said = Command::new("bash").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&said.stdout), word, "{script}");
        }
    }
}

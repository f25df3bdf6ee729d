//! Colours, and what the terminal gets to see of others' text.
//!
//! Between [`painted`] and [`rendered`] a style is a mark, a code point that Unicode keeps for such use inside a program.
//! So all control characters that come to be rendered are somebody else's, and are shown instead of obeyed.

use std::borrow::Cow;

use anstyle::{AnsiColor, Style};

/// Good news.
pub(in crate::cli) const GOOD: Style = AnsiColor::Green.on_default();
/// Bad news.
pub(in crate::cli) const BAD: Style = AnsiColor::Red.on_default();
/// A change.
pub(in crate::cli) const CHANGED: Style = AnsiColor::Yellow.on_default();
/// A name that stands out.
pub(in crate::cli) const NAME: Style = Style::new().bold();
/// What can be passed over.
pub(in crate::cli) const FAINT: Style = Style::new().dimmed();
/// Translation, in a picture.
pub(in crate::cli) const NAT: Style = AnsiColor::Cyan.on_default();

const MARKS: [(char, Style); 6] = [
    ('\u{fdd0}', GOOD),
    ('\u{fdd1}', BAD),
    ('\u{fdd2}', CHANGED),
    ('\u{fdd3}', NAME),
    ('\u{fdd4}', FAINT),
    ('\u{fdd5}', NAT),
];
const END: char = '\u{fdef}';

/// `text` in one of the styles above, for [`rendered`].
pub(super) fn painted(style: Style, text: &str) -> String {
    match MARKS.iter().find(|(_, its)| *its == style) {
        Some((mark, _)) => format!("{mark}{text}{END}"),
        None => text.to_owned(),
    }
}

/// A line as it is written.
pub(super) fn rendered(line: &str) -> String {
    let mut whole = String::with_capacity(line.len());
    for c in line.chars() {
        match MARKS.iter().find(|(mark, _)| *mark == c) {
            Some((_, style)) => whole.push_str(&style.render().to_string()),
            None if c == END => whole.push_str(&anstyle::Reset.render().to_string()),
            None => push_shown(c, &mut whole),
        }
    }
    whole
}

/// Text that can only be read: control characters, and those that turn the direction of what follows, are shown by their
/// numbers.
pub(in crate::cli) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_command) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push_shown(c, &mut shown));
    Cow::Owned(shown)
}

/// Likewise, of text that may have several lines.
pub(super) fn escaped_lines(text: &str) -> String {
    text.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

fn push_shown(c: char, shown: &mut String) {
    match c {
        '\t' => shown.push(c),
        c if is_command(c) && u32::from(c) < 0x80 => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if is_command(c) => shown.push_str(&c.escape_unicode().to_string()),
        c => shown.push(c),
    }
}

fn is_command(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fdd0}'..='\u{fdef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_style_is_rendered_and_what_others_say_is_only_shown() {
        let line = format!("{} is \x1b]0;gone\x07", painted(GOOD, "e\x1b[31mth0"));
        assert_eq!(rendered(&line), "\x1b[32me\\x1b[31mth0\x1b[0m is \\x1b]0;gone\\x07");
        assert_eq!(rendered(&painted(Style::new(), "plain")), "plain");
    }

    #[test]
    fn what_commands_a_terminal_is_shown_by_its_number() {
        assert_eq!(escaped("a\tb\r\u{9b}31m\u{202e}c\u{7f}"), "a\tb\\x0d\\u{9b}31m\\u{202e}c\\x7f");
        assert_eq!(escaped("`ä` → ok\n"), "`ä` → ok\\x0a");
        assert_eq!(escaped(&painted(BAD, "x")), "\\u{fdd1}x\\u{fdef}");
        assert_eq!(escaped_lines("one\ntwo\x1b"), "one\ntwo\\x1b");
        assert!(matches!(escaped("quiet"), Cow::Borrowed(_)));
    }
}

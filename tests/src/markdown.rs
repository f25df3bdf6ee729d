//! Pages of Markdown as their readers take them: what they show is typed, what comes of it is compared with the page, and
//! what they name is looked for.
//!
//! A `console` block is a session. Lines that begin with `$ ` are typed, those below are what is printed, all of it: a
//! line `…` stands for those that the page leaves out, and [`alike`](compare::alike) knows what is different every time. A
//! command succeeds, or its comment says `exit status N`; one that ends with `&` goes on beside the others. A `toml` block
//! whose first line is `# NAME.toml` is saved under that name. Blocks of other languages are for other occasions.

pub mod compare;
mod follow;
mod links;
mod session;

use std::{
    fs,
    path::{Path, PathBuf},
};

pub use self::session::Step;

/// The repository, whose pages these are.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A page, or a section of one.
pub struct Page {
    /// Its path in the repository.
    pub path: String,
    first_line: usize,
    text: String,
}

/// A fenced block of code.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// What stands behind the fence.
    pub language: String,
    /// The page's line that its text begins at.
    pub line: usize,
    /// What is between the fences.
    pub text: String,
}

impl Page {
    /// Reads a page, by its path in the repository.
    #[must_use]
    pub fn read(path: &str) -> Self {
        let text = fs::read_to_string(repository().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        Self::new(path, &text)
    }

    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), first_line: 1, text: text.to_owned() }
    }

    /// Every page of the repository that is written by hand.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut paths = Vec::new();
        for directory in ["", "docs", "docs/decisions", "docs/examples"] {
            let entries = fs::read_dir(repository().join(directory)).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let pages = names.filter(|name| Path::new(name).extension().is_some_and(|its| its == "md"));
            paths.extend(pages.map(|name| Path::new(directory).join(name).to_str().unwrap().to_owned()));
        }
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// The section below the heading `title`, up to the next heading that is as high.
    #[must_use]
    pub fn section(&self, title: &str) -> Self {
        let headings = self.headings();
        let at = headings.iter().position(|heading| heading.title == title);
        let at = at.unwrap_or_else(|| panic!("{}: no section {title:?}", self.path));
        let (first, rest) = (headings[at].line, &headings[at + 1..]);
        let next = rest.iter().find(|heading| heading.level <= headings[at].level);
        let end = next.map_or(usize::MAX, |heading| heading.line);
        let lines = self.numbered().skip_while(|(line, _)| *line <= first);
        let lines: Vec<_> = lines.take_while(|(line, _)| *line < end).map(|(_, text)| text).collect();
        Self { path: self.path.clone(), first_line: first + 1, text: lines.join("\n") }
    }

    /// The titles of its sections.
    #[must_use]
    pub fn titles(&self) -> Vec<&str> {
        self.headings().iter().map(|heading| heading.title).collect()
    }

    /// Its blocks of code, in order.
    #[must_use]
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut is_open = false;
        for (line, text) in self.numbered() {
            match text.strip_prefix("```") {
                Some(_) if is_open => is_open = false,
                Some(language) => {
                    is_open = true;
                    blocks.push(Block { language: language.to_owned(), line: line + 1, text: String::new() });
                }
                None if is_open => blocks.last_mut().unwrap().text.extend([text, "\n"]),
                None => {}
            }
        }
        assert!(!is_open, "{}: the last block has no end", self.path);
        blocks
    }

    /// Its lines outside blocks of code, with their numbers.
    fn prose(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut is_open = false;
        self.numbered().filter(move |(_, text)| {
            let is_fence = text.starts_with("```");
            is_open ^= is_fence;
            !is_open && !is_fence
        })
    }

    fn headings(&self) -> Vec<Heading<'_>> {
        self.prose().filter_map(|(line, text)| Heading::of(line, text)).collect()
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        (self.first_line..).zip(self.text.lines())
    }
}

impl Block {
    /// The name that it is saved under.
    fn file(&self) -> Option<&str> {
        let name = self.text.lines().next()?.strip_prefix("# ")?;
        (self.language == "toml" && name.ends_with(".toml") && !name.contains(' ')).then_some(name)
    }
}

struct Heading<'a> {
    line: usize,
    level: usize,
    title: &'a str,
}

impl<'a> Heading<'a> {
    fn of(line: usize, text: &'a str) -> Option<Self> {
        let title = text.trim_start_matches('#');
        let level = text.len() - title.len();
        let title = title.strip_prefix(' ').filter(|_| level > 0)?;
        Some(Self { line, level, title })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str =
        "# Page\n\n## One\n\n```console\n$ a\n# no heading\n```\n### Below one\nlast of one\n## Two\n";

    #[test]
    fn a_section_ends_where_the_next_one_as_high_begins() {
        let page = Page::new("page.md", PAGE);
        assert_eq!(page.titles(), ["Page", "One", "Below one", "Two"]);
        let one = page.section("One");
        assert!(one.text.ends_with("### Below one\nlast of one"), "{}", one.text);
        assert_eq!(one.section("Below one").text, "last of one");
        assert_eq!(page.section("Two").text, "");
    }

    #[test]
    fn a_block_knows_its_language_and_its_line() {
        let page = Page::new("page.md", PAGE);
        let block = Block { language: "console".into(), line: 6, text: "$ a\n# no heading\n".into() };
        assert_eq!(page.section("One").blocks(), [block]);
        assert_eq!(page.section("Two").blocks(), []);
    }
}

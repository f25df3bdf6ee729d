//! Where pages lead: their links, and the files of the repository that they name.

use super::Page;

impl Page {
    /// What its links lead to, with the line of each.
    #[must_use]
    pub fn links(&self) -> Vec<(usize, &str)> {
        let links = self.prose().flat_map(|(line, text)| {
            let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            targets.map(move |(target, _)| (line, target))
        });
        links.collect()
    }

    /// Whether it leads there.
    #[must_use]
    pub fn has_link(&self, target: &str) -> bool {
        self.links().iter().any(|(_, its)| *its == target)
    }

    /// The paths of the repository that stand between backticks, with the line of each.
    #[must_use]
    pub fn paths(&self) -> Vec<(usize, &str)> {
        let quoted = self
            .prose()
            .flat_map(|(line, text)| text.split('`').skip(1).step_by(2).map(move |quoted| (line, quoted)));
        let is_path = |quoted: &str| {
            let (root, rest) = quoted.split_once('/').unwrap_or_default();
            ROOTS.contains(&root) && !rest.contains([' ', '*', '…']) && !rest.contains(char::is_uppercase)
        };
        quoted.filter(|(_, quoted)| is_path(quoted)).collect()
    }

    /// Whether a heading has this anchor, as code forges make them.
    #[must_use]
    pub fn has_anchor(&self, anchor: &str) -> bool {
        self.titles().iter().any(|title| slug(title) == anchor)
    }
}

/// The directories of the repository that have sources.
const ROOTS: [&str; 8] = [".cargo", ".ci", "benches", "docs", "ebpf", "netctl", "tests", "xtask"];

fn slug(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::markdown::repository;

    #[test]
    fn links_and_paths_are_found() {
        let page = Page::new(
            "page.md",
            "# The `key` of a-b\n[a](b.md#c), ![d](e.svg)\n```\n[no](link.md)\n```\n`ebpf/src/x.rs`, `ebpf`, `/run/netctl/`\n",
        );
        assert_eq!(page.links(), [(2, "b.md#c"), (2, "e.svg")]);
        assert_eq!(page.paths(), [(6, "ebpf/src/x.rs")]);
        assert!(page.has_anchor("the-key-of-a-b") && !page.has_anchor("key"));
    }

    #[test]
    fn every_link_leads_somewhere() {
        let mut wrong = Vec::new();
        for page in Page::all() {
            let directory = Path::new(&page.path).parent().unwrap();
            for (line, target) in page.links().into_iter().filter(|(_, target)| !target.contains("://")) {
                let (file, anchor) = target.split_once('#').map_or((target, None), |(f, a)| (f, Some(a)));
                let path = match file {
                    "" => page.path.clone().into(),
                    file => directory.join(file),
                };
                let is_there = repository().join(&path).exists()
                    && anchor.is_none_or(|anchor| Page::read(path.to_str().unwrap()).has_anchor(anchor));
                if !is_there {
                    wrong.push(format!("{}:{line}: {target}", page.path));
                }
            }
        }
        assert!(wrong.is_empty(), "these lead nowhere:\n{}", wrong.join("\n"));
    }

    #[test]
    fn every_path_that_a_page_names_is_there() {
        let mut wrong = Vec::new();
        for page in Page::all() {
            for (line, path) in page.paths() {
                if !repository().join(path).exists() {
                    wrong.push(format!("{}:{line}: {path}", page.path));
                }
            }
        }
        assert!(wrong.is_empty(), "these are not there:\n{}", wrong.join("\n"));
    }

    #[test]
    fn the_architecture_names_every_map() {
        let source = include_str!("../../../ebpf/src/prog/maps.rs");
        let maps = source.split("#[btf_map]").skip(1).map(|rest| {
            let (_, rest) = rest.split_once("static ").unwrap();
            rest.split_once(':').unwrap().0
        });
        let page = Page::read("docs/architecture.md").section("The maps");
        let unnamed: Vec<_> = maps.filter(|map| !page.text.contains(&format!("`{map}`"))).collect();
        assert!(unnamed.is_empty(), "{unnamed:?}");
    }
}

//! A session at a terminal, as a `console` block shows it: what is typed, and what is to come of it.

use super::{Block, Page};

/// One command of a session.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Where it is typed: the page's line.
    pub line: usize,
    /// What is typed, without its comment.
    pub command: String,
    /// What the page shows below, all of it.
    pub shown: String,
    /// What it ends with.
    pub status: i32,
    /// Whether it goes on beside those that follow.
    pub goes_on: bool,
}

impl Page {
    /// The commands of all its sessions, in order.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        self.blocks().iter().flat_map(|block| self.steps_of(block)).collect()
    }

    /// Those of one of its blocks; none if that is no session.
    pub(super) fn steps_of(&self, block: &Block) -> Vec<Step> {
        if block.language != "console" {
            return Vec::new();
        }
        let mut steps: Vec<Step> = Vec::new();
        let mut goes_over = false;
        for (line, text) in (block.line..).zip(block.text.lines()) {
            let typed = text.strip_prefix("$ ").map(|typed| (typed, true));
            match (typed.or(goes_over.then_some((text, false))), steps.last_mut()) {
                (Some((typed, is_new)), last) => {
                    let (typed, is_whole) =
                        typed.strip_suffix('\\').map_or((typed, true), |its| (its, false));
                    match last {
                        Some(step) if !is_new => step.command.push_str(typed.trim_start()),
                        _ => steps.push(Step::typed(line, typed)),
                    }
                    goes_over = !is_whole;
                }
                (None, Some(step)) => step.shown.extend([text, "\n"]),
                (None, None) => panic!("{}:{line}: a session begins with `$ `", self.path),
            }
        }
        steps.into_iter().map(Step::understood).collect()
    }
}

impl Step {
    fn typed(line: usize, typed: &str) -> Self {
        Self { line, command: typed.to_owned(), shown: String::new(), status: 0, goes_on: false }
    }

    /// Takes the comment off, and the `&`.
    fn understood(mut self) -> Self {
        if let Some((command, comment)) = self.command.split_once(" # ") {
            if let Some((_, status)) = comment.split_once("exit status ") {
                let digits = status.split(|c: char| !c.is_ascii_digit()).next();
                self.status = digits.and_then(|digits| digits.parse().ok()).expect("a number");
            }
            self.command = command.to_owned();
        }
        let command = self.command.trim_end();
        self.goes_on = command.ends_with(" &");
        self.command = command.trim_end_matches(" &").to_owned();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(session: &str) -> Vec<Step> {
        Page::new("page.md", &format!("```console\n{session}```\n")).steps()
    }

    fn step(line: usize, command: &str, shown: &str) -> Step {
        Step { shown: shown.to_owned(), ..Step::typed(line, command) }
    }

    #[test]
    fn a_command_has_what_is_below_it() {
        let session = "$ netctl ns\nNAME\nred\n$ netctl down   # gone\n";
        assert_eq!(steps(session), [step(2, "netctl ns", "NAME\nred\n"), step(5, "netctl down", "")]);
    }

    #[test]
    fn a_command_may_go_over_lines() {
        assert_eq!(steps("$ one \\\n    two\nsaid\n"), [step(2, "one two", "said\n")]);
    }

    #[test]
    fn a_comment_says_how_it_ends() {
        let session = "$ false    # exit status 1: it is its nature\n";
        assert_eq!(steps(session), [Step { status: 1, ..step(2, "false", "") }]);
    }

    #[test]
    fn a_server_goes_on() {
        assert_eq!(steps("$ cat &   # for good\n"), [Step { goes_on: true, ..step(2, "cat", "") }]);
    }
}

//! Following a page: a reader at a lab's terminal.

use std::{fs, os::unix::fs::symlink};

use super::{Page, Step, compare::alike};
use crate::lab::{Lab, Server, eventually, netctl};

/// So that `netctl` is the one under test, that what it says comes in the order of the terminal, and that Python does not
/// keep what it says to itself, as it does where there is no terminal.
const SHELL: &str = "export PATH=$PWD/bin:$PATH PYTHONUNBUFFERED=1; exec 2>&1;";

impl Lab {
    /// Does what a page says, from top to bottom. Panics, with the page's line, where something else comes of it.
    pub fn follow(&self, page: &Page) {
        let bin = self.directory().join("bin");
        if !bin.exists() {
            fs::create_dir(&bin).unwrap();
            symlink(fs::canonicalize(netctl()).unwrap(), bin.join("netctl")).unwrap();
        }
        let mut servers: Vec<Option<Server<'_>>> = Vec::new();
        let mut is_idle = true;
        for block in page.blocks() {
            if let Some(name) = block.file() {
                self.file(name, &block.text);
            }
            for step in page.steps_of(&block) {
                is_idle = false;
                let place = format!("{}:{}", page.path, step.line);
                match step.command.strip_prefix("kill %") {
                    Some(number) => drop(servers[number.parse::<usize>().unwrap() - 1].take()),
                    None if step.goes_on => servers.push(Some(self.begin(&step, &place))),
                    None => self.take(&step, &place),
                }
            }
        }
        assert!(!is_idle, "{} shows no commands", page.path);
    }

    fn take(&self, step: &Step, place: &str) {
        let said = self.host().run("bash", ["-c", &format!("{SHELL} {}", step.command)]).fails(step.status);
        assert!(alike(&step.shown, said.stdout()), "{}", Self::difference(step, place, said.stdout()));
    }

    /// Starts what goes on, and waits until it has said what is shown.
    fn begin(&self, step: &Step, place: &str) -> Server<'_> {
        let mut server = self.host().start("bash", ["-c", &format!("{SHELL} exec {}", step.command)]);
        eventually(&Self::difference(step, place, "(what is shown)"), || {
            server.assert_alive();
            alike(&step.shown, &server.log())
        });
        server
    }

    fn difference(step: &Step, place: &str, said: &str) -> String {
        format!("{place}: {}\n--- the page shows\n{}--- it said\n{said}---", step.command, step.shown)
    }
}

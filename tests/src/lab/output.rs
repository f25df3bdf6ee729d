//! What a program said, and the claims that tests make about it. A claim that fails shows the whole lab.

use std::fmt::Write as _;

use super::Lab;

/// What a program said.
pub struct Output<'a> {
    lab: &'a Lab,
    command: String,
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl<'a> Output<'a> {
    pub(super) fn new(lab: &'a Lab, command: &str, output: std::process::Output) -> Self {
        Self {
            lab,
            command: command.to_owned(),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("text on stdout"),
            stderr: String::from_utf8(output.stderr).expect("text on stderr"),
        }
    }

    /// It succeeded.
    #[track_caller]
    pub fn success(self) -> Self {
        self.fails(0)
    }

    /// It ended with this code.
    #[track_caller]
    pub fn fails(self, code: i32) -> Self {
        if self.code != Some(code) {
            let ended = self.code.map_or("a signal".to_owned(), |code| code.to_string());
            panic!("{} ended with {ended}, not {code}\n{self}\n{}", self.command, self.lab.diagnosis());
        }
        self
    }

    /// Its exit code; `None` after a signal.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.code
    }

    /// Its standard output.
    #[must_use]
    pub fn stdout(&self) -> &str {
        &self.stdout
    }

    /// Its standard error.
    #[must_use]
    pub fn stderr(&self) -> &str {
        &self.stderr
    }

    /// Its standard output, read as one JSON document.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}):\n{self}"))
    }
}

impl std::fmt::Display for Output<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "$ {}\n--- stdout\n{}--- stderr\n{}---", self.command, self.stdout, self.stderr)
    }
}

impl Lab {
    /// What one wants to see when a test fails: links, addresses, routes, rules, drop counters.
    #[must_use]
    pub fn diagnosis(&self) -> String {
        let mut text = String::new();
        let mut say = |program: &str, arguments: &[&str]| {
            let output = self.host().run(program, arguments.iter().copied());
            let _ = writeln!(text, "{output}");
            output.stdout.clone()
        };
        let names = say("ip", &["netns", "list"]);
        for arguments in [&["-br", "address"][..], &["route"], &["-6", "route"]] {
            say("ip", arguments);
            for name in names.lines().filter_map(|line| line.split(' ').next()) {
                say("ip", &[&["-n", name], arguments].concat());
            }
        }
        say(&super::netctl(), &["ls"]);
        say(&super::netctl(), &["show"]);
        text
    }
}

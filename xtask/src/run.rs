//! Running commands: each is shown as one could type it, and a failure names it.

use std::{
    borrow::Cow,
    env,
    ffi::OsStr,
    fmt::Write as _,
    io::{self, IsTerminal as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::workspace::cargo_program;

/// Shows `command`, runs it with our own stdin, stdout and stderr, and fails if it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command.status().with_context(|| format!("running {}", program(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", program(command));
    }
    Ok(())
}

/// Shows `command` and becomes it: its exit status and signals are ours from here on.
pub(crate) fn replace(command: &mut Command) -> Result<()> {
    announce(command);
    Err(command.exec()).with_context(|| format!("running {}", program(command)))
}

/// What `command` writes to stdout; a question, so it is not shown. None if it cannot be run or fails.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Shows `command` in a `$` line, dimmed on a terminal.
pub(crate) fn announce(command: &Command) {
    let line = render(command);
    if colour() {
        eprintln!("\x1b[2m$ {line}\x1b[0m");
    } else {
        eprintln!("$ {line}");
    }
}

/// Whether stderr shows colours.
pub(crate) fn colour() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The first executable file of that name on the PATH, or where only root's PATH leads.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.is_file() && nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok()
}

/// Whether we are root; builds never need to be, tests and `up` do.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn program(command: &Command) -> Cow<'_, str> {
    let program = command.get_program();
    if program == cargo_program() { "cargo".into() } else { program.to_string_lossy() }
}

/// `command` as a line for a shell: directory left out, variables first.
fn render(command: &Command) -> String {
    let mut line = String::new();
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = write!(line, "{}={} ", key.to_string_lossy(), quote(value));
        }
    }
    line.push_str(&quote(OsStr::new(program(command).as_ref())));
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&quote(arg));
    }
    line
}

/// Quotes a word for bash where it needs quotes; control characters (cargo's flag separator) become escapes.
fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+/.,:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    if word.contains(char::is_control) {
        let escape = |c: char| match c {
            '\'' | '\\' => format!("\\{c}"),
            c if c.is_control() => format!("\\x{:02x}", u32::from(c)),
            c => c.to_string(),
        };
        return format!("$'{}'", word.chars().map(escape).collect::<String>());
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_can_be_pasted() {
        let mut command = Command::new("tool");
        command.env("FLAGS", "a\x1f--cfg=x=\"y\"").args(["--plain", "two words", "it's", ""]);
        assert_eq!(render(&command), r#"FLAGS=$'a\x1f--cfg=x="y"' tool --plain 'two words' 'it'\''s' ''"#);
    }

    #[test]
    fn only_programs_that_exist_are_found() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-of-netctl").is_none());
    }
}

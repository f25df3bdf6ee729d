//! The rooms that are called pure open nothing: no socket, no file, no program of the kernel's. They describe what is wanted
//! and what is there; others look and do. This test reads their sources.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The rooms, each a file and, if there is one, the folder beside it.
const ROOMS: [&str; 8] =
    ["build", "model", "netfilter", "observed", "op", "ownership/mark", "ownership/protocol", "plan"];

/// What would open something, or leads to what does.
const FORBIDDEN: [&str; 16] = [
    "aya::",
    "tokio::",
    "nix::",
    "std::fs",
    "std::os::",
    "std::process",
    "TcpStream",
    "UdpSocket",
    "Socket::",
    "netlink::Socket",
    "crate::apply",
    "crate::netns",
    "crate::observe::",
    "crate::place",
    "crate::state",
    "crate::sysctl",
];

/// The same, where imports are nested: `use crate::{netns::Netns, ..}`.
const ROOMS_THAT_OPEN: [&str; 10] =
    ["apply", "nat", "netns", "observe", "place", "state", "sysctl", "tool", "single", "cli"];

fn sources(room: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = vec![root.join(format!("{room}.rs"))];
    let mut folders = vec![root.join(room)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    found
}

/// What a file says outside of its tests and comments.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The top level of every `use crate::{ .. }`.
fn imported_rooms(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for import in code.split("use crate::").skip(1) {
        let import = import.split(';').next().unwrap_or_default();
        let mut depth = 0;
        let mut word = String::new();
        for c in import.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                c if depth <= 1 && (c.is_alphanumeric() || c == '_') => word.push(c),
                ':' if depth <= 1 && !word.is_empty() => rooms.push(std::mem::take(&mut word)),
                ',' if depth <= 1 => rooms.push(std::mem::take(&mut word)),
                _ => {}
            }
        }
        rooms.push(word);
    }
    rooms
}

#[test]
fn what_is_called_pure_opens_nothing() {
    let mut files = 0;
    for path in ROOMS.into_iter().flat_map(sources) {
        let is_test =
            path.file_stem().is_some_and(|stem| stem == "tests" || stem == "trial" || stem == "golden")
                || path.parent().is_some_and(|parent| parent.ends_with("tests"));
        if is_test {
            continue;
        }
        let code = code(&fs::read_to_string(&path).unwrap());
        for word in FORBIDDEN {
            assert!(!code.contains(word), "{} has `{word}`", path.display());
        }
        for room in imported_rooms(&code) {
            assert!(!ROOMS_THAT_OPEN.contains(&room.as_str()), "{} imports `{room}`", path.display());
        }
        files += 1;
    }
    assert!(files > 50, "only {files} files were read");
}

#[test]
fn the_rooms_of_nested_imports_are_found() {
    let code =
        "use crate::{\n    model::{Place, Route},\n    netns::Netns,\n    op,\n};\nuse crate::state::Lock;";
    let mut rooms = imported_rooms(code);
    rooms.retain(|room| ["model", "netns", "op", "state"].contains(&room.as_str()));
    assert_eq!(rooms, ["model", "netns", "op", "state"]);
}

//! What a shell offers, and the manual.

use std::{fs, path::Path};

use netctl_tests::lab::{Lab, netctl};

/// Has bash complete `$1 $2` and prints what it offers.
const TRY: &str = r#"
PATH=$(dirname "$NETCTL"):$PATH
source <(netctl completions bash)
COMP_WORDS=($1 "$2") COMP_LINE="$1 $2"
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_POINT=${#COMP_LINE} COMP_TYPE=9
_clap_complete_netctl netctl "$2" "$1"
printf '%s\n' "${COMPREPLY[@]}"
"#;

#[track_caller]
fn offered(lab: &Lab, line: &str, word: &str) -> Vec<String> {
    let said = lab
        .host()
        .run("env", [&*format!("NETCTL={}", netctl()), "bash", "-c", TRY, "bash", line, word])
        .success();
    let words = said.stdout().lines().map(|line| line.trim_end().to_owned());
    words.filter(|word| !word.is_empty() && !word.starts_with("--")).collect()
}

#[test]
fn a_shell_offers_what_there_is_at_the_moment() {
    let lab = Lab::quickstart();
    lab.file("office.toml", "");
    lab.file("notes.txt", "");
    for (line, word, expected) in [
        ("netctl", "do", &["down", "doctor"][..]),
        ("netctl exec", "", &["blue", "internet", "red", "router"]),
        ("netctl show", "q", &["quickstart"]),
        ("netctl show", "r", &["red", "router"]),
        ("netctl down", "o", &["office.toml"]),
        ("netctl up", "", &["office.toml"]),
        ("netctl -n router link set", "w", &["wan0"]),
        ("netctl link set -n router", "v-", &["v-net-0"]),
        ("netctl -n router link set wan0", "m", &["master", "mtu"]),
        ("netctl graph --format", "", &["text", "mermaid", "dot", "svg"]),
        ("netctl completions", "", &["bash", "zsh", "fish"]),
    ] {
        assert_eq!(offered(&lab, line, word), expected, "{line} {word}");
    }
    for shell in ["zsh", "fish"] {
        let script = lab.netctl(["completions", shell]).success();
        assert!(script.stdout().contains("NETCTL_COMPLETE"), "{script}");
    }
    lab.netctl(["completions", "csh"]).fails(2);
}

#[test]
fn the_manual_has_a_page_for_each_verb() {
    let lab = Lab::new();
    lab.netctl(["man", "man"]).success();
    let page = |name: &str| fs::read_to_string(lab.directory().join(Path::new("man")).join(name)).unwrap();
    assert!(page("netctl.1").contains("netctl\\-ping(1)"), "{}", page("netctl.1"));
    for (name, words) in [
        ("netctl-up.1", "office.toml"),
        ("netctl-nat-forward-add.1", "listen"),
        ("netctl-doctor.1", "Exit status 3"),
    ] {
        assert!(page(name).contains(words), "no {words:?} in {name}");
    }
    assert!(!lab.directory().join("man/netctl-man.1").exists(), "the verb that writes them is no user's");
}

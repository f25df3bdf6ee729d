//! `netctl graph`: the picture of a file, and of a network as it is.

use std::path::Path;

use netctl_tests::lab::{Lab, Output};
use serde_json::Value;

/// The states of a node's links, by the JSON document.
fn states(said: &Output<'_>, node: &str) -> Vec<String> {
    let document = said.json();
    let nodes = document["nodes"].as_array().unwrap();
    let node = nodes.iter().find(|its| its["name"] == node).unwrap_or(&Value::Null);
    let links = node["links"].as_array().unwrap_or_else(|| panic!("no {node}: {said}"));
    links.iter().map(|link| link["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_file_is_drawn_without_being_up() {
    let lab = Lab::new();
    let said = lab.netctl(["graph"]).success();
    assert!(said.stdout().contains("╭─ internet ─"), "{said}");
    assert!(said.stdout().lines().all(|line| line.chars().count() <= 80), "{said}");
    let file = lab.file(
        "two.toml",
        "[namespaces.a]\n[namespaces.b]\n[[cables]]\n\
        a = { namespace = 'a', interface = 'x' }\nb = { namespace = 'b', interface = 'y' }",
    );
    let said = lab.netctl(["graph", file.to_str().unwrap()]).success();
    assert_eq!(said.stdout(), "╭─ a ─╮      ╭─ b ─╮\n│ x   ├──────┤ y   │\n╰─────╯      ╰─────╯\n");
    let said = lab.netctl(["graph", "--format", "mermaid", file.to_str().unwrap()]).success();
    assert!(
        said.stdout().starts_with("flowchart LR\n") && said.stdout().contains("  n0 ---|\"x – y\"| n1\n"),
        "{said}"
    );
    let said = lab.netctl(["graph", "--format", "dot", file.to_str().unwrap()]).success();
    assert!(
        said.stdout().starts_with("graph \"two\" {\n") && said.stdout().contains("  n0:a0:e -- n1:l0:w\n"),
        "{said}"
    );
    assert_eq!(lab.netctl(["ls", "--json"]).success().stdout(), "[]\n");
    lab.netctl(["graph", "two"]).fails(1);
}

#[test]
fn the_picture_in_the_docs_is_the_one_that_is_drawn() {
    let lab = Lab::new();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images/quickstart.svg");
    let drawn = lab.netctl(["graph", "--format", "svg"]).success();
    assert_eq!(drawn.stdout(), std::fs::read_to_string(path).unwrap());
}

#[test]
fn what_is_down_or_gone_is_red() {
    let lab = Lab::quickstart();
    let up = lab.netctl(["graph", "--color", "always"]).success();
    assert!(up.stdout().contains("\u{1b}[32m") && !up.stdout().contains("\u{1b}[31m"), "{up}");
    assert_eq!(states(&lab.netctl(["graph", "--json"]).success(), "router"), ["up", "up"]);
    lab.ns("internet").run("ip", ["link", "set", "eth0", "down"]).success();
    lab.ns("blue").run("ip", ["link", "del", "eth0"]).success();
    let said = lab.netctl(["graph", "--json"]).success();
    let of = ["red", "blue", "router", "internet"].map(|node| states(&said, node).join(" "));
    assert_eq!(of, ["up", "missing", "up no-carrier", "down"]);
    let down = lab.netctl(["graph", "quickstart", "--color", "always"]).success();
    assert!(down.stdout().contains("\u{1b}[31m"), "{down}");
    let down = lab.netctl(["graph"]).success();
    for words in ["eth0 missing    ├╌╌", "wan0 NAT no carrier", "┤ eth0 down "] {
        assert!(down.stdout().contains(words), "no {words:?} in {down}");
    }
    for (format, words) in [
        ("svg", "class=\"wire down\""),
        ("dot", "color=\"#cf222e\", style=dashed"),
        ("mermaid", "linkStyle 1 stroke:#cf222e"),
    ] {
        let said = lab.netctl(["graph", "--format", format]).success();
        assert!(said.stdout().contains(words), "{said}");
    }
    lab.netctl(["ns", "del", "red", "--force"]).success();
    let said = lab.netctl(["graph"]).success();
    assert!(said.stdout().contains("╭─ red ─"), "{said}");
    assert_eq!(states(&lab.netctl(["graph", "--json"]).success(), "red"), ["missing"]);
}

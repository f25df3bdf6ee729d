//! The networks in `docs/examples`: each is brought up and tried out as its page says, and leaves nothing behind.

use std::fs;

use netctl_tests::{
    lab::Lab,
    markdown::{Page, repository},
};

/// A test for each example, by the name of its file.
macro_rules! examples {
    ($($test:ident: $name:literal,)+) => {
        const NAMES: &[&str] = &[$($name),+];
        $(#[test]
        fn $test() {
            try_out($name);
        })+
    };
}

examples! {
    a_bridge: "bridge",
    a_cable: "cable",
    a_chain_of_five: "chain",
    a_hundred_workers: "workers",
    both_families: "dual-stack",
    published_ports: "published",
    the_container_of_the_bridge_lab: "bridge-lab",
    the_container_networking_tutorial: "container-networking",
    the_network_of_the_bridge_steps: "bridge-steps",
    the_network_of_the_summary: "summary",
    the_network_of_the_walkthrough: "walkthrough",
    three_subnets: "subnets",
    two_gateways_in_a_row: "double-nat",
}

fn try_out(name: &str) {
    let lab = Lab::new();
    let before = lab.snapshot();
    let file = format!("{name}.toml");
    lab.file(&file, example(name));
    let section = page().section(name);
    let first = section.steps().into_iter().next().unwrap();
    assert_eq!(first.command, format!("netctl up {file}"), "{}:{}", section.path, first.line);
    lab.follow(&section);
    lab.netctl(["ping", name, "--timeout", "5"]).success();
    lab.netctl(["plan", &file]).success();
    lab.netctl(["down", name]).success();
    lab.assert_unchanged_since(&before);
}

fn page() -> Page {
    Page::read("docs/examples/README.md")
}

fn example(name: &str) -> String {
    fs::read_to_string(repository().join(format!("docs/examples/{name}.toml"))).unwrap()
}

#[test]
fn every_example_begins_with_a_comment_and_has_its_section_and_its_picture() {
    let files = fs::read_dir(repository().join("docs/examples")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<_> = names.filter_map(|name| name.strip_suffix(".toml").map(str::to_owned)).collect();
    found.sort();
    let mut tried = NAMES.to_vec();
    tried.sort_unstable();
    assert_eq!(found, tried);

    let lab = Lab::new();
    for name in NAMES {
        let text = example(name);
        assert!(text.starts_with("# "), "{name} says nothing of itself");
        let section = page().section(name);
        let picture = format!("docs/images/examples/{name}.svg");
        assert!(section.has_link(&format!("../images/examples/{name}.svg")), "{name} has no picture");
        assert!(section.has_link(&format!("{name}.toml")), "{name} has no link to its file");
        let file = lab.file(&format!("{name}.toml"), text);
        let drawn = lab.netctl(["graph", "--format", "svg", file.to_str().unwrap()]).success();
        let shown = fs::read_to_string(repository().join(&picture)).unwrap_or_default();
        assert!(drawn.stdout() == shown, "{picture} is not what is drawn: `cargo xtask pictures`");
    }
}

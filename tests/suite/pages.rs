//! The pages whose sessions are typed as they stand.

use netctl_tests::{lab::Lab, markdown::Page};

#[test]
fn the_tutorial_can_be_followed_from_its_first_command_to_its_last() {
    let lab = Lab::new();
    let before = lab.snapshot();
    lab.follow(&Page::read("docs/tutorial.md"));
    lab.assert_unchanged_since(&before);
}

#[test]
fn the_sections_on_graph_export_and_ping_show_what_these_print() {
    let lab = Lab::quickstart();
    for section in ["graph", "export", "ping"] {
        lab.follow(&Page::read("docs/looking.md").section(section));
    }
}

#[test]
fn the_readme_shows_what_one_sees() {
    let lab = Lab::new();
    let before = lab.snapshot();
    for section in ["Start", "Your own network"] {
        lab.follow(&Page::read("README.md").section(section));
    }
    lab.assert_unchanged_since(&before);
}

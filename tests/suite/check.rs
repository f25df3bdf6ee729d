//! `netctl check`: whether a file is right, by the file alone.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use netctl_tests::{
    lab::{self, Lab, Output},
    markdown::repository,
};
use serde_json::{Value, json};

/// A lab with a netctl that everybody may run.
fn for_everybody() -> Lab {
    let lab = Lab::new();
    fs::set_permissions(lab.directory(), Permissions::from_mode(0o755)).unwrap();
    let copy = lab.directory().join("netctl");
    fs::copy(lab::netctl(), &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    lab
}

/// Runs `netctl check` as somebody who may do nothing.
#[track_caller]
fn check<'a>(lab: &'a Lab, words: &[&str], input: &str) -> Output<'a> {
    let nobody =
        ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs", "./netctl", "check"];
    lab.host().run_with("setpriv", nobody.iter().chain(words).copied(), input.as_bytes())
}

#[test]
fn a_file_is_checked_without_root_and_nothing_changes() {
    let lab = for_everybody();
    let before = lab.snapshot();
    for file in fs::read_dir(repository().join("docs/examples")).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            let name = file.file_name().unwrap().to_str().unwrap();
            lab.file(name, fs::read_to_string(&file).unwrap());
            let topology = name.strip_suffix(".toml").unwrap();
            let said = check(&lab, &[name], "").success();
            let right = format!("`{name}` is right: topology `{topology}`\nnot checked here: ");
            assert!(said.stdout().starts_with(&right), "{said}");
            assert_eq!(said.stderr(), "", "{said}");
        }
    }
    lab.assert_unchanged_since(&before);
}

#[test]
fn a_file_that_is_wrong_is_told_as_up_tells_it() {
    let lab = for_everybody();
    lab.file("office.toml", "[namespaces.red]\n[bridges.br0.ports]\nred = { addreses = [] }\n");
    let said = check(&lab, &["office.toml"], "").fails(2);
    let stderr = "error: office.toml:3: unknown key `addreses` in `bridges.br0.ports.red`\n\
                  hint: did you mean `addresses`?\n";
    assert_eq!((said.stdout(), said.stderr()), ("", stderr), "{said}");
    let said = check(&lab, &["nothing.toml"], "").fails(2);
    assert!(said.stderr().starts_with("error: read `nothing.toml`: "), "{said}");
}

#[test]
fn the_file_is_this_directorys_or_standard_input_or_the_quickstart() {
    let lab = for_everybody();
    let quickstart = check(&lab, &[], "").success();
    assert!(
        quickstart.stdout().starts_with("the built-in quickstart is right: topology `quickstart`\n"),
        "{quickstart}"
    );
    lab.file("netctl.toml", "name = 'office'\n");
    let here = check(&lab, &[], "").success();
    assert_eq!(here.stdout(), "`netctl.toml` is right: topology `office`\n", "{here}");
    let input = check(&lab, &["-"], "[namespaces.rot]\n").success();
    assert!(input.stdout().starts_with("`-` is right: topology `stdin`\n"), "{input}");
    let wrong = check(&lab, &["-"], "\nnmae = 'x'\n").fails(2);
    assert!(wrong.stderr().starts_with("error: standard input:2: unknown key `nmae`\n"), "{wrong}");
}

#[test]
fn what_only_the_machine_knows_is_listed() {
    let lab = for_everybody();
    let text = "[bridges.lan]\naddresses = ['10.0.0.1/24']\n\
                [[nat.masquerade]]\nnamespace = 'host'\nsource = '10.0.0.0/24'\nout = 'wlan0'\n";
    lab.file("office.toml", text);
    let said = check(&lab, &["office.toml"], "").success();
    assert_eq!(
        said.stdout(),
        "`office.toml` is right: topology `office`\n\
         not checked here: whether its names are free; whether the host has `wlan0`; whether the host knows \
         10.0.0.0/24 already; whether the kernel loads the NAT programs\n",
        "{said}"
    );
    let said = check(&lab, &["office.toml", "--json"], "").success();
    let document: Value = serde_json::from_str(said.stdout()).unwrap();
    assert_eq!(
        document,
        json!({
            "file": "office.toml",
            "topology": "office",
            "ok": true,
            "unchecked": [
                "whether its names are free",
                "whether the host has `wlan0`",
                "whether the host knows 10.0.0.0/24 already",
                "whether the kernel loads the NAT programs",
            ],
        })
    );
}

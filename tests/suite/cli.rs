//! The verbs as a user and a script meet them: words, documents, exit status, colours.

use netctl_tests::lab::{Lab, Output, netctl};
use serde_json::{Value, json};

#[track_caller]
fn contains_all(said: &Output<'_>, words: &[&str]) {
    for word in words {
        assert!(said.stdout().contains(word), "no {word:?} in {said}");
    }
}

#[test]
fn ls_lists_what_is_up() {
    let lab = Lab::new();
    assert_eq!(lab.netctl(["ls"]).success().stdout(), "no topology is up\n");
    assert_eq!(lab.netctl(["ls", "--json"]).success().json(), json!([]));
    lab.netctl(["up"]).success();
    let rows = lab.netctl(["ls"]).success();
    let rows: Vec<Vec<_>> = rows.stdout().lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "STATE", "NAMESPACES", "BRIDGES", "CABLES", "GATEWAYS"]);
    assert_eq!(rows[1..], [["quickstart", "up", "4", "1", "3", "router"]]);
    let line = json!({
        "name": "quickstart", "state": "up", "file": null, "elsewhere": null,
        "namespaces": 4, "bridges": 1, "cables": 3, "gateways": ["router"],
    });
    assert_eq!(lab.netctl(["ls", "--json"]).success().json(), json!([line]));
}

#[test]
fn plan_and_dry_run_tell_each_change_with_its_sign() {
    let lab = Lab::new();
    let before = lab.snapshot();
    let plan = lab.netctl(["plan"]).fails(3);
    contains_all(
        &plan,
        &[
            "+ create namespace `red`\n",
            "+ create bridge `v-net-0` in namespace `router`\n",
            "+ create cable `wan0` in namespace `router` to `eth0` in namespace `internet`\n",
            "+ add address fd15::1/64 to `eth0` in namespace `red`\n",
            "+ add masquerade 192.168.15.0/24 out wan0 in namespace `router`\n",
            "~ set sysctl `net.ipv4.ip_forward` to `1` in namespace `router`\n",
            "+ add route default via 192.168.15.5 in namespace `red`\n",
        ],
    );
    assert_eq!(lab.netctl(["up", "--dry-run"]).success().stdout(), plan.stdout());
    let document = lab.netctl(["plan", "--json"]).fails(3).json();
    assert_eq!(document["topology"], "quickstart");
    assert_eq!(document["changes"].as_array().unwrap().len(), plan.stdout().lines().count());
    let first = json!({
        "change": "add", "text": "create namespace `red`", "op": "create-namespace", "place": "red",
    });
    assert_eq!(document["changes"][0], first);
    lab.assert_unchanged_since(&before);
}

#[test]
fn explain_tells_the_commands() {
    let lab = Lab::new();
    let before = lab.snapshot();
    let text = lab.netctl(["up", "--explain"]).success();
    contains_all(
        &text,
        &[
            "ip netns add red\n",
            "ip -n red addr add 192.168.15.1/24 dev eth0\n",
            "ip netns exec router iptables -t nat -A POSTROUTING -s 192.168.15.0/24 -o wan0 -j MASQUERADE\n",
            "ip netns exec router sysctl -w net.ipv4.ip_forward=1\n",
        ],
    );
    let commands = lab.netctl(["up", "--explain", "--json"]).success().json();
    let commands: Vec<_> = commands.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(commands, text.stdout().lines().collect::<Vec<_>>());
    lab.assert_unchanged_since(&before);
}

#[test]
fn up_and_down_report_as_text_and_as_documents() {
    let lab = Lab::new();
    let up = lab.netctl(["up"]).success();
    let first = up.stdout().lines().next().unwrap();
    let built = "quickstart is up: 4 namespaces, 1 bridge, 3 cables, 2 masquerade rules, 2 forwards (";
    assert!(first.starts_with(built), "{up}");
    let (_, ideas) = up.stdout().split_once("\n\ntry:\n").unwrap();
    assert_eq!(ideas.lines().count(), 3, "{up}");
    let again = lab.netctl(["up", "--json"]).success().json();
    assert_eq!((&again["topology"], &again["changed"]), (&json!("quickstart"), &json!(false)));
    let down = lab.netctl(["down", "--json"]).success().json();
    assert_eq!((&down[0]["topology"], &down[0]["removed"]), (&json!("quickstart"), &json!(true)));
    assert_eq!(down[0]["namespaces"], json!(["blue", "internet", "red", "router"]));
    let up = lab.netctl(["up", "--json"]).success().json();
    assert_eq!(up["changed"], json!(true));
}

#[test]
fn quiet_prints_what_was_asked_for_and_errors_and_nothing_else() {
    let lab = Lab::new();
    for (words, code) in
        [("up", 0), ("up", 0), ("-n red addr add 10.9.9.9/24 dev eth0", 0), ("down", 0), ("down", 0)]
    {
        let said = lab.netctl(["-q"].into_iter().chain(words.split(' '))).fails(code);
        assert_eq!((said.stdout(), said.stderr()), ("", ""), "{said}");
    }
    for (words, code) in [("ls", 0), ("plan", 3), ("up --dry-run", 0), ("graph", 0), ("nat flows", 0)] {
        let said = |quiet: Option<&'static str>| {
            let said = lab.netctl(quiet.into_iter().chain(words.split(' '))).fails(code);
            said.stdout().to_owned()
        };
        assert_eq!(said(Some("-q")), said(None));
        assert!(!said(Some("-q")).is_empty(), "{words}");
    }
    lab.netctl(["up"]).success();
    let _resident = lab.ns("blue").start("sleep", ["1000"]);
    let said = lab.netctl(["-q", "down"]).success();
    assert_eq!((said.stdout(), said.stderr()), ("", ""), "a warning is no error: {said}");
    let said = lab.netctl(["-q", "up", "office.toml"]).fails(2);
    assert!(said.stderr().starts_with("error: "), "{said}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let lab = Lab::quickstart();
    for words in ["ls", "show", "show --json", "plan", "--help"] {
        // The reader of the fifo is gone before the writer begins.
        let write = format!("{} {words} >&3", netctl());
        let script = format!("mkfifo pipe; (: < pipe) & exec 3> pipe; wait; rm pipe; {write}");
        let said = lab.host().run("bash", ["-c", &script]).success();
        assert_eq!(said.stderr(), "", "{said}");
    }
    // What it comes to does not depend on how much of it was read.
    lab.netctl(["-n", "red", "link", "del", "eth0", "--force"]).success();
    let script = format!("{} plan | true; exit ${{PIPESTATUS[0]}}", netctl());
    lab.host().run("bash", ["-c", &script]).fails(3);
}

#[test]
fn colours_come_when_asked_for_and_never_else() {
    let lab = Lab::quickstart();
    let colours = |said: &Output<'_>| said.stdout().contains('\x1b');
    for verb in [&["ls"][..], &["show"]] {
        let run = |flags: &[&str]| lab.netctl([verb, flags].concat()).success();
        assert!(colours(&run(&["--color", "always"])));
        assert!(!colours(&run(&["--color", "never"])));
        assert!(!colours(&run(&[])), "no terminal");
    }
    let failed = lab.netctl(["--color", "always", "show", "office"]).fails(1);
    assert!(failed.stderr().starts_with("\x1b[31merror\x1b[0m: "), "{failed}");
    // A terminal of the test's own.
    for (environment, has_colours) in [("", true), ("NO_COLOR=1 ", false), ("NO_COLOR= ", true)] {
        let command = format!("{environment}{} ls", netctl());
        let said = lab.host().run("script", ["-qec", &command, "/dev/null"]).success();
        assert_eq!(colours(&said), has_colours, "{said}");
    }
}

#[test]
fn every_verb_explains_itself() {
    let lab = Lab::new();
    let mut seen = Vec::new();
    explains_itself(&lab, "", &mut seen);
    for verb in ["up", "plan", "down", "ls", "show", "exec"] {
        assert!(seen.iter().any(|words| words == verb), "no {verb} among {seen:?}");
    }
}

/// The help of a verb and of those below it, as each lists them.
fn explains_itself(lab: &Lab, verb: &str, seen: &mut Vec<String>) {
    let words = verb.split_whitespace();
    let help = lab.netctl(words.chain(["--help"])).success();
    contains_all(&help, &[&format!("Usage: netctl {verb}"), "--json", "--color", "--quiet"]);
    let below = help.stdout().split_once("\nCommands:\n").map_or("", |(_, list)| list);
    for line in below.lines().take_while(|line| !line.is_empty()) {
        // Two blanks, the verb, blanks, what it does; what does not fit goes on further to the right.
        if let Some(name) = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')) {
            let name = name.split(' ').next().unwrap();
            let verb = format!("{verb} {name}").trim().to_owned();
            explains_itself(lab, &verb, seen);
            seen.push(verb);
        }
    }
}

#[test]
fn wrong_usage_shows_the_right_one() {
    let lab = Lab::new();
    for words in ["", "no-such-verb", "up --no-such-flag", "up a.toml b.toml", "up --dry-run --explain"] {
        let said = lab.netctl(words.split_whitespace()).fails(2);
        assert_eq!(said.stdout(), "", "{said}");
        assert!(said.stderr().contains("Usage: netctl"), "{said}");
    }
}

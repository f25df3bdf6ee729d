//! `netctl monitor`: everything that happens is told, once it happens; and what is not told, is told as well.

mod gateway;
mod lost;
mod places;

use std::{
    thread::park_timeout,
    time::{Duration, Instant},
};

use netctl_tests::lab::{Lab, Server, eventually, patience};
use nix::sys::signal::Signal;
use serde_json::Value;

/// A monitor that prints JSON.
struct Monitor<'a>(Server<'a>);

impl<'a> Monitor<'a> {
    /// Listens when this returns; `words` are its own.
    #[track_caller]
    fn start(lab: &'a Lab, words: &str) -> Self {
        let line = format!("monitor --json {words}");
        let mut monitor = lab.start_netctl(line.trim_end().split(' '));
        monitor.wait_for("\"started\"");
        Self(monitor)
    }

    /// What it has told so far: each line that is whole is an object.
    #[track_caller]
    fn events(&self) -> Vec<Value> {
        let log = self.0.log();
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        let event = |line: &str| match serde_json::from_str(line) {
            Ok(event @ Value::Object(_)) => event,
            _ => panic!("no object: {line}"),
        };
        whole.lines().map(event).collect()
    }

    /// Those of which `is_it` holds.
    #[track_caller]
    fn those(&self, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.events().into_iter().filter(|event| is_it(event)).collect()
    }

    /// Waits for an event.
    #[track_caller]
    fn hear(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + patience();
        loop {
            self.0.assert_alive();
            if let Some(found) = self.events().into_iter().find(|event| is_it(event)) {
                return found;
            }
            assert!(Instant::now() < deadline, "not told: {what}; but\n{}", self.0.log());
            park_timeout(Duration::from_millis(10));
        }
    }

    /// Waits for `PLACE KIND WHAT` of an object that has these values.
    #[track_caller]
    fn hear_of(&mut self, words: &str, values: &[(&str, Value)]) -> Value {
        self.hear(&format!("{words} {values:?}"), |event| is(event, words, values))
    }
}

/// Whether an event is `PLACE KIND WHAT` of an object that has these values.
fn is(event: &Value, words: &str, values: &[(&str, Value)]) -> bool {
    let its = ["place", "kind", "what"].map(|key| event[key].as_str().unwrap_or_default()).join(" ");
    its == words && values.iter().all(|(pointer, value)| event["object"].pointer(pointer) == Some(value))
}

#[test]
fn it_ends_quietly_by_a_signal_and_when_nobody_reads_any_more() {
    let lab = Lab::quickstart();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let monitor = Monitor::start(&lab, "");
        monitor.0.signal(signal);
        let said = monitor.0.finish().success();
        assert!(said.stdout().lines().all(|line| line.starts_with('{')), "{said}");
    }
    let piped = "(\"$0\" monitor; echo $? > status) | head -n 1 && echo over";
    let mut piped = lab.host().start("sh", ["-c", piped, &netctl_tests::lab::netctl()]);
    piped.wait_for("over");
    let mut mtu = 1400;
    eventually("it notices that nobody reads", || {
        mtu += 1;
        lab.ns("red").run("ip", ["link", "set", "eth0", "mtu", &mtu.to_string()]).success();
        lab.directory().join("status").exists()
    });
    eventually("it has ended well", || {
        std::fs::read_to_string(lab.directory().join("status")).unwrap() == "0\n"
    });
    assert!(!piped.log().contains("error"), "{}", piped.log());
}

#[test]
fn people_read_lines_with_the_time_of_day() {
    let lab = Lab::quickstart();
    let mut monitor = lab.start_netctl(["monitor", "--only", "link,address"]);
    monitor.wait_for("started");
    lab.ns("red").run("ip", ["link", "set", "eth0", "mtu", "1400"]).success();
    monitor.wait_for("1400");
    let log = monitor.log();
    let lines: Vec<Vec<_>> = log.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][1..], ["monitor", "started", "quickstart:", "red,", "blue,", "router,", "internet"]);
    let changed = lines.iter().find(|line| line.contains(&"1400")).unwrap();
    assert_eq!(changed[1..], ["red", "link", "changed", "eth0:", "mtu", "1500", "->", "1400"]);
    let time = changed[0].as_bytes();
    assert!(time.len() == 12 && [time[2], time[5], time[8]] == *b"::.", "{}", changed[0]);
}

#[test]
fn what_cannot_be_listened_to_is_refused_with_the_next_step() {
    let lab = Lab::quickstart();
    for (line, code, words) in [
        ("monitor nonesuch", 1, "there is no topology `nonesuch`"),
        ("monitor -n nonesuch", 1, "`netctl ns ls` lists the namespaces"),
        ("monitor quickstart -n nonesuch", 1, "`nonesuch` is no place of `quickstart`"),
        ("monitor --only flaw", 2, "flow"),
        ("monitor --debug", 1, "hint: `cargo xtask build-ebpf --log`"),
    ] {
        let output = lab.netctl(line.split(' ')).fails(code);
        assert!(output.stderr().contains(words), "{output}");
    }
    let first = Monitor::start(&lab, "--only flow");
    let refused = lab.netctl(["monitor"]).fails(1);
    let words = "another `netctl monitor` listens to the gateway `router`";
    assert!(refused.stderr().contains(words) && refused.stderr().contains("hint: "), "{refused}");
    let beside = Monitor::start(&lab, "--only link");
    drop((first, beside));
    // The lock goes with the process.
    Monitor::start(&lab, "--only drop");
}

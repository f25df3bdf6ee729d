//! The labs themselves, since every other test believes them.

use std::{fs, path::Path};

use netctl_tests::{
    lab::{Lab, eventually},
    packet::{check, udp},
};

#[test]
fn a_lab_begins_empty_and_sees_nothing_of_the_machine() {
    let lab = Lab::new();
    let host = lab.host();
    assert_eq!(host.run("ip", ["-br", "link"]).success().stdout().lines().count(), 1, "loopback alone");
    assert_eq!(host.run("ip", ["netns", "list"]).success().stdout(), "");
    // The kernel itself puts two iterators into a bpffs.
    let files = ["/run", "/sys/fs/bpf", "-mindepth", "1", "-not", "-name", "*.debug"];
    assert_eq!(host.run("find", files).success().stdout(), "");
    let processes = host.run("ps", ["-e", "-o", "comm="]).success();
    assert_eq!(processes.stdout().lines().collect::<Vec<_>>(), ["cat", "ps"]);
}

#[test]
fn what_was_started_in_a_lab_ends_with_it() {
    let lab = Lab::new();
    lab.host().run("ip", ["netns", "add", "red"]).success();
    // A child of a child: nobody holds a handle on it.
    lab.ns("red").run("sh", ["-c", "sleep 1000 > /dev/null 2>&1 & echo started"]).success();
    let machine = |pid: &str| Path::new("/proc").join(pid).join("cmdline");
    let is_ours = |pid: &String| {
        let cookie = lab.directory().as_os_str().as_encoded_bytes();
        fs::read(Path::new("/proc").join(pid).join("environ"))
            .is_ok_and(|environ| environ.windows(cookie.len()).any(|window| window == cookie))
    };
    let pids =
        || fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    let is_asleep =
        |pid: &String| fs::read(machine(pid)).is_ok_and(|line| line.starts_with(b"sleep\x001000"));
    let mut sleepers: Vec<String> = Vec::new();
    eventually("the child's child has become another program", || {
        sleepers = pids().filter(is_ours).filter(is_asleep).collect();
        sleepers.len() == 1
    });
    drop(lab);
    assert!(sleepers.iter().all(|pid| !machine(pid).exists()));
}

#[test]
fn a_capture_hears_what_passes_its_interface() {
    let lab = Lab::new();
    for step in [
        "link add left type veth peer name right",
        "link set left up",
        "link set right up",
        "address add 192.0.2.1/24 dev left",
        "neighbour add 192.0.2.2 lladdr 02:00:00:00:00:09 dev left",
    ] {
        lab.host().run("ip", step.split(' ')).success();
    }
    let capture = lab.host().capture("right");
    lab.host().run("python3", ["-c", SEND]).success();
    let heard = capture.stop();
    let wanted = udp("192.0.2.1:5000", "192.0.2.2:53");
    let found = heard.frames().iter().filter(|frame| {
        check::View::read(frame).is_some_and(|view| (view.src, view.dst) == (wanted.src, wanted.dst))
    });
    assert_eq!(found.count(), 3);
}

const SEND: &str = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('192.0.2.1', 5000))
for _ in range(3): s.sendto(b'hello', ('192.0.2.2', 53))
";

#[test]
fn a_server_is_ready_when_it_listens_and_gone_when_it_is_dropped() {
    let lab = Lab::new();
    let listens = || !lab.host().run("ss", ["-H", "-ltn", "sport = :80"]).success().stdout().is_empty();
    let server = lab.host().serve(80, "python3", ["-m", "http.server", "80"]);
    assert!(listens());
    drop(server);
    eventually("the port is free again", || !listens());
}

#[test]
#[should_panic(expected = "the tests need `no-such-program`")]
fn a_missing_program_fails_the_test_by_its_name() {
    Lab::new().host().run("no-such-program", []);
}

//! `netctl nat`: one rule at a time, and a look inside.

mod filters;
mod flows;
mod flush;
mod listed;
mod rules;
mod stats;

use netctl_tests::lab::{Lab, Output, Server};
use serde_json::Value;

/// Takes every TCP connection and answers every word that comes, also of UDP, on both families.
const ECHO: &str = "
import socket, sys, threading
port = int(sys.argv[1])
def serve(connection):
    while words := connection.recv(2000): connection.sendall(words)
def datagrams(s):
    while True: s.sendto(*s.recvfrom(2000))
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.bind(('::', port))
threading.Thread(target=datagrams, args=[udp], daemon=True).start()
tcp = socket.create_server(('::', port), family=socket.AF_INET6, dualstack_ipv6=True)
while True: threading.Thread(target=serve, args=[tcp.accept()[0]], daemon=True).start()
";

/// Says a word from a port of its own, hears the answer, and keeps the connection until it is ended.
const TALK: &str = "
import socket, sys
kind, source, host, port = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
family = socket.AF_INET6 if ':' in host else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.settimeout(10)
s.bind(('', source))
s.connect((host, port))
s.send(b'word')
s.recv(2000)
print('heard', flush=True)
s.settimeout(None)
s.recv(2000)
";

/// Answers on a port, TCP and UDP.
#[track_caller]
fn echo<'a>(lab: &'a Lab, place: &'a str, port: &str) -> Server<'a> {
    lab.ns(place).serve(port.parse().unwrap(), "python3", ["-c", ECHO, port])
}

/// Talks and stays; it has been answered when this returns.
#[track_caller]
fn talk<'a>(lab: &'a Lab, place: &'a str, kind: &str, from: &str, (host, port): (&str, &str)) -> Server<'a> {
    let mut talker = lab.ns(place).start("python3", ["-c", TALK, kind, from, host, port]);
    talker.wait_for("heard");
    talker
}

/// Types `netctl LINE`, which succeeds.
#[track_caller]
fn type_in<'a>(lab: &'a Lab, line: &str) -> Output<'a> {
    lab.netctl(line.split(' ')).success()
}

/// The flows that `netctl nat flows WORDS --json` lists.
#[track_caller]
fn flows(lab: &Lab, words: &str) -> Vec<Value> {
    let line = format!("--json nat flows {words}");
    let Value::Array(flows) = type_in(lab, line.trim_end()).json() else { panic!("no list") };
    flows
}

/// A tuple as it is in JSON, in words.
fn tuple(json: &Value) -> String {
    let text = |key: &str| match &json[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let (from, to) = (text("source_port"), text("destination_port"));
    format!("{} {from} {} {to}", text("source"), text("destination"))
}

//! A forwarded UDP port: whoever asks hears the answer from the address that it asked.

use netctl_tests::lab::Lab;

/// `open` listens on every address of the gateway, `shut` on that of its uplink.
const TOPOLOGY: &str = r#"
[namespaces.inside]
[namespaces.gateway]
[namespaces.outside]

[[cables]]
a = { namespace = "gateway", interface = "lan0", addresses = ["10.1.0.1/24", "fd01::1/64"] }
b = { namespace = "inside", interface = "eth0", addresses = ["10.1.0.2/24", "fd01::2/64"] }

[[cables]]
a = { namespace = "gateway", interface = "wan0", addresses = ["198.51.100.1/24", "2001:db8:51::1/64"] }
b = { namespace = "outside", interface = "eth0", addresses = ["198.51.100.2/24", "2001:db8:51::2/64"] }

[[routes]]
namespace = "inside"
to = "default"
via = "10.1.0.1"

[[routes]]
namespace = "inside"
to = "::/0"
via = "fd01::1"

[[nat.masquerade]]
namespace = "gateway"
source = "10.1.0.0/24"
out = "wan0"

[[nat.masquerade]]
namespace = "gateway"
source = "fd01::/64"
out = "wan0"

[[nat.forward]]
namespace = "gateway"
listen = "5300/udp"
to = "10.1.0.2:53"

[[nat.forward]]
namespace = "gateway"
listen = "198.51.100.1:5301/udp"
to = "10.1.0.2:53"

[[nat.forward]]
namespace = "gateway"
listen = "[2001:db8:51::1]:5301/udp"
to = "[fd01::2]:53"
"#;

/// Answers with what was said and who said it.
const ECHO: &str = "
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(('::', 53))
while True:
    words, client = s.recvfrom(2000)
    s.sendto(words + b' from ' + client[0].removeprefix('::ffff:').encode(), client)
";

/// Asks twice, so that what the first question leaves behind serves the second, and says who it hears.
const ASK: &str = "
import socket, sys
way, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
if way == 'connected': s.connect((host, port))
for question in (b'one', b'two'):
    if way == 'connected':
        s.send(question)
        answer, peer = s.recv(2000), s.getpeername()
    else:
        s.sendto(question, (host, port))
        answer, peer = s.recvfrom(2000)
    print(answer.decode(), 'heard of', *peer[:2])
";

const WAYS: [&str; 2] = ["connected", "unconnected"];

fn lab() -> Lab {
    let lab = Lab::new();
    lab.file("netctl.toml", TOPOLOGY);
    lab.netctl(["up"]).success();
    lab
}

/// Asks and checks who answers; the answers.
#[track_caller]
fn ask(lab: &Lab, place: &str, way: &str, host: &str, port: &str) -> String {
    let asked = lab.ns(place).run("python3", ["-c", ASK, way, host, port]).success();
    let heard = |line: &str| line.ends_with(&format!("heard of {host} {port}"));
    assert!(asked.stdout().lines().count() == 2 && asked.stdout().lines().all(heard), "{asked}");
    asked.stdout().to_owned()
}

#[test]
fn row_20_a_client_outside_hears_the_address_that_it_asked_and_the_server_sees_the_client() {
    let lab = lab();
    let _server = lab.ns("inside").serve(53, "python3", ["-c", ECHO]);
    for (host, port, own) in [
        ("198.51.100.1", "5300", "198.51.100.2"),
        ("198.51.100.1", "5301", "198.51.100.2"),
        ("2001:db8:51::1", "5301", "2001:db8:51::2"),
    ] {
        for way in WAYS {
            let answers = ask(&lab, "outside", way, host, port);
            assert!(answers.starts_with(&format!("one from {own} ")), "{answers}");
        }
    }
}

#[test]
fn row_51_a_process_on_the_gateway_hears_the_address_that_it_asked() {
    let lab = lab();
    let _server = lab.ns("inside").serve(53, "python3", ["-c", ECHO]);
    for (host, port) in [
        ("198.51.100.1", "5300"),
        ("198.51.100.1", "5301"),
        ("10.1.0.1", "5300"),
        ("127.0.0.1", "5300"),
        ("127.0.0.1", "5301"),
        ("2001:db8:51::1", "5301"),
        ("::1", "5301"),
    ] {
        for way in WAYS {
            ask(&lab, "gateway", way, host, port);
        }
    }
}

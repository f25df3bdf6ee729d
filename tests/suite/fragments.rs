//! Large datagrams through the gateway: real programs on both sides, parts in any order on the wire.

use netctl_tests::lab::{Lab, Ns};
use serde_json::Value;

const TOPOLOGY: &str = r#"
[namespaces.inside]
[namespaces.gateway]
[namespaces.outside]

[[cables]]
a = { namespace = "gateway", interface = "lan0", addresses = ["10.1.0.1/24", "fd01::1/64"] }
b = { namespace = "inside", interface = "eth0", addresses = ["10.1.0.2/24", "fd01::2/64"] }

[[cables]]
a = { namespace = "gateway", interface = "wan0", addresses = ["198.51.100.1/24", "2001:db8:51::1/64"], mtu = MTU }
b = { namespace = "outside", interface = "eth0", addresses = ["198.51.100.2/24", "2001:db8:51::2/64"], mtu = MTU }

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
listen = "198.51.100.1:5301/udp"
to = "10.1.0.2:53"

[[nat.forward]]
namespace = "gateway"
listen = "[2001:db8:51::1]:5301/udp"
to = "[fd01::2]:53"
"#;

/// Answers with who asked, and all that was said.
const ECHO: &str = "
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(('::', 53))
while True:
    said, (host, port, *_) = s.recvfrom(65535)
    s.sendto(f'{host} {port} '.encode() + said, (host, port))
";

/// Sends a datagram of 4000 bytes in parts, in the order that it is told, and says who the server took it for. Behind `~` a
/// part begins eight bytes early.
const SEND_PARTS: &str = "
import ipaddress, os, socket, struct, sys
src, dst = (ipaddress.ip_address(a) for a in sys.argv[1:3])
port, order = int(sys.argv[3]), sys.argv[4].split(',')
v4 = src.version == 4
family = socket.AF_INET if v4 else socket.AF_INET6
udp = socket.socket(family, socket.SOCK_DGRAM)
udp.bind((str(src), 4321))
udp.settimeout(2 if '~' in sys.argv[4] else 10)
said, number = os.urandom(4000), 1 + os.urandom(1)[0]
head = struct.pack('!HHHH', 4321, port, 8 + len(said), 0)
pseudo = src.packed + dst.packed + struct.pack('!IBBBB', 8 + len(said), 0, 0, 0, 17)
words = pseudo + head + said
total = sum(struct.unpack(f'!{len(words) // 2}H', words))
while total >> 16: total = (total & 0xffff) + (total >> 16)
whole = head[:6] + struct.pack('!H', ~total & 0xffff or 0xffff) + said
raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
for word in order:
    early, i = word.startswith('~'), int(word.lstrip('~'))
    offset = i * 150 - early
    part, more = whole[offset * 8:(i + 1) * 1200], (i + 1) * 1200 < len(whole)
    if v4:
        header = struct.pack('!BBHHHBBH', 0x45, 0, 0, number, offset | more << 13, 64, 17, 0) + src.packed + dst.packed
    else:
        header = struct.pack('!IHBB', 6 << 28, 8 + len(part), 44, 64) + src.packed + dst.packed
        header += struct.pack('!BBHI', 17, 0, offset << 3 | more, number)
    raw.sendto(header + part, (str(dst), 0))
try:
    heard, _ = udp.recvfrom(65535)
except TimeoutError:
    print('nobody')
    sys.exit()
host, port, echoed = heard.split(b' ', 2)
assert echoed == said, (len(echoed), len(said))
print(host.decode(), port.decode())
";

fn lab(mtu: &str) -> Lab {
    let lab = Lab::new();
    let file = lab.file("office.toml", TOPOLOGY.replace("MTU", mtu));
    lab.netctl(["up", file.to_str().unwrap()]).success();
    lab
}

/// Sends a datagram from `src` to `port` of `dst` in parts and tells whom the server there heard.
#[track_caller]
fn send_parts(from: Ns<'_>, src: &str, dst: &str, port: &str, order: &str) -> String {
    let output = from.run("python3", ["-c", SEND_PARTS, src, dst, port, order]).success();
    output.stdout().trim().trim_start_matches("::ffff:").to_owned()
}

#[test]
fn rows_77_78_parts_arrive_in_any_order_out_and_in() {
    let lab = lab("1500");
    let (inside, outside) = (lab.ns("inside"), lab.ns("outside"));
    let _servers = [inside.serve(53, "python3", ["-c", ECHO]), outside.serve(53, "python3", ["-c", ECHO])];
    for order in ["0,1,2,3", "3,2,1,0", "1,2,3,0", "2,0,3,1"] {
        for (src, dst, seen) in [
            ("10.1.0.2", "198.51.100.2", "198.51.100.1 4321"),
            ("fd01::2", "2001:db8:51::2", "2001:db8:51::1 4321"),
        ] {
            assert_eq!(send_parts(inside, src, dst, "53", order), seen, "out in the order {order}");
        }
        for (src, dst) in [("198.51.100.2", "198.51.100.1"), ("2001:db8:51::2", "2001:db8:51::1")] {
            let seen = format!("{src} 4321");
            assert_eq!(send_parts(outside, src, dst, "5301", order), seen, "in in the order {order}");
        }
    }
    let stats = lab.netctl(["nat", "stats", "-n", "gateway"]).success();
    assert!(
        !stats.stdout().contains("fragment"),
        "what was held went on, and counts no more: {}",
        stats.stdout()
    );
}

/// Linux' own stack drops a datagram whose parts overlap, at the gateway as at the end (RFC 5722).
#[test]
fn rows_19_84_a_datagram_whose_parts_overlap_arrives_nowhere_and_one_with_a_second_copy_does() {
    let lab = lab("1500");
    let (inside, outside) = (lab.ns("inside"), lab.ns("outside"));
    let _server = outside.serve(53, "python3", ["-c", ECHO]);
    for (src, dst, seen) in [
        ("10.1.0.2", "198.51.100.2", "198.51.100.1 4321"),
        ("fd01::2", "2001:db8:51::2", "2001:db8:51::1 4321"),
    ] {
        assert_eq!(send_parts(inside, src, dst, "53", "0,1,1,2,3"), seen);
        assert_eq!(send_parts(inside, src, dst, "53", "0,1,~2,3"), "nobody");
    }
}

/// The client's datagram loses its part at the gateway, since it would overwrite what the first one has shown.
#[test]
fn rows_19_84_a_part_that_overlaps_the_first_stays_at_the_gateway() {
    let lab = lab("1500");
    let (inside, outside) = (lab.ns("inside"), lab.ns("outside"));
    let _server = outside.serve(53, "python3", ["-c", ECHO]);
    for (src, dst) in [("10.1.0.2", "198.51.100.2"), ("fd01::2", "2001:db8:51::2")] {
        let dropped = dropped(&lab);
        assert_eq!(send_parts(inside, src, dst, "53", "0,~1,2,3"), "nobody");
        assert_eq!(self::dropped(&lab), dropped + 1);
    }
}

/// How many packets contradicted themselves.
fn dropped(lab: &Lab) -> u64 {
    let stats: Value = lab.netctl(["nat", "stats", "-n", "gateway", "--json"]).success().json();
    let drops = stats[0]["drops"].as_array().unwrap();
    let malformed = drops.iter().find(|drop| drop["reason"] == "malformed");
    malformed.map_or(0, |drop| drop["packets"].as_u64().unwrap())
}

#[test]
fn row_58_pings_larger_than_the_links_go_through() {
    let lab = lab("1500");
    for target in ["198.51.100.2", "2001:db8:51::2"] {
        let inside = lab.ns("inside");
        let ping = inside.run("ping", ["-c", "3", "-i", "0.2", "-s", "3000", "-W", "5", target]).success();
        assert!(ping.stdout().contains("3 received"), "{}", ping.stdout());
    }
}

/// The kernel takes the packet apart after routing, before the hook sees it; the client sent it whole.
#[test]
fn row_81_what_the_gateway_takes_apart_itself_is_translated() {
    const SEND: &str = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 10, 0)
s.settimeout(10)
s.bind(('10.1.0.2', 4321))
said = b'x' * 1470
s.sendto(said, ('198.51.100.2', 53))
host, port, echoed = s.recvfrom(65535)[0].split(b' ', 2)
assert echoed == said
print(host.decode(), port.decode())
";
    let lab = lab("1280");
    let _server = lab.ns("outside").serve(53, "python3", ["-c", ECHO]);
    let capture = lab.ns("outside").capture("eth0");
    let output = lab.ns("inside").run("python3", ["-c", SEND]).success();
    assert_eq!(output.stdout().trim().trim_start_matches("::ffff:"), "198.51.100.1 4321");
    let heard = capture.stop();
    let parts: Vec<_> = heard.packets().filter(|packet| packet.is_fragment).collect();
    assert!(parts.len() >= 4, "two parts each way");
    assert!(heard.packets().all(|packet| !packet.src.ip().to_string().starts_with("10.")));
}

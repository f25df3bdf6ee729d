//! Clients that want the same: each gets its own.

use netctl_tests::lab::{Lab, Server};

/// Answers each of two clients with its own words, and neither before both are there.
const TOGETHER: &str = "
import socket, sys
kind = getattr(socket, sys.argv[1])
s = socket.socket(socket.AF_INET, kind)
s.bind(('', 7000))
if kind == socket.SOCK_STREAM:
    s.listen()
    clients = [s.accept()[0] for _ in range(2)]
    for client, words in [(client, client.recv(100)) for client in clients]: client.send(words.upper())
else:
    for words, client in [s.recvfrom(100) for _ in range(2)]: s.sendto(words.upper(), client)
";

const SPEAK: &str = "
import socket, sys
s = socket.socket(socket.AF_INET, getattr(socket, sys.argv[1]))
s.settimeout(15)
s.bind(('', 4000))
s.connect(('203.0.113.2', 7000))
s.send(sys.argv[2].encode())
print(s.recv(100).decode())
";

#[test]
fn row_4_two_clients_with_one_source_port_speak_to_one_server_at_once() {
    let lab = Lab::quickstart();
    for kind in ["SOCK_STREAM", "SOCK_DGRAM"] {
        let _server = lab.ns("internet").serve(7000, "python3", ["-c", TOGETHER, kind]);
        let clients = ["red", "blue"].map(|name| lab.ns(name).start("python3", ["-c", SPEAK, kind, name]));
        let [red, blue] = clients.map(|client| client.finish().success().stdout().to_owned());
        assert_eq!((red.as_str(), blue.as_str()), ("RED\n", "BLUE\n"), "{kind}");
    }
}

/// Echoes lines, and the first one not before 200 clients are connected.
const CROWDED: &str = "
import asyncio
count, everyone = 0, asyncio.Event()
async def serve(reader, writer):
    global count
    count += 1
    if count == 200: everyone.set()
    await everyone.wait()
    writer.write(await reader.readline())
    await writer.drain()
async def main():
    server = await asyncio.start_server(serve, '0.0.0.0', 7000, backlog=256)
    await server.serve_forever()
asyncio.run(main())
";

const CROWD: &str = "
import asyncio, sys
async def ask(number):
    reader, writer = await asyncio.open_connection('203.0.113.2', 7000)
    words = f'{sys.argv[1]} {number}\\n'.encode()
    writer.write(words)
    return await reader.readline() == words
async def main():
    async with asyncio.timeout(15): print(sum(await asyncio.gather(*map(ask, range(100)))))
asyncio.run(main())
";

#[test]
fn two_hundred_connections_from_two_clients_work_at_once() {
    let lab = Lab::quickstart();
    let _server = lab.ns("internet").serve(7000, "python3", ["-c", CROWDED]);
    let clients = ["red", "blue"].map(|name| lab.ns(name).start("python3", ["-c", CROWD, name]));
    let answered = clients.map(Server::finish).map(|output| output.success().stdout().to_owned());
    assert_eq!(answered, ["100\n", "100\n"]);
}

const HUNDRED: &str = r#"
[namespaces.client]
count = 100
[namespaces.gateway]
[namespaces.outside]
[bridges.lan]
namespace = "gateway"
addresses = ["10.1.0.1/24"]
[bridges.lan.ports]
client = {}
[[cables]]
a = { namespace = "gateway", interface = "wan0", addresses = ["198.51.100.1/24"] }
b = { namespace = "outside", interface = "eth0", addresses = ["198.51.100.2/24"] }
[[nat.masquerade]]
namespace = "gateway"
source = "10.1.0.0/24"
out = "wan0"
"#;

/// Accepts a hundred connections before it answers any, and tells from how many ports of which addresses they came.
const ACCEPT: &str = "
import socket
listener = socket.create_server(('0.0.0.0', 7000), backlog=256)
listener.settimeout(15)
calls = [listener.accept() for _ in range(100)]
for s, (_, port) in calls: s.send(b'%d\\n' % port)
print(len({port for _, (_, port) in calls}), *{host for _, (host, _) in calls})
";

/// Connects from a namespace each, all from one port, and hears each its own port of the outside.
const CONNECT: &str = "
import ctypes, socket
libc, calls = ctypes.CDLL(None), []
for i in range(100):
    with open(f'/run/netns/client-{i}') as ns: assert libc.setns(ns.fileno(), 0x40000000) == 0
    s = socket.socket()
    s.bind(('', 4000))
    s.setblocking(False)
    s.connect_ex(('198.51.100.2', 7000))
    calls.append(s)
heard = set()
for s in calls:
    s.settimeout(15)
    heard.add(s.makefile().readline())
assert '' not in heard
print(len(heard))
";

#[test]
fn row_5_a_hundred_clients_with_one_source_port_speak_to_one_server_at_once() {
    let lab = Lab::new();
    let file = lab.file("hundred.toml", HUNDRED);
    lab.netctl(["up", file.to_str().unwrap()]).success();
    let server = lab.ns("outside").serve(7000, "python3", ["-c", ACCEPT]);
    let clients = lab.host().run("timeout", ["25", "python3", "-c", CONNECT]).success();
    assert_eq!(clients.stdout(), "100\n");
    assert_eq!(server.finish().success().stdout(), "100 198.51.100.1\n");
}

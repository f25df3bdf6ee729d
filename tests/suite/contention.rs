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

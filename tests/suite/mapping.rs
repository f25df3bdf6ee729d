//! `mapping = "endpoint-independent"` and `filtering`, between real sockets.

use netctl_tests::lab::Lab;

const TOPOLOGY: &str = r#"
[namespaces.red]
[namespaces.blue]
[namespaces.router]
[namespaces.internet]

[bridges.br0]
namespace = "router"
addresses = ["192.168.15.5/24"]
[bridges.br0.ports]
red = { addresses = ["192.168.15.1/24"] }
blue = { addresses = ["192.168.15.2/24"] }

[[cables]]
a = { namespace = "router", interface = "wan0", addresses = ["203.0.113.1/24"] }
b = { namespace = "internet", interface = "eth0", addresses = ["203.0.113.2/24", "203.0.113.3/24", "203.0.113.4/24"] }

[[nat.masquerade]]
namespace = "router"
source = "192.168.15.0/24"
out = "wan0"
mapping = "endpoint-independent"
filtering = "FILTERING"
"#;

/// Tells who asks at two addresses where from that seems. Asked to `call`, it does from everywhere, the called port last.
const SERVERS: &str = "
import select, socket
def at(host, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((host, port))
    return s
two, three = at('203.0.113.2', 7000), at('203.0.113.3', 7000)
callers = [at('203.0.113.4', 7000), at('203.0.113.2', 7001), at('203.0.113.3', 7001), two]
while True:
    for s in select.select([two, three], [], [])[0]:
        words, client = s.recvfrom(100)
        if words == b'call':
            for caller in callers: caller.sendto(b'called', client)
        else: s.sendto(b'%s %d' % (client[0].encode(), client[1]), client)
";

/// Asks both servers from port 5000, then has itself called: how it seemed to each, and who got through.
const CLIENT: &str = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('', 5000))
s.settimeout(15)
for host in ('203.0.113.3', '203.0.113.2'):
    s.sendto(b'?', (host, 7000))
    print(s.recv(100).decode())
s.sendto(b'call', ('203.0.113.2', 7000))
called, caller = [], None
while caller != ('203.0.113.2', 7000):
    _, caller = s.recvfrom(100)
    called.append('%s:%d' % caller)
print(*called)
";

#[test]
fn rows_119_120_128_two_servers_see_one_port_and_the_filtering_says_who_may_call_it() {
    for (filtering, callers) in [
        ("endpoint-independent", "203.0.113.4:7000 203.0.113.2:7001 203.0.113.3:7001 203.0.113.2:7000"),
        ("address-dependent", "203.0.113.2:7001 203.0.113.3:7001 203.0.113.2:7000"),
        ("address-and-port-dependent", "203.0.113.2:7000"),
    ] {
        let lab = Lab::new();
        lab.file("netctl.toml", TOPOLOGY.replace("FILTERING", filtering));
        lab.netctl(["up"]).success();
        let _servers = lab.ns("internet").serve(7000, "python3", ["-c", SERVERS]);
        let ask = |place| lab.ns(place).run("python3", ["-c", CLIENT]).success().stdout().to_owned();
        // The second has to have another port, and that one for both servers, too.
        let [blue, red] = ["blue", "red"].map(ask);
        let lines = |said: &str| said.lines().map(str::to_owned).collect::<Vec<_>>();
        let (blue, red) = (lines(&blue), lines(&red));
        assert_eq!(blue, ["203.0.113.1 5000", "203.0.113.1 5000", callers], "{filtering}");
        assert!(red[0] == red[1] && red[0] != blue[0] && red[2] == callers, "{filtering}: {red:?}");

        // Forgotten, it is free for the other.
        lab.netctl(["nat", "flush"]).success();
        assert_eq!(lines(&ask("red"))[..2], blue[..2], "{filtering}");
    }
}

//! Beside a firewall: the gateway's own FORWARD policy, and another's masquerade at the same uplink.

use netctl_tests::lab::Lab;

/// Tells who asked.
const WHO: &str = "
import socket
s = socket.create_server(('0.0.0.0', 80))
while True:
    call, (host, _) = s.accept()
    call.send(host.encode())
    call.close()
";

const ASK: &str = "
import socket, sys
print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).makefile().read())
";

#[test]
fn row_139_a_dropping_policy_with_its_exceptions_and_anothers_masquerade_do_no_harm() {
    let lab = Lab::quickstart();
    let _servers = ["internet", "blue"].map(|place| lab.ns(place).serve(80, "python3", ["-c", WHO]));
    let ask = |place: &str, to: &str, port: &str| {
        let output = lab.ns(place).run("python3", ["-c", ASK, to, port]);
        (output.code() == Some(0)).then(|| output.stdout().trim().to_owned())
    };
    let calls =
        [("red", "203.0.113.2", "80", "203.0.113.1"), ("internet", "203.0.113.1", "8080", "203.0.113.2")];
    let iptables = |words: &str| drop(lab.ns("router").run("iptables", words.split(' ')).success());

    iptables("-P FORWARD DROP");
    for (place, to, port, _) in calls {
        assert_eq!(ask(place, to, port), None, "{place}, against the policy");
    }
    for rule in ["-s 192.168.15.0/24", "-d 192.168.15.0/24"] {
        iptables(&format!("-A FORWARD {rule} -j ACCEPT"));
    }
    for (place, to, port, seen) in calls {
        assert_eq!(ask(place, to, port).as_deref(), Some(seen), "{place}, by the exceptions");
    }
    iptables("-t nat -A POSTROUTING -s 192.168.15.0/24 -o wan0 -j MASQUERADE");
    for (place, to, port, seen) in calls {
        assert_eq!(ask(place, to, port).as_deref(), Some(seen), "{place}, beside another's masquerade");
    }
}

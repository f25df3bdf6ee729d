//! A machine without IPv6: turned off at its interfaces, or no part of its kernel.

use netctl_tests::lab::Lab;

const TOPOLOGY: &str = r#"
name = "office"
[namespaces.red]
[namespaces.internet]
[bridges.lan]
addresses = ["10.1.0.1/24"]
ports.red = { addresses = ["10.1.0.2/24"] }
[[cables]]
a = { namespace = "host", interface = "wan0", addresses = ["203.0.113.1/24"] }
b = { namespace = "internet", interface = "eth0", addresses = ["203.0.113.2/24"] }
[[nat.masquerade]]
namespace = "host"
source = "10.1.0.0/24"
out = "wan0"
"#;

const MASQUERADE: &str = r#"
[[nat.masquerade]]
namespace = "host"
source = "fd01::/64"
out = "wan0"
"#;

const OFF: [&str; 2] = [
    "echo 1 | tee /proc/sys/net/ipv6/conf/{all,default}/disable_ipv6",
    // As it looks where the kernel was started with `ipv6.disable=1`.
    "mount -t tmpfs none /proc/sys/net/ipv6",
];

#[test]
fn row_18_without_ipv6_ipv4_is_set_up_and_a_rule_for_ipv6_fails_by_name() {
    for off in OFF {
        let lab = Lab::new();
        lab.host().run("bash", ["-c", off]).success();
        lab.file("netctl.toml", TOPOLOGY);
        lab.netctl(["up"]).success();
        let works = || lab.ns("red").run("ping", ["-c", "1", "-W", "5", "203.0.113.2"]).success();
        works();
        lab.file("netctl.toml", [TOPOLOGY, MASQUERADE].concat());
        let failed = lab.netctl(["up"]);
        assert_eq!(failed.code(), Some(1), "{failed}");
        assert!(failed.stderr().contains("IPv6 is off at `wan0`, and fd01::/64 is of IPv6"), "{failed}");
        works();
    }
}

#[test]
fn row_18_an_address_where_ipv6_is_off_fails_in_the_kernels_words() {
    let lab = Lab::new();
    lab.host().run("bash", ["-c", OFF[0]]).success();
    lab.file("netctl.toml", TOPOLOGY.replace("\"10.1.0.1/24\"", "\"10.1.0.1/24\", \"fd01::1/64\""));
    let failed = lab.netctl(["up"]);
    assert_eq!(failed.code(), Some(1), "{failed}");
    let words =
        "add address fd01::1/64 to `lan` on the host: Permission denied (kernel: ipv6: IPv6 is disabled";
    assert!(failed.stderr().contains(words), "{failed}");
    assert_eq!(lab.netctl(["ls", "--json"]).success().json(), serde_json::json!([]));
}

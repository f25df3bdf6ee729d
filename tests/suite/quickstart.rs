//! The quickstart, as a user meets it.

use netctl_tests::lab::Lab;

#[test]
fn a_forwarded_port_answers_and_the_outside_never_sees_the_inside() {
    let lab = Lab::quickstart();
    let capture = lab.ns("internet").capture("eth0");
    let server = lab.ns("blue").serve(80, "python3", ["-u", "-m", "http.server", "80", "--bind", "::"]);
    lab.ns("internet").run("curl", ["-sS", "-m", "5", "http://203.0.113.1:8080"]).success();
    for target in ["203.0.113.2", "2001:db8:113::2"] {
        lab.ns("red").run("ping", ["-c", "1", "-W", "5", target]).success();
    }
    assert!(server.log().contains("203.0.113.2"), "{}", server.log());
    let heard = capture.stop();
    assert!(heard.packets().count() > 10);
    for packet in heard.packets() {
        let source = packet.src.ip().to_string();
        assert!(!source.starts_with("192.168.15.") && !source.starts_with("fd15:"), "{packet:?}");
    }
}

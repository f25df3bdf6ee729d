//! Whose a topology is: which file it is from and which host it has, and what of it is put back. What is damaged, full or
//! killed affects that alone.

use netctl_tests::lab::{Lab, Ns, Output};

const RED: &str = "[namespaces.red]\n";

/// A network behind the host, which forwards for it.
const HOSTED: &str = r#"
[namespaces.red]
[bridges.br-in]
addresses = ["10.9.0.1/24"]
ports.red = {}
[[nat.masquerade]]
namespace = "host"
source = "10.9.0.0/24"
out = "up0"
"#;

fn in_directory<'a>(lab: &'a Lab, directory: &str, words: &str) -> Output<'a> {
    let netctl = netctl_tests::lab::netctl();
    lab.host().run("sh", ["-c", &format!("cd {directory} && {netctl} {words}")])
}

/// Two projects with a file of the usual name.
fn projects() -> Lab {
    let lab = Lab::new();
    lab.host().run("mkdir", ["projA", "projB", "My Lab"]).success();
    lab.file("projA/netctl.toml", RED);
    lab.file("projB/netctl.toml", "[namespaces.blue]\n");
    lab.file("My Lab/netctl.toml", "[namespaces.green]\n");
    lab
}

fn names(lab: &Lab) -> Vec<String> {
    let listed = lab.netctl(["ls", "--json"]).success().json();
    let name = |line: &serde_json::Value| line["name"].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(name).collect()
}

fn has_netns(lab: &Lab, name: &str) -> bool {
    lab.host().run("ip", ["netns", "list"]).success().stdout().lines().any(|line| line.starts_with(name))
}

fn value(place: Ns<'_>, key: &str) -> String {
    place.run("sysctl", ["-n", key]).success().stdout().trim().to_owned()
}

#[test]
fn files_of_the_usual_name_are_called_as_their_directories() {
    let lab = projects();
    let before = lab.snapshot();
    in_directory(&lab, "projA", "up").success();
    in_directory(&lab, "projB", "up").success();
    in_directory(&lab, "'My Lab'", "up").success();
    assert_eq!(names(&lab), ["My-Lab", "projA", "projB"]);
    assert!(has_netns(&lab, "red"), "what the first made is still there");
    for verb in ["plan", "show", "graph", "ping"] {
        in_directory(&lab, "projB", verb).success();
    }
    in_directory(&lab, "projB", "down").success();
    assert_eq!(names(&lab), ["My-Lab", "projA"]);
    in_directory(&lab, ".", "down projA/netctl.toml").success();
    in_directory(&lab, ".", "down").success();
    lab.assert_unchanged_since(&before);
}

#[test]
fn another_file_of_the_same_name_is_refused_unless_forced() {
    let lab = Lab::new();
    lab.file("one.toml", format!("name = 'office'\n{RED}"));
    lab.file("two.toml", "name = 'office'\n[namespaces.blue]\n");
    lab.netctl(["up", "one.toml"]).success();
    let mut resident = lab.ns("red").start("sh", ["-c", "echo $$; exec sleep 1000"]);
    resident.wait_for("\n");
    let before = lab.snapshot();
    let path = |name: &str| lab.directory().canonicalize().unwrap().join(name).display().to_string();
    for verb in ["up", "plan"] {
        let refused = lab.netctl([verb, "two.toml"]).fails(1);
        let expected = format!(
            "error: topology `office` is up from `{}`, and `{}` has the same name: nothing was changed\n\
             hint: begin this file with another `name = \"NAME\"`, `netctl down office` first, or replace it with \
             `netctl up --force`\n",
            path("one.toml"),
            path("two.toml"),
        );
        assert_eq!(refused.stderr(), expected);
    }
    lab.assert_unchanged_since(&before);
    let up = lab.netctl(["up", "--force", "two.toml"]).success();
    let warning = format!("warning: processes still live in namespace `red`: {}\n", resident.log().trim());
    assert_eq!(up.stderr(), warning);
    assert!(!has_netns(&lab, "red") && has_netns(&lab, "blue"));
    lab.netctl(["plan", "two.toml"]).success();
    assert_eq!(lab.netctl(["ls", "--json"]).success().json()[0]["file"], path("two.toml"));
}

#[test]
fn a_topology_is_left_alone_from_another_host() {
    let lab = with_uplink();
    lab.file("hosty.toml", HOSTED);
    lab.host().run("ip", ["netns", "add", "other"]).success();
    lab.netctl(["up", "hosty.toml"]).success();
    for words in [&["down", "hosty"][..], &["up", "hosty.toml"], &["plan", "hosty.toml"]] {
        let refused = inside(&lab, "other", words).fails(1);
        let said = refused.stderr();
        assert!(
            said.starts_with("error: topology `hosty` belongs to the machine's own namespace `net:["),
            "{said}"
        );
        assert!(said.contains("and this command runs in namespace `other`: nothing was changed"), "{said}");
        assert!(said.contains("hint: `nsenter --net=/proc/1/ns/net netctl down hosty`"), "{said}");
    }
    let listed = inside(&lab, "other", &["ls"]).success();
    assert!(listed.stdout().contains("hosty  elsewhere"), "{listed}");
    assert!(listed.stderr().contains("warning: topology `hosty` belongs to the machine's own"), "{listed}");
    let shown = inside(&lab, "other", &["show", "hosty", "--json"]).success().json();
    assert!(shown["conflict"].as_str().unwrap().contains("belongs to"), "{shown}");
    lab.netctl(["plan", "hosty.toml"]).success();
    lab.file("guest.toml", "[namespaces.guest]\n");
    inside(&lab, "other", &["up", "guest.toml"]).success();
    let all = inside(&lab, "other", &["down", "--all"]).fails(1);
    assert!(
        all.stdout().starts_with("guest is down: ") && all.stderr().contains("`hosty` belongs to"),
        "{all}"
    );
    assert_eq!(value(lab.host(), "net.ipv4.ip_forward"), "1");
    lab.netctl(["down", "hosty"]).success();
    assert_eq!(value(lab.host(), "net.ipv4.ip_forward"), "0");
}

#[test]
fn a_topology_whose_host_has_a_name_is_said_to_be_there_and_goes_by_force_when_that_is_gone() {
    let lab = Lab::new();
    let before = lab.snapshot();
    lab.file("inner.toml", format!("{RED}[bridges.br0]\naddresses = ['10.9.0.1/24']\nports.red = {{}}\n"));
    lab.host().run("ip", ["netns", "add", "other"]).success();
    inside(&lab, "other", &["up", "inner.toml"]).success();
    let refused = lab.netctl(["down", "inner"]).fails(1);
    assert!(refused.stderr().contains("belongs to namespace `other`"), "{refused}");
    assert!(refused.stderr().contains("hint: `netctl exec other -- netctl down inner`"), "{refused}");
    lab.host().run("ip", ["netns", "del", "other"]).success();
    let refused = lab.netctl(["down"]).fails(1);
    assert!(refused.stderr().contains("belongs to the namespace without a name"), "{refused}");
    assert!(refused.stderr().contains("`netctl down inner --force`"), "{refused}");
    lab.netctl(["down", "--force"]).success();
    assert!(!has_netns(&lab, "red"));
    lab.assert_unchanged_since(&before);
}

fn inside<'a>(lab: &'a Lab, namespace: &str, words: &[&str]) -> Output<'a> {
    let netctl = netctl_tests::lab::netctl();
    lab.netctl([&["exec", namespace, "--", netctl.as_str()], words].concat())
}

fn with_uplink() -> Lab {
    let lab = Lab::new();
    lab.host().run("ip", ["link", "add", "up0", "type", "veth", "peer", "name", "r0"]).success();
    lab.host().run("ip", ["link", "set", "up0", "up"]).success();
    lab
}

#[test]
fn down_takes_the_only_topology_or_asks_which() {
    let lab = Lab::new();
    lab.file("one.toml", RED);
    lab.file("two.toml", "[namespaces.blue]\n");
    assert_eq!(lab.netctl(["down"]).success().stdout(), "no topology is up: nothing to do\n");
    lab.netctl(["up", "one.toml"]).success();
    assert!(lab.netctl(["down"]).success().stdout().starts_with("one is down: "));
    lab.netctl(["up", "one.toml"]).success();
    lab.netctl(["up", "two.toml"]).success();
    for verb in ["down", "show", "ping"] {
        let refused = lab.netctl([verb]).fails(2);
        assert_eq!(
            refused.stderr(),
            "error: several topologies are up: `one`, `two`\n\
             hint: say which one is meant by its name, or its file\n"
        );
    }
    // The file of the directory is meant before what happens to be up.
    lab.file("netctl.toml", "name = 'mine'\n[namespaces.green]\n");
    assert_eq!(lab.netctl(["down"]).success().stdout(), "mine is not up: nothing to do\n");
    lab.netctl(["down", "--all"]).success();
}

#[test]
fn an_unknown_name_is_wrong_usage_and_the_nearest_one_is_told() {
    let lab = Lab::new();
    lab.file("office.toml", RED);
    lab.netctl(["up", "office.toml"]).success();
    let refused = lab.netctl(["down", "ofice"]).fails(2);
    assert_eq!(refused.stderr(), "error: there is no topology `ofice`\nhint: did you mean `office`?\n");
    let refused = lab.netctl(["down", "x"]).fails(2);
    assert_eq!(refused.stderr(), "error: there is no topology `x`\nhint: these are up: `office`\n");
    // By its file it may be taken down again and again.
    lab.netctl(["down", "office.toml"]).success();
    assert_eq!(lab.netctl(["down", "office.toml"]).success().stdout(), "office is not up: nothing to do\n");
    let refused = lab.netctl(["down", "office"]).fails(2);
    assert_eq!(refused.stderr(), "error: there is no topology `office`: none is up\n");
}

#[test]
fn up_without_a_file_says_that_it_takes_the_quickstart() {
    let lab = Lab::new();
    let up = lab.netctl(["up"]).success();
    let second = up.stdout().lines().nth(1);
    assert_eq!(second, Some("there is no ./netctl.toml: this is the built-in quickstart"), "{up}");
    assert_eq!(lab.netctl(["ls", "--json"]).success().json()[0]["file"], serde_json::Value::Null);
}

#[test]
fn a_damaged_record_affects_that_topology_alone() {
    let lab = with_uplink();
    let before = lab.snapshot();
    lab.file("hosty.toml", HOSTED);
    lab.netctl(["up", "hosty.toml"]).success();
    lab.file("broken.toml", "[namespaces.blue]\n");
    lab.netctl(["up", "broken.toml"]).success();
    lab.host().run("sh", ["-c", "echo '{' > /run/netctl/broken.json"]).success();
    let listed = lab.netctl(["ls"]).success();
    assert!(
        listed.stdout().contains("broken  damaged") && listed.stdout().contains("hosty   up"),
        "{listed}"
    );
    assert!(listed.stderr().contains("warning: read the record `/run/netctl/broken.json`: "), "{listed}");
    lab.netctl(["show", "hosty"]).success();
    lab.netctl(["plan", "hosty.toml"]).success();
    lab.netctl(["show", "red"]).success();
    lab.netctl(["down", "hosty"]).success();
    assert_eq!(value(lab.host(), "net.ipv4.ip_forward"), "0");
    lab.netctl(["down", "broken"]).fails(1);
    lab.assert_unchanged_since(&before);
}

/// Namespace `red` with a cable and these sysctls.
fn sysctls(lab: &Lab, sysctls: &str) {
    let text = format!(
        "name = 'office'\n[namespaces.red]\nsysctls = {{ {sysctls} }}\n[namespaces.blue]\n[[cables]]\n\
         a = {{ namespace = 'red', interface = 'w', addresses = ['10.0.0.1/24'] }}\n\
         b = {{ namespace = 'blue', interface = 'e' }}\n"
    );
    lab.file("netctl.toml", text);
}

#[test]
fn a_sysctl_that_the_file_no_longer_has_is_as_it_was_found() {
    let lab = Lab::new();
    let (all, one) = ("net.ipv4.conf.all.log_martians", "net.ipv4.conf.w.rp_filter");
    let read = |key: &str| value(lab.ns("red"), key);
    sysctls(&lab, "");
    lab.netctl(["up"]).success();
    let found = [all, one].map(read);
    sysctls(&lab, &format!("'{all}' = '1', '{one}' = '2'"));
    lab.netctl(["up"]).success();
    assert_eq!([all, one].map(read), ["1", "2"]);
    sysctls(&lab, "");
    let planned = lab.netctl(["plan"]).fails(3);
    assert!(planned.stdout().contains(all) && planned.stdout().contains(one), "{planned}");
    lab.netctl(["up"]).success();
    assert_eq!([all, one].map(read), found);
    lab.netctl(["plan"]).success();
    // Of a namespace that was made with it, too.
    lab.netctl(["down"]).success();
    sysctls(&lab, &format!("'{all}' = '1'"));
    lab.netctl(["up"]).success();
    sysctls(&lab, "");
    lab.netctl(["up"]).success();
    assert_eq!(read(all), found[0]);
}

#[test]
fn a_sysctl_that_somebody_changed_since_is_left_alone() {
    let lab = Lab::new();
    let key = "net.ipv4.conf.all.rp_filter";
    sysctls(&lab, "");
    lab.netctl(["up"]).success();
    sysctls(&lab, &format!("'{key}' = '2'"));
    lab.netctl(["up"]).success();
    lab.ns("red").run("sysctl", ["-w", &format!("{key}=1")]).success();
    sysctls(&lab, "");
    lab.netctl(["plan"]).success();
    lab.netctl(["up"]).success();
    assert_eq!(value(lab.ns("red"), key), "1");

    let lab = with_uplink();
    lab.file("hosty.toml", HOSTED);
    let key = "net.ipv4.ip_forward";
    lab.host().run("sysctl", ["-w", &format!("{key}=1")]).success();
    lab.netctl(["up", "hosty.toml"]).success();
    lab.netctl(["down", "hosty"]).success();
    assert_eq!(value(lab.host(), key), "1", "it was 1 before");
}

#[test]
fn up_without_what_another_topology_wants_of_the_host_leaves_it() {
    let lab = with_uplink();
    let key = "net.ipv4.ip_forward";
    lab.file("one.toml", HOSTED);
    let two = HOSTED.replace("red", "blue").replace("br-in", "br-two").replace("10.9.", "10.8.");
    lab.file("two.toml", two);
    lab.netctl(["up", "one.toml"]).success();
    lab.netctl(["up", "two.toml"]).success();
    // The first no longer translates, and the second takes over how the host was found.
    lab.file("one.toml", HOSTED.split("[[nat").next().unwrap());
    lab.netctl(["up", "one.toml"]).success();
    lab.netctl(["plan", "one.toml"]).success();
    assert_eq!(value(lab.host(), key), "1");
    lab.netctl(["down", "two"]).success();
    assert_eq!(value(lab.host(), key), "0");
    lab.netctl(["down", "one"]).success();
    assert_eq!(value(lab.host(), key), "0");
}

#[test]
fn plan_after_up_is_empty_however_the_kernel_prints_a_value() {
    let lab = Lab::new();
    let ports = "'net.ipv4.ip_local_reserved_ports' = '8080,8081'";
    let rest = "'net.ipv4.conf.w.rp_filter' = '2', 'net.ipv4.conf.default.rp_filter' = '1', \
                'net.ipv4.conf.all.forwarding' = '1', 'net.ipv4.conf.w.forwarding' = '0', \
                'net.ipv6.conf.default.accept_dad' = '0'";
    sysctls(&lab, &format!("{ports}, {rest}"));
    lab.netctl(["up"]).success();
    lab.netctl(["plan"]).success();
    assert_eq!(value(lab.ns("red"), "net.ipv6.conf.w.accept_dad"), "0", "set before the link was there");
    // The link is remade.
    lab.ns("red").run("ip", ["link", "del", "w"]).success();
    lab.netctl(["up"]).success();
    lab.netctl(["plan"]).success();
    assert_eq!(value(lab.ns("red"), "net.ipv4.conf.w.rp_filter"), "2");
    assert_eq!(value(lab.ns("red"), "net.ipv4.conf.w.forwarding"), "0");
    // Back to none, which the kernel prints as an empty line.
    sysctls(&lab, rest);
    lab.netctl(["up"]).success();
    lab.netctl(["plan"]).success();
    assert_eq!(value(lab.ns("red"), "net.ipv4.ip_local_reserved_ports"), "");
}

#[test]
fn an_mtu_that_the_file_no_longer_has_is_the_kernels_again() {
    let lab = Lab::new();
    let file = |mtu: &str| {
        let text = format!(
            "name = 'office'\n{RED}[bridges.br0]\naddresses = ['10.9.0.1/24']\n{mtu}\nports.red = {{}}\n"
        );
        lab.file("netctl.toml", text);
    };
    let mtu = |place: Ns<'_>, link: &str| {
        let shown = place.run("ip", ["-j", "link", "show", "dev", link]).success().json();
        shown[0]["mtu"].to_string()
    };
    file("mtu = 1400");
    lab.netctl(["up"]).success();
    file("mtu = 1300");
    lab.netctl(["up"]).success();
    assert_eq!(mtu(lab.host(), "br0"), "1300");
    file("");
    lab.netctl(["up"]).success();
    assert_eq!([mtu(lab.host(), "br0"), mtu(lab.host(), "veth-red-br")], ["1500", "1500"]);
    lab.netctl(["plan"]).success();
}

/// Fills `/run/netctl` up to some bytes.
const FILL: &str = "mkdir -p /run/netctl && mount -t tmpfs -o mode=0700,size=SIZE tmpfs /run/netctl";

#[test]
fn where_there_is_no_room_to_remember_it_nothing_is_done() {
    let lab = Lab::new();
    lab.netctl(["ns", "add", "first"]).success();
    lab.netctl(["ns", "del", "first"]).success();
    // Page by page, from too little for anything to enough.
    for (pages, is_enough) in [(1, false), (2, false), (64, true)] {
        let size = format!("{}k", pages * 4);
        lab.host().run("sh", ["-c", &FILL.replace("SIZE", &size)]).success();
        let before = lab.snapshot();
        let up = lab.netctl(["up"]);
        let left = "find /run/netctl -name '*.new' -o -name '*.next'";
        assert_eq!(lab.host().run("sh", ["-c", left]).success().stdout(), "");
        if is_enough {
            up.success();
            lab.netctl(["down"]).success();
        } else {
            let up = up.fails(1);
            assert!(up.stderr().contains("No space left on device"), "{up}");
            lab.assert_unchanged_since(&before);
            assert!(names(&lab).is_empty());
        }
        lab.host().run("umount", ["/run/netctl"]).success();
    }
}

#[test]
fn a_change_that_cannot_be_remembered_leaves_all_as_it_was_and_one_begun_is_finished() {
    let lab = Lab::new();
    lab.host().run("sh", ["-c", &FILL.replace("SIZE", "64k")]).success();
    sysctls(&lab, "");
    lab.netctl(["up"]).success();
    let full = "head -c 1M /dev/zero > /run/netctl/ballast; truncate -s -ROOM /run/netctl/ballast";
    sysctls(&lab, "'net.ipv4.conf.all.log_martians' = '1'");
    for room in ["0", "4096", "8192", "12288", "16384"] {
        lab.host().run("sh", ["-c", &full.replace("ROOM", room)]);
        let up = lab.netctl(["up"]);
        let state = &lab.netctl(["ls", "--json"]).success().json()[0]["state"];
        assert_eq!(state, "up", "{room}: {up}");
        let is_done = value(lab.ns("red"), "net.ipv4.conf.all.log_martians") == "1";
        assert_eq!(up.code() == Some(0), is_done, "{room}: {up}");
        lab.host().run("rm", ["/run/netctl/ballast"]).success();
        let plan = lab.netctl(["plan"]);
        assert_eq!(plan.code(), Some(if is_done { 0 } else { 3 }), "{room}: {plan}");
        let left = lab.host().run("ls", ["/run/netctl"]).success();
        assert!(!left.stdout().contains(".new") && !left.stdout().contains(".next"), "{left}");
    }
}

//! The spellings of `ip` and of the tools beside it: read as netctl's own where they can mean but one thing, else
//! answered with the line to type.
//!
//! A pattern is a row of words: `add|new` is one of these, `[dev]` may be left out, `NAME` is any word, `KEY=VALUE` one with
//! an equals sign, and `..` as many as there are. What they stood for is put into the row's other side, in which `@` is
//! the place that `-n` names.

use std::{ffi::OsString, iter};

use super::words;

/// What a row of words comes to.
enum Reading {
    /// The same in netctl's words.
    Means(&'static str),
    /// Lines to type instead.
    Type(&'static [&'static str]),
    /// What to know about it.
    Know(&'static str),
}
use Reading::{Know, Means, Type};

/// First words, and what netctl calls them.
const OBJECTS: &[(&[&str], &str)] = &[
    (&["netns"], "ns"),
    (&["l"], "link"),
    (&["a", "address"], "addr"),
    (&["r", "ro"], "route"),
    (&["n", "neighbour", "neighbor", "arp"], "neigh"),
    (&["ru"], "rule"),
    (&["masquerade", "masq"], "nat masquerade"),
    (&["forward"], "nat forward"),
];

/// Second words of these.
const ACTIONS: &[(&[&str], &str)] = &[
    (&["a"], "add"),
    (&["d", "delete", "rm", "remove"], "del"),
    (&["s", "sh", "show", "list", "lst"], "ls"),
];

/// Of `ip`, before its first word: how to print.
const LOOKS: &[&str] =
    &["-br", "-brief", "-o", "-oneline", "-d", "-details", "-s", "-stats", "-statistics", "-c", "-p", "-4"];

/// Tools that are not netctl's, all of whose words are read here.
const TOOLS: &[&str] =
    &["brctl", "bridge", "nsenter", "iptables", "ip6tables", "conntrack", "ifconfig", "nft", "tc"];

const OTHER_KINDS: &str = "netctl makes cables, bridges, dummies and VLANs (`netctl link add --help`); what `ip link add` makes \
                           beside these, netctl lists, sets and deletes as well";

/// The first row that fits counts.
const ROWS: &[(&str, Reading)] = &[
    ("help ..", Means(".. --help")),
    // Namespaces.
    ("ns exec NS -- ..", Means("exec NS -- ..")),
    ("ns exec NS ..", Means("exec NS -- ..")),
    ("ns pids|identify ..", Type(&["ns ls"])),
    ("ns monitor", Type(&["monitor"])),
    ("ns set|attach ..", Type(&["ns add NAME"])),
    // Links.
    ("link add [name|dev] A type veth peer [name] B", Means("link add veth A @ B @")),
    ("link add [name|dev] A type veth peer [name] B netns NS", Means("link add veth A @ B NS")),
    ("link add [name|dev] A netns NS type veth peer [name] B", Means("link add veth A NS B @")),
    (
        "link add [name|dev] A netns NS type veth peer [name] B netns OTHER",
        Means("link add veth A NS B OTHER"),
    ),
    ("link add [name|dev] A type veth", Type(&["link add veth A B"])),
    ("link add [name|dev] A type bridge", Means("link add bridge A")),
    ("link add [name|dev] A type dummy", Means("link add dummy A")),
    ("link add link PARENT [name|dev] A type vlan id N", Means("link add vlan A link PARENT id N")),
    ("link add [name|dev] A link PARENT type vlan id N", Means("link add vlan A link PARENT id N")),
    (
        "link add .. type veth|bridge|dummy|vlan ..",
        Know("`netctl link add --help` has what netctl can set of it"),
    ),
    ("link add .. type ..", Know(OTHER_KINDS)),
    ("link add A netns NS", Type(&["link set A netns NS"])),
    ("link set NAME address ..", Know("netctl sets no MAC addresses: `ip link set` does")),
    ("link del dev NAME ..", Means("link del NAME ..")),
    ("link ls dev NAME ..", Means("link ls NAME ..")),
    ("link ls master BRIDGE", Means("link ls --master BRIDGE")),
    ("link ls type KIND", Type(&["link ls"])),
    // Addresses.
    ("addr flush [dev] NAME", Type(&["addr ls NAME", "addr del ADDRESS dev NAME"])),
    ("addr replace|change|chg ADDRESS [dev] NAME ..", Type(&["addr add ADDRESS dev NAME"])),
    // Routes.
    ("route flush cache", Means("route flush cache")),
    ("route flush ..", Type(&["route ls", "route del TO"])),
    ("route get TO [from] FROM iif NAME ..", Type(&["trace @ FROM TO"])),
    ("route get TO from FROM ..", Type(&["trace @ FROM TO"])),
    ("route get TO ..", Type(&["trace @ TO"])),
    ("route add|del|replace default gw VIA [dev] NAME", Type(&["route add default via VIA dev NAME"])),
    ("route add|del|replace default gw VIA", Type(&["route add default via VIA"])),
    ("route add|del -net|-host TO gw VIA ..", Type(&["route add TO via VIA"])),
    ("route add|del -net|-host TO netmask MASK gw VIA ..", Type(&["route add TO/LENGTH via VIA"])),
    ("route add|del|replace TO gw VIA ..", Type(&["route add TO via VIA"])),
    ("route change ..", Type(&["route replace .."])),
    (
        "route append|prepend|test ..",
        Know("netctl sets one route to a destination, or several of different `metric`"),
    ),
    // Neighbours.
    ("neigh change|chg ..", Type(&["neigh replace .."])),
    ("neigh flush [dev] NAME", Type(&["neigh ls NAME", "neigh del ADDRESS dev NAME"])),
    ("neigh flush ..", Type(&["neigh ls", "neigh del ADDRESS dev NAME"])),
    ("neigh -s ADDRESS MAC ..", Type(&["neigh add ADDRESS lladdr MAC dev NAME"])),
    ("neigh -d ADDRESS ..", Type(&["neigh del ADDRESS dev NAME"])),
    ("neigh -a", Means("neigh ls")),
    // Policy rules.
    ("rule flush ..", Type(&["rule ls", "rule del priority N"])),
    // Others that `ip` has.
    ("monitor link|address|route|neigh|all KIND ..", Type(&["monitor --only link,address,route,neighbour"])),
    (
        "tuntap|tunnel|maddr|xfrm|vrf|macsec|mroute|ntable|token ..",
        Know("netctl has nothing like it: it is `ip`'s alone"),
    ),
    // Sysctls.
    ("sysctl -w|--write KEY=VALUE ..", Means("sysctl set KEY=VALUE ..")),
    (
        "sysctl -a|--all ..",
        Know("`sysctl -a` lists all keys, `netctl exec NS -- sysctl -a` those of a namespace"),
    ),
    ("sysctl KEY=VALUE ..", Means("sysctl set KEY=VALUE ..")),
    ("sysctl get ..", Means("sysctl get ..")),
    ("sysctl set ..", Means("sysctl set ..")),
    ("sysctl KEY ..", Means("sysctl get KEY ..")),
    // Other tools.
    ("brctl addbr BRIDGE", Type(&["link add bridge BRIDGE"])),
    ("brctl delbr BRIDGE", Type(&["link del BRIDGE"])),
    ("brctl addif BRIDGE NAME", Type(&["link set NAME master BRIDGE"])),
    ("brctl delif BRIDGE NAME", Type(&["link set NAME nomaster"])),
    ("brctl showmacs BRIDGE", Type(&["link ls --master BRIDGE"])),
    ("brctl ..", Type(&["link ls"])),
    ("bridge fdb ls|show br BRIDGE", Type(&["link ls --master BRIDGE"])),
    ("bridge ..", Type(&["link ls --master BRIDGE"])),
    ("nsenter ..", Type(&["exec NS -- COMMAND"])),
    ("iptables|ip6tables|nft .. MASQUERADE ..", Type(&["nat masquerade add --source NETWORK"])),
    ("iptables|ip6tables|nft .. DNAT ..", Type(&["nat forward add --listen PORT/tcp --to ADDRESS:PORT"])),
    (
        "iptables|ip6tables|nft ..",
        Know("netctl has no packet filter; `netctl nat --help` has how it translates"),
    ),
    ("conntrack -E ..", Type(&["monitor --only flow"])),
    ("conntrack -F ..", Type(&["nat flush"])),
    ("conntrack -D ..", Type(&["nat flush --src ADDRESS"])),
    ("conntrack -S|-C ..", Type(&["nat stats"])),
    ("conntrack ..", Type(&["nat flows"])),
    ("ifconfig ..", Type(&["addr ls"])),
    ("tc ..", Know("netctl shapes nothing: that is `tc`'s alone")),
];

/// A line that netctl does not know, with what to do instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// What was typed.
    pub(super) said: String,
    /// The next step.
    pub(super) hint: String,
    /// The switches that were given with it, but for `-n`.
    pub(super) switches: Vec<OsString>,
}

impl Answer {
    /// What to say of it.
    pub(super) fn error(self) -> words::Error {
        words::Error::Elsewhere { said: self.said, hint: self.hint }
    }
}

/// Reads a command line, without the program's name, into netctl's words.
pub(super) fn read(arguments: Vec<OsString>) -> Result<Vec<OsString>, Answer> {
    let Some(text) = arguments.iter().map(|argument| argument.to_str()).collect::<Option<Vec<&str>>>() else {
        return Ok(arguments);
    };
    let line = Line::split(&text);
    let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
    for (pattern, reading) in ROWS {
        let mut found = Vec::new();
        if !fits(&tokens(pattern), &words, &mut found) {
            continue;
        }
        let lines = match reading {
            Means(row) => return Ok(line.with(&filled(row, &found, line.place))),
            Know(text) => Vec::from([(*text).to_owned()]),
            Type(rows) => rows.iter().map(|row| line.to_type(&filled(row, &found, line.place))).collect(),
        };
        let hint = lines.join(", ");
        let switches = line.looks.iter().map(OsString::from).collect();
        return Err(Answer { said: line.said, hint, switches });
    }
    let is_ips = words.first().is_none_or(|first| is_object(first) || *first == "monitor");
    if line.has_ips_own && !is_ips {
        return Ok(arguments);
    }
    Ok(line.in_place.iter().map(OsString::from).collect())
}

/// A command line: what is read by rows, and the switches, which may stand anywhere.
struct Line<'a> {
    words: Vec<String>,
    switches: Vec<&'a str>,
    /// Those that do not say where.
    looks: Vec<&'a str>,
    /// Both as they stood.
    in_place: Vec<String>,
    /// What `-n` names.
    place: &'a str,
    /// The words as they were.
    said: String,
    /// Whether there was something that only `ip` has before its first word, and is left out.
    has_ips_own: bool,
}

impl<'a> Line<'a> {
    fn split(arguments: &[&'a str]) -> Self {
        let (words, switches, looks, in_place, mut said) =
            <(Vec<String>, Vec<&str>, Vec<&str>, Vec<String>, Vec<&str>)>::default();
        let mut line =
            Self { words, switches, looks, in_place, place: "host", said: String::new(), has_ips_own: false };
        let mut is_v6 = false;
        let mut rest = arguments.iter().copied();
        while let Some(argument) = rest.next() {
            let first = line.words.first().map(String::as_str);
            if argument == "--" || is_for_others(&line.words) {
                let all: Vec<&str> = iter::once(argument).chain(rest).collect();
                line.keep(all.iter().copied());
                said.extend(all);
                break;
            }
            let is_switch = argument.len() > 1 && argument.starts_with('-') && !is_word(first, argument);
            match argument {
                word if !is_switch && (word != "ip" || first.is_some()) => {
                    said.push(word);
                    line.push(word);
                }
                "ip" if first.is_none() => line.has_ips_own = true,
                "-6" if first.is_none() => (is_v6, line.has_ips_own) = (true, true),
                "-j" | "-json" if first.is_none() => {
                    line.has_ips_own = true;
                    line.switch("--json", None);
                }
                look if first.is_none() && LOOKS.contains(&look) => line.has_ips_own = true,
                switch => {
                    let value = if takes_value(switch) { rest.next() } else { None };
                    line.switch(switch, value);
                }
            }
        }
        line.said = said.join(" ");
        if is_v6 {
            line.of_ipv6();
        }
        line
    }

    fn switch(&mut self, switch: &'a str, value: Option<&'a str>) {
        let all = || iter::once(switch).chain(value);
        self.switches.extend(all());
        self.in_place.extend(all().map(str::to_owned));
        match place(switch, value) {
            Some(place) => self.place = place,
            None => self.looks.extend(all()),
        }
    }

    /// The next word, by netctl's name of it.
    fn push(&mut self, word: &str) {
        let known = match self.words.as_slice() {
            [] => OBJECTS.iter().find(|(others, _)| others.contains(&word)),
            [first] if is_object(first) => ACTIONS.iter().find(|(others, _)| others.contains(&word)),
            _ => None,
        };
        self.keep(known.map_or(word, |(_, own)| own).split(' '));
    }

    fn keep<'w>(&mut self, words: impl IntoIterator<Item = &'w str>) {
        for word in words {
            self.words.push(word.to_owned());
            self.in_place.push(word.to_owned());
        }
    }

    /// `ip -6`: what would be taken for IPv4. Lists are of both.
    fn of_ipv6(&mut self) {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["route", "add" | "del" | "replace", ..] => {
                let all = self.words.iter_mut().chain(&mut self.in_place);
                all.filter(|word| *word == "default").for_each(|word| *word = "::/0".to_owned());
            }
            ["rule", "add" | "del", ..] => self.keep(["family", "ipv6"]),
            _ => {}
        }
    }

    /// These words and the switches, those that are for a command's own eyes last.
    fn with(&self, words: &[String]) -> Vec<OsString> {
        let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
        let (before, after) = words.split_at(end);
        let switches = self.switches.iter().map(|&switch| switch.to_owned());
        before.iter().cloned().chain(switches).chain(after.iter().cloned()).map(OsString::from).collect()
    }

    fn to_type(&self, words: &[String]) -> String {
        let takes_place =
            words.first().is_some_and(|first| is_object(first) && first != "ns" || first == "nat");
        let place =
            if takes_place && self.place != "host" { format!("-n {} ", self.place) } else { String::new() };
        format!("type `netctl {place}{}`", words.join(" "))
    }
}

/// Whether what follows these words is another program's.
fn is_for_others(words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["ns", "exec", _] | ["exec", _] => true,
        [first, ..] => TOOLS.contains(first),
        [] => false,
    }
}

/// Whether `ip` has the verb, too, by netctl's name.
fn is_object(word: &str) -> bool {
    word == "link" || word == "route" || OBJECTS.iter().any(|(_, own)| *own == word)
}

/// Whether what looks like a switch is one of the words that rows know.
fn is_word(first: Option<&str>, argument: &str) -> bool {
    match first {
        Some("sysctl") => matches!(argument, "-w" | "--write" | "-a" | "--all"),
        Some("route") => matches!(argument, "-net" | "-host"),
        Some("neigh") => matches!(argument, "-s" | "-d" | "-a"),
        Some(_) | None => false,
    }
}

fn takes_value(switch: &str) -> bool {
    matches!(switch, "-n" | "--netns" | "--color" | "--master")
}

/// The place that a switch names.
fn place<'a>(switch: &'a str, value: Option<&'a str>) -> Option<&'a str> {
    match switch {
        "-n" | "--netns" => value,
        _ => switch
            .strip_prefix("--netns=")
            .or_else(|| switch.strip_prefix("-n"))
            .filter(|name| !name.is_empty()),
    }
}

fn tokens(row: &str) -> Vec<&str> {
    row.split_whitespace().collect()
}

fn is_any(token: &str) -> bool {
    token.starts_with(|first: char| first.is_ascii_uppercase())
        && !token.contains(|letter: char| letter.is_lowercase())
        && !matches!(token, "MASQUERADE" | "DNAT")
}

/// Whether a pattern fits, and what its words stand for.
fn fits<'w>(
    pattern: &[&'static str],
    words: &[&'w str],
    found: &mut Vec<(&'static str, Vec<&'w str>)>,
) -> bool {
    let Some((&token, later)) = pattern.split_first() else { return words.is_empty() };
    let known = found.len();
    let mut goes_on = |taken: Vec<&'w str>, rest: &[&'w str]| {
        found.truncate(known);
        found.push((token, taken));
        fits(later, rest, found)
    };
    if token == ".." {
        return (0..=words.len()).rev().any(|count| goes_on(words[..count].to_vec(), &words[count..]));
    }
    let one = words.split_first();
    if let Some(optional) = token.strip_prefix('[').and_then(|token| token.strip_suffix(']')) {
        let is_there = one.filter(|(word, _)| optional.split('|').any(|other| other == **word));
        return is_there.is_some_and(|(_, rest)| goes_on(Vec::new(), rest)) || goes_on(Vec::new(), words);
    }
    let Some((&word, rest)) = one else { return false };
    let is_meant = if is_any(token) {
        !token.contains('=') || word.contains('=')
    } else {
        token.split('|').any(|other| other == word)
    };
    is_meant && goes_on(vec![word], rest)
}

/// A row with what its words stand for.
fn filled(row: &str, found: &[(&'static str, Vec<&str>)], place: &str) -> Vec<String> {
    let mut words = Vec::new();
    for token in row.split(' ') {
        match found.iter().find(|(name, _)| *name == token && (is_any(token) || token == "..")) {
            Some((_, stands_for)) => words.extend(stands_for.iter().map(|&word| word.to_owned())),
            None if token == "@" => words.push(place.to_owned()),
            None => words.push(token.to_owned()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{super::Cli, *};

    fn read_words(line: &str) -> Result<String, Answer> {
        let words = line.split(' ').map(OsString::from).collect();
        let join = |words: Vec<OsString>| words.join(std::ffi::OsStr::new(" ")).into_string().unwrap();
        read(words).map(join)
    }

    #[track_caller]
    fn means(line: &str, own: &str) {
        let read = read_words(line).unwrap();
        assert_eq!(read, own, "{line}");
        let parsed = Cli::try_parse_from(iter::once("netctl").chain(read.split(' ')));
        assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
    }

    #[test]
    fn what_can_mean_but_one_thing_is_read_so() {
        for (line, own) in [
            ("link add veth0 type veth peer name veth1", "link add veth veth0 host veth1 host"),
            ("link add veth0 type veth peer veth1", "link add veth veth0 host veth1 host"),
            ("-n red l add name a type veth peer name b", "link add veth a red b red -n red"),
            ("link add a type veth peer name b netns red --json", "link add veth a host b red --json"),
            ("link add a netns red type veth peer name b netns blue", "link add veth a red b blue"),
            ("link add br0 type bridge", "link add bridge br0"),
            ("link add dev d0 type dummy", "link add dummy d0"),
            ("link add link eth0 name eth0.7 type vlan id 7", "link add vlan eth0.7 link eth0 id 7"),
            ("link add eth0.7 link eth0 type vlan id 7", "link add vlan eth0.7 link eth0 id 7"),
            ("link set dev veth0 up", "link set dev veth0 up"),
            ("link delete veth0", "link del veth0"),
            ("link rm dev veth0 --force", "link del veth0 --force"),
            ("link show", "link ls"),
            ("link show master br0", "link ls --master br0"),
            ("link show dev eth0", "link ls eth0"),
            ("ip -br -6 a s dev eth0", "addr ls dev eth0"),
            ("-j address show", "--json addr ls"),
            ("a add 10.0.0.1/24 dev eth0", "addr add 10.0.0.1/24 dev eth0"),
            ("netns add red blue", "ns add red blue"),
            ("netns", "ns"),
            ("ns rm red", "ns del red"),
            ("netns exec red ping -c 1 -n 10.0.0.1", "exec red -- ping -c 1 -n 10.0.0.1"),
            ("netns exec red -- ip -n blue link", "exec red -- ip -n blue link"),
            ("-6 route add default dev eth0", "route add ::/0 dev eth0"),
            ("ro show table all", "route ls table all"),
            ("-6 rule add iif eth0 lookup 7", "rule add iif eth0 lookup 7 family ipv6"),
            ("rule show", "rule ls"),
            ("neighbor show dev eth0", "neigh ls dev eth0"),
            ("arp -a", "neigh ls"),
            ("sysctl -w net.ipv4.ip_forward=1", "sysctl set net.ipv4.ip_forward=1"),
            ("sysctl net.ipv4.ip_forward=1", "sysctl set net.ipv4.ip_forward=1"),
            ("sysctl net.ipv4.ip_forward", "sysctl get net.ipv4.ip_forward"),
            ("-n red sysctl get net.ipv4.ip_forward", "sysctl get net.ipv4.ip_forward -n red"),
            ("masquerade add -s 10.0.0.0/24 -o eth0", "nat masquerade add -s 10.0.0.0/24 -o eth0"),
        ] {
            means(line, own);
        }
    }

    #[test]
    fn netctls_own_words_stay_as_they_are() {
        for line in [
            "exec red -- ip link show",
            "link set eth0 netns red name eth1 up --force",
            "nat masquerade add --source 10.0.0.0/24 --out eth0",
            "nat flows -p tcp -s 10.0.0.1",
            "monitor -n red -o link,address",
            "trace red - 10.0.0.1:80/tcp",
            "up office.toml",
            "route flush cache",
        ] {
            means(line, line);
        }
        assert_eq!(read_words("-s ip up").unwrap(), "-s ip up");
        assert_eq!(read_words("no such verb").unwrap(), "no such verb");
        assert_eq!(read_words("help").unwrap(), "--help");
        assert_eq!(read_words("help link add").unwrap(), "link add --help");
    }

    #[test]
    fn what_is_said_otherwise_is_answered_with_the_line_to_type() {
        for (line, hint) in [
            ("route get 10.0.0.1", "type `netctl trace host 10.0.0.1`"),
            ("-n red route get 10.0.0.1 from 10.0.0.2 iif eth0", "type `netctl trace red 10.0.0.2 10.0.0.1`"),
            ("route add default gw 10.0.0.1", "type `netctl route add default via 10.0.0.1`"),
            (
                "-n red route add default gw 10.0.0.1 eth0",
                "type `netctl -n red route add default via 10.0.0.1 dev eth0`",
            ),
            ("route add -net 10.9.0.0/16 gw 10.0.0.1", "type `netctl route add 10.9.0.0/16 via 10.0.0.1`"),
            ("link add a type veth", "type `netctl link add veth A B`"),
            ("link add a netns red", "type `netctl link set a netns red`"),
            ("addr flush dev eth0", "type `netctl addr ls eth0`, type `netctl addr del ADDRESS dev eth0`"),
            ("brctl addif br0 eth0", "type `netctl link set eth0 master br0`"),
        ] {
            let hint = hint.replace("link add veth A B", "link add veth a B");
            assert_eq!(read_words(line).unwrap_err().hint, hint, "{line}");
        }
        let answer = read_words("--json -n red route get 10.0.0.1 -q").unwrap_err();
        assert_eq!((answer.said.as_str(), answer.switches.len()), ("route get 10.0.0.1", 2));
        assert_eq!(answer.error().to_string(), "netctl does not know `route get 10.0.0.1`");
    }

    #[test]
    fn the_lines_to_type_are_netctls() {
        let example = |word: &str| match word {
            "ADDRESS" | "VIA" => "10.0.0.1".to_owned(),
            "TO" | "FROM" => "10.0.0.2".to_owned(),
            "TO/LENGTH" | "NETWORK" => "10.9.0.0/16".to_owned(),
            "MAC" => "02:00:00:00:00:01".to_owned(),
            "PORT/tcp" => "80/tcp".to_owned(),
            "ADDRESS:PORT" => "10.0.0.1:80".to_owned(),
            "N" => "7".to_owned(),
            "@" => "host".to_owned(),
            ".." => "10.0.0.1 lladdr 02:00:00:00:00:01 dev eth0".to_owned(),
            word => word.to_lowercase(),
        };
        for (pattern, reading) in ROWS {
            let rows = match reading {
                Means(_) | Know(_) => &[][..],
                Type(rows) => rows,
            };
            for row in rows {
                let line = row.split(' ').map(example).collect::<Vec<_>>().join(" ");
                let parsed = Cli::try_parse_from(iter::once("netctl").chain(line.split(' ')));
                assert!(parsed.is_ok(), "{pattern}: {line}: {}", parsed.unwrap_err());
            }
        }
    }

    /// The tutorials' own commands, without `sudo`.
    const TUTORIALS: &[&str] = &[
        "ip netns add red",
        "ip netns",
        "ip link",
        "ip netns exec red ip link",
        "ip link add veth-red type veth peer name veth-blue",
        "ip link set veth-red netns red",
        "ip link add veth-blue netns blue",
        "ip -n red addr add 192.168.15.1 dev veth-red",
        "ip -n red link set veth-red up",
        "ip netns exec red ping 192.168.15.2",
        "ip netns exec red arp",
        "ip netns exec red route",
        "ip netns exec red ip link delete veth-red",
        "ip link add v-net-0 type bridge",
        "ip link set dev v-net-0 up",
        "ip link set veth-red-br master v-net-0",
        "ip addr add 192.168.15.5/24 dev v-net-0",
        "ip netns exec blue ip route add 192.168.1.0/24 via 192.168.15.5",
        "ip netns exec blue ip route add default via 192.168.15.5",
        "ip l add veth0 type veth peer name veth1",
        "ip l set veth1 netns red",
        "ip l set br0 up",
        "ip a add 10.0.0.1/16 dev br0",
        "ip l set veth0 master br0",
        "ip link set lo up",
        "ip route add default via 172.18.0.1",
        "ip route flush cache",
        "brctl show",
        "brctl showmacs v-net-0",
        "nsenter --net=/var/run/netns/netns0 bash",
        "sysctl -w net.ipv4.ip_forward=1",
        "iptables -t nat -A POSTROUTING -s 192.168.15.0/24 -j MASQUERADE",
        "iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE",
        "iptables -t nat -A POSTROUTING -s 172.18.0.0/16 ! -o br0 -j MASQUERADE",
        "iptables -t nat -A PREROUTING --dport 80 --to-destination 192.168.15.2:80 -j DNAT",
        "iptables -t nat -A OUTPUT -d 10.0.2.15 -p tcp -m tcp --dport 5000 -j DNAT --to-destination 172.18.0.10:5000",
        "iptables --list FORWARD",
    ];

    #[test]
    fn every_command_of_the_tutorials_and_of_the_page_is_understood_or_answered() {
        let page = include_str!("../../../docs/from-iproute2.md");
        let (page, _) = page.split_once("\n## JSON\n").unwrap();
        let rows = page.lines().filter(|line| line.starts_with("| "));
        let first = rows.filter_map(|row| row.trim_start_matches("| ").split(" | ").next());
        let quoted = first.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        let tools = ["ip", "sysctl", "arp", "route"];
        let is_a_tools = |line: &&str| {
            let tool = line.split(' ').next().unwrap();
            (tools.contains(&tool) || TOOLS.contains(&tool))
                && *line != "ip link set"
                && !line.contains('\u{2026}')
        };
        let lines: Vec<&str> = quoted.filter(is_a_tools).chain(TUTORIALS.iter().copied()).collect();
        assert!(lines.len() > 90, "{lines:?}");
        for line in lines {
            for line in [Some(line), line.strip_prefix("ip ")].into_iter().flatten() {
                if let Ok(read) = read_words(line) {
                    let parsed = Cli::try_parse_from(iter::once("netctl").chain(read.split(' ')));
                    assert!(parsed.is_ok(), "{line}: {read}: {}", parsed.unwrap_err());
                }
            }
        }
    }
}

//! What is not asked by netlink: sysctls, netfilter's rules, files, processes.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Read as _,
    os::{
        fd::AsFd,
        unix::fs::{FileExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    fcntl::{OFlag, openat},
    sys::{socket::SockProtocol, stat::Mode},
};

use super::{Items, Value, netlink::Netlink};

/// What is kept from one dump to the next, since it takes long to get: open sysctls by their namespace's inode, and what
/// `nft` says of rules that the kernel has so.
#[derive(Default)]
pub(super) struct Seen {
    sysctls: HashMap<u64, Vec<(String, File)>>,
    rules: HashMap<Vec<Vec<u8>>, String>,
}

/// Sysctls of netctl's own namespaces that are always read: what netctl sets by itself, and what tests set.
pub(super) const FEW: [&str; 18] = [
    "ipv4/ip_forward",
    "ipv4/conf/all/forwarding",
    "ipv4/conf/default/forwarding",
    "ipv4/conf/all/rp_filter",
    "ipv4/conf/default/rp_filter",
    "ipv4/conf/all/route_localnet",
    "ipv4/conf/all/arp_ignore",
    "ipv4/tcp_keepalive_time",
    "ipv4/tcp_syn_retries",
    "ipv4/ip_default_ttl",
    "ipv4/ip_local_reserved_ports",
    "ipv6/conf/all/forwarding",
    "ipv6/conf/default/forwarding",
    "ipv6/conf/all/accept_ra",
    "ipv6/conf/default/accept_ra",
    "ipv6/conf/all/disable_ipv6",
    "netfilter/nf_conntrack_tcp_be_liberal",
    "bridge/bridge-nf-call-iptables",
];

const NET: &str = "/proc/sys/net";

/// The `net.*` keys of the thread's namespace, without those of single interfaces, which netlink tells.
fn sysctl_keys() -> Vec<PathBuf> {
    fn walk(directory: &Path, keys: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("list sysctls").flatten() {
            let (path, kind) = (entry.path(), entry.file_type().expect("a type"));
            let of_interfaces =
                directory.ends_with("conf") && !path.ends_with("all") && !path.ends_with("default");
            if kind.is_dir() && !of_interfaces && !path.ends_with("neigh") {
                walk(&path, keys);
            } else if kind.is_file() && !path.ends_with("nf_conntrack_count") {
                keys.push(path);
            }
        }
    }
    let mut keys = Vec::new();
    walk(Path::new(NET), &mut keys);
    keys
}

fn name(path: &Path) -> String {
    let path = path.strip_prefix("/proc/sys").unwrap_or(path);
    format!("sysctl {}", path.to_string_lossy().replace('/', "."))
}

/// Some can only be written, some have no value yet.
fn value(file: &File) -> Option<Value> {
    let mut buffer = [0; 4096];
    let length = file.read_at(&mut buffer, 0).ok()?;
    let value = String::from_utf8_lossy(&buffer[..length]);
    let value = value.trim_end().replace(['\n', '\t', ' '], ",");
    Some(Value::Words(format!("value={value}")))
}

/// [`FEW`], of the thread's namespace.
pub(super) fn few_sysctls(items: &mut Items<'_>) {
    for key in FEW {
        let path = Path::new(NET).join(key);
        if let Some(value) = File::open(&path).ok().as_ref().and_then(value) {
            items.add(name(&path), value);
        }
    }
}

impl Seen {
    /// All sysctls of the thread's namespace, which has this inode. An open one stays its namespace's own, and cannot be
    /// read any more when that has gone and another has its inode.
    pub(super) fn sysctls(&mut self, items: &mut Items<'_>, inode: u64) {
        let open = || -> Vec<(String, File)> {
            let opened = |path: PathBuf| Some((name(&path), File::open(&path).ok()?));
            sysctl_keys().into_iter().filter_map(opened).collect()
        };
        let files = self.sysctls.entry(inode).or_insert_with(open);
        let is_alive =
            |files: &[(String, File)]| files.first().is_some_and(|(_, file)| value(file).is_some());
        if !is_alive(files) {
            *files = open();
        }
        for (name, file) in files {
            if let Some(value) = value(file) {
                items.add(name.clone(), value);
            }
        }
    }

    /// Rules of nftables and of both iptables. The tools that make them readable are only asked where there are some.
    pub(super) fn rules(&mut self, items: &mut Items<'_>, proc: impl AsFd) {
        let netfilter = Netlink::open(SockProtocol::NetlinkNetFilter).ok();
        // Tables, chains, rules, sets: NFT_MSG_GET… of `include/uapi/linux/netfilter/nf_tables.h`.
        let dump = |kind: u16| netfilter.as_ref()?.dump(10 << 8 | kind, &[0; 4]).ok();
        if let Some(tables) = dump(1).filter(|tables| !tables.is_empty()) {
            let rest = [4, 7, 10].into_iter().filter_map(dump).flatten();
            let key = tables.into_iter().chain(rest).collect();
            let said = self.rules.entry(key).or_insert_with(|| run("nft", &["-s", "list", "ruleset"]));
            text(items, "nft", said);
        }
        for (file, program) in
            [("ip_tables_names", "iptables-legacy-save"), ("ip6_tables_names", "ip6tables-legacy-save")]
        {
            let path = Path::new("thread-self/net").join(file);
            let Ok(file) = openat(&proc, &path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) else {
                continue;
            };
            let mut names = String::new();
            File::from(file).read_to_string(&mut names).expect("the names of tables");
            if !names.is_empty() {
                text(items, program, &run(program, &[]));
            }
        }
    }
}

/// Lines without comments and counters, each under those that it stands in.
fn text(items: &mut Items<'_>, tool: &str, text: &str) {
    let mut place = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().filter(|word| !is_counter(word)).collect();
        let line = words.join(" ");
        if line == "}" || line == "COMMIT" {
            place.pop();
            continue;
        }
        if !line.is_empty() && !is_built_in(&line, &place) {
            let name = format!("{tool} {} {line}", place.join(" "));
            items.add(name.replace("  ", " "), Value::Words(String::new()));
        }
        if line.ends_with('{') || line.starts_with('*') {
            place.push(line);
        }
    }
}

/// What iptables makes with the first rule and leaves: its tables, and their chains as long as they accept.
fn is_built_in(line: &str, place: &[String]) -> bool {
    const TABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];
    const CHAINS: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
    let words: Vec<&str> = line.split(' ').collect();
    let is_in = |chain: &String| chain.split(' ').any(|word| CHAINS.contains(&word));
    match words[..] {
        ["table", "ip" | "ip6", table, "{"] => TABLES.contains(&table),
        ["chain", chain, "{"] => CHAINS.contains(&chain),
        ["type", .., "policy", "accept;"] => place.last().is_some_and(is_in),
        [table] if table.starts_with('*') => true,
        [chain, "ACCEPT"] => chain.strip_prefix(':').is_some_and(|chain| CHAINS.contains(&chain)),
        _ => false,
    }
}

/// `[PACKETS:BYTES]`.
fn is_counter(word: &str) -> bool {
    let inner = word.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
    inner.is_some_and(|inner| inner.contains(':') && inner.chars().all(|c| c.is_ascii_digit() || c == ':'))
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("the tests need `{program}`: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Below `/run` and the bpffs, with what netctl's records say. The directory `/run/netns` itself is iproute2's, which
/// never takes it away, and a bpffs has files of the kernel's own.
pub(super) fn files(items: &mut Items<'_>) {
    fn walk(items: &mut Items<'_>, directory: &Path) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let Ok(metadata) = path.symlink_metadata() else { continue };
            let is_iproutes = path == Path::new("/run/netns");
            if !is_iproutes && path.extension().is_none_or(|extension| extension != "debug") {
                let is_netns = path.parent() == Some(Path::new("/run/netns"));
                let mode = if is_netns { 0 } else { metadata.mode() };
                let mut words = format!("mode={mode:o} owner={}", metadata.uid());
                if path.starts_with("/run/netctl") && metadata.is_file() {
                    words = format!(
                        "{words} content={}",
                        fs::read_to_string(&path).unwrap_or_default().replace(' ', "␣")
                    );
                }
                items.add(format!("file {}", path.display()), Value::Words(words));
            }
            if metadata.is_dir() {
                walk(items, &path);
            }
        }
    }
    walk(items, Path::new("/run"));
    walk(items, Path::new("/sys/fs/bpf"));
}

/// Processes of netctl's that go on.
pub(super) fn processes(items: &mut Items<'_>) {
    for entry in fs::read_dir("/proc").expect("list processes").flatten() {
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if name.contains("netctl") {
            items.add(format!("process {}", name.trim()), Value::Words(String::new()));
        }
    }
}

//! iptables' own tables, those that are not nftables': read with the socket options that `iptables-legacy` uses.
//!
//! A table is its rules one after the other. Where each hook's begin and where its policy stands, the last rule, the
//! kernel says beforehand (include/uapi/linux/netfilter_{ipv4/ip,ipv6/ip6}_tables.h, net/ipv4/netfilter/ip_tables.c).

use std::{
    ffi::c_int,
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

use super::{Chain, Family, Hook, Kind};

const TABLE: &str = "filter";
/// `-NF_DROP - 1`, as a standard target has it.
const DROP: i32 = -1;
/// `XT_TABLE_MAXNAMELEN`.
const NAME: usize = 32;
/// `sizeof(struct ipt_getinfo)`: the name, which hooks there are, where each begins and where its policy is, how many
/// rules and how many bytes of them.
const INFO: usize = NAME + 4 + 5 * 4 + 5 * 4 + 4 + 4;
/// `offsetof(struct ipt_get_entries, entrytable)`: the name, the size and four bytes to the rules' alignment.
const ENTRIES: usize = NAME + 4 + 4;
/// `sizeof(struct xt_entry_target)`, after which a standard target has its verdict.
const TARGET: usize = 32;

/// Where one family keeps its tables.
struct Tables {
    family: Family,
    /// Lists those that are loaded.
    names: &'static str,
    domain: AddressFamily,
    level: c_int,
    /// `offsetof(struct ipt_entry, target_offset)`.
    target_offset: usize,
}

const ALL: [Tables; 2] = [
    Tables {
        family: Family::Ip,
        names: "/proc/thread-self/net/ip_tables_names",
        domain: AddressFamily::Inet,
        level: libc::IPPROTO_IP,
        target_offset: 88,
    },
    Tables {
        family: Family::Ip6,
        names: "/proc/thread-self/net/ip6_tables_names",
        domain: AddressFamily::Inet6,
        level: libc::IPPROTO_IPV6,
        target_offset: 140,
    },
];

/// `IPT_SO_GET_INFO` and `IPT_SO_GET_ENTRIES`, of both families.
const GET_INFO: c_int = 64;
const GET_ENTRIES: c_int = 65;

/// The chains of the calling thread's namespace at a hook, one a family. A table that is not loaded there has no chains,
/// and is not loaded by being asked for.
pub(super) fn chains(hook: Hook) -> io::Result<Vec<Chain>> {
    let name = match hook {
        Hook::Input => "INPUT",
        Hook::Forward => "FORWARD",
        Hook::Output => "OUTPUT",
    };
    let mut chains = Vec::new();
    for tables in &ALL {
        let policy = if tables.is_loaded() { tables.policy(hook)? } else { None };
        if let Some((verdict, has_rules)) = policy {
            chains.push(Chain {
                kind: Kind::Iptables,
                family: tables.family,
                table: TABLE.to_owned(),
                chain: name.to_owned(),
                has_rules,
                drops: verdict == DROP,
            });
        }
    }
    Ok(chains)
}

impl Tables {
    fn is_loaded(&self) -> bool {
        fs::read_to_string(self.names).is_ok_and(|names| names.lines().any(|name| name == TABLE))
    }

    /// The verdict of a chain's policy, and whether there are rules before it; `None` if the table has no such chain, or the
    /// bytes make no sense.
    fn policy(&self, hook: Hook) -> io::Result<Option<(i32, bool)>> {
        let socket = socket(self.domain, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        let mut info = vec![0; INFO];
        name(&mut info);
        self.get(&socket, GET_INFO, &mut info)?;
        let begin = u32_at(&info, NAME + 4 + 4 * hook as usize);
        let (Some(at), Some(size)) =
            (u32_at(&info, NAME + 4 + 20 + 4 * hook as usize), u32_at(&info, INFO - 4))
        else {
            return Ok(None);
        };
        let mut entries = vec![0; ENTRIES + size as usize];
        name(&mut entries);
        entries[NAME..NAME + 4].copy_from_slice(&size.to_ne_bytes());
        self.get(&socket, GET_ENTRIES, &mut entries)?;
        let verdict = self.verdict(entries.get(ENTRIES..).unwrap_or_default(), at as usize);
        Ok(verdict.map(|verdict| (verdict, begin != Some(at))))
    }

    /// The verdict of the rule at `at`.
    fn verdict(&self, rules: &[u8], at: usize) -> Option<i32> {
        let rule = rules.get(at..)?;
        let target = rule.get(self.target_offset..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))?;
        u32_at(rule, usize::from(target) + TARGET).map(u32::cast_signed)
    }

    fn get(&self, socket: &OwnedFd, option: c_int, buffer: &mut [u8]) -> io::Result<()> {
        let mut length = buffer.len() as libc::socklen_t;
        // SAFETY: the descriptor is open, and the kernel reads and writes at most `length` bytes of the buffer.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                self.level,
                option,
                buffer.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        Ok(Errno::result(result).map(drop)?)
    }
}

/// Names the table that is asked for.
fn name(buffer: &mut [u8]) {
    buffer[..TABLE.len()].copy_from_slice(TABLE.as_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_the_verdict_behind_its_rules_target() {
        for (tables, drops) in ALL.iter().zip([DROP, -2]) {
            let offset = tables.target_offset + 16;
            let mut rules = vec![0; 50 + offset + TARGET + 4];
            rules[50 + tables.target_offset..][..2].copy_from_slice(&(offset as u16).to_ne_bytes());
            rules[50 + offset + TARGET..].copy_from_slice(&drops.to_ne_bytes());
            assert_eq!(tables.verdict(&rules, 50), Some(drops));
            assert_eq!(tables.verdict(&rules, rules.len()), None, "where no rule is, there is no verdict");
        }
    }
}

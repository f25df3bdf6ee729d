//! What a page shows against what is printed: alike but for what no two runs have in common.
//!
//! That is MAC and link-local addresses, how long something takes or lives, ports and identifiers that the kernel draws,
//! and dates. Each has to be there; its value may differ. Blanks between words are not counted, since columns are as wide
//! as such a value, nor are blank lines at the end. All else is compared to the letter.

/// A line of a page that stands for those which it leaves out, if there are any.
const LEFT_OUT: &str = "…";

/// Whether `said` is what the page shows.
#[must_use]
pub fn alike(shown: &str, said: &str) -> bool {
    let lines = |text: &str| text.trim_end().lines().map(masked).collect::<Vec<_>>();
    fits(&lines(shown), &lines(said))
}

fn fits(shown: &[String], said: &[String]) -> bool {
    match shown {
        [] => said.is_empty(),
        [first, rest @ ..] if first == LEFT_OUT => {
            (0..=said.len()).any(|left_out| fits(rest, &said[left_out..]))
        }
        [first, rest @ ..] => said.first() == Some(first) && fits(rest, &said[1..]),
    }
}

/// A line without what differs every time.
fn masked(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    let masked = words.iter().enumerate().map(|(at, word)| {
        let before = at.checked_sub(1).map_or("", |at| words[at]);
        let after = words.get(at + 1).copied().unwrap_or_default();
        mask(before, word, after)
    });
    masked.collect::<Vec<_>>().join(" ")
}

fn mask(before: &str, word: &str, after: &str) -> String {
    if is_mac(word) {
        "MAC".to_owned()
    } else if let Some(own) = word.strip_prefix("fe80::") {
        format!("fe80::X{}", own.find('/').map_or("", |at| &own[at..]))
    } else if let Some((what, value)) = word.split_once('=').filter(|(_, value)| is_time(value, after)) {
        format!("{what}=TIME{}", unit_of(value))
    } else if is_time(word, after) {
        format!("TIME{}", unit_of(word))
    } else if before == "id" && word.parse::<u16>().is_ok() {
        "ID".to_owned()
    } else if let Some((address, _)) = word.rsplit_once(':').filter(|(_, port)| is_drawn(port)) {
        format!("{address}:PORT")
    } else if is_date(word) {
        "DATE".to_owned()
    } else {
        word.to_owned()
    }
}

fn is_mac(word: &str) -> bool {
    let octets: Vec<_> = word.split(':').collect();
    let is_octet = |octet: &&str| octet.len() == 2 && octet.bytes().all(|byte| byte.is_ascii_hexdigit());
    octets.len() == 6 && octets.iter().all(is_octet) && word != "00:00:00:00:00:00"
}

/// `0.43` before `ms`, `1008ms`, `59s`, and ping's `0.1/0.2/0.3`.
fn is_time(word: &str, after: &str) -> bool {
    let is_unit = |unit: &str| matches!(unit.trim_end_matches([',', ')', ';']), "s" | "ms" | "µs");
    let number = word.trim_end_matches(unit_of(word));
    let is_number = number.split('/').all(|number| number.parse::<f64>().is_ok());
    is_number && if number == word { is_unit(after) } else { is_unit(unit_of(word)) }
}

/// What is behind the digits.
fn unit_of(word: &str) -> &str {
    word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '/')
}

/// Whether it is a port that the kernel draws for a socket, by default.
fn is_drawn(port: &str) -> bool {
    port.parse::<u16>().is_ok_and(|port| (32768..61000).contains(&port))
}

/// The two words of a web server's `[21/Nov/2026 13:49:55]`.
fn is_date(word: &str) -> bool {
    let is_of = |word: &str, shape: &str| {
        let shaped = word.chars().map(|c| match c {
            '0'..='9' => '0',
            'a'..='z' | 'A'..='Z' => 'a',
            other => other,
        });
        shaped.eq(shape.chars())
    };
    is_of(word, "[00/aaa/0000") || is_of(word, "00:00:00]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_alike(shown: &str, said: &str) {
        assert!(alike(shown, said), "{} is not {}", masked(shown), masked(said));
    }

    #[test]
    fn what_differs_every_time_may_differ() {
        for (shown, said) in [
            ("eth0  up  86:41:0c:cd:a9:4a  -", "eth0 up 16:66:35:4c:5b:7e -"),
            ("fe80::8441:cff:fecd:a94a/64", "fe80::1/64"),
            ("red   0.04 ms  blue", "red 10.04 ms blue"),
            ("(42 operations in 134 ms)", "(42 operations in 1.2 s)".replace("1.2 s", "96 ms").as_str()),
            ("64 bytes: icmp_seq=1 ttl=64 time=0.419 ms", "64 bytes: icmp_seq=1 ttl=64 time=12 ms"),
            ("0% packet loss, time 1008ms", "0% packet loss, time 0ms"),
            ("rtt min/mdev = 0.046/0.186 ms", "rtt min/mdev = 1.046/0.0 ms"),
            ("192.168.15.1:42670 -> 203.0.113.1:8080", "192.168.15.1:50000 -> 203.0.113.1:8080"),
            ("10.0.0.1 id 19128  59s", "10.0.0.1 id 7  58s"),
            ("[21/Nov/2026 13:49:55] \"GET /\"", "[01/Dec/2027 00:00:00] \"GET /\""),
        ] {
            assert_alike(shown, said);
        }
    }

    #[test]
    fn all_else_may_not() {
        for (shown, said) in [
            ("eth0 up 86:41:0c:cd:a9:4a", "eth0 down 86:41:0c:cd:a9:4a"),
            ("mac 86:41:0c:cd:a9:4a", "mac 00:00:00:00:00:00"),
            ("fe80::1/64", "fe80::1/128"),
            ("red 0.04 ms", "red FAIL"),
            ("red 0.04 ms", "red -"),
            ("(42 operations in 134 ms)", "(43 operations in 134 ms)"),
            ("icmp_seq=1 ttl=64 time=0.4 ms", "icmp_seq=1 ttl=63 time=0.4 ms"),
            ("time 12ms", "time 12s"),
            ("0% packet loss", "100% packet loss"),
            ("192.168.15.1:42670", "192.168.15.2:42670"),
            ("203.0.113.1:8080", "203.0.113.1:8081"),
            ("203.0.113.1:42670", "203.0.113.1:20000"),
            ("packets 2/2", "packets 3/2"),
            ("a\nb", "a"),
            ("a", "a\nb"),
            ("", "a"),
            ("a", ""),
        ] {
            assert!(!alike(shown, said), "{shown:?} is {said:?}");
        }
    }

    #[test]
    fn what_is_left_out_may_be_any_lines_or_none() {
        for (shown, said) in [("a\n…\nd", "a\nb\nc\nd"), ("…\nd\n…", "a\nd\nd\ne"), ("a\n…", "a")] {
            assert_alike(shown, said);
        }
        for (shown, said) in [("a\n…\nd", "a"), ("a\n…", "b"), ("a\n…\nd", "a\nb\nc"), ("…\nd", "a\nb")]
        {
            assert!(!alike(shown, said), "{shown:?} is {said:?}");
        }
    }
}

//! Policy rules: which routing table decides about which packets.

use ipnet::IpNet;

use super::{
    Family, IfName, Place, Problem, Rule, RuleAction,
    address::parse_network,
    behaviour::{Word, required},
    error::Error,
    links::Links,
    number::within,
    place::Places,
    route::{LOCAL_TABLE, MAIN_TABLE},
};
use crate::spec::{self, KeyPath, Table, key_path};

/// `RT_TABLE_DEFAULT`.
const DEFAULT_TABLE: u32 = 253;
/// The rule that asks the main table has the next (`fib_default_rules_init` in net/ipv4/fib_rules.c).
const LAST_PRIORITY: u32 = 32765;

impl Word for Family {
    const ALL: &'static [Self] = &[Self::Ipv4, Self::Ipv6];

    fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// What a rule may say in place of a table.
#[derive(Clone, Copy)]
enum Refusal {
    Blackhole,
    Unreachable,
    Prohibit,
}

impl Word for Refusal {
    const ALL: &'static [Self] = &[Self::Blackhole, Self::Unreachable, Self::Prohibit];

    fn as_str(self) -> &'static str {
        match self {
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
        }
    }
}

impl From<Refusal> for RuleAction {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Blackhole => Self::Blackhole,
            Refusal::Unreachable => Self::Unreachable,
            Refusal::Prohibit => Self::Prohibit,
        }
    }
}

/// The file's rules, in its order.
pub(super) fn resolve(specs: &[spec::Rule], places: &Places, links: &Links) -> Result<Vec<Rule>, Error> {
    let mut rules: Vec<Rule> = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let path = key_path!["rules", index];
        let place = places.resolve(&spec.namespace, &path.key("namespace"))?;
        let rule = parse(spec, place, &path, links)?;
        if let Some(other) = rules.iter().position(|other| other.is_one_with(&rule)) {
            let (place, priority, other) = (rule.place, rule.priority, key_path!["rules", other]);
            let problem = Problem::DuplicateRule { place, priority, other };
            return Err(Error::new(path.key("priority"), problem));
        }
        rules.push(rule);
    }
    Ok(rules)
}

impl Rule {
    /// Whether no file has use for both, and the kernel cannot tell them apart where one is to be deleted: they are of one
    /// priority and either about the same packets, so that one would never be asked, or do the same and one is about all
    /// packets of the other. The kernel deletes the first rule that has what is said, and leaves out of the comparison
    /// what is not (`rule_find` in net/core/fib_rules.c).
    pub(crate) fn is_one_with(&self, other: &Self) -> bool {
        fn leaves_open<T: PartialEq>(this: Option<&T>, that: Option<&T>) -> bool {
            this.is_none() || this == that
        }
        let covers = |this: &Self, that: &Self| {
            leaves_open(this.from.as_ref(), that.from.as_ref())
                && leaves_open(this.to.as_ref(), that.to.as_ref())
                && leaves_open(this.iif.as_ref(), that.iif.as_ref())
                && leaves_open(this.oif.as_ref(), that.oif.as_ref())
                && leaves_open(this.mark.as_ref(), that.mark.as_ref())
        };
        let (one, back) = (covers(self, other), covers(other, self));
        (&self.place, self.family, self.priority) == (&other.place, other.family, other.priority)
            && (one && back || self.action == other.action && (one || back))
    }
}

fn parse(spec: &spec::Rule, place: Place, path: &KeyPath, links: &Links) -> Result<Rule, Error> {
    let network = |key: &str, text: &Option<String>| {
        text.as_ref().map(|text| parse_network(text, &path.key(key))).transpose()
    };
    let (from, to) = (network("from", &spec.from)?, network("to", &spec.to)?);
    let interface = |key: &str, name: &Option<String>| {
        let name = name.as_ref().map(|name| interface(name, &place, links));
        name.transpose().map_err(|problem| Error::new(path.key(key), problem))
    };
    let priority = within("priority", Some(spec.priority), 1, LAST_PRIORITY, path)?;
    Ok(Rule {
        family: family(spec, from, to, path)?,
        priority: priority.unwrap_or(LAST_PRIORITY),
        // To the kernel, a network of everyone is none.
        from: from.filter(|network| network.prefix_len() > 0),
        to: to.filter(|network| network.prefix_len() > 0),
        iif: interface("iif", &spec.iif)?,
        oif: interface("oif", &spec.oif)?,
        mark: spec.fwmark.as_ref().map(|text| mark(text, &path.key("fwmark"))).transpose()?,
        action: action(spec, path)?,
        place,
    })
}

/// By the loopback comes in what the place itself sends.
fn interface(name: &str, place: &Place, links: &Links) -> Result<IfName, Problem> {
    if name == "lo" { name.parse().map_err(Problem::Name) } else { links.layer3(place, name, "") }
}

/// That of the networks, which the file's own word may not contradict.
fn family(
    spec: &spec::Rule,
    from: Option<IpNet>,
    to: Option<IpNet>,
    path: &KeyPath,
) -> Result<Family, Error> {
    let of = |network: IpNet| if network.addr().is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
    let refuse = |key: &str, one: String, other: String| {
        Err(Error::new(path.key(key), Problem::Families { one, other }))
    };
    if let (Some(from), Some(to)) = (from, to)
        && of(from) != of(to)
    {
        return refuse("to", to.to_string(), from.to_string());
    }
    let said = spec.family.as_ref().map(|text| required::<Family>(text, &path.key("family"))).transpose()?;
    match (from.or(to), said) {
        (Some(network), Some(said)) if of(network) != said => {
            refuse("family", said.as_str().to_owned(), network.to_string())
        }
        (Some(network), _) => Ok(of(network)),
        (None, Some(said)) => Ok(said),
        (None, None) => Err(Error::new(path.clone(), Problem::RuleFamily)),
    }
}

fn action(spec: &spec::Rule, path: &KeyPath) -> Result<RuleAction, Error> {
    match (&spec.table, &spec.kind) {
        (Some(table), None) => {
            let refuse = || Error::new(path.key("table"), Problem::Table { text: table.to_string() });
            number_of(table).map(RuleAction::Table).ok_or_else(refuse)
        }
        (None, Some(text)) => Ok(required::<Refusal>(text, &path.key("type"))?.into()),
        (None, None) => Err(Error::new(path.clone(), Problem::RuleAction)),
        (Some(_), Some(_)) => Err(Error::new(path.key("type"), Problem::RuleAction)),
    }
}

fn number_of(table: &Table) -> Option<u32> {
    match table {
        Table::Number(number) => u32::try_from(*number).ok().filter(|&number| number > 0),
        Table::Name(name) => match name.as_str() {
            "main" => Some(MAIN_TABLE),
            "default" => Some(DEFAULT_TABLE),
            "local" => Some(LOCAL_TABLE),
            _ => None,
        },
    }
}

/// Reads a routing table: its number, `main`, `default` or `local`.
///
/// # Errors
/// If it is none of these.
pub fn read_table(text: &str) -> Result<u32, Problem> {
    let table = text.parse().map_or_else(|_| Table::Name(text.to_owned()), Table::Number);
    number_of(&table).ok_or_else(|| Problem::Table { text: text.to_owned() })
}

fn mark(text: &str, path: &KeyPath) -> Result<(u32, u32), Error> {
    read_mark(text).map_err(|problem| Error::new(path.clone(), problem))
}

/// Reads `MARK` or `MARK/MASK`, each a number of base ten or, after `0x`, sixteen.
///
/// # Errors
/// If it is not that, or the mark has bits that its mask leaves out.
pub fn read_mark(text: &str) -> Result<(u32, u32), Problem> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) if !digits.starts_with('+') => u32::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None if text.starts_with('+') => None,
        None => text.parse().ok(),
    };
    let (mark, mask) = match text.split_once('/') {
        Some((mark, mask)) => (number(mark), number(mask)),
        None => (number(text), Some(u32::MAX)),
    };
    // Of a mask without bits, nothing can be told apart.
    let (Some(mark), Some(mask @ 1..)) = (mark, mask) else {
        return Err(Problem::Mark { text: text.to_owned() });
    };
    if mark & !mask != 0 {
        return Err(Problem::MarkBeyondMask { mark, mask });
    }
    Ok((mark, mask))
}

#[cfg(test)]
mod tests {
    use super::super::trial::{assert_office_refused, office};

    /// A rule of the router, whose keys begin on line 17 of the office.
    fn rule(keys: &str) -> String {
        format!("[[rules]]\nnamespace = 'router'\npriority = 100\n{keys}\n")
    }

    #[test]
    fn a_rule_says_which_table_decides() {
        for (keys, there) in [
            ("from = '10.0.0.0/24'\ntable = 7", "priority 100 from 10.0.0.0/24 table 7"),
            ("to = 'fd09::/16'\nfrom = '::/0'\ntable = 'main'", "priority 100 to fd09::/16 table 254"),
            ("iif = 'br0'\nfamily = 'ipv4'\ntable = 'default'", "priority 100 iif br0 table 253"),
            (
                "iif = 'lo'\noif = 'wan0'\nfamily = 'ipv6'\ntable = 'local'",
                "priority 100 iif lo oif wan0 table 255",
            ),
            ("fwmark = '0x10'\nfamily = 'ipv4'\ntype = 'prohibit'", "priority 100 fwmark 0x10 prohibit"),
            (
                "fwmark = '1/0xFF'\nfamily = 'ipv4'\ntype = 'blackhole'",
                "priority 100 fwmark 0x1/0xff blackhole",
            ),
            ("family = 'ipv4'\ntype = 'unreachable'", "priority 100 unreachable"),
        ] {
            assert_eq!(office(&rule(keys)).rules[0].to_string(), there);
        }
        office(&rule("iif = 'enp1s0'\nfamily = 'ipv4'\ntable = 7").replace("'router'", "'host'"));
    }

    #[test]
    fn rules_of_one_priority_are_about_different_packets() {
        let (one, other) = (rule("from = '10.0.0.0/24'\ntable = 7"), rule("from = '10.0.1.0/24'\ntable = 7"));
        office(&(one.clone() + &other));
        office(&(rule("family = 'ipv4'\ntable = 7") + &rule("family = 'ipv6'\ntable = 7")));
        assert_office_refused(&[(
            &(one.clone() + &one.replace("table = 7", "table = 8")),
            "21: `router` has a policy rule of priority 100 about the same packets: `rules[0]` (`rules[1].priority`)",
            "",
        )]);
        // Of two that do the same, the wider one is about all of it.
        let wider = rule("family = 'ipv4'\ntable = 7");
        for (first, second) in [(&one, &wider), (&wider, &one)] {
            assert_office_refused(&[(
                &(first.clone() + second),
                "21: `router` has a policy rule of priority 100 about the same packets: `rules[0]` (`rules[1].priority`)",
                "",
            )]);
        }
        office(&(one.clone() + &wider.replace("table = 7", "table = 8")));
    }

    #[test]
    fn a_rule_that_makes_no_sense_is_refused() {
        let action = "set `table` to the one that decides, or `type = \"blackhole\"`";
        let table = "write its number, from 1 to 4294967295, or \"main\", \"default\" or \"local\"";
        let mark = "write it as `0x1`, or with a mask as `0x1/0xff`";
        let marked = |text: &str| format!("fwmark = '{text}'\nfamily = 'ipv4'\ntable = 7");
        assert_office_refused(&[
            (
                &rule("table = 7"),
                "14: this could be about IPv4 or IPv6 (`rules[0]`)",
                "add `family = \"ipv4\"` or `family = \"ipv6\"`",
            ),
            (
                &rule("from = '10.0.0.0/24'"),
                "14: a policy rule has either `table` or `type` (`rules[0]`)",
                action,
            ),
            (
                &rule("from = '10.0.0.0/24'\ntable = 7\ntype = 'blackhole'"),
                "19: a policy rule has either `table` or `type` (`rules[0].type`)",
                action,
            ),
            (
                &rule("from = '10.0.0.0/24'\ntype = 'unicast'"),
                "18: `unicast` is not one of the words here (`rules[0].type`)",
                "write `blackhole` or `unreachable` or `prohibit`",
            ),
            (
                &rule("from = '10.0.0.0/24'\ntable = 'mian'"),
                "18: `mian` is not a routing table (`rules[0].table`)",
                table,
            ),
            (
                &rule("from = '10.0.0.0/24'\ntable = 0"),
                "18: `0` is not a routing table (`rules[0].table`)",
                table,
            ),
            (
                &rule("from = '10.0.0.0/24'\nto = 'fd00::/8'\ntable = 7"),
                "18: fd00::/8 and 10.0.0.0/24 are of different address families (`rules[0].to`)",
                "",
            ),
            (
                &rule("from = '10.0.0.0/24'\nfamily = 'ipv6'\ntable = 7"),
                "18: ipv6 and 10.0.0.0/24 are of different address families (`rules[0].family`)",
                "",
            ),
            (
                &rule("from = '10.0.0.1/24'\ntable = 7"),
                "17: 10.0.0.1/24 has host bits set (`rules[0].from`)",
                "the network is `10.0.0.0/24`",
            ),
            (
                &rule("iif = 'wan'\nfamily = 'ipv4'\ntable = 7"),
                "17: `router` has no interface `wan` (`rules[0].iif`)",
                "did you mean `wan0`?",
            ),
            (
                &rule("oif = 'veth-red-br'\nfamily = 'ipv4'\ntable = 7"),
                "17: `veth-red-br` is a port of bridge `br0` (`rules[0].oif`)",
                "use `br0`",
            ),
            (
                &rule("family = 'ipv4'\ntable = 7").replace("100", "0"),
                "16: a priority of 0 is not between 1 and 32765 (`rules[0].priority`)",
                "",
            ),
            (&rule(&marked("0x")), "17: `0x` is not a mark (`rules[0].fwmark`)", mark),
            (&rule(&marked("0x+1")), "17: `0x+1` is not a mark (`rules[0].fwmark`)", mark),
            (&rule(&marked("1/0")), "17: `1/0` is not a mark (`rules[0].fwmark`)", mark),
            (
                &rule(&marked("0x100/0xff")),
                "17: mark 0x100 has bits that its mask 0xff leaves out (`rules[0].fwmark`)",
                "",
            ),
        ]);
    }

    #[test]
    fn where_rules_decide_no_circle_is_sure() {
        let route = |namespace: &str, via: &str| {
            format!("[[routes]]\nnamespace = '{namespace}'\nto = '10.9.0.0/16'\nvia = '{via}'\n")
        };
        let circle = route("red", "10.0.0.5") + &route("router", "10.0.0.1");
        assert_office_refused(&[(
            &circle,
            "14: packets to 10.9.0.0/16 would go in a circle: `red` -> `router` -> `red` (`routes[0]`)",
            "let one of them send it elsewhere",
        )]);
        office(&(circle + &rule("from = '10.0.0.0/24'\ntable = 7")));
    }
}

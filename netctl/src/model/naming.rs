//! The names of interfaces: those of the file, checked, and those that it leaves out.

use std::collections::BTreeSet;

use super::{IfName, Problem, error::Error};
use crate::spec::{self, KeyPath, Spec};

/// The interface name that the file gives at `path`.
pub(super) fn interface_name(name: &str, path: &KeyPath) -> Result<IfName, Error> {
    name.parse().map_err(|error| Error::new(path.clone(), Problem::Name(error)))
}

/// The bridge's end of a port: `veth-NAMESPACE-br` unless the file has a name for it.
pub(super) fn port_name(namespace: &str, port: &spec::Port, path: &KeyPath) -> Result<IfName, Error> {
    match &port.port {
        Some(name) => interface_name(name, &path.key("port")),
        None => format!("veth-{namespace}-br")
            .parse()
            .map_err(|error| Error::new(path.clone(), Problem::DefaultName { key: "port", error })),
    }
}

/// Hands out `eth0`, `eth1`, … to ends that the file has no name for, in the order of the file's bridges.
pub(super) struct InterfaceNames(BTreeSet<(String, String)>);

impl InterfaceNames {
    /// Knows the names that the file gives, which are not handed out again.
    pub(super) fn given(spec: &Spec) -> Self {
        let ports = spec.bridges.iter().flat_map(|(_, bridge)| &bridge.ports);
        let ports = ports.filter_map(|(namespace, port)| Some((namespace.clone(), port.interface.clone()?)));
        let bridges = spec.bridges.iter();
        let bridges = bridges.filter_map(|(name, bridge)| Some((bridge.namespace.clone()?, name.clone())));
        let ends = spec.cables.iter().flat_map(|cable| [&cable.a, &cable.b]);
        let ends = ends.map(|end| (end.namespace.clone(), end.interface.clone()));
        Self(ports.chain(bridges).chain(ends).collect())
    }

    /// The name of a namespace's end of a port.
    pub(super) fn name_end(
        &mut self,
        namespace: &str,
        port: &spec::Port,
        path: &KeyPath,
    ) -> Result<IfName, Error> {
        let path = path.key("interface");
        if let Some(name) = &port.interface {
            return interface_name(name, &path);
        }
        if namespace == "host" {
            return Err(Error::new(path, Problem::HostInterface));
        }
        let free =
            (0..).map(|n| (namespace.to_owned(), format!("eth{n}"))).find(|name| !self.0.contains(name));
        let (namespace, name) = free.unwrap_or_default();
        let parsed = interface_name(&name, &path);
        self.0.insert((namespace, name));
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::{assert_office_refused, assert_refused, office};

    #[test]
    fn a_name_left_out_is_the_next_eth_that_the_namespace_has_free() {
        let added = r#"
            [bridges.br1]
            namespace = "router"
            [bridges.br1.ports]
            red = { addresses = [], port = "r" }
            internet = { addresses = [], port = "i" }
            blue = { addresses = [], port = "b", interface = "eth1" }
            [bridges.br2]
            namespace = "router"
            [bridges.br2.ports]
            blue = { addresses = [], port = "p" }
            red = { addresses = [], port = "q" }
        "#;
        let ends: Vec<String> = office(added)
            .cables
            .iter()
            .map(|cable| format!("{}:{} {}", cable.b.place, cable.b.interface, cable.a.interface))
            .collect();
        assert_eq!(
            ends,
            [
                "red:eth0 veth-red-br",
                "blue:eth0 veth-blue-br",
                "red:eth1 r",
                "internet:eth1 i",
                "blue:eth1 b",
                "blue:eth2 p",
                "red:eth2 q",
                "internet:eth0 wan0",
            ]
        );
    }

    #[test]
    fn a_name_of_16_bytes_is_refused_with_its_length_and_the_limit() {
        assert_refused(&[
            (
                "\n[bridges.sixteen-bytes-xx]",
                "2: `sixteen-bytes-xx` is 16 bytes long, at most 15 are allowed (`bridges.sixteen-bytes-xx`)",
                "",
            ),
            (
                "[namespaces.a]\n[bridges.b.ports]\na = { addresses = [], port = 'sixteen-bytes-xx' }",
                "3: `sixteen-bytes-xx` is 16 bytes long, at most 15 are allowed (`bridges.b.ports.a.port`)",
                "",
            ),
            (
                "[namespaces.warehouse]\n[bridges.b.ports]\nwarehouse = { addresses = [] }",
                "3: no default for `port`: `veth-warehouse-br` is 17 bytes long, \
                 at most 15 are allowed (`bridges.b.ports.warehouse`)",
                "set `port = \"…\"` to a name of at most 15 bytes",
            ),
        ]);
    }

    #[test]
    fn a_name_that_the_kernel_would_not_take_is_refused() {
        assert_refused(&[
            (
                "[bridges.'a/b']",
                "1: `a/b` contains '/', which is not allowed in a name (`bridges.\"a/b\"`)",
                "",
            ),
            ("[bridges.lo]", "1: `lo` is the loopback interface of every namespace (`bridges.lo`)", ""),
            ("[bridges.all]", "1: `all` is reserved (`bridges.all`)", ""),
            ("name = 'a.b'", "1: `a.b` contains '.', which is not allowed in a name (`name`)", ""),
        ]);
    }

    #[test]
    fn the_host_keeps_its_eth0() {
        assert_office_refused(&[(
            "[bridges.br1]\nnamespace = 'red'\nports.host = { addresses = [] }",
            "16: `host` has interfaces of its own, so this one needs a name (`bridges.br1.ports.host.interface`)",
            "set `interface = \"…\"`",
        )]);
    }
}

//! Whole files and all that they come to.

use super::trial::{drawn, topology};
use crate::spec::QUICKSTART;

#[test]
fn the_quickstart() {
    assert_eq!(
        drawn(&topology(QUICKSTART)),
        "\
bridge router v-net-0 192.168.15.5/24 fd15::5/64
cable router veth-red-br in v-net-0 - red eth0 192.168.15.1/24 fd15::1/64
cable router veth-blue-br in v-net-0 - blue eth0 192.168.15.2/24 fd15::2/64
cable router wan0 203.0.113.1/24 2001:db8:113::1/64 - internet eth0 203.0.113.2/24 2001:db8:113::2/64
route red default via 192.168.15.5
route red default via fd15::5
route blue default via 192.168.15.5
route blue default via fd15::5
sysctl router net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
gateway router out wan0 in v-net-0
  masquerade 192.168.15.0/24 out wan0
  masquerade fd15::/64 out wan0
  forward 203.0.113.1:8080/tcp to 192.168.15.2:80
  forward [2001:db8:113::1]:8080/tcp to [fd15::2]:80
"
    );
}

/// A home network behind the router of a provider that translates once more, and a machine of the provider's.
#[test]
fn a_gateway_behind_a_gateway() {
    let text = "
        [namespaces.phone]
        count = 2
        [namespaces.home]
        [namespaces.provider]
        [namespaces.cache]
        [namespaces.internet]

        [bridges.lan]
        namespace = 'home'
        addresses = ['192.168.1.1/24']
        ports.phone = {}

        [bridges.access]
        namespace = 'provider'
        addresses = ['100.64.0.1/24']
        [bridges.access.ports]
        home = { interface = 'wan0' }
        cache = { default-route = false }

        [[cables]]
        a = { namespace = 'provider', interface = 'wan0', addresses = ['203.0.113.1/24'] }
        b = { namespace = 'internet', interface = 'eth0', addresses = ['203.0.113.2/24'] }

        [[nat.masquerade]]
        namespace = 'home'
        source = '192.168.1.0/24'
        [[nat.masquerade]]
        namespace = 'provider'
        source = '100.64.0.0/24'
        out = 'wan0'
        [[nat.forward]]
        namespace = 'provider'
        listen = '203.0.113.1:8080'
        to = '100.64.0.2'
        [[nat.forward]]
        namespace = 'home'
        listen = '8080'
        to = '192.168.1.2:80'";
    assert_eq!(
        drawn(&topology(text)),
        "\
bridge home lan 192.168.1.1/24
bridge provider access 100.64.0.1/24
cable home veth-phone-0-br in lan - phone-0 eth0 192.168.1.2/24
cable home veth-phone-1-br in lan - phone-1 eth0 192.168.1.3/24
cable provider veth-home-br in access - home wan0 100.64.0.2/24
cable provider veth-cache-br in access - cache eth0 100.64.0.3/24
cable provider wan0 203.0.113.1/24 - internet eth0 203.0.113.2/24
route phone-0 default via 192.168.1.1
route phone-1 default via 192.168.1.1
route home default via 100.64.0.1
sysctl home net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
sysctl provider net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
gateway home out wan0 in lan
  masquerade 192.168.1.0/24 out wan0
  forward 8080/tcp to 192.168.1.2:80
gateway provider out wan0 in access
  masquerade 100.64.0.0/24 out wan0
  forward 203.0.113.1:8080/tcp to 100.64.0.2:8080
"
    );
}

/// Bridges on the host and elsewhere; the host plugged in, cabled, and a gateway itself.
#[test]
fn the_host_among_its_namespaces() {
    let text = "
        [namespaces.red]
        [namespaces.blue]
        [namespaces.router]

        [bridges.the-hosts-own-network]
        addresses = ['10.1.0.1/24']
        [bridges.the-hosts-own-network.ports]
        red = {}
        router = { default-route = false }

        [bridges.inner]
        namespace = 'router'
        addresses = ['10.2.0.1/24', 'fd02::1/64']
        [bridges.inner.ports]
        blue = {}
        host = { interface = 'to-inner' }

        [[cables]]
        a = { namespace = 'host', interface = 'to-red', addresses = ['10.3.0.1/30'] }
        b = { namespace = 'red', interface = 'to-host', addresses = ['10.3.0.2/30'] }

        [[routes]]
        namespace = 'host'
        to = '10.2.1.0/24'
        via = '10.1.0.3'

        [[nat.masquerade]]
        namespace = 'host'
        source = '10.1.0.0/24'
        out = 'eth0'
        [[nat.masquerade]]
        namespace = 'router'
        source = '10.2.0.0/24'
        [[nat.forward]]
        namespace = 'host'
        listen = '10.3.0.1:80'
        to = '10.1.0.2'";
    assert_eq!(
        drawn(&topology(text)),
        "\
bridge host the-host-zzzzzz (the-hosts-own-network) 10.1.0.1/24
bridge router inner 10.2.0.1/24 fd02::1/64
cable host veth-red-br in the-host-f1kzxj - red eth0 10.1.0.2/24
cable host veth-router-br in the-host-f1kzxj - router eth0 10.1.0.3/24
cable router veth-blue-br in inner - blue eth0 10.2.0.2/24 fd02::2/64
cable router veth-host-br in inner - host to-inner 10.2.0.3/24 fd02::3/64
cable host to-red 10.3.0.1/30 - red to-host 10.3.0.2/30
route red default via 10.1.0.1
route blue default via 10.2.0.1
route blue default via fd02::1
route host 10.2.1.0/24 via 10.1.0.3
sysctl host net.ipv4.ip_forward=1
sysctl router net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
gateway host out eth0 in the-host-f1kzxj to-inner to-red
  masquerade 10.1.0.0/24 out eth0
  forward 10.3.0.1:80/tcp to 10.1.0.2:80
gateway router out eth0 in inner
  masquerade 10.2.0.0/24 out eth0
"
    );
}

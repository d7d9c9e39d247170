//! Which addresses an issuer may be at.
//!
//! Public addresses always; private ones only where the configuration says that the issuer is on a private network;
//! link-local, multicast, unspecified and reserved ones never: the metadata service of a cloud is there, and no
//! identity provider.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an issuer may be at `address`; `private` says whether it may be on a private network.
pub(super) fn is_reachable(address: IpAddr, private: bool) -> bool {
    match address {
        IpAddr::V4(address) => match reach_v4(address) {
            Reach::Public => true,
            Reach::Private => private,
            Reach::Never => false,
        },
        IpAddr::V6(address) => reach_v6(address, private),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Public,
    Private,
    Never,
}

/// By the registry of special-purpose IPv4 addresses (RFC 6890).
fn reach_v4(address: Ipv4Addr) -> Reach {
    let carrier_grade_nat = |octets: [u8; 4]| matches!(octets, [100, 64..=127, _, _]);
    if address.is_loopback() || address.is_private() || carrier_grade_nat(address.octets()) {
        return Reach::Private;
    }
    match address.octets() {
        [0 | 224..=255, ..] | [169, 254, ..] | [192, 0, 0 | 2, _] | [192, 88, 99, _] => Reach::Never,
        [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => Reach::Never,
        [..] => Reach::Public,
    }
}

/// Global unicast only. An address that wraps an IPv4 address (mapped, NAT64) is never public, because a name should not
/// resolve to it; on a private network the wrapped address counts.
fn reach_v6(address: Ipv6Addr, private: bool) -> bool {
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            private && reach_v4(Ipv4Addr::new(a, b, c, d)) != Reach::Never
        }
        [0, 0, 0, 0, 0, 0, 0, 1] | [0xfc00..=0xfdff, ..] => private,
        // Teredo and other protocol assignments, documentation, 6to4.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [0x2000..=0x3fff, ..] => true,
        [..] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_sorted_into_public_private_and_never() {
        let public = [
            "8.8.8.8",
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.32.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
        ];
        let private = [
            "127.0.0.1",
            "127.255.255.254",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "::1",
            "fc00::1",
            "fdff::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::10.0.0.1",
            "64:ff9b::8.8.8.8",
        ];
        let never = [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "::7f00:1",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::1",
            "100::1",
        ];
        let reachable = |address: &str, private| is_reachable(address.parse().unwrap(), private);
        for address in public {
            assert!(reachable(address, false) && reachable(address, true), "{address}");
        }
        for address in private {
            assert!(!reachable(address, false) && reachable(address, true), "{address}");
        }
        for address in never {
            assert!(!reachable(address, false) && !reachable(address, true), "{address}");
        }
    }
}

//! Ranges of addresses as coturn writes them (`a-b`, or one address), and prefixes that cover them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// All addresses of one family from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    v4: bool,
    first: u128,
    last: u128,
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

impl Range {
    /// Reads `a-b`, one address, or a prefix.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(net) = text.parse::<IpNet>() {
            return Self::new(net.network(), net.broadcast());
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Self::new(first.trim().parse().ok()?, last.trim().parse().ok()?)
    }

    fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        let range = Self { v4: first.is_ipv4(), first: number(first), last: number(last) };
        (first.is_ipv4() == last.is_ipv4() && range.first <= range.last).then_some(range)
    }

    /// What is left of it without another one.
    fn without(self, other: &Self) -> Vec<Self> {
        if self.v4 != other.v4 || other.last < self.first || self.last < other.first {
            return vec![self];
        }
        let below =
            other.first.checked_sub(1).filter(|last| *last >= self.first).map(|last| Self { last, ..self });
        let above =
            other.last.checked_add(1).filter(|first| *first <= self.last).map(|first| Self { first, ..self });
        below.into_iter().chain(above).collect()
    }

    /// The fewest prefixes that cover it and nothing else.
    pub(super) fn prefixes(self) -> Vec<IpNet> {
        let bits: u32 = if self.v4 { 32 } else { 128 };
        let mut nets = Vec::new();
        let mut first = self.first;
        loop {
            // As large as the start is aligned, and as what is left allows.
            let aligned = first.trailing_zeros().min(bits);
            let left = (self.last - first).checked_add(1).map_or(128, u128::ilog2);
            let free = aligned.min(left);
            nets.extend(self.net(first, bits - free));
            let next = 1_u128.checked_shl(free).and_then(|step| first.checked_add(step));
            match next.filter(|next| *next <= self.last) {
                Some(next) => first = next,
                None => return nets,
            }
        }
    }

    fn net(self, first: u128, length: u32) -> Option<IpNet> {
        let length = u8::try_from(length).ok()?;
        if self.v4 {
            let address = Ipv4Addr::from(u32::try_from(first).ok()?);
            Ipv4Net::new(address, length).ok().map(IpNet::V4)
        } else {
            Ipv6Net::new(Ipv6Addr::from(first), length).ok().map(IpNet::V6)
        }
    }
}

/// What of the denied ranges is denied, where an allowed one wins: coturn asks the allowed ones first,
/// and here a denial wins.
pub(super) fn denied(denied: &[Range], allowed: &[Range]) -> Vec<Range> {
    let subtract = |left: Vec<Range>, allowed: &Range| -> Vec<Range> {
        left.into_iter().flat_map(|range| range.without(allowed)).collect()
    };
    allowed.iter().fold(denied.to_vec(), subtract)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(text: &str) -> Vec<String> {
        Range::parse(text).unwrap().prefixes().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ranges_become_the_fewest_prefixes() {
        assert_eq!(prefixes("83.166.64.0-83.166.95.255"), ["83.166.64.0/19"]);
        assert_eq!(prefixes("83.166.68.45"), ["83.166.68.45/32"]);
        assert_eq!(
            prefixes("10.0.0.1 - 10.0.0.6"),
            ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"]
        );
        assert_eq!(prefixes("0.0.0.0-255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(prefixes("255.255.255.254-255.255.255.255"), ["255.255.255.254/31"]);
        assert_eq!(prefixes("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["::/0"]);
        assert_eq!(prefixes("fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["fc00::/7"]);
        assert_eq!(prefixes("2001:db8::1-2001:db8::2"), ["2001:db8::1/128", "2001:db8::2/128"]);
        assert_eq!(prefixes("10.0.0.0/8"), ["10.0.0.0/8"]);
        for bad in ["", "-", "10.0.0.2-10.0.0.1", "10.0.0.1-::1", "10.0.0", "a-b"] {
            assert_eq!(Range::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_allowed_is_cut_out_of_what_is_denied() {
        let parse = |texts: &[&str]| texts.iter().map(|text| Range::parse(text).unwrap()).collect::<Vec<_>>();
        let left =
            denied(&parse(&["10.0.0.0-10.0.0.255", "::1"]), &parse(&["10.0.0.0", "10.0.0.9-10.0.1.0"]));
        assert_eq!(left, parse(&["10.0.0.1-10.0.0.8", "::1"]));
        assert!(denied(&parse(&["10.0.0.0/24"]), &parse(&["0.0.0.0/0"])).is_empty());
    }
}

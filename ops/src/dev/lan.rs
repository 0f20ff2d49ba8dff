//! Serving phones on the LAN: which address, and a certificate that they can trust.

use std::net::IpAddr;

use anyhow::{Result, bail};
use chappe_edge::CertificateFiles;
use ipnet::IpNet;

use super::lan_ca::LanCa;
use crate::files::{self, Dir};

/// The LAN that is served.
#[derive(Debug)]
pub(crate) struct Lan {
    /// This machine's address there.
    pub(crate) address: IpAddr,
    /// The whole of it: its hosts are allowed as peers.
    pub(crate) network: IpNet,
}

/// A certificate for the LAN address, and the CA that made it.
pub(crate) struct LanFiles {
    pub(crate) files: CertificateFiles,
    pub(crate) ca_pem: String,
}

impl Lan {
    /// The LAN of the address asked for, or the only one that there is.
    pub(crate) fn find(asked: Option<IpAddr>) -> Result<Self> {
        let lans: Vec<Self> = if_addrs::get_if_addrs()?
            .into_iter()
            .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
            .filter_map(|interface| {
                let (address, prefix) = match interface.addr {
                    if_addrs::IfAddr::V4(v4) => (IpAddr::V4(v4.ip), v4.prefixlen),
                    if_addrs::IfAddr::V6(v6) => (IpAddr::V6(v6.ip), v6.prefixlen),
                };
                Some(Self { address, network: IpNet::new(address, prefix).ok()?.trunc() })
            })
            .collect();
        let known = || lans.iter().map(|lan| lan.address.to_string()).collect::<Vec<_>>().join(", ");
        if let Some(asked) = asked {
            let all = known();
            return match lans.into_iter().find(|lan| lan.address == asked) {
                Some(lan) => Ok(lan),
                None => bail!("--lan-ip {asked} is no address of this machine; it has: {all}"),
            };
        }
        let all = known();
        let mut v4: Vec<Self> = lans.into_iter().filter(|lan| lan.address.is_ipv4()).collect();
        match (v4.pop(), v4.is_empty()) {
            (Some(lan), true) => Ok(lan),
            (None, _) => bail!("--lan: this machine has no IPv4 address on a network; give one by --lan-ip"),
            (Some(_), false) => {
                bail!("--lan: this machine has several addresses: choose one by --lan-ip ({all})")
            }
        }
    }

    /// A certificate for the address and the name, made anew at each start by a CA that stays.
    pub(crate) fn certificate(&self, dir: &Dir, hostname: Option<&str>) -> Result<LanFiles> {
        let authority = LanCa::open(&dir.subdirectory("lan-ca")?)?;
        let (certificate, key) = authority.https(self.address, hostname)?;
        let at = CertificateFiles { chain: dir.join("lan.pem"), key: dir.join("lan.key") };
        files::write(&at.key, &key, 0o600)?;
        files::write(&at.chain, &certificate, 0o644)?;
        Ok(LanFiles { files: at, ca_pem: authority.pem })
    }
}

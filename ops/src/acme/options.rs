//! The options of certificates by ACME, for nodes and edges alike.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use chappe_proto::limits::ACME_NAMES_MAX;

use super::connect;
use super::order::{Kind, Order};

/// What the options stand under in `--help`.
pub(crate) const HEADING: &str = "Certificates by ACME";
/// Let's Encrypt, for certificates that everybody trusts.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

#[derive(Debug, Clone, clap::Args)]
#[group(skip)] // its name would be another one's too
pub(crate) struct Options {
    /// Get the certificate from an authority by ACME (RFC 8555), for this name, which must resolve to this
    /// machine alone; may be repeated. It is renewed by itself, without dropping anyone.
    #[arg(
        help_heading = HEADING, id = "acme_hostname",
        long = "acme-hostname",
        value_name = "NAME",
        env = "CHAPPE_ACME_HOSTNAME",
        value_delimiter = ',',
        value_parser = hostname,
        group = "certified"
    )]
    pub(crate) hostnames: Vec<String>,
    /// Agree to the authority's terms of service.
    #[arg(help_heading = HEADING, id = "acme_agree", long = "acme-agree", env = "CHAPPE_ACME_AGREE", requires = "acme_hostname")]
    agree: bool,
    /// Where the authority may write to about the account.
    #[arg(
        help_heading = HEADING, id = "acme_email", long = "acme-email",
        value_name = "ADDRESS",
        env = "CHAPPE_ACME_EMAIL",
        requires = "acme_hostname"
    )]
    email: Option<String>,
    /// The authority's directory.
    #[arg(
        help_heading = HEADING, id = "acme_directory", long = "acme-directory",
        value_name = "URL",
        env = "CHAPPE_ACME_DIRECTORY",
        default_value = LETS_ENCRYPT
    )]
    directory: String,
    /// The certificates that the directory's own is checked by (PEM), in place of the web's: those of a private
    /// authority.
    #[arg(help_heading = HEADING, id = "acme_root", long = "acme-root", value_name = "FILE", env = "CHAPPE_ACME_ROOT", requires = "acme_hostname")]
    root: Option<PathBuf>,
    /// How the names are proved, in order of preference: each failure tries the next. Those whose port is
    /// listened on where it is left out: the authority connects to port 443 for TLS-ALPN-01, and to port 80 for
    /// HTTP-01.
    #[arg(
        help_heading = HEADING, id = "acme_challenge", long = "acme-challenge",
        value_name = "KIND",
        env = "CHAPPE_ACME_CHALLENGE",
        value_delimiter = ',',
        requires = "acme_hostname"
    )]
    challenge: Vec<Kind>,
    /// Answer HTTP-01 challenges, and nothing else, on a listener of their own, as 0.0.0.0:80; may be repeated.
    #[arg(
        help_heading = HEADING, id = "acme_http", long = "acme-http",
        value_name = "IP:PORT",
        env = "CHAPPE_ACME_HTTP",
        value_delimiter = ',',
        requires = "acme_hostname"
    )]
    pub(super) http: Vec<SocketAddr>,
}

/// The ports of what answers challenges besides `--acme-http`.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    /// Of listeners of plain HTTP.
    pub(crate) http: Vec<u16>,
    /// Of listeners of TLS.
    pub(crate) tls: Vec<u16>,
}

/// A name of the DNS, in lower case. No authority proves a wildcard by these challenges.
fn hostname(text: &str) -> Result<String, String> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if name.len() <= 253 && name.split('.').all(label) && !numeric {
        Ok(name)
    } else {
        Err(format!("{text:?} is no hostname, as turn.example.org: addresses and wildcards cannot be proved"))
    }
}

impl Options {
    /// What is to be ordered, where something is.
    pub(super) fn order(&self, ports: &Ports) -> Result<Option<Order>> {
        if self.hostnames.is_empty() {
            return Ok(None);
        }
        if !self.agree {
            bail!("an authority gives certificates to those who agree to its terms of service: --acme-agree");
        }
        if self.hostnames.len() > ACME_NAMES_MAX {
            bail!(
                "{} names are too many for one certificate: at most {ACME_NAMES_MAX}",
                self.hostnames.len()
            );
        }
        if !self.directory.starts_with("https://") {
            bail!("--acme-directory {} is no https:// URL", self.directory);
        }
        let mut names = Vec::new();
        for name in &self.hostnames {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        Ok(Some(Order {
            names,
            email: self.email.clone(),
            directory: self.directory.clone(),
            roots: connect::roots(self.root.as_deref())?,
            kinds: self.kinds(ports)?,
        }))
    }

    fn kinds(&self, ports: &Ports) -> Result<Vec<Kind>> {
        let http = !ports.http.is_empty() || !self.http.is_empty();
        for (kind, can, with) in [
            (Kind::TlsAlpn01, !ports.tls.is_empty(), "a listener of TLS"),
            (Kind::Http01, http, "--acme-http IP:80"),
        ] {
            if self.challenge.contains(&kind) && !can {
                bail!("--acme-challenge {kind} needs {with}");
            }
        }
        if !self.challenge.is_empty() {
            return Ok(self.challenge.clone());
        }
        let on_80 = ports.http.contains(&80) || self.http.iter().any(|at| at.port() == 80);
        let on_443 = ports.tls.contains(&443);
        let kinds = [(Kind::TlsAlpn01, on_443), (Kind::Http01, on_80)];
        let kinds: Vec<_> = kinds.into_iter().filter(|(_, can)| *can).map(|(kind, _)| kind).collect();
        if kinds.is_empty() {
            bail!(
                "the authority connects to port 443 or port 80 of each name, and nothing listens on either: \
                 listen for TLS on 443 or give --acme-http 0.0.0.0:80; where a port is forwarded to another one \
                 here, say by --acme-challenge tls-alpn-01 or http-01 which"
            );
        }
        Ok(kinds)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(line: &str) -> Options {
        Line::try_parse_from(line.split(' ')).unwrap().options
    }

    const NAME: &str = "edge --acme-hostname a.example.org --acme-agree";

    #[test]
    fn nothing_is_ordered_unless_a_name_is_given() {
        assert!(options("edge").order(&Ports::default()).unwrap().is_none());
    }

    #[test]
    fn challenges_are_those_whose_ports_are_listened_on() {
        let kinds = |line: &str, http: &[u16], tls: &[u16]| {
            let ports = Ports { http: http.to_vec(), tls: tls.to_vec() };
            options(line).order(&ports).map(|order| order.unwrap().kinds).map_err(|error| error.to_string())
        };
        assert_eq!(kinds(NAME, &[8080], &[443]), Ok(vec![Kind::TlsAlpn01]));
        assert_eq!(kinds(NAME, &[80], &[443, 8443]), Ok(vec![Kind::TlsAlpn01, Kind::Http01]));
        let own = format!("{NAME} --acme-http 0.0.0.0:80");
        assert_eq!(kinds(&own, &[], &[8443]), Ok(vec![Kind::Http01]));
        let said = format!("{NAME} --acme-challenge http-01,tls-alpn-01");
        assert_eq!(kinds(&said, &[8080], &[8443]), Ok(vec![Kind::Http01, Kind::TlsAlpn01]));
        assert!(kinds(NAME, &[8080], &[8443]).unwrap_err().contains("port 443 or port 80"));
        assert!(kinds(&said, &[], &[8443]).unwrap_err().contains("needs --acme-http"));
        assert!(kinds(&said, &[80], &[]).unwrap_err().contains("needs a listener of TLS"));
    }

    #[test]
    fn terms_are_agreed_to_by_the_operator_alone() {
        let told = |line: &str| {
            let ports = Ports { http: vec![80], tls: vec![] };
            options(line).order(&ports).err().unwrap().to_string()
        };
        assert!(told("edge --acme-hostname a.example.org").contains("--acme-agree"));
        assert!(told(&format!("{NAME} --acme-directory http://a")).contains("https://"));
        assert!(told(&format!("{NAME} --acme-root /nowhere")).contains("/nowhere"));
    }

    #[test]
    fn names_are_those_that_an_authority_can_prove() {
        assert_eq!(hostname("Turn.Example.org."), Ok("turn.example.org".to_owned()));
        for bad in ["", "a..b", "-a.org", "a_b.org", "*.example.org", "203.0.113.7", "::1", "a b.org"] {
            assert!(hostname(bad).is_err(), "{bad}");
        }
    }
}

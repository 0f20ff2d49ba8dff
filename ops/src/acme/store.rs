//! What is kept of ACME: the account, the certificate with its key, and what they are of. All files are their
//! owner's alone to read.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use instant_acme::{AccountCredentials, CertificateIdentifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, Der, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use x509_parser::extensions::ParsedExtension;
use x509_parser::parse_x509_certificate;

use super::order::Order;
use super::schedule::{Unix, Validity};
use crate::files::write_private;

/// The files.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    /// Of this directory's authority.
    account: PathBuf,
}

/// What the certificate is of: another order gets another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Issued {
    pub(super) directory: String,
    pub(super) names: Vec<String>,
    /// When it was given.
    pub(super) given: Unix,
}

/// An authority is not asked before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limited {
    pub(super) directory: String,
    /// For these names: most limits are of a set of names.
    #[serde(default)]
    pub(super) names: Vec<String>,
    pub(super) until: Unix,
    pub(super) why: String,
}

/// The certificate that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) validity: Validity,
    pub(super) given: Unix,
    /// As its authority calls it when it is asked about renewal (RFC 9773 section 4.1).
    pub(super) id: Option<CertificateIdentifier<'static>>,
}

impl Store {
    /// Makes the directory where it is missing.
    pub(super) fn open(dir: &Path, order: &Order) -> Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.with_context(|| format!("{} cannot be made", dir.display()))?;
        let url = order.directory.trim_start_matches("https://");
        let plain = |char: char| if char.is_ascii_alphanumeric() || char == '.' { char } else { '-' };
        let name: String = url.chars().map(plain).take(100).collect();
        Ok(Self { account: dir.join(format!("account-{name}.json")), dir: dir.to_owned() })
    }

    /// The chain and its key, in one file: both change at once.
    pub(super) fn certificate(&self) -> PathBuf {
        self.dir.join("certificate.pem")
    }

    /// The account, where there is one.
    pub(super) fn account(&self) -> Result<Option<AccountCredentials>> {
        read(&self.account)
    }

    /// Keeps an account.
    pub(super) fn keep_account(&self, account: &AccountCredentials) -> Result<()> {
        write_private(&self.account, &serde_json::to_string(account)?)
    }

    /// Forgets the account, which its authority does not know any more.
    pub(super) fn forget_account(&self) {
        // What stays is tried again.
        let _ = fs::remove_file(&self.account);
    }

    /// Keeps a certificate: a chain and its private key, in PEM.
    pub(super) fn keep(&self, order: &Order, chain: &str, key: &str, given: Unix) -> Result<()> {
        let pem = format!("{}\n{}\n", key.trim(), chain.trim());
        parse(pem.as_bytes(), given).context("what the authority gave is no certificate")?;
        write_private(&self.certificate(), &pem)?;
        let issued = Issued { directory: order.directory.clone(), names: order.names.clone(), given };
        write_private(&self.dir.join("issued.json"), &serde_json::to_string(&issued)?)
    }

    /// The certificate of an order, where it is kept.
    pub(super) fn kept(&self, order: &Order) -> Result<Option<Kept>> {
        let Some(issued) = read::<Issued>(&self.dir.join("issued.json"))? else { return Ok(None) };
        if issued.directory != order.directory || !same(&issued.names, &order.names) {
            return Ok(None);
        }
        match fs::read(self.certificate()) {
            Ok(pem) => parse(&pem, issued.given).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(error).with_context(|| format!("{} cannot be read", self.certificate().display()))
            }
        }
    }

    /// Until when an authority is not asked.
    pub(super) fn limited(&self, order: &Order) -> Result<Option<Limited>> {
        let limited = read::<Limited>(&self.dir.join("limited.json"))?;
        let of =
            |limited: &Limited| limited.directory == order.directory && same(&limited.names, &order.names);
        Ok(limited.filter(of))
    }

    /// Keeps until when that is, for starts to come.
    pub(super) fn keep_limited(&self, limited: &Limited) -> Result<()> {
        write_private(&self.dir.join("limited.json"), &serde_json::to_string(limited)?)
    }
}

/// Whether these are the same names, in any order.
fn same(these: &[String], those: &[String]) -> bool {
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    sorted(these) == sorted(those)
}

/// Reads a file, where it is there.
fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| {
            format!("{} is not what it should be: remove it, and another is made", path.display())
        })?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// Reads what is kept: the leaf tells until when it is good, and by which name its authority knows it.
fn parse(pem: &[u8], given: Unix) -> Result<Kept> {
    PrivateKeyDer::from_pem_slice(pem).context("there is no private key")?;
    let leaf = CertificateDer::from_pem_slice(pem).context("there is no certificate")?;
    let (_, read) = parse_x509_certificate(&leaf).context("the first certificate cannot be read")?;
    let second = |time: &x509_parser::time::ASN1Time| Unix::try_from(time.timestamp()).unwrap_or(0);
    let from = second(&read.validity().not_before);
    let validity = Validity { from, until: second(&read.validity().not_after) };
    let authority = read.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(authority) => authority.key_identifier.as_ref(),
        _ => None,
    });
    let id = authority.map(|authority| {
        CertificateIdentifier::new(Der::from_slice(authority.0), Der::from_slice(read.raw_serial()))
            .into_owned()
    });
    Ok(Kept { validity, given, id })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustls::RootCertStore;

    use super::*;

    fn order(directory: &str, names: &[&str]) -> Order {
        Order {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            email: None,
            directory: directory.to_owned(),
            roots: RootCertStore::empty(),
            kinds: Vec::new(),
        }
    }

    #[test]
    fn a_certificate_is_kept_of_its_order_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let ours = order("https://ca.test:14000/dir", &["a.test", "b.test"]);
        let store = Store::open(&dir.path().join("acme"), &ours).unwrap();
        assert!(store.kept(&ours).unwrap().is_none());
        let made = rcgen::generate_simple_self_signed(ours.names.clone()).unwrap();
        store.keep(&ours, &made.cert.pem(), &made.signing_key.serialize_pem(), 7).unwrap();
        assert_eq!(store.kept(&ours).unwrap().unwrap().given, 7);
        let turned = order(&ours.directory, &["b.test", "a.test"]);
        assert!(store.kept(&turned).unwrap().is_some(), "names have no order");
        assert!(store.kept(&order(&ours.directory, &["a.test"])).unwrap().is_none());
        assert!(store.kept(&order("https://other.test", &["a.test", "b.test"])).unwrap().is_none());
        for entry in fs::read_dir(dir.path().join("acme")).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        }
        assert!(store.account.ends_with("account-ca.test-14000-dir.json"));
    }

    #[test]
    fn a_limit_holds_up_its_own_names_alone() {
        let dir = tempfile::tempdir().unwrap();
        let ours = order("https://ca.test/dir", &["a.test", "b.test"]);
        let store = Store::open(dir.path(), &ours).unwrap();
        let (directory, names) = (ours.directory.clone(), ours.names.clone());
        store.keep_limited(&Limited { directory, names, until: 7, why: String::new() }).unwrap();
        let until = |order: &Order| store.limited(order).unwrap().map(|limited| limited.until);
        assert_eq!(until(&order(&ours.directory, &["b.test", "a.test"])), Some(7));
        assert_eq!(until(&order(&ours.directory, &["b.test"])), None);
        assert_eq!(until(&order("https://other.test", &["a.test", "b.test"])), None);
    }

    #[test]
    fn what_is_no_certificate_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let ours = order("https://ca.test/dir", &["a.test"]);
        let store = Store::open(dir.path(), &ours).unwrap();
        assert!(store.keep(&ours, "nothing", "nothing", 7).is_err());
        assert!(!store.certificate().exists());
        fs::write(dir.path().join("issued.json"), "{").unwrap();
        let told = format!("{:#}", store.kept(&ours).unwrap_err());
        assert!(told.contains("remove it"), "{told}");
    }
}

//! One order of RFC 8555: account, order, proofs, certificate.

use std::fmt;
use std::time::Duration;

use chappe_proto::limits::ACME_ISSUED_WITHIN;
use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Identifier, NewAccount, NewOrder,
    OrderStatus, RetryPolicy,
};
use rustls::RootCertStore;

use super::Answers;
use super::connect::{Https, Said};
use super::failure::Failure;
use super::store::Store;

/// The first pause between two looks at an order.
const LOOK_FIRST: Duration = Duration::from_millis(250);
/// By which each further one is longer.
const LOOK_SLOWER: f32 = 1.5;

/// How a name is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// By a file at port 80 (RFC 8555 section 8.3).
    #[value(name = "http-01")]
    Http01,
    /// By a certificate at port 443 (RFC 8737).
    #[value(name = "tls-alpn-01")]
    TlsAlpn01,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        })
    }
}

impl Kind {
    /// The port that an authority connects to.
    pub(super) const fn port(self) -> u16 {
        match self {
            Self::Http01 => 80,
            Self::TlsAlpn01 => 443,
        }
    }

    const fn of_acme(self) -> ChallengeType {
        match self {
            Self::Http01 => ChallengeType::Http01,
            Self::TlsAlpn01 => ChallengeType::TlsAlpn01,
        }
    }
}

/// What is ordered, and of whom.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// At least one, each once.
    pub(super) names: Vec<String>,
    pub(super) email: Option<String>,
    /// The URL of the authority's directory.
    pub(super) directory: String,
    /// What the directory's own certificate is checked by.
    pub(super) roots: RootCertStore,
    /// How names are proved, best first; at least one.
    pub(super) kinds: Vec<Kind>,
}

/// A chain and its private key, in PEM.
pub(super) struct Given {
    pub(super) chain: String,
    pub(super) key: String,
}

/// Answers no challenge any more when it is dropped.
struct Closing<'a>(&'a Answers);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Order {
    /// The account at the authority: the one that is kept, or a new one.
    pub(super) async fn account(&self, store: &Store, said: &Said) -> Result<Account, Failure> {
        let builder = Account::builder_with_http(Box::new(Https::new(self.roots.clone(), said.clone())?));
        let failed = |error| Failure::of("no account at the authority", &error);
        if let Some(known) = store.account()? {
            return builder.from_credentials(known).await.map_err(failed);
        }
        let contact: Vec<String> = self.email.iter().map(|email| format!("mailto:{email}")).collect();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) =
            builder.create(&new, self.directory.clone(), None).await.map_err(failed)?;
        store.keep_account(&credentials)?;
        Ok(account)
    }

    /// Gets a certificate, each name proved by `kind`. It replaces the one that the authority knows as
    /// `replaces`, where it has said when to renew that.
    pub(super) async fn certificate(
        &self,
        account: &Account,
        kind: Kind,
        replaces: Option<CertificateIdentifier<'static>>,
        answers: &Answers,
    ) -> Result<Given, Failure> {
        let names: Vec<_> = self.names.iter().cloned().map(Identifier::Dns).collect();
        let mut order = open(account, &names, replaces).await?;
        let closing = Closing(answers);
        prove(&mut order, kind, answers).await?;
        let patience =
            RetryPolicy::new().initial_delay(LOOK_FIRST).backoff(LOOK_SLOWER).timeout(ACME_ISSUED_WITHIN);
        let ready = order.poll_ready(&patience).await;
        if !matches!(ready, Ok(OrderStatus::Ready)) {
            if let Some(failure) = unproved(&mut order, kind).await {
                return Err(failure);
            }
            return Err(match ready {
                Err(error) => Failure::of("the names are not proved", &error),
                Ok(status) => format!("the names are not proved: the order is {status:?}").into(),
            });
        }
        drop(closing);
        let failed = |error| Failure::of("no certificate of names that are proved", &error);
        let key = order.finalize().await.map_err(failed)?;
        let chain = order.poll_certificate(&patience).await.map_err(failed)?;
        Ok(Given { chain, key })
    }
}

/// Opens an order.
async fn open(
    account: &Account,
    names: &[Identifier],
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<instant_acme::Order, Failure> {
    let failed = |error| Failure::of("the authority takes no order", &error);
    if let Some(replaces) = replaces {
        match account.new_order(&NewOrder::new(names).replaces(replaces)).await.map_err(failed) {
            Ok(order) => return Ok(order),
            Err(failure) if failure.limited || failure.stranger => return Err(failure),
            // It may know that one no more, or as replaced (RFC 9773 section 5): it is a hint.
            Err(failure) => tracing::debug!(why = failure.text, "the order replaces nothing"),
        }
    }
    account.new_order(&NewOrder::new(names)).await.map_err(failed)
}

/// Answers the challenge of each name that is not proved already.
async fn prove(order: &mut instant_acme::Order, kind: Kind, answers: &Answers) -> Result<(), Failure> {
    let failed = |error| Failure::of("the names cannot be proved", &error);
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(failed)?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let Some(mut challenge) = authorization.challenge(kind.of_acme()) else {
            return Err(format!(
                "the authority does not prove {name} by {kind}: try another --acme-challenge"
            )
            .into());
        };
        let proof = challenge.key_authorization();
        match kind {
            Kind::Http01 => answers.open_http(&challenge.token, proof.as_str()),
            Kind::TlsAlpn01 => answers.open_tls(&name, proof.digest().as_ref())?,
        }
        challenge.set_ready().await.map_err(failed)?;
    }
    Ok(())
}

/// The first name that the authority has found not to be proved, and why.
async fn unproved(order: &mut instant_acme::Order, kind: Kind) -> Option<Failure> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        if let Some(problem) =
            authorization.challenge(kind.of_acme()).and_then(|challenge| challenge.error.clone())
        {
            return Some(Failure::unproved(&name, kind, &problem));
        }
    }
    None
}

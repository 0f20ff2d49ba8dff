//! Whether a provider can be used as it is set up, tried before anybody needs it.

use chappe_proto::registry::access::Provider;

use super::denied::Denied;
use super::directory::{discover, fetch_keys};
use crate::cluster::Cluster;

/// What came of it.
pub(crate) struct Trial {
    /// Whether people can log in by it, as far as that can be told.
    pub(crate) fine: bool,
    /// What is wrong, and what to know.
    pub(crate) says: Vec<String>,
}

/// Asks a provider for what a login needs of it, and shows it the secret, where there is one, with a code that is
/// none.
pub(crate) async fn trial(cluster: &dyn Cluster, provider: &Provider) -> Trial {
    let (plan, mut says) = (&provider.plan, Vec::new());
    let wrong = |words: String| Trial { fine: false, says: vec![words] };
    let metadata = match discover(cluster, &plan.issuer).await {
        Ok(metadata) => metadata,
        Err(words) => return wrong(format!("The issuer: {words}.")),
    };
    if let Err(words) = fetch_keys(cluster, &metadata).await {
        return wrong(format!("Its keys: {words}."));
    }
    if !provider.secret.0.is_empty() {
        match super::try_secret(cluster, provider, &metadata).await {
            Ok(()) => {}
            Err(Denied::OwnSecret) => {
                return wrong("It does not take this client id with this secret: compare both.".to_owned());
            }
            Err(denied) => return wrong(format!("Its token endpoint: {denied}.")),
        }
    }
    if let Some(scope) = metadata.lacks(&plan.scopes) {
        says.push(format!("It does not list the scope {scope:?}, and may refuse logins that ask for it."));
    }
    if plan.everybody.is_some() && plan.domain.is_none() {
        says.push(
            "Whoever has an account there comes in: give a domain of mail, unless all of them may."
                .to_owned(),
        );
    }
    Trial { fine: true, says }
}

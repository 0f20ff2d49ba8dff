//! The loop: a certificate is got when there is none, or when it is time, and again after failures.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chappe_cluster::clock;
use chappe_proto::limits::ACME_INFO_EVERY;

use super::Answers;
use super::connect::Said;
use super::failure::Failure;
use super::order::Order;
use super::schedule::{Dice, Unix, pause, renewal};
use super::store::{Kept, Limited, Store};

/// What is got and renewed.
pub(super) struct Renewing {
    pub(super) order: Order,
    pub(super) store: Store,
    pub(super) answers: Arc<Answers>,
}

/// How a certificate that is kept stands with its authority.
#[derive(Default)]
struct Suggested {
    window: Option<(Unix, Unix)>,
    /// When the authority is asked again.
    again: Unix,
}

fn now() -> Unix {
    clock::unix().secs()
}

fn dice() -> Dice {
    Dice(u64::from(u16::from_le_bytes(clock::random())) * 1000 / u64::from(u16::MAX))
}

impl Renewing {
    /// Gets certificates and renews them.
    pub(super) async fn run(self) -> Infallible {
        self.wait_for_limit().await;
        // The kind of challenge stays what has worked; each failure tries the next.
        let (mut failures, mut kind) = (0, 0);
        loop {
            let kept = self.kept();
            let replaces = match &kept {
                Some(kept) => self.wait_for_renewal(kept).await,
                None => false,
            };
            match self.attempt(kind, kept.as_ref().filter(|_| replaces)).await {
                Ok(()) => failures = 0,
                Err(failure) => {
                    failures += 1;
                    kind += 1;
                    self.fail(&failure, failures, kept.as_ref()).await;
                }
            }
        }
    }

    /// The certificate of this order. One that cannot be read is got anew.
    fn kept(&self) -> Option<Kept> {
        self.store.kept(&self.order).unwrap_or_else(|error| {
            tracing::warn!(error = format!("{error:#}"), "the certificate that is kept is no good");
            None
        })
    }

    /// Waits out what the authority said before this start.
    async fn wait_for_limit(&self) {
        let Ok(Some(limited)) = self.store.limited(&self.order) else { return };
        let left = limited.until.saturating_sub(now());
        if left > 0 {
            self.answers.tell(Some(format!("{}; asked again in {}", limited.why, told(left))));
            tracing::warn!(why = limited.why, "no certificate is asked for before {}", told(left));
            sleep_until(limited.until).await;
        }
    }

    /// Waits until the certificate is due. Answers whether its authority says when to renew.
    async fn wait_for_renewal(&self, kept: &Kept) -> bool {
        let dice = dice();
        let mut suggested = Suggested::default();
        loop {
            if suggested.again <= now() && renewal(kept.given, kept.validity, suggested.window, dice) > now()
            {
                suggested = self.suggested(kept).await;
            }
            let due = renewal(kept.given, kept.validity, suggested.window, dice);
            if due <= now() {
                return suggested.window.is_some();
            }
            sleep_until(due.min(suggested.again)).await;
        }
    }

    /// When the authority suggests to renew. Many have no opinion.
    async fn suggested(&self, kept: &Kept) -> Suggested {
        let again = now() + ACME_INFO_EVERY.as_secs();
        let Some(id) = &kept.id else { return Suggested { window: None, again } };
        let said = Said::default();
        let Ok(account) = self.order.account(&self.store, &said).await else {
            return Suggested { window: None, again };
        };
        match account.renewal_info(id).await {
            Ok((info, wait)) => {
                let at = |time: i64| Unix::try_from(time).unwrap_or(0);
                let window = info.suggested_window;
                let window = (at(window.start.unix_timestamp()), at(window.end.unix_timestamp()));
                let again = now() + wait.as_secs().clamp(60, 24 * 3600);
                Suggested { window: Some(window), again }
            }
            Err(error) => {
                tracing::debug!(%error, "the authority does not say when to renew");
                Suggested { window: None, again }
            }
        }
    }

    /// One order, by the nth kind of challenge.
    async fn attempt(&self, nth: usize, replaces: Option<&Kept>) -> Result<(), Failure> {
        let kinds = &self.order.kinds;
        let Some(kind) = kinds.get(nth % kinds.len().max(1)).copied() else {
            return Err("nothing here answers challenges".to_owned().into());
        };
        let said = Said::default();
        let ordered = async {
            let account = self.order.account(&self.store, &said).await?;
            let replaces = replaces.and_then(|kept| kept.id.clone());
            self.order.certificate(&account, kind, replaces, &self.answers).await
        };
        let given = ordered.await.map_err(|failure| Failure { retry_after: said.take(), ..failure })?;
        self.store.keep(&self.order, &given.chain, &given.key, now())?;
        self.answers.tell(None);
        let until = self.kept().map_or(0, |kept| kept.validity.until.saturating_sub(now()));
        let names = self.order.names.join(", ");
        tracing::info!(names, by = %kind, "the authority gave a certificate, good for {}", told(until));
        Ok(())
    }

    /// Tells of a failure, and waits until the next attempt.
    async fn fail(&self, failure: &Failure, failures: u32, kept: Option<&Kept>) {
        if failure.stranger {
            self.store.forget_account();
        }
        // Only with a limit: an order that is looked at too often is not what the next one must wait for.
        let said = failure.retry_after.filter(|_| failure.limited);
        let wait = pause(failures, said, dice());
        let next = now() + wait.as_secs().max(1);
        let why = match kept.map(|kept| kept.validity.until.saturating_sub(now())) {
            Some(0) => format!("the certificate has expired: {}", failure.text),
            Some(left) => {
                format!("the certificate, good for {} more, is not renewed: {}", told(left), failure.text)
            }
            None => failure.text.clone(),
        };
        self.answers.tell(Some(why.clone()));
        tracing::error!(
            names = self.order.names.join(", "),
            "no new certificate: {why}; tried again in {}",
            told(wait.as_secs().max(1))
        );
        if failure.limited {
            let (directory, names) = (self.order.directory.clone(), self.order.names.clone());
            let limited = Limited { directory, names, until: next, why };
            if let Err(error) = self.store.keep_limited(&limited) {
                tracing::warn!(error = format!("{error:#}"), "the authority's limit is not kept");
            }
        }
        tokio::time::sleep(wait).await;
    }
}

/// Sleeps until a time of the clock on the wall, which may be set meanwhile.
async fn sleep_until(time: Unix) {
    loop {
        let left = time.saturating_sub(now());
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_secs(left.min(600))).await;
    }
}

/// A time in words.
fn told(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

//! The check of one address of a server: its steps, one after the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chappe_cluster::clock;
use chappe_proto::time::Mono;
use tokio::sync::Semaphore;

use super::certificate::Trust;
use super::diagnose::{Context, diagnose};
use super::fault::{Fault, Refusal};
use super::ice_servers::Target;
use super::progress::Progress;
use super::report::{Outcome, Section, Step};
use super::steps::challenge::Challenge;
use super::steps::{allocate, binding, challenge, connect, outside, peers, relay, second};
use super::talk::Talk;

/// Checks that hold allocations at the same time: more would meet quotas that a call does not.
pub(super) const ALLOCATING: usize = 2;
/// Everything about one address takes no longer than this many times one wait.
const WAITS: u32 = 3;

/// What all checks share.
pub(super) struct Options {
    /// How long an answer is waited for.
    pub(super) wait: Duration,
    /// Go on although the certificate is not trusted.
    pub(super) insecure: bool,
    pub(super) trust: Trust,
    pub(super) allocating: Semaphore,
    pub(super) progress: Progress,
}

/// Another server, to which a client was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alternate {
    pub(super) server: SocketAddr,
    pub(super) domain: Option<String>,
}

/// The check of one address.
pub(super) struct Check<'a> {
    pub(super) target: &'a Target,
    pub(super) server: SocketAddr,
    pub(super) options: &'a Options,
    pub(super) deadline: Mono,
    /// The round-trip time of the Binding requests.
    pub(super) baseline: Option<Duration>,
    pub(super) alternate: Option<Alternate>,
    /// It was sent here by another server.
    pub(super) sent_on: bool,
    steps: Vec<Step>,
}

impl<'a> Check<'a> {
    fn new(target: &'a Target, server: SocketAddr, options: &'a Options, sent_on: bool) -> Self {
        let deadline = clock::mono() + options.wait * WAITS;
        let steps = Vec::new();
        Self { target, server, options, deadline, baseline: None, alternate: None, sent_on, steps }
    }

    /// Tells whoever waits what is being done.
    pub(super) fn begin(&self, step: &'static str) {
        self.options.progress.say(&self.target.url, step);
    }

    pub(super) fn put(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// What went wrong, with its diagnosis.
    pub(super) fn fail(&mut self, name: &'static str, fault: &Fault) {
        let step = Step::failed(name, fault.to_string(), self.diagnose(fault));
        self.put(match fault {
            Fault::Code(Refusal { code, .. }) => step.fact("code", code.0),
            _ => step,
        });
    }

    pub(super) fn diagnose(&self, fault: &Fault) -> super::diagnose::Diagnosis {
        let credentials = self.target.credentials.as_ref();
        let context = Context {
            server: self.server,
            transport: self.target.url.transport,
            answered: self.baseline.is_some(),
            username: credentials.map(|credentials| credentials.username.as_str()),
            made: credentials.is_some_and(|credentials| credentials.made),
            now: clock::unix(),
        };
        diagnose(fault, &context)
    }

    /// An error response that sends to another server: told, and to be followed.
    pub(super) fn follows(&mut self, name: &'static str, fault: &Fault) -> bool {
        let Fault::Code(Refusal { code, alternate: Some(server), domain, .. }) = fault else { return false };
        if code.0 != 300 || self.sent_on {
            return false;
        }
        self.put(Step::ok(name, format!("300: sent on to {server}")).fact("alternate", server.to_string()));
        self.alternate = Some(Alternate { server: *server, domain: domain.clone() });
        true
    }

    /// Another conversation with the same server, after the first has shown that there is one.
    pub(super) async fn again(&self) -> Result<Talk, Fault> {
        let link = connect::link(self.target, self.server, self.options).await?;
        Ok(self.talk(link))
    }

    pub(super) fn talk(&self, link: super::link::Link) -> Talk {
        let credentials = self.target.credentials.as_ref();
        Talk::new(link, self.target.url.transport, credentials, self.options.wait, self.deadline)
    }

    async fn steps(&mut self) -> Option<()> {
        let mut talk = connect::run(self).await?;
        let bound = binding::run(self, &mut talk).await;
        if !self.target.url.turn || self.alternate.is_some() {
            return None;
        }
        if let Err(fault) = &bound {
            // Silence may be meant: some servers answer TURN only. All else is an end.
            if !matches!(fault, Fault::Silent(..)) || self.target.url.transport.is_stream() {
                return None;
            }
        }
        let challenge = challenge::run(self, &mut talk).await?;
        if bound.is_err() {
            self.no_binding();
        }
        match challenge {
            Challenge::Wanted if self.target.credentials.is_none() => {
                let how = "no credentials: --user NAME --password-file FILE, or --secret-file FILE";
                self.put(Step::skipped("Allocate", how));
                return None;
            }
            Challenge::Wanted => {}
            // The five-tuple has had its allocation.
            Challenge::None => talk = self.again().await.ok()?,
        }
        let _permit = {
            self.begin("waiting for other checks");
            let begin = clock::mono();
            let permit = self.options.allocating.acquire().await.ok()?;
            self.deadline = self.deadline + clock::mono().since(begin);
            permit
        };
        let mut first = self.allocated(talk).await?;
        let Some(mut second) = second::run(self).await else {
            allocate::delete(self, first).await;
            return None;
        };
        relay::run(self, &mut first, &mut second).await;
        allocate::refresh(self, &mut first).await;
        second.release().await;
        outside::run(self, &mut first).await;
        let six = second::other_family(self, first.relayed).await;
        peers::run(self, &mut first, six).await;
        allocate::delete(self, first).await;
        Some(())
    }

    /// The first allocation, with credentials.
    async fn allocated(&mut self, mut talk: Talk) -> Option<allocate::Allocation> {
        self.begin("Allocate");
        talk.set_deadline(self.deadline);
        allocate::run(self, talk).await
    }

    /// The server answers Allocate: that it is silent on Binding is no more than a pity.
    fn no_binding(&mut self) {
        let diagnosis = self.diagnose(&Fault::NoBinding);
        if let Some(step) = self.steps.iter_mut().find(|step| step.name == binding::NAME) {
            (step.outcome, step.diagnosis) = (Outcome::Warning, Some(diagnosis));
        }
    }
}

/// Checks one address, and the one that it sends to.
pub(super) async fn check(target: Arc<Target>, server: SocketAddr, options: Arc<Options>) -> Vec<Section> {
    let mut first = Check::new(&target, server, &options, false);
    first.steps().await;
    let transport = target.url.transport.name();
    let mut sections = vec![Section { server: Some(server), transport, steps: first.steps }];
    if let Some(Alternate { server, domain }) = first.alternate {
        let mut moved = (*target).clone();
        if let Some(domain) = domain {
            moved.url.host = super::url::Host::Name(domain);
        }
        let mut next = Check::new(&moved, server, &options, true);
        next.steps().await;
        sections.push(Section { server: Some(server), transport, steps: next.steps });
    }
    sections
}

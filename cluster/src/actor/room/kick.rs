//! Kicks and bans: committed before they are answered.

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use chappe_admin::Kicked;
use chappe_proto::id::PeerId;
use chappe_proto::registry::Command;
use chappe_proto::signal::room::Revocation;

use super::RoomActor;
use crate::clock;

/// A kick must be committed within this; else whoever asked is told to try again.
const COMMIT_WITHIN: Duration = Duration::from_secs(5);

/// An operator removes a peer. Answered when it is committed.
#[derive(Message)]
#[rtype(result = "Kicked")]
pub struct Remove {
    /// Whom.
    pub peer: PeerId,
    /// And keeps it out.
    pub ban: bool,
}

impl RoomActor {
    /// Commits a kick or a ban before it is answered.
    pub(super) fn revoke(&mut self, revocation: Revocation, ctx: &mut Context<Self>) {
        let committing = self.commit(revocation.clone());
        ctx.spawn(committing.into_actor(self).map(move |committed, actor, ctx| {
            actor.revoked(&revocation, committed, ctx);
        }));
    }

    /// A kick or a ban is committed, or could not be.
    fn revoked(&mut self, revocation: &Revocation, committed: bool, ctx: &mut Context<Self>) {
        self.run(ctx, |machine, view, out| machine.handle_revoked(view, revocation, committed, out));
        self.committing -= 1;
        if self.over {
            self.stop(ctx);
        }
    }

    fn commit(&mut self, revocation: Revocation) -> impl Future<Output = bool> + use<> {
        self.committing += 1;
        let (node, room) = (Arc::clone(&self.node), self.key.clone());
        async move {
            let banned = revocation
                .identity
                .filter(|_| revocation.identity_until > clock::unix())
                .map(|identity| (room, identity));
            let command = Command::Revoke {
                sessions: vec![revocation.session],
                banned,
                until: revocation.session_until,
                banned_until: Some(revocation.identity_until),
            };
            match node
                .proposals
                .propose(command, COMMIT_WITHIN)
                .await
                .map(|applied| applied.outcome.accepted())
            {
                Ok(Ok(_)) => true,
                Ok(Err(refusal)) => {
                    tracing::error!(%refusal, "the registry refuses a kick");
                    false
                }
                Err(error) => {
                    tracing::warn!(%error, "a kick could not be committed");
                    false
                }
            }
        }
    }
}

impl Handler<Remove> for RoomActor {
    type Result = actix::ResponseActFuture<Self, Kicked>;

    fn handle(&mut self, remove: Remove, _: &mut Self::Context) -> Self::Result {
        // Where it has moved on since it was looked for, nobody knows here who is in it.
        let Some(site) = self.machine.as_ref().filter(|site| site.room().is_some()) else {
            return Box::pin(actix::fut::ready(Kicked::Unavailable));
        };
        let Some(revocation) = site.revocation(clock::now(), remove.peer, remove.ban) else {
            return Box::pin(actix::fut::ready(Kicked::NotThere));
        };
        let committing = self.commit(revocation.clone());
        Box::pin(committing.into_actor(self).map(move |committed, actor, ctx| {
            actor.revoked(&revocation, committed, ctx);
            if committed { Kicked::Done } else { Kicked::Unavailable }
        }))
    }
}

//! The one timer of an actor.

use actix::{Actor, AsyncContext, Context, SpawnHandle};
use chappe_proto::time::Mono;

use crate::clock;

/// Fires at the next deadline of an actor's machine, or before it: a deadline that moves away, as it
/// does with each frame, costs nothing until then.
#[derive(Debug, Default)]
pub struct Timer(Option<(Mono, SpawnHandle)>);

impl Timer {
    /// Sees to it that `fire` runs at `at` at the latest. It must call [`Self::fired`] first.
    pub fn arm<A: Actor<Context = Context<A>>>(
        &mut self,
        at: Mono,
        ctx: &mut Context<A>,
        fire: impl FnOnce(&mut A, &mut Context<A>) + 'static,
    ) {
        if at == Mono::NEVER || self.0.is_some_and(|(armed, _)| armed <= at) {
            return;
        }
        if let Some((_, handle)) = self.0.take() {
            ctx.cancel_future(handle);
        }
        self.0 = Some((at, ctx.run_later(at.until(clock::mono()), fire)));
    }

    /// It has fired.
    pub const fn fired(&mut self) {
        self.0 = None;
    }
}

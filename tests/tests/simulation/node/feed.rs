//! The registry's feed (mirrors `cluster::feed`): a node follows a linked one's for as long as its own Raft does
//! not bring the registry here, and serves its own to whoever asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chappe_cluster::consensus::{Encoded, Feeding, Follower, Turn};
use chappe_proto::id::NodeId;
use chappe_proto::mesh::node::Feed;
use chappe_proto::registry::State;

use super::Node;
use crate::breaks::Break;
use crate::dice::ms;
use crate::env::{Env, Packet, Word};

/// Between the end of one feed and the beginning of another.
const AGAIN: Duration = ms(100);

struct Follows {
    node: usize,
    stream: u64,
    follower: Follower,
}

/// The feeds of a node.
#[derive(Default)]
pub(super) struct Feeds {
    /// To whom, and on which stream.
    serves: BTreeMap<(usize, u64), Feeding>,
    follows: Option<Follows>,
    turn: usize,
    again_at: Duration,
}

impl Node {
    /// Who leads, as this node's Raft knows or the feed that it follows says.
    pub(super) fn leader(&self, env: &Env) -> Option<NodeId> {
        let member = &self.registry.member;
        if !member.wants_feed(self.now(env).mono) {
            return member.leader();
        }
        let (term, leader) = self.published.leader()?;
        leader.filter(|_| term >= self.status(env).term)
    }

    /// What is ahead is shown, whether Raft or the feed has brought it.
    pub(super) fn show(&mut self, env: &mut Env) {
        let shown = self.published.state();
        if shown.index() > self.state.index() {
            self.applied(env, shown);
        }
    }

    /// Begins or ends to follow, as it has to.
    pub(super) fn keep_feed(&mut self, env: &mut Env) {
        if !self.registry.member.wants_feed(self.now(env).mono) || env.broken(Break::FollowsNobody) {
            if let Some(follows) = self.feeds.follows.take() {
                self.say_feed(env, follows.node, follows.stream, Word::End);
            }
            return;
        }
        if self.feeds.follows.is_some() || env.at < self.feeds.again_at {
            return;
        }
        self.feeds.again_at = env.at + AGAIN;
        let linked: Vec<usize> =
            (0..env.net.nodes()).filter(|node| env.net.is_up(self.index, *node)).collect();
        let nth = self.feeds.turn.checked_rem(linked.len()).and_then(|nth| linked.get(nth).copied());
        let Some(node) = nth else { return };
        self.feeds.turn += 1;
        let (mut follower, stream) =
            (Follower::new(Arc::clone(&self.published), env.cluster), env.dice.number());
        let opening = follower.opening();
        self.feeds.follows = Some(Follows { node, stream, follower });
        self.say_feed(env, node, stream, Word::Frame(Box::new(opening)));
    }

    fn say_feed(&self, env: &mut Env, to: usize, stream: u64, word: Word) {
        env.stream(self.index, to, Packet::Feed { stream, word });
    }

    /// The link with another has ended, and its streams with it.
    pub(crate) fn feeds_end(&mut self, env: &Env, other: usize) {
        self.feeds.serves.retain(|(to, _), _| *to != other);
        self.feeds.follows.take_if(|follows| follows.node == other);
        self.feeds.again_at = env.at + AGAIN;
    }

    /// A frame of a stream.
    pub(crate) fn feed_word(&mut self, env: &mut Env, from: usize, stream: u64, word: Word) {
        let follows = self.feeds.follows.as_ref().is_some_and(|f| (f.node, f.stream) == (from, stream));
        match word {
            Word::Frame(frame) => match *frame {
                Feed::Follow { after } => {
                    self.feeds.serves.insert((from, stream), Feeding::new(after));
                    self.serve(env);
                }
                frame if follows => self.follow(env, frame),
                _ => self.say_feed(env, from, stream, Word::End), // of a former life
            },
            Word::End => {
                self.feeds.serves.remove(&(from, stream));
                if follows {
                    (self.feeds.follows, self.feeds.again_at) = (None, env.at + AGAIN);
                }
            }
        }
        self.settle(env);
    }

    fn follow(&mut self, env: &mut Env, frame: Feed) {
        if let Feed::Entry { index, data } = &frame {
            self.watch_entry(env, *index, &data.clone().into());
        }
        let Some(follows) = &mut self.feeds.follows else { return };
        let taken = follows.follower.take(frame).and_then(|whole| match whole {
            Some(whole) => follows.follower.handle_decoded(whole.index, State::decode(&whole.bytes)),
            None => Ok(()),
        });
        if let Err(error) = taken {
            let (node, stream) = (follows.node, follows.stream);
            env.note(|| format!("node {}: the feed of node {} has ended: {error}", self.id, node + 1));
            (self.feeds.follows, self.feeds.again_at) = (None, env.at + AGAIN);
            self.say_feed(env, node, stream, Word::End);
        }
        self.stands(env, &self.published.state());
        self.show(env);
    }

    /// Sends followers what there is.
    pub(super) fn serve(&mut self, env: &mut Env) {
        if self.feeds.serves.is_empty() {
            return;
        }
        let status = self.status(env);
        for ((to, stream), mut feeding) in std::mem::take(&mut self.feeds.serves) {
            let goes_on = loop {
                match feeding.turn(&self.published, &status) {
                    Turn::Frame(frame) => self.say_feed(env, to, stream, Word::Frame(Box::new(frame))),
                    Turn::Encode => {
                        feeding.handle_encoded(Arc::new(Encoded::of(&self.published.state()).unwrap()));
                    }
                    Turn::Wait => break true,
                    Turn::End => break false,
                }
            };
            if goes_on {
                self.feeds.serves.insert((to, stream), feeding);
            } else {
                self.say_feed(env, to, stream, Word::End);
            }
        }
    }
}

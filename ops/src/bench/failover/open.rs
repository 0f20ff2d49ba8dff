//! What a fault has opened and nothing has closed yet, as the clients' events tell it. It paces a round and no
//! more: the checker alone judges, by the log.

use std::collections::{HashMap, HashSet};

use super::log::Event;

/// What is open, and what it takes to tell.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Each client of the load: its room, and the node that it is on.
    clients: HashMap<u32, (u32, u64)>,
    /// Rooms without an acknowledged signal since the fault: the first count that was sent since.
    rooms: HashMap<u32, Option<u64>>,
    /// Sessions that were on a victim and are not resumed.
    away: HashSet<u32>,
    /// Joins that are not answered.
    asked: HashSet<u32>,
}

impl Open {
    /// Something happened.
    pub(super) fn follow(&mut self, event: &Event) {
        match event {
            Event::In { client, room, node, .. } => self.entered(*client, *room, *node),
            Event::Fault { victims } => {
                let struck = |(_, node): &(u32, u64)| victims.contains(node);
                let clients = self.clients.iter();
                self.away = clients.filter(|(_, held)| struck(held)).map(|(client, _)| *client).collect();
                self.rooms = self.clients.values().map(|(room, _)| (*room, None)).collect();
            }
            Event::Sent { client, n, .. } => {
                if let Some(first) = self.room(*client) {
                    first.get_or_insert(*n);
                }
            }
            Event::Took { client, n, .. } => self.took(*client, *n),
            Event::Asked { client } => {
                self.asked.insert(*client);
            }
            _ => {}
        }
    }

    fn entered(&mut self, client: u32, room: u32, node: u64) {
        if self.asked.remove(&client) {
            return;
        }
        self.away.remove(&client);
        self.clients.insert(client, (room, node));
    }

    fn took(&mut self, client: u32, n: u64) {
        let Some((room, _)) = self.clients.get(&client) else { return };
        if let Some(Some(first)) = self.rooms.get(room)
            && *first <= n
        {
            self.rooms.remove(room);
        }
    }

    fn room(&mut self, client: u32) -> Option<&mut Option<u64>> {
        let (room, _) = self.clients.get(&client)?;
        self.rooms.get_mut(room)
    }

    /// Whether every gap is closed: each room's, each session's, each join's.
    pub(super) fn is_closed(&self) -> bool {
        self.rooms.is_empty() && self.away.is_empty() && self.asked.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::failover::log::How;

    fn enter(open: &mut Open, client: u32, node: u64, how: How) {
        open.follow(&Event::In { client, room: client / 2, peer: format!("p{client}"), node, how });
    }

    fn took(open: &mut Open, client: u32, n: u64) -> bool {
        open.follow(&Event::Took { client, from: "p".to_owned(), n });
        open.is_closed()
    }

    /// Two rooms; a client of the second is on node 3, which is struck. One more asks to join.
    fn struck() -> Open {
        let mut open = Open::default();
        for (client, node) in [(0, 1), (1, 2), (2, 3), (3, 1)] {
            enter(&mut open, client, node, How::Welcome);
        }
        assert!(open.is_closed());
        open.follow(&Event::Fault { victims: vec![3] });
        open.follow(&Event::Asked { client: 9 });
        open
    }

    fn sent(open: &mut Open, client: u32, n: u64) {
        open.follow(&Event::Sent { client, to: "p".to_owned(), n });
    }

    #[test]
    fn all_is_closed_once_each_room_session_and_join_is() {
        let mut open = struck();
        sent(&mut open, 0, 8);
        sent(&mut open, 2, 5);
        assert!(!took(&mut open, 1, 8));
        enter(&mut open, 9, 1, How::Welcome);
        enter(&mut open, 2, 1, How::Resumed);
        assert!(!open.is_closed());
        assert!(took(&mut open, 3, 5));
        assert!(took(&mut open, 3, 6), "and stays so");
    }

    #[test]
    fn each_of_them_alone_keeps_it_open() {
        let mut open = struck();
        sent(&mut open, 0, 1);
        sent(&mut open, 2, 1);
        took(&mut open, 1, 1);
        assert!(!took(&mut open, 3, 1), "a session and a join");
        enter(&mut open, 2, 1, How::Rebuilt);
        assert!(!open.is_closed(), "a join");
        enter(&mut open, 9, 1, How::Welcome);
        assert!(open.is_closed());
    }

    #[test]
    fn what_was_sent_before_the_fault_closes_nothing() {
        let mut open = struck();
        enter(&mut open, 9, 1, How::Welcome);
        enter(&mut open, 2, 1, How::Resumed);
        assert!(!took(&mut open, 1, 7));
        sent(&mut open, 0, 8);
        sent(&mut open, 2, 8);
        assert!(!took(&mut open, 1, 7));
        assert!(!took(&mut open, 1, 8));
        assert!(took(&mut open, 3, 9));
    }
}

//! Where new clients are to go while this edge takes none, as the nodes of its uplinks say.

use chappe_proto::limits::UPLINKS;
use chappe_proto::mesh::uplink::Alternate;

/// What each node says; none where it has said nothing, or its uplink has ended.
#[derive(Debug, Default)]
pub(super) struct Alternates([Option<Vec<Alternate>>; UPLINKS]);

impl Alternates {
    /// A node says this: what holds now. One that knows of no other edge, since it has only begun, say, takes nothing
    /// from what another one knows.
    pub(super) fn handle_told(&mut self, slot: usize, alternates: Vec<Alternate>) -> Vec<Alternate> {
        if let Some(place) = self.0.get_mut(slot) {
            *place = Some(alternates.clone());
        }
        if alternates.is_empty() { self.any().unwrap_or_default() } else { alternates }
    }

    /// An uplink has ended, and what its node said with it: what holds now, where another node has said something.
    /// Without any the last word stands.
    pub(super) fn handle_end(&mut self, slot: usize) -> Option<Vec<Alternate>> {
        self.0.get_mut(slot)?.take()?;
        self.any()
    }

    fn any(&self) -> Option<Vec<Alternate>> {
        let said = || self.0.iter().flatten();
        said().find(|said| !said.is_empty()).or_else(|| said().next()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(port: u16) -> Vec<Alternate> {
        vec![Alternate { address: ([192, 0, 2, 1], port).into() }]
    }

    #[test]
    fn what_a_node_said_ends_with_its_uplink() {
        let mut alternates = Alternates::default();
        assert_eq!(alternates.handle_told(0, list(1)), list(1));
        assert_eq!(alternates.handle_told(1, list(2)), list(2));
        assert_eq!(alternates.handle_end(1), Some(list(1)));
        assert_eq!(alternates.handle_told(1, vec![]), list(1), "a node that has only begun");
        assert_eq!(alternates.handle_told(0, vec![]), vec![]);
        assert_eq!(alternates.handle_end(0), Some(vec![]));
        // Without any uplink the last word stands, and the next node's is in its place.
        assert_eq!(alternates.handle_end(1), None);
        assert_eq!(alternates.handle_told(0, list(3)), list(3));
    }
}

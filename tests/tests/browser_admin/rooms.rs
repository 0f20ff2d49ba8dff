//! What is decided of a room, by its forms.

use chappe_tests::console::SOON;

use super::{Day, LIVE};

impl Day<'_> {
    /// A room is made with all that can be decided of one; its policy is changed; it is forgotten.
    pub(super) fn decide_of_a_room(&self) {
        let console = &self.ada;
        console.go("/admin/rooms");
        console.press(".head button", "Make a room");
        console.fill("#make [name=room]", "lounge");
        console.fill("#make [name=capacity]", "5");
        console.fill("#make [name=region]", "eu");
        console.choose("#make [name=expires]", "2020-01-01T00:00");
        console.click("document.querySelector('#make [name=locked]')");
        console.press("#make summary", "Metadata");
        console.fill("#make [name=metadata]", "{\"topic\": ");
        let wrong = |field: &str, words: &str| {
            console.press("#make button", "Make it");
            console.until_says("#make .problem", words, SOON);
            let marked =
                "[...document.querySelectorAll('#make [aria-invalid]')].map(({ name }) => name).join()";
            assert_eq!(console.page.evaluate(marked), field);
        };
        wrong("metadata", "Not JSON");
        console.fill("#make [name=metadata]", "{\"topic\": \"tea\"}");
        wrong("expires", "in the future");
        let kept = "['room', 'capacity', 'region'].map((name) => document.querySelector(`#make [name=${name}]`).value).join()";
        assert_eq!(console.page.evaluate(kept), "lounge,5,eu", "what was typed is gone");
        let tomorrow = console.page.evaluate("new Date(Date.now() + 864e5).toISOString().slice(0, 16)");
        console.choose("#make [name=expires]", tomorrow.as_str().unwrap());
        console.press("#make button", "Make it");
        console.until_at("/admin/apps/dev/rooms/lounge");
        for told in ["locked", "5 people", "eu", "{\"topic\":\"tea\"}", "by ada"] {
            assert!(console.text("#live").contains(told), "{told}: {}", console.text("#live"));
        }

        console.press(".head button", "Open it");
        console.until_says("#live .facts .badge", "open", SOON);
        let closes = "document.querySelector('#live .facts time').dateTime";
        let before = console.page.evaluate(closes);
        console.press(".head button", "Policy");
        console.fill("#policy [name=capacity]", "7");
        console.press("#policy button", "Set");
        console.until_says("#live .facts", "7 people", SOON);
        assert_eq!(console.page.evaluate(closes), before, "what nobody changed has changed");
        console.press(".head button", "Close and forget");
        console.confirm();
        console.until_at("/admin/rooms");
        console.page.until("!document.getElementById('room-dev-lounge')", LIVE);
    }
}

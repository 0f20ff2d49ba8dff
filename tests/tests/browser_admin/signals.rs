//! What passes a room, watched live.

use chappe_tests::console::SOON;
use chappe_tests::netns::wait;
use chappe_tests::page::CallPage;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Day;

/// What the lines are, the newest first.
const KINDS: &str = "[...document.querySelectorAll('#passed th')].map((one) => one.innerText.trim()).join()";

impl Day<'_> {
    fn say(&self, words: &str) {
        self.change("POST", "/apps/dev/rooms/tea/message", &json!({ "payload": words }));
    }

    /// Lines come, redacted; they wait while it is paused; a filter leaves others out, of the export, too.
    pub(super) fn watch_signals(&self, hedy: &CallPage) {
        let console = &self.ada;
        console.go("/admin/apps/dev/rooms/tea");
        console.press(".head a", "Signals, live");
        console.until_says("#state", "Watching", SOON);
        self.say("tea is ready");
        console.page.until(&format!("{KINDS} === 'broadcast'"), SOON);
        console.click("document.querySelector('#passed summary')");
        assert!(!console.text("#passed").contains("tea is ready"), "{}", console.text("#passed"));

        console.press("#pause", "Pause");
        self.say("and cake");
        console.until_says("#pause", "Go on (1)", SOON);
        assert_eq!(console.page.evaluate(KINDS), "broadcast", "it is shown although it is paused");
        console.press("#pause", "Go on (1)");
        assert_eq!(console.page.evaluate(KINDS), "broadcast,broadcast");

        console.choose("#which [name=kind]", "mute");
        console.press("#which button", "Filter");
        console.page.until(&format!("{KINDS} === ''"), SOON);
        console.until_says("#state", "Watching", SOON);
        self.say("and biscuits");
        let peer = format!("/apps/dev/rooms/tea/peers/{}", hedy.id());
        self.change("POST", &format!("{peer}/mute"), &Value::Null);
        console.page.until(&format!("{KINDS} === 'mute'"), SOON);
        self.change("POST", &format!("{peer}/unmute"), &json!({}));

        let folder = TempDir::new().unwrap();
        let to = json!({ "behavior": "allow", "downloadPath": folder.path() });
        console.page.command("Page.setDownloadBehavior", &to);
        console.press(".head a", "Export");
        let text = wait("the export", SOON, || {
            let file = std::fs::read_dir(folder.path()).unwrap().next()?.unwrap().path();
            let whole = file.extension().is_none_or(|kind| kind != "crdownload");
            whole.then(|| std::fs::read_to_string(file).unwrap()).filter(|text| !text.is_empty())
        });
        assert!(text.contains("mute") && !text.contains("broadcast"), "{text}");
    }
}

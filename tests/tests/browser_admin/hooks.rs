//! Webhooks: added, tried, looked at, sent again, removed.

use chappe_tests::console::SOON;
use chappe_tests::webhooks::Receiver;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use super::{Day, LIVE};

/// An app's server.
pub(super) struct Till {
    receiver: Receiver,
    runtime: Runtime,
}

impl Till {
    /// Its socket is where the nodes are.
    fn open(day: &Day<'_>) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let socket = day.host.within(|| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        socket.set_nonblocking(true).unwrap();
        let receiver = runtime.block_on(async { Receiver::on(TcpListener::from_std(socket).unwrap()) });
        Self { receiver, runtime }
    }

    /// What happened, as the next request tells, and that event's id.
    fn got(&mut self) -> (String, String) {
        let got = self.runtime.block_on(self.receiver.got());
        (got.kind(), got.header("webhook-id").to_owned())
    }
}

impl Day<'_> {
    /// Bad input is said where it was typed, and stays there; what is right works.
    pub(super) fn add_webhook(&mut self) -> Till {
        let mut till = Till::open(self);
        let console = &self.ada;
        console.go("/admin/webhooks?app=dev");
        console.press(".head button", "Add a webhook");
        console.fill("#add [name=url]", "http://elsewhere.example/hook");
        console.fill("#add [name=label]", "till");
        console.press("#add button", "Add it");
        console.until_says("#add .problem", "https", SOON);
        assert_eq!(
            console.page.evaluate("document.activeElement.matches('#add [name=url][aria-invalid=true]')"),
            true
        );
        assert_eq!(
            console.page.evaluate("document.querySelector('#add [name=label]').value"),
            "till",
            "what was typed is gone"
        );
        console.fill("#add [name=url]", &format!("http://{}/hook", till.receiver.at));
        console.press("#add button", "Add it");
        console.until_says("#added-secret", "whsec_", SOON);
        assert_eq!(console.text("#add .problem"), "");
        console.press("#add button", "Close");
        console.press("#live th a", "till");
        console.page.until("location.pathname.startsWith('/admin/webhooks/dev/')", SOON);
        console.press(".head button", "Ping now");
        assert_eq!(till.got().0, "ping");
        console.until_says("#tested", "204", SOON);
        self.meant.push("400");
        till
    }

    /// What was sent is seen with the answer, and sent again.
    pub(super) fn deliveries(&self, till: &mut Till) {
        let console = &self.ada;
        let (kind, id) = till.got();
        assert_eq!(kind, "room_started");
        assert_eq!([till.got().0, till.got().0], ["peer_joined", "peer_joined"]);
        console.go("/admin/webhooks?app=dev");
        console.press("#live th a", "till");
        console.until_says("#live .figures", "3", LIVE);
        console.choose(".filters [name=type]", "room_started");
        console.page.until("location.search.includes('type=room_started')", SOON);
        console.until_says(&format!("[id=\"{id}\"] .badge"), "delivered", LIVE);
        console.press(&format!("[id=\"{id}\"] button"), "Send again");
        self.until_told("It is sent again.");
        assert_eq!(till.got(), (kind, id.clone()));
        // Once more at least: a node that lost its lease meanwhile has sent it again by itself.
        let summary = format!("document.querySelector('[id=\"{id}\"] summary')");
        console.page.until(&format!("/^[2-9], last: 204$/.test({summary}?.innerText.trim())"), LIVE);
        console.click(&summary);

        console.press(".head button", "Remove");
        console.confirm();
        console.until_at("/admin/webhooks");
        console.until_says("#live", "This app has no webhook", LIVE);
    }
}

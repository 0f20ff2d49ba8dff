//! `Idempotency-Key`, by all who may send one.

use super::*;

const POST: Method = Method::POST;
const INVITE: &str = "/cluster/invitations";

impl Console {
    /// A request under the key `a`; and whether its answer was kept.
    async fn repeat(&self, authorization: &str, path: &str, body: &Value) -> (Reply, bool) {
        let request = Browser::at("192.0.2.1").request(&POST, path, body);
        let request = request.insert_header(("Authorization", authorization.to_owned()));
        let reply = self.send(request.insert_header(("Idempotency-Key", "a"))).await;
        let again = reply.headers.contains_key("idempotency-replayed");
        (reply, again)
    }
}

#[actix_rt::test]
async fn an_apps_key_repeats_its_own_requests_and_no_others() {
    let console = Console::new();
    let (dev, shop) = (console.app("dev", 1), console.app("shop", 2));
    let wish = json!({ "room": "tower" });
    let (first, again) = console.repeat(&dev, "/apps/dev/rooms", &wish).await;
    assert_eq!((first.status, again), (201, false), "{first:?}");
    let (repeat, again) = console.repeat(&dev, "/apps/dev/rooms", &wish).await;
    assert_eq!((repeat.status, again, &repeat.body), (201, true, &first.body), "{repeat:?}");
    let (foreign, again) = console.repeat(&shop, "/apps/dev/rooms", &wish).await;
    assert_eq!((foreign.status, again), (404, false), "{foreign:?}");
}

#[actix_rt::test]
async fn tokens_of_one_label_are_told_nothing_of_each_other() {
    let console = Console::new();
    console.is("ada", Role::Owner);
    let [one, two] = [0, 1].map(|_| format!("Bearer {}", console.token("ada", Role::Owner)));
    let (first, _) = console.repeat(&one, INVITE, &json!({})).await;
    let (other, again) = console.repeat(&two, INVITE, &json!({})).await;
    assert_eq!((first.status, other.status, again), (201, 201, false));
    let weak = format!("Bearer {}", console.token("ada", Role::Viewer));
    assert_eq!(console.repeat(&weak, INVITE, &json!({})).await.0.status, 403);
}

#[actix_rt::test]
async fn who_may_less_now_is_told_no_secret_again() {
    let console = Console::new();
    console.is("ada", Role::Owner);
    let ada = format!("Bearer {}", console.token("ada", Role::Owner));
    assert_eq!(console.repeat(&ada, INVITE, &json!({})).await.0.status, 201);
    assert!(console.repeat(&ada, INVITE, &json!({})).await.1);
    console.is("eve", Role::Owner);
    let demoted = console.owner(Method::PUT, "/operators/ada", json!({ "role": "operator" })).await;
    assert_eq!(demoted.status, 204, "{demoted:?}");
    let (refused, again) = console.repeat(&ada, INVITE, &json!({})).await;
    assert_eq!((refused.status, again), (403, false), "{refused:?}");
    assert!(refused.detail().contains("operator now"), "{refused:?}");
}

#[actix_rt::test]
async fn a_login_is_not_begun_by_a_kept_answer() {
    let console = Console::new();
    let mut ada = console.joins("192.0.2.1", "ada", "owner").await;
    for _ in 0..2 {
        let login = ada.request(&POST, "/login", &json!({ "name": "ada", "password": PASSWORD }));
        let reply = console.send(login.insert_header(("Idempotency-Key", "a"))).await;
        assert_eq!((reply.status, reply.cookies().len()), (200, 2), "{reply:?}");
        ada.takes(&reply);
    }
}

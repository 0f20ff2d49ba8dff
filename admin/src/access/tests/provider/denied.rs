//! Whom the provider sends back in vain.

use chappe_proto::limits::PROVIDER_TRIES_BURST;

use super::*;

type Change = fn(&mut Value);

/// Nobody came in, and the page says why.
fn refused(console: &Console, reply: &Reply, status: u16, words: &str) {
    assert_eq!(reply.status, status, "{words}: {reply:?}");
    assert!(reply.text.contains(words), "{words}: {}", reply.text);
    assert!(!reply.cookies().iter().any(|(name, _)| name == "__Host-chappe"), "{words}: {reply:?}");
    assert_eq!(console.memory.access().logins(console.memory.time().unix).count(), 0, "{words}");
    assert_eq!(console.role("ada"), None, "{words}");
}

#[actix_rt::test]
async fn tokens_that_are_not_good_let_nobody_in() {
    let cases: [(&str, Change); 13] = [
        ("iss: ", |claims| claims["iss"] = json!("https://evil.example")),
        ("iss: ", |claims| claims["iss"] = json!(format!("{ISSUER}/"))),
        ("aud: ", |claims| claims["aud"] = json!("other")),
        ("aud: ", |claims| claims["aud"] = json!(["other"])),
        ("azp: ", |claims| claims["aud"] = json!(["chappe", "other"])),
        ("azp: ", |claims| claims["azp"] = json!("other")),
        ("exp: ", |claims| claims["exp"] = json!(-61)),
        ("exp: ", |claims| claims["exp"] = json!("never")),
        ("iat: ", |claims| claims["iat"] = json!(3_600)),
        ("nbf: ", |claims| claims["nbf"] = json!(3_600)),
        ("nonce: ", |claims| claims["nonce"] = json!("another")),
        ("nonce: ", |claims| claims["nonce"] = Value::Null),
        ("sub: ", |claims| claims["sub"] = json!("")),
    ];
    for (words, change) in cases {
        let (console, idp) = with_provider(json!({})).await;
        let reply = console.comes(&idp, &mut Browser::at("192.0.2.1"), es256(), change).await;
        refused(&console, &reply, 502, words);
    }
    for (header, words) in [
        (json!({ "alg": "none" }), "an algorithm"),
        (json!({ "alg": "HS256", "kid": "rsa" }), "an algorithm"),
        (json!({ "alg": "HS256", "kid": "hmac" }), "an algorithm"),
        (json!({ "alg": "RS256", "kid": "ec" }), "its signature"),
        (json!({ "alg": "ES256", "kid": "rsa" }), "its key is not one"),
        (json!({ "alg": "RS256", "kid": "other" }), "its key is not one"),
        (json!({ "alg": "RS256", "kid": "unknown" }), "its key is not one"),
        (json!({ "alg": "ES256", "kid": "ec", "crit": ["x"] }), "(crit)"),
    ] {
        let (console, idp) = with_provider(json!({})).await;
        let reply = console.comes(&idp, &mut Browser::at("192.0.2.1"), header, |_| {}).await;
        refused(&console, &reply, 502, words);
    }
}

#[actix_rt::test]
async fn a_token_that_was_changed_lets_nobody_in() {
    let (console, idp) = with_provider(json!({})).await;
    let mut eve = Browser::at("192.0.2.1");
    for change in [0, 1, 2] {
        let sent = console.leaves(&mut eve).await;
        let mut claims = Idp::claims(&sent["nonce"], console.memory.time().unix);
        let mine = idp.signed(&es256(), &claims);
        claims["groups"] = json!(["/admins", "/more"]);
        let other = idp.signed(&es256(), &claims);
        let (mine, other): (Vec<_>, Vec<_>) = (mine.split('.').collect(), other.split('.').collect());
        let token = match change {
            0 => [mine[0], other[1], mine[2]].join("."),
            1 => [mine[0], mine[1], ""].join("."),
            _ => mine[..2].join("."),
        };
        idp.gives(&token);
        let reply = console.returns(&mut eve, &format!("code=c&state={}&iss={ISSUER}", sent["state"])).await;
        refused(&console, &reply, 502, "ID token is not good");
    }
}

#[actix_rt::test]
async fn whoever_did_not_begin_here_does_not_come_back() {
    let (console, idp) = with_provider(json!({})).await;
    let mut ada = Browser::at("192.0.2.1");
    let sent = console.leaves(&mut ada).await;
    idp.gives(&idp.signed(&es256(), &Idp::claims(&sent["nonce"], console.memory.time().unix)));
    let (state, iss) = (&sent["state"], encode(ISSUER));
    let before = ada.clone();
    let whole = format!("code=c&state={state}&iss={iss}");
    drop(console.memory.asked());
    for (query, status, words) in [
        (String::new(), 400, "begin again"),
        (format!("code=c&iss={iss}"), 400, "begin again"),
        (format!("code=c&state={}&iss={iss}", "A".repeat(43)), 400, "begin again"),
        (format!("state={state}&iss={iss}"), 400, "begin again"),
        (format!("code=c&code=d&state={state}&iss={iss}"), 400, "begin again"),
        (format!("code=c&state={state}&iss=https%3A%2F%2Fevil.example"), 403, "another provider"),
        (format!("code=c&state={state}"), 403, "another provider"),
        (format!("error=access_denied&state={state}&iss={iss}"), 403, "(access_denied)"),
        (format!("error=%3Cb%3Ehi&state={state}&iss={iss}"), 403, "(bhi)"),
    ] {
        let reply = console.returns(&mut before.clone(), &query).await;
        refused(&console, &reply, status, words);
    }
    assert!(
        console.memory.asked().iter().all(|request| request.form.is_none()),
        "no code was told to anybody"
    );
    // Another browser; a cookie that somebody made or changed.
    let sealed = before.cookies[0].1.clone();
    let other = format!("{}{}", &sealed[..40], "A".repeat(sealed.len() - 40));
    for cookies in [vec![], vec![("__Host-chappe-entry".to_owned(), other)]] {
        let mut eve = Browser { cookies, ..Browser::at("192.0.2.2") };
        refused(&console, &console.returns(&mut eve, &whole).await, 400, "begin again");
    }
    // Too late.
    console.memory.pass(PROVIDER_ENTRY_FOR + std::time::Duration::from_secs(1));
    refused(&console, &console.returns(&mut before.clone(), &whole).await, 400, "begin again");
}

#[actix_rt::test]
async fn nobody_comes_back_twice_by_one_way() {
    let (console, idp) = with_provider(json!({})).await;
    let mut ada = Browser::at("192.0.2.1");
    let sent = console.leaves(&mut ada).await;
    idp.gives(&idp.signed(&es256(), &Idp::claims(&sent["nonce"], console.memory.time().unix)));
    let mut thief = ada.clone();
    let back = format!("code=c&state={}&iss={}", sent["state"], encode(ISSUER));
    assert_eq!(console.returns(&mut ada, &back).await.status, 200);
    // Also where the provider gives out a token for the same code again, and on any node: the registry knows.
    let reply = console.returns(&mut thief, &back).await;
    assert!(reply.status == 400 && reply.text.contains("was used already"), "{reply:?}");
    assert_eq!(console.memory.access().logins(console.memory.time().unix).count(), 1);
    // Nor with what began under other settings.
    let sent = console.leaves(&mut ada).await;
    let mut other = settings();
    other["email_domain"] = json!("example.org");
    assert_eq!(console.owner(PUT, "/identity-provider", other).await.status, 200);
    let back = format!("code=c&state={}&iss={}", sent["state"], encode(ISSUER));
    assert_eq!(console.returns(&mut ada, &back).await.status, 400);
}

#[actix_rt::test]
async fn whom_no_rule_lets_in_stays_out() {
    let verified = json!({ "email_domain": "Example.org", "everybody": "viewer" });
    let cases: [(Value, Change, &str); 5] = [
        (json!({}), |claims| claims["groups"] = json!(["/other"]), "gives you no role"),
        (json!({}), |claims| claims["groups"] = Value::Null, "gives you no role"),
        (verified.clone(), |claims| claims["email_verified"] = json!(false), "example.org alone"),
        (verified.clone(), |claims| claims["email_verified"] = Value::Null, "example.org alone"),
        (verified, |claims| claims["email"] = json!("eve@example.org.evil.example"), "example.org alone"),
    ];
    for (change, claims, words) in cases {
        let (console, idp) = with_provider(change).await;
        let reply = console.comes(&idp, &mut Browser::at("192.0.2.1"), es256(), claims).await;
        refused(&console, &reply, 403, words);
    }
}

#[actix_rt::test]
async fn who_is_disabled_or_the_last_owner_is_told_so() {
    let (console, idp) = with_provider(json!({})).await;
    let mut ada = Browser::at("192.0.2.1");
    assert_eq!(console.comes(&idp, &mut ada, es256(), |_| {}).await.status, 200);
    assert_eq!(console.owner(Method::DELETE, "/operators/root", Value::Null).await.status, 204);
    let demoted = |claims: &mut Value| claims["groups"] = json!(["/staff"]);
    let reply = console.comes(&idp, &mut ada, es256(), demoted).await;
    assert!(reply.status == 403 && reply.text.contains("the last owner"), "{reply:?}");
    console.is("root", Role::Owner);
    let disable = json!({ "disabled": true });
    assert_eq!(console.owner(PUT, "/operators/ada", disable).await.status, 204);
    let reply = console.comes(&idp, &mut ada, es256(), |_| {}).await;
    assert!(reply.status == 403 && reply.text.contains("Ada is disabled here"), "{reply:?}");
}

#[actix_rt::test]
async fn who_has_no_password_is_not_asked_for_one() {
    let (console, idp) = with_provider(json!({})).await;
    let mut ada = Browser::at("192.0.2.1");
    assert_eq!(console.comes(&idp, &mut ada, es256(), |_| {}).await.status, 200);
    console.browse(&mut ada, GET, "/me", Value::Null).await;
    let wish = json!({ "old": PASSWORD, "new": PASSWORD });
    let reply = console.browse(&mut ada, PUT, "/me/password", wish).await;
    assert!(reply.status == 403 && reply.detail().contains("no password here"), "{reply:?}");
    let reply = console.owner(POST, "/operators/ada/link", Value::Null).await;
    assert!(reply.status == 409 && reply.detail().contains("has no password"), "{reply:?}");
    assert_eq!(console.logs_in(&mut Browser::at("192.0.2.1"), "ada", PASSWORD).await.status, 401);
}

#[actix_rt::test]
async fn one_source_comes_back_in_vain_so_often() {
    let (console, idp) = with_provider(json!({})).await;
    let mut eve = Browser::at("198.51.100.7");
    // What another site's page can have a browser ask for counts for nothing.
    for _ in 0..=PROVIDER_TRIES_BURST {
        assert_eq!(console.returns(&mut eve, "code=c&state=s").await.status, 400);
    }
    let other = |claims: &mut Value| claims["groups"] = json!([]);
    for _ in 0..PROVIDER_TRIES_BURST {
        assert_eq!(console.comes(&idp, &mut eve, es256(), other).await.status, 403);
    }
    let reply = console.comes(&idp, &mut eve, es256(), other).await;
    assert!(reply.status == 429 && reply.text.contains("try again in"), "{reply:?}");
    let mut ada = Browser::at("192.0.2.1");
    for _ in 0..PROVIDER_TRIES_BURST + 2 {
        assert_eq!(
            console.comes(&idp, &mut ada, es256(), |_| {}).await.status,
            200,
            "who comes in is not counted"
        );
    }
}

#[actix_rt::test]
async fn a_provider_that_fails_is_said_to() {
    let (console, idp) = with_provider(json!({})).await;
    let mut ada = Browser::at("192.0.2.1");
    for (answer, status, words) in [
        ((401, json!({ "error": "invalid_client" })), 502, "does not take this console"),
        ((400, json!({ "error": "invalid_grant" })), 400, "begin again"),
        ((500, json!("oh")), 502, "answers 500"),
        ((200, json!({ "access_token": "x" })), 502, "there is none"),
        ((200, json!({ "id_token": "a.b" })), 502, "no signed JWT"),
    ] {
        let sent = console.leaves(&mut ada).await;
        idp.told.lock().unwrap().token = answer;
        let back = format!("code=c&state={}&iss={}", sent["state"], encode(ISSUER));
        refused(&console, &console.returns(&mut ada, &back).await, status, words);
    }
    // What it says of itself is not asked for at once again where there was no answer.
    console.memory.pass(chappe_proto::limits::PROVIDER_FRESH);
    idp.told.lock().unwrap().metadata = Value::Null;
    drop(console.memory.asked());
    for _ in 0..2 {
        let reply = console.page(&mut ada, "chappe.example", "/admin/login/provider").await;
        assert!(reply.status == 502 && reply.text.contains("cannot be asked now"), "{reply:?}");
    }
    assert_eq!(console.memory.asked().len(), 1);
}

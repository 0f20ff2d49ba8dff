//! Apps, their API keys, and tokens that those sign.

use chappe_admin::Answer;
use chappe_admin::apps::{Apps, Issued, NewKey, ShownKey, TokenWish, key_of, keys_of, signing_key};
use chappe_admin::control::Fault;
use chappe_proto::id::{AppId, KeyId};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::{AppPolicy, Command, Note};
use chappe_proto::signal::token::AUDIENCE;
use data_encoding::BASE64URL_NOPAD;

use super::Admin;
use super::rooms::unread;
use crate::{clock, token};

type Done<T> = Result<T, Fault>;

impl Apps for Admin {
    fn app_add(&self, app: AppId, name: String, policy: AppPolicy, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move { self.commit(Command::AppAdd { app, name, policy }, note).await.map(drop) })
    }

    fn app_remove(&self, app: AppId, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move { self.commit(Command::AppRemove { app }, note).await.map(drop) })
    }

    fn keys(&self, app: AppId) -> Answer<'_, Done<Vec<ShownKey>>> {
        Box::pin(async move { keys_of(&*self.state().await.map_err(|_| unread())?, &app) })
    }

    fn key_add(&self, app: AppId, note: Note) -> Answer<'_, Done<NewKey>> {
        Box::pin(async move {
            // A text, since people copy it into other programs.
            let text = BASE64URL_NOPAD.encode(&clock::random::<32>());
            let (key, secret) = (KeyId::from_random(clock::random()), Secret(text.into_bytes()));
            let added = NewKey { key, secret: secret.clone() };
            self.commit(Command::KeyAdd { app, key, secret }, note).await.map(|_| added)
        })
    }

    fn key_set(&self, app: AppId, key: KeyId, disabled: bool, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            key_of(&*self.state().await.map_err(|_| unread())?, &app, &key)?;
            self.commit(Command::KeySet { key, disabled }, note).await.map(drop)
        })
    }

    fn key_remove(&self, app: AppId, key: KeyId, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            key_of(&*self.state().await.map_err(|_| unread())?, &app, &key)?;
            self.commit(Command::KeyRemove { key }, note).await.map(drop)
        })
    }

    fn token_issue(&self, wish: TokenWish, note: Note) -> Answer<'_, Done<Issued>> {
        Box::pin(async move {
            let TokenWish { app, key, mut claims, ttl } = wish;
            let state = self.state().await.map_err(|_| unread())?;
            let (key, held, _) = signing_key(&state, &app, key)?;
            let expires = clock::unix() + ttl;
            claims.insert("iss".to_owned(), key.to_string().into());
            claims.insert("aud".to_owned(), AUDIENCE.into());
            claims.insert("exp".to_owned(), expires.secs().into());
            let signed = token::sign(&claims, &held.secret.0);
            let token = signed.map_err(|error| Fault::Conflict(format!("it cannot be signed: {error}")))?;
            // Nobody has it before it is in the audit log.
            self.commit(Command::Note, note).await?;
            Ok(Issued { token, key, expires })
        })
    }
}

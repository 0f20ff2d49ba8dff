//! Apps and keys in memory. A token is its claims, and its signature the secret's first letter.

use chappe_proto::id::{AppId, KeyId};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::{AppPolicy, Command, Note};
use chappe_proto::time::Unix;
use serde_json::Value;

use super::Memory;
use crate::apps::{Apps, Issued, NewKey, ShownKey, TokenWish, key_of, keys_of, signing_key};
use crate::control::Fault;
use crate::{Answer, Changed};

type Done<T> = Result<T, Fault>;

async fn done(changed: Answer<'_, Changed>) -> Done<()> {
    match changed.await {
        Changed::Done => Ok(()),
        Changed::Refused(refusal) => Err(refusal.into()),
        Changed::Unavailable => Err(Fault::Unavailable(String::new())),
    }
}

impl Apps for Memory {
    fn app_add(&self, app: AppId, name: String, policy: AppPolicy, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(done(self.change(Command::AppAdd { app, name, policy }, note)))
    }

    fn app_remove(&self, app: AppId, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(done(self.change(Command::AppRemove { app }, note)))
    }

    fn keys(&self, app: AppId) -> Answer<'_, Done<Vec<ShownKey>>> {
        let keys = self.with(|state| keys_of(state, &app));
        Box::pin(async { keys })
    }

    fn key_add(&self, app: AppId, note: Note) -> Answer<'_, Done<NewKey>> {
        Box::pin(async move {
            let n = self.with(|state| state.keys_of(&app).count());
            let (key, secret) = (KeyId::from_random([u8::try_from(n).unwrap(); 15]), Secret(vec![b'a'; 43]));
            let added = NewKey { key, secret: secret.clone() };
            done(self.change(Command::KeyAdd { app, key, secret }, note)).await.map(|()| added)
        })
    }

    fn key_set(&self, app: AppId, key: KeyId, disabled: bool, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            self.with(|state| key_of(state, &app, &key).map(drop))?;
            done(self.change(Command::KeySet { key, disabled }, note)).await
        })
    }

    fn key_remove(&self, app: AppId, key: KeyId, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            self.with(|state| key_of(state, &app, &key).map(drop))?;
            done(self.change(Command::KeyRemove { key }, note)).await
        })
    }

    fn token_issue(&self, wish: TokenWish, note: Note) -> Answer<'_, Done<Issued>> {
        Box::pin(async move {
            let TokenWish { app, key, claims, ttl } = wish;
            let key = self.with(|state| signing_key(state, &app, key).map(|(key, _, _)| key))?;
            done(self.change(Command::Note, note)).await?;
            let token = format!("{}.a", Value::Object(claims));
            Ok(Issued { token, key, expires: Unix::from_secs(1) + ttl })
        })
    }
}

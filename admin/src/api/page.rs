//! Lists in pages: `?limit=…&after=…` asks for one, `next` of the answer is the next one's `after`.
//!
//! A cursor is the key of the last item that was told, in base64url of its JSON: opaque to clients, true on every
//! node, and never stale: what came or went meanwhile moves nothing else.

use chappe_proto::limits::{PAGE_CURSOR_MAX, PAGE_ITEMS, PAGE_ITEMS_MAX};
use data_encoding::BASE64URL_NOPAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::problem::Problem;

/// Which page is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Ask {
    /// `next` of the page before; none for the first.
    pub(crate) after: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub(crate) limit: Option<usize>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Page<T> {
    /// What is on it, in the list's order.
    pub(crate) items: Vec<T>,
    /// What to ask for the next one by, as `after`; none where this is the last.
    pub(crate) next: Option<String>,
}

impl Ask {
    /// # Errors
    /// A problem that names `limit`.
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(PAGE_ITEMS);
        if (1..=PAGE_ITEMS_MAX).contains(&limit) {
            return Ok(limit);
        }
        Err(Problem::Field { field: "limit", fix: format!("1 to {PAGE_ITEMS_MAX}") })
    }

    /// The key after which the page begins.
    ///
    /// # Errors
    /// A problem that names `after`.
    pub(crate) fn after<K: DeserializeOwned>(&self) -> Result<Option<K>, Problem> {
        let Some(after) = &self.after else { return Ok(None) };
        let key = Some(after.as_bytes()).filter(|cursor| cursor.len() <= PAGE_CURSOR_MAX);
        let key = key.and_then(|cursor| BASE64URL_NOPAD.decode(cursor).ok());
        let key = key.and_then(|key| serde_json::from_slice(&key).ok());
        let fix = || "`next` of the page before, as it was; leave it out for the first page".to_owned();
        key.ok_or_else(|| Problem::Field { field: "after", fix: fix() }).map(Some)
    }
}

/// What [`Ask::after`] reads.
pub(crate) fn cursor(key: &impl Serialize) -> String {
    // A key is an id, a number, or a few of them: all of that can be written.
    BASE64URL_NOPAD.encode(&serde_json::to_vec(key).unwrap_or_default())
}

impl<T> Page<T> {
    /// The page that is asked for, of items that stand in the order of their keys, of which no two are the same.
    ///
    /// # Errors
    /// A problem that names `limit` or `after`.
    pub(crate) fn of<K: Ord + Serialize + DeserializeOwned>(
        ask: &Ask,
        items: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> K,
    ) -> Result<Self, Problem> {
        let (limit, after) = (ask.limit()?, ask.after::<K>()?);
        let mut left = items.into_iter().filter(|item| after.as_ref().is_none_or(|after| key(item) > *after));
        let items: Vec<T> = left.by_ref().take(limit).collect();
        let next = left.next().and(items.last()).map(|last| cursor(&key(last)));
        Ok(Self { items, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(after: Option<&str>, limit: Option<usize>) -> Ask {
        Ask { after: after.map(str::to_owned), limit }
    }

    #[test]
    fn pages_follow_one_another_and_the_last_has_no_next() {
        let mut told = Vec::new();
        let mut after = None;
        for pages in 1.. {
            let page = Page::of(&ask(after.as_deref(), Some(2)), 0..5, |n| *n).unwrap();
            told.extend(page.items);
            after = page.next;
            if after.is_none() {
                assert_eq!((pages, told), (3, (0..5).collect()));
                break;
            }
        }
        let whole = Page::of(&ask(None, Some(5)), 0..5, |n| *n).unwrap();
        assert_eq!((whole.items.len(), whole.next), (5, None));
        let all = Page::of(&ask(None, None), 0..5_000_u32, |n| *n).unwrap();
        assert_eq!(all.items.len(), PAGE_ITEMS);
    }

    #[test]
    fn what_comes_and_goes_between_moves_nothing() {
        let first = Page::of(&ask(None, Some(2)), ["a", "b", "d"], |name| (*name).to_owned()).unwrap();
        let next = first.next.unwrap();
        let second = Page::of(&ask(Some(&next), None), ["a", "c", "d"], |name| (*name).to_owned()).unwrap();
        assert_eq!((second.items, second.next), (vec!["c", "d"], None));
    }

    #[test]
    fn what_is_no_cursor_and_no_limit_is_refused_by_name() {
        let long = "A".repeat(PAGE_CURSOR_MAX + 1);
        for bad in ["?", "", "AAAA", "ImEi", &long] {
            let refused = ask(Some(bad), None).after::<u64>().unwrap_err().to_string();
            assert!(refused.starts_with("after: `next` of the page before"), "{refused}");
        }
        assert_eq!(ask(Some(&cursor(&7_u64)), None).after::<u64>().unwrap(), Some(7));
        for bad in [0, PAGE_ITEMS_MAX + 1] {
            assert_eq!(ask(None, Some(bad)).limit().unwrap_err().to_string(), "limit: 1 to 1000");
        }
    }
}

//! Places of which a node has so many, for operators and for apps' servers.
//!
//! Operators may take all of them, apps together a part, and each app as many as that part has free: so one app alone
//! takes half of it, two a third each, and there is always one left for another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chappe_proto::id::AppId;

/// A handle; clones are the same.
#[derive(Debug, Clone)]
pub struct Pool {
    max: usize,
    of_apps: usize,
    taken: Arc<Mutex<Taken>>,
}

/// By app; of operators at none.
type Taken = BTreeMap<Option<AppId>, usize>;

impl Pool {
    /// Of so many places, of which apps get `of_apps` at most.
    #[must_use]
    pub fn new(max: usize, of_apps: usize) -> Self {
        Self { max, of_apps, taken: Arc::default() }
    }

    fn with<T>(&self, ask: impl FnOnce(&mut Taken) -> T) -> T {
        ask(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A place for one more, of an app where its key asks; none where there is none for it.
    #[must_use]
    pub fn take(&self, app: Option<&AppId>) -> Option<Place> {
        let app = app.cloned();
        self.with(|taken| {
            let all: usize = taken.values().sum();
            let operators = taken.get(&None).copied().unwrap_or_default();
            let own = taken.get(&app).copied().unwrap_or_default();
            let fits = app.is_none() || own < self.of_apps.saturating_sub(all - operators);
            (all < self.max && fits).then(|| {
                taken.insert(app.clone(), own + 1);
            })
        })?;
        Some(Place { pool: self.clone(), app })
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.with(|taken| taken.values().sum())
    }
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    pool: Pool,
    app: Option<AppId>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.with(|taken| {
            if let Some(own) = taken.get_mut(&self.app) {
                *own -= 1;
                if *own == 0 {
                    taken.remove(&self.app);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(n: usize) -> AppId {
        AppId::new(&format!("app-{n}")).unwrap()
    }

    /// All that one gets.
    fn all(pool: &Pool, app: Option<&AppId>) -> Vec<Place> {
        std::iter::from_fn(|| pool.take(app)).collect()
    }

    #[test]
    fn apps_leave_operators_theirs_and_each_other_some() {
        let pool = Pool::new(100, 64);
        let held: Vec<_> = (0..3).map(|n| all(&pool, Some(&app(n)))).collect();
        assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [32, 16, 8]);
        assert!(pool.take(Some(&app(0))).is_none() && pool.take(Some(&app(3))).is_some());
        let operators = all(&pool, None);
        assert_eq!(operators.len(), 100 - 56, "all that there is");
        assert!(pool.take(Some(&app(3))).is_none());
        drop((held, operators));
        assert_eq!(pool.taken(), 0);
        assert_eq!(all(&pool, None).len(), 100);
    }
}

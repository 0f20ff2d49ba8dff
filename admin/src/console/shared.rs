//! Live parts that are the same for all readers: one of them renders, on each tick, for as long as anybody looks.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Interval;

/// What was rendered last; nothing before the first time.
type Rendered = Option<Arc<str>>;

/// The parts that anybody looks at, of all threads, by what they are.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<BTreeMap<String, watch::Sender<Rendered>>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, watch::Sender<Rendered>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is rendered of `part`: where nobody does it yet, `render` is run on this thread until its turn is over.
    pub(super) fn join<F: Future<Output = ()> + 'static>(
        self: &Arc<Self>,
        part: String,
        render: impl FnOnce(Turn) -> F,
    ) -> watch::Receiver<Rendered> {
        let mut parts = self.lock();
        if let Some(rendered) = parts.get(&part) {
            return rendered.subscribe();
        }
        let (rendered, read) = watch::channel(None);
        parts.insert(part.clone(), rendered.clone());
        drop(parts);
        actix_web::rt::spawn(render(Turn { shared: Arc::clone(self), part, rendered }));
        read
    }

    /// How many parts are rendered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

/// The one that renders a part. Where it ends, however, the part is nobody's and its readers' streams end.
#[derive(Debug)]
pub(super) struct Turn {
    shared: Arc<Shared>,
    part: String,
    rendered: watch::Sender<Rendered>,
}

impl Turn {
    /// Waits until it is to be rendered again; false where nobody looks any more.
    pub(super) async fn next(&self, ticks: &mut Interval) -> bool {
        tokio::select! {
            _ = ticks.tick() => {}
            () = self.rendered.closed() => {}
        }
        // Under the lock: whoever comes now either is counted, or begins anew.
        let mut parts = self.shared.lock();
        if self.rendered.receiver_count() == 0 {
            parts.remove(&self.part);
            return false;
        }
        true
    }

    /// It is this now.
    pub(super) fn tell(&self, text: String) {
        self.rendered.send_if_modified(|held| {
            let is_new = held.as_deref() != Some(&*text);
            if is_new {
                *held = Some(text.into());
            }
            is_new
        });
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut parts = self.shared.lock();
        if parts.get(&self.part).is_some_and(|held| held.same_channel(&self.rendered)) {
            parts.remove(&self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn join(shared: &Arc<Shared>, part: &str, times: &Arc<AtomicUsize>) -> watch::Receiver<Rendered> {
        let times = Arc::clone(times);
        shared.join(part.to_owned(), async move |turn: Turn| {
            let mut ticks = tokio::time::interval(Duration::from_millis(2));
            while turn.next(&mut ticks).await {
                turn.tell(format!("{}", times.fetch_add(1, Ordering::Relaxed)));
            }
        })
    }

    #[actix_rt::test]
    async fn one_renders_for_all_and_ends_when_nobody_looks() {
        let (shared, times) = (Arc::new(Shared::default()), Arc::new(AtomicUsize::new(0)));
        let mut one = join(&shared, "a", &times);
        let mut two = join(&shared, "a", &times);
        one.changed().await.unwrap();
        two.changed().await.unwrap();
        let seen = |read: &mut watch::Receiver<Rendered>| read.borrow_and_update().clone().unwrap();
        assert_eq!((shared.len(), seen(&mut one)), (1, seen(&mut two)));
        let mut other = join(&shared, "b", &Arc::default());
        other.changed().await.unwrap();
        assert_eq!(shared.len(), 2);
        drop((one, other));
        two.changed().await.unwrap();
        drop(two);
        while shared.len() > 0 {
            tokio::task::yield_now().await;
        }
        let rendered = times.load(Ordering::Relaxed);
        let mut again = join(&shared, "a", &times);
        again.changed().await.unwrap();
        assert_eq!(seen(&mut again).parse(), Ok(rendered), "nothing was rendered meanwhile");
    }

    #[actix_rt::test]
    async fn where_rendering_ends_the_readers_do_and_what_is_the_same_is_not_told_again() {
        let shared = Arc::new(Shared::default());
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let mut read = shared.join("a".to_owned(), async |turn: Turn| {
            turn.tell("same".to_owned());
            turn.tell("same".to_owned());
            let _ = ended.await; // as a failure would end it
        });
        read.changed().await.unwrap();
        read.borrow_and_update();
        assert!(!read.has_changed().unwrap());
        end.send(()).unwrap();
        assert!(read.changed().await.is_err());
        assert_eq!(shared.len(), 0);
    }
}

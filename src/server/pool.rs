//! Who is connected, and who has to go when all places are taken.
//!
//! A flood must not keep a scraper out, so a full house does not turn away who comes but who has waited longest without
//! a request at work: those that idle, shake hands, send half a request, or take their time to read an answer. A
//! scraper sends its request at once and reads at once, so it is among the last. Connections with a request at work
//! stay; there are few of those, and each ends by its deadline.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::sync::lock;

/// Answers up to this many bytes may wait unread on every connection.
const SMALL: usize = 4096;

/// Connections by how long they have waited.
#[derive(Debug)]
pub(super) struct ConnectionPool {
    open: usize,
    unread: usize,
    state: Mutex<ConnectionState>,
}

#[derive(Debug, Default)]
struct ConnectionState {
    /// What the next thing that happens is numbered.
    next: u64,
    open: HashMap<u64, OpenConnections>,
    /// By number of the moment from which on they wait.
    waiting: BTreeMap<u64, u64>,
    /// Large answers that are not sent yet, by number.
    unread: BTreeMap<u64, u64>,
}

#[derive(Debug)]
struct OpenConnections {
    leave: Arc<Notify>,
    working: usize,
    since: u64,
}

/// One connection's place.
#[derive(Debug)]
pub(super) struct Slot {
    places: Arc<ConnectionPool>,
    id: u64,
    leave: Arc<Notify>,
}

/// A request of the connection is at work.
pub(super) struct Working(Arc<Slot>);

/// An answer that the client has not taken yet.
struct Unread {
    bytes: Bytes,
    place: Arc<Slot>,
    number: u64,
}

impl ConnectionPool {
    /// Room for that many connections, of which some hold a large answer that is not sent yet.
    pub(super) fn new(open: usize, unread: usize) -> Arc<Self> {
        Arc::new(Self { open, unread, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        lock(&self.state)
    }

    /// A place for one who comes, and whether somebody had to leave for it. `None` where all are at work.
    pub(super) fn enter(self: &Arc<Self>) -> Option<(Arc<Slot>, bool)> {
        let mut state = self.state();
        let full = state.open.len() >= self.open;
        if full {
            let longest = *state.waiting.first_key_value()?.1;
            state.dismiss(longest);
        }
        let id = state.number();
        let leave = Arc::new(Notify::new());
        state.open.insert(id, OpenConnections { leave: leave.clone(), working: 0, since: id });
        state.waiting.insert(id, id);
        Some((Arc::new(Slot { places: self.clone(), id, leave }), full))
    }
}

impl ConnectionState {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Takes the place of a connection, and tells its task.
    fn dismiss(&mut self, id: u64) {
        if let Some(open) = self.open.remove(&id) {
            self.waiting.remove(&open.since);
            open.leave.notify_one();
        }
    }
}

impl Slot {
    /// Returns when the connection has to end.
    pub(super) async fn lost(&self) {
        self.leave.notified().await;
    }

    /// Returns when no request was at work for that long, or up to twice that.
    pub(super) async fn idle(&self, period: Duration) {
        loop {
            let before = self.waiting_since();
            tokio::time::sleep(period).await;
            if before.is_some() && before == self.waiting_since() {
                return;
            }
        }
    }

    fn waiting_since(&self) -> Option<u64> {
        self.places.state().open.get(&self.id).filter(|open| open.working == 0).map(|open| open.since)
    }

    /// A request is at work until the guard is dropped.
    pub(super) fn work(self: &Arc<Self>) -> Working {
        let mut state = self.places.state();
        let ConnectionState { open, waiting, .. } = &mut *state;
        if let Some(open) = open.get_mut(&self.id) {
            open.working += 1;
            waiting.remove(&open.since);
        }
        Working(self.clone())
    }

    /// The answer, whose memory is this connection's business until it is sent. Where too many are not, the oldest's
    /// connection ends.
    pub(super) fn send(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        if bytes.len() <= SMALL {
            return bytes;
        }
        let mut state = self.places.state();
        let number = state.number();
        state.unread.insert(number, self.id);
        if state.unread.len() > self.places.unread
            && let Some((_, oldest)) = state.unread.pop_first()
        {
            state.dismiss(oldest);
        }
        Bytes::from_owner(Unread { bytes, place: self.clone(), number })
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let mut state = self.0.places.state();
        let now = state.number();
        let ConnectionState { open, waiting, .. } = &mut *state;
        let Some(open) = open.get_mut(&self.0.id) else { return };
        open.working = open.working.saturating_sub(1);
        if open.working == 0 {
            open.since = now;
            waiting.insert(now, self.0.id);
        }
    }
}

impl AsRef<[u8]> for Unread {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.place.places.state().unread.remove(&self.number);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.places.state().dismiss(self.id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn is_lost(place: &Slot) -> bool {
        tokio::time::timeout(Duration::ZERO, place.lost()).await.is_ok()
    }

    #[tokio::test]
    async fn who_waited_longest_leaves_and_who_works_stays() {
        let places = ConnectionPool::new(3, 1);
        let (first, second, third) = (places.enter().unwrap(), places.enter().unwrap(), places.enter().unwrap());
        assert!([&first, &second, &third].iter().all(|(_, full)| !full));
        let work = first.0.work();
        let (fourth, full) = places.enter().unwrap();
        assert!(full && is_lost(&second.0).await && !is_lost(&first.0).await);
        // What it did lately makes the first one the last to leave.
        drop(work);
        let _fifth = places.enter().unwrap();
        assert!(is_lost(&third.0).await && !is_lost(&first.0).await && !is_lost(&fourth).await);
        let _sixth = places.enter().unwrap();
        assert!(is_lost(&fourth).await && !is_lost(&first.0).await);
        assert_eq!(places.state().open.len(), 3);
        drop(second);
        assert_eq!(places.state().open.len(), 3, "it had lost its place before");
    }

    #[tokio::test]
    async fn nobody_comes_in_where_all_work() {
        let places = ConnectionPool::new(1, 1);
        let (place, _) = places.enter().unwrap();
        let (one, other) = (place.work(), place.work());
        assert!(places.enter().is_none());
        drop(one);
        assert!(places.enter().is_none());
        drop(other);
        assert!(places.enter().unwrap().1 && is_lost(&place).await);
    }

    #[tokio::test]
    async fn the_oldest_unread_answer_goes() {
        let places = ConnectionPool::new(9, 2);
        let [(slow, _), (quick, _), (new, _)] = [(); 3].map(|()| places.enter().unwrap());
        let large = Bytes::from(vec![7; SMALL + 1]);
        let unread = slow.send(large.clone());
        drop(quick.send(large.clone()));
        let _small = (0..9).map(|_| quick.send(Bytes::from_static(b"small"))).collect::<Vec<_>>();
        let second = new.send(large.clone());
        assert!(!is_lost(&slow).await);
        let _third = quick.send(large);
        assert!(is_lost(&slow).await && !is_lost(&quick).await && !is_lost(&new).await);
        assert_eq!((unread.len(), places.state().unread.len()), (SMALL + 1, 2));
        drop((unread, second));
        assert_eq!(places.state().unread.len(), 1);
    }
}

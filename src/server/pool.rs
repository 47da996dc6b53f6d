//! Open connections, and which one is closed when a limit is reached.
//!
//! A flood must not lock a scraper out. At the limit of connections the pool therefore does not refuse the new
//! connection but evicts the one that has been without an active request for longest: an idle one, or one whose client
//! is slow in its TLS handshake, its request or its reading. Active requests end by their deadline.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::sync::lock;

/// Answers of at most this many bytes are not tracked: every connection may have one unsent.
const UNTRACKED_MAXIMUM: usize = 4096;

/// The open connections, ordered by how long they have been inactive.
#[derive(Debug)]
pub(super) struct ConnectionPool {
    connection_limit: usize,
    unsent_limit: usize,
    state: Mutex<PoolState>,
}

/// Ids of connections and of answers, and moments of inactivity, are numbers of one sequence.
#[derive(Debug, Default)]
struct PoolState {
    last_number: u64,
    open: HashMap<u64, OpenConnection>,
    /// From the number at which a connection became inactive to its id.
    inactive: BTreeMap<u64, u64>,
    /// From the number of a large unsent answer to the id of its connection.
    unsent: BTreeMap<u64, u64>,
}

#[derive(Debug)]
struct OpenConnection {
    evict: Arc<Notify>,
    /// `None` while a request is active.
    inactive_since: Option<u64>,
}

/// One connection's entry in the pool, which ends with it.
#[derive(Debug)]
pub(super) struct Slot {
    pool: Arc<ConnectionPool>,
    id: u64,
    evict: Arc<Notify>,
}

/// Protects the connection from eviction for inactivity until it is dropped.
pub(super) struct ActiveRequest<'a>(&'a Slot);

/// An answer that the client has not received yet.
struct Unsent {
    bytes: Bytes,
    slot: Arc<Slot>,
    number: u64,
}

impl ConnectionPool {
    /// A pool for that many connections and large unsent answers.
    pub(super) fn new(connection_limit: usize, unsent_limit: usize) -> Arc<Self> {
        Arc::new(Self { connection_limit, unsent_limit, state: Mutex::default() })
    }

    /// A slot for a new connection, and whether another was evicted for it. `None` if all have an active request.
    pub(super) fn enter(self: &Arc<Self>) -> Option<(Arc<Slot>, bool)> {
        let mut state = lock(&self.state);
        let full = state.open.len() >= self.connection_limit;
        if full {
            let longest = *state.inactive.first_key_value()?.1;
            state.evict(longest);
        }
        let id = state.next_number();
        let evict = Arc::new(Notify::new());
        state.open.insert(id, OpenConnection { evict: evict.clone(), inactive_since: Some(id) });
        state.inactive.insert(id, id);
        Some((Arc::new(Slot { pool: self.clone(), id, evict }), full))
    }
}

impl PoolState {
    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Removes a connection from the pool and notifies its task.
    fn evict(&mut self, id: u64) {
        if let Some(connection) = self.open.remove(&id) {
            if let Some(since) = connection.inactive_since {
                self.inactive.remove(&since);
            }
            connection.evict.notify_one();
        }
    }
}

impl Slot {
    /// Completes when the connection has to be closed.
    pub(super) async fn evicted(&self) {
        self.evict.notified().await;
    }

    /// Marks the connection as active until the guard is dropped. HTTP/1.1 has one request at a time.
    pub(super) fn activate(&self) -> ActiveRequest<'_> {
        let mut state = lock(&self.pool.state);
        let PoolState { open, inactive, .. } = &mut *state;
        if let Some(since) = open.get_mut(&self.id).and_then(|connection| connection.inactive_since.take()) {
            inactive.remove(&since);
        }
        ActiveRequest(self)
    }

    /// Counts a large answer as unsent until hyper drops it; beyond the limit, evicts the connection of the oldest.
    pub(super) fn track(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        if bytes.len() <= UNTRACKED_MAXIMUM {
            return bytes;
        }
        let mut state = lock(&self.pool.state);
        let number = state.next_number();
        state.unsent.insert(number, self.id);
        if state.unsent.len() > self.pool.unsent_limit
            && let Some((_, oldest)) = state.unsent.pop_first()
        {
            state.evict(oldest);
        }
        Bytes::from_owner(Unsent { bytes, slot: self.clone(), number })
    }
}

impl Drop for ActiveRequest<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.pool.state);
        let now = state.next_number();
        let PoolState { open, inactive, .. } = &mut *state;
        if let Some(connection) = open.get_mut(&self.0.id) {
            connection.inactive_since = Some(now);
            inactive.insert(now, self.0.id);
        }
    }
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        lock(&self.slot.pool.state).unsent.remove(&self.number);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.pool.state).evict(self.id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    async fn is_evicted(slot: &Slot) -> bool {
        tokio::time::timeout(Duration::ZERO, slot.evicted()).await.is_ok()
    }

    #[tokio::test]
    async fn the_longest_inactive_connection_is_evicted_and_active_ones_stay() {
        let pool = ConnectionPool::new(3, 1);
        let (first, second, third) = (pool.enter().unwrap(), pool.enter().unwrap(), pool.enter().unwrap());
        assert!([&first, &second, &third].iter().all(|(_, full)| !full));
        let request = first.0.activate();
        let (fourth, full) = pool.enter().unwrap();
        assert!(full && is_evicted(&second.0).await && !is_evicted(&first.0).await);
        // Its recent request makes the first one the last to be evicted.
        drop(request);
        let _fifth = pool.enter().unwrap();
        assert!(is_evicted(&third.0).await && !is_evicted(&first.0).await && !is_evicted(&fourth).await);
        let _sixth = pool.enter().unwrap();
        assert!(is_evicted(&fourth).await && !is_evicted(&first.0).await);
        assert_eq!(lock(&pool.state).open.len(), 3);
        drop(second);
        assert_eq!(lock(&pool.state).open.len(), 3, "it was evicted before");
    }

    #[tokio::test]
    async fn no_connection_enters_while_all_are_active() {
        let pool = ConnectionPool::new(1, 1);
        let (slot, _) = pool.enter().unwrap();
        let request = slot.activate();
        assert!(pool.enter().is_none());
        drop(request);
        assert!(pool.enter().unwrap().1 && is_evicted(&slot).await);
    }

    #[tokio::test]
    async fn the_connection_of_the_oldest_unsent_answer_is_evicted() {
        let pool = ConnectionPool::new(9, 2);
        let [(slow, _), (quick, _), (new, _)] = [(); 3].map(|()| pool.enter().unwrap());
        let large = Bytes::from(vec![7; UNTRACKED_MAXIMUM + 1]);
        let unsent = slow.track(large.clone());
        drop(quick.track(large.clone()));
        let _small = (0..9).map(|_| quick.track(Bytes::from_static(b"small"))).collect::<Vec<_>>();
        let second = new.track(large.clone());
        assert!(!is_evicted(&slow).await);
        let _third = quick.track(large);
        assert!(is_evicted(&slow).await && !is_evicted(&quick).await && !is_evicted(&new).await);
        assert_eq!((unsent.len(), lock(&pool.state).unsent.len()), (UNTRACKED_MAXIMUM + 1, 2));
        drop((unsent, second));
        assert_eq!(lock(&pool.state).unsent.len(), 1);
    }
}

//! `basic_auth_users`: names and bcrypt hashes.
//!
//! bcrypt is slow by design, so what it costs is bounded: one at a time on a blocking thread, few more waiting, and the
//! password that a user was last let in with is known again by its HMAC. The key of that is made when the file is
//! read; nothing of it can be made outside, and failures take no room, so that no flood of guesses pushes out a
//! scraper's password. Names that do not exist cost as much as those that do.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use ring::hmac;
use tokio::sync::Semaphore;

use crate::sync::lock;

/// Checks that wait while one runs; further ones are turned away at once. At cost 10 they take a second.
const QUEUE: usize = 16;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthResult {
    Allowed,
    /// No, a malformed or a wrong user and password.
    Denied,
    /// Too many checks wait already.
    Busy,
}

/// Who may ask.
pub(super) struct Users {
    users: BTreeMap<String, User>,
    /// What names that do not exist are checked against: the slowest hash there is.
    slowest: String,
    key: Option<hmac::Key>,
    queue: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

struct User {
    hash: String,
    known: Mutex<Option<hmac::Tag>>,
}

impl Default for Users {
    fn default() -> Self {
        Self::new(BTreeMap::new())
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.users.keys()).finish()
    }
}

/// The cost of a bcrypt hash, if it is one.
pub(super) fn cost(hash: &str) -> Option<u32> {
    hash.parse::<bcrypt::HashParts>().ok().map(|parts| parts.get_cost())
}

impl Users {
    /// Names and hashes.
    pub(super) fn new(hashes: BTreeMap<String, String>) -> Self {
        let slowest = hashes.values().max_by_key(|hash| cost(hash)).cloned().unwrap_or_default();
        // Without randomness from the kernel nothing is remembered, and each request pays for a check.
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new()).ok();
        let users = hashes.into_iter().map(|(name, hash)| (name, User { hash, known: Mutex::default() })).collect();
        Self { users, slowest, key, queue: Arc::new(Semaphore::new(QUEUE)), turn: Arc::new(Semaphore::new(1)) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether the value of an Authorization header lets a request in.
    pub(super) async fn check(self: &Arc<Self>, header: Option<&HeaderValue>) -> AuthResult {
        let Some((name, password)) = header.and_then(credentials) else { return AuthResult::Denied };
        if self.users.get(&name).is_some_and(|user| self.knows(user, &password)) {
            return AuthResult::Allowed;
        }
        let Ok(_place) = self.queue.clone().try_acquire_owned() else { return AuthResult::Busy };
        let Ok(turn) = self.turn.clone().acquire_owned().await else { return AuthResult::Denied };
        let users = self.clone();
        let verify = move || {
            // The turn ends with the work, even if nobody waits for it any more.
            let _turn = turn;
            users.verify(&name, &password)
        };
        match tokio::task::spawn_blocking(verify).await {
            Ok(true) => AuthResult::Allowed,
            _ => AuthResult::Denied,
        }
    }

    /// By the HMAC, in constant time.
    fn knows(&self, user: &User, password: &[u8]) -> bool {
        let known = *lock(&user.known);
        let (Some(key), Some(tag)) = (&self.key, known) else { return false };
        hmac::verify(key, password, tag.as_ref()).is_ok()
    }

    /// By bcrypt. Blocks.
    fn verify(&self, name: &str, password: &[u8]) -> bool {
        let user = self.users.get(name);
        // Another check may have let the same password in while this one waited.
        if user.is_some_and(|user| self.knows(user, password)) {
            return true;
        }
        let hash = user.map_or(&self.slowest, |user| &user.hash);
        let right = bcrypt::verify(password, hash).unwrap_or(false);
        let Some(user) = user.filter(|_| right) else { return false };
        let tag = self.key.as_ref().map(|key| hmac::sign(key, password));
        *lock(&user.known) = tag;
        true
    }
}

/// User and password of `Basic …` (RFC 7617).
fn credentials(header: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut decoded = STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let password = decoded.split_off(colon + 1);
    decoded.pop();
    Some((String::from_utf8(decoded).ok()?, password))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn header(text: &str) -> HeaderValue {
        format!("Basic {}", STANDARD.encode(text)).parse().unwrap()
    }

    fn users() -> Arc<Users> {
        let hashes = [("ann", "right"), ("bob", "other")];
        let hashes = hashes.map(|(name, password)| (name.to_owned(), bcrypt::hash(password, 4).unwrap()));
        Arc::new(Users::new(hashes.into()))
    }

    #[tokio::test]
    async fn only_the_right_password_of_the_right_user_is_let_in() {
        let users = users();
        // Twice: before and after something is known.
        for _ in 0..2 {
            for (text, expected) in [
                ("ann:right", AuthResult::Allowed),
                ("ann:wrong", AuthResult::Denied),
                ("ann:", AuthResult::Denied),
                ("bob:right", AuthResult::Denied),
                ("bob:other", AuthResult::Allowed),
                ("nobody:right", AuthResult::Denied),
                (":right", AuthResult::Denied),
                ("annright", AuthResult::Denied),
            ] {
                assert_eq!(users.check(Some(&header(text))).await, expected, "{text}");
            }
        }
        for value in ["", "Basic", "Basic !", "Basic YQ==", "Bearer YW5uOnJpZ2h0", "Basic /////w=="] {
            assert_eq!(users.check(Some(&value.parse().unwrap())).await, AuthResult::Denied, "{value}");
        }
        assert_eq!(users.check(None).await, AuthResult::Denied);
        assert_eq!(users.check(Some(&"bAsIc YW5uOnJpZ2h0".parse().unwrap())).await, AuthResult::Allowed);
    }

    #[tokio::test]
    async fn a_known_password_needs_no_turn_and_a_flood_is_turned_away() {
        let users = users();
        assert_eq!(users.check(Some(&header("ann:right"))).await, AuthResult::Allowed);
        let turn = users.turn.clone().acquire_owned().await.unwrap();
        let waiting = (0..QUEUE).map(|number| {
            let users = users.clone();
            tokio::spawn(async move { users.check(Some(&header(&format!("ann:{number}")))).await })
        });
        let waiting = waiting.collect::<Vec<_>>();
        while users.queue.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(users.check(Some(&header("bob:other"))).await, AuthResult::Busy);
        assert_eq!(users.check(Some(&header("ann:right"))).await, AuthResult::Allowed, "it is known");
        drop(turn);
        for check in waiting {
            assert_eq!(check.await.unwrap(), AuthResult::Denied);
        }
        assert_eq!(users.check(Some(&header("bob:other"))).await, AuthResult::Allowed);
    }

    #[test]
    fn hashes_of_all_tools_are_known() {
        let tail = "10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";
        for prefix in ["2y", "2a", "2b", "2x"] {
            assert_eq!(cost(&format!("${prefix}${tail}")), Some(10), "{prefix}");
        }
        for text in ["", "password", "$1$abc", "$2y$10$short", "$2y$10$\u{e9}\u{e9}\u{e9}"] {
            assert_eq!(cost(text), None, "{text}");
        }
    }
}

//! One copy of equal lists.

use std::sync::{Arc, Mutex, Weak};

use crate::sync::lock;

/// Lists that many JVMs have in common: a thousand JVMs of one kind hold each once.
#[derive(Debug)]
pub(crate) struct Interner<T>(Mutex<Vec<Weak<[T]>>>);

impl<T: PartialEq> Interner<T> {
    /// Without lists.
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The one copy of an equal list.
    pub(crate) fn intern(&self, list: Vec<T>) -> Arc<[T]> {
        let mut interned = lock(&self.0);
        interned.retain(|other| other.strong_count() > 0);
        if let Some(same) = interned.iter().filter_map(Weak::upgrade).find(|other| **other == *list) {
            return same;
        }
        let list: Arc<[T]> = list.into();
        interned.push(Arc::downgrade(&list));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_are_one_for_as_long_as_one_is_held() {
        let interner = Interner::new();
        let first = interner.intern(vec![1, 2]);
        assert!(Arc::ptr_eq(&first, &interner.intern(vec![1, 2])));
        assert!(!Arc::ptr_eq(&first, &interner.intern(vec![1, 3])));
        drop(first);
        assert_eq!(*interner.intern(vec![1]), [1]);
        assert!(lock(&interner.0).iter().all(|list| list.strong_count() == 0));
    }
}

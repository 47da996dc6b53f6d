//! Shell commands that give a mount namespace a `/tmp` of its own. A checkout below `/tmp` stays at its place in it: the
//! test's binaries and the JVMs of `target/` are run from there.

use std::fs;
use std::path::Path;

use super::package;

/// Makes the directory the `/tmp` of the namespace.
pub fn over_tmp(directory: &Path) -> String {
    let directory = quoted(directory);
    format!("{}mount --rbind {directory} /tmp", keep_checkout(&directory))
}

/// Makes a new tmpfs the `/tmp` of the namespace.
pub fn tmpfs_over_tmp() -> String {
    format!("mount -t tmpfs none /mnt && {}mount --rbind /mnt /tmp && umount -l /mnt", keep_checkout("/mnt"))
}

/// Puts the checkout below the future `/tmp`, if it is below the present one.
fn keep_checkout(future: &str) -> String {
    let checkout = fs::canonicalize(package()).unwrap();
    let Ok(place) = checkout.strip_prefix("/tmp") else { return String::new() };
    let place = format!("{future}/{}", quoted(place));
    format!("mkdir -p {place} && mount --rbind {} {place} && ", quoted(&checkout))
}

fn quoted(path: &Path) -> String {
    let path = path.to_str().unwrap();
    assert!(!path.contains('\''), "{path} cannot be quoted for a shell");
    format!("'{path}'")
}

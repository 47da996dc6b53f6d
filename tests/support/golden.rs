//! Texts that are kept in `tests/golden`. With `UPDATE_GOLDEN=1` in the environment, what is printed now is accepted.

use std::fs;

use super::package;

/// Compares with `tests/golden/NAME`, or replaces it.
pub fn compare(name: &str, text: &str) -> Result<(), String> {
    let path = package().join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        return Ok(());
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    let (mut ours, mut theirs) = (text.lines(), golden.lines());
    for number in 1.. {
        match (ours.next(), theirs.next()) {
            (None, None) => break,
            (found, expected) if found == expected => (),
            (found, expected) => {
                return Err(format!("{name}:{number}: expected {expected:?}, found {found:?}"));
            }
        }
    }
    Ok(())
}

/// Fails with all differences, and how to accept them.
pub fn assert_no_differences(differences: &[String]) {
    let hint = "if that is meant, call `cargo test` with UPDATE_GOLDEN=1";
    assert!(differences.is_empty(), "{}\n{hint}", differences.join("\n"));
}

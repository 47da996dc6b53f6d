//! Whole scans of planted directories, without processes.
#![allow(clippy::panic, clippy::type_complexity, clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::config::{Procfs as ProcfsConfig, RootPattern};

fn scanner(patterns: &[String]) -> Scanner {
    Scanner::new(&Discovery {
        roots: patterns.iter().map(|pattern| RootPattern::new(pattern).unwrap()).collect(),
        procfs: ProcfsConfig { enabled: Toggle::Off, path: "/proc".into() },
        ..Discovery::default()
    })
}

fn region(below: &TempDir, path: &str) -> PathBuf {
    let path = below.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(&path).unwrap().set_len(32768).unwrap();
    path
}

#[test]
fn each_file_is_a_candidate_once() {
    let below = TempDir::new().unwrap();
    let path = region(&below, "app/hsperfdata_me/1");
    region(&below, "app/hsperfdata_me/lock");
    region(&below, "app/other_me/2");
    let pattern = format!("{}/{{container}}", below.path().display());
    let fixed = format!("{}/app", below.path().display());
    let mut scanner = scanner(&[pattern, fixed]);
    let scan = scanner.scan(&|_| false);
    assert_eq!(scan.refusals, []);
    let [candidate] = &scan.candidates[..] else { panic!("{:?}", scan.candidates) };
    assert_eq!(candidate.path, path);
    assert_eq!((candidate.vpid, candidate.user.as_str()), (1, "me"));
    assert_eq!(candidate.labels.get("container"), Some("app"));
    assert!(candidate.source.is_some() && candidate.process.is_none() && candidate.linked);

    let id = candidate.id;
    let again = scanner.scan(&|known| known == id);
    assert_eq!(again.candidates.len(), 1);
    assert!(again.candidates[0].source.is_none());

    fs::remove_file(&path).unwrap();
    assert!(scanner.scan(&|known| known == id).candidates.is_empty());
}

#[test]
fn a_flood_of_names_is_cut_and_reported() {
    let below = TempDir::new().unwrap();
    let directory = below.path().join("hsperfdata_me");
    fs::create_dir(&directory).unwrap();
    for number in 0..=DIRECTORY_NAMES {
        File::create(directory.join(format!("x{number}"))).unwrap();
    }
    let scan = scanner(&[below.path().display().to_string()]).scan(&|_| false);
    assert_eq!(scan.refusals.iter().map(|refusal| refusal.reason).collect::<Vec<_>>(), [RefusalReason::TooMany]);
}

#[test]
fn a_watch_wakes_for_what_matters_only() {
    let below = TempDir::new().unwrap();
    let mut watch = DirectoryWatcher::new().unwrap();
    let mut scanner = scanner(&[below.path().display().to_string()]);
    let long = Duration::from_secs(20);

    watch.follow(&scanner.scan(&|_| false).watched);
    fs::write(below.path().join("noise"), "").unwrap();
    assert_eq!(watch.wait(Duration::ZERO), Woken::Timeout);
    fs::create_dir(below.path().join("hsperfdata_me")).unwrap();
    assert_eq!(watch.wait(long), Woken::Changed);

    watch.follow(&scanner.scan(&|_| false).watched);
    region(&below, "hsperfdata_me/7");
    assert_eq!(watch.wait(long), Woken::Changed);

    let waker = watch.waker();
    std::thread::spawn(move || waker.wake());
    assert_eq!(watch.wait(long), Woken::Called);
}

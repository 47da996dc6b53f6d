//! A hostile directory, opened with `openat2` and without.
#![allow(
    clippy::panic,
    clippy::type_complexity,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType as NodeType, mknodat};
use tempfile::TempDir;

use super::*;

const SIZE: u64 = 32768;

/// A temporary directory with one directory of HotSpot's.
struct Tmp {
    root: TempDir,
}

impl Tmp {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        fs::create_dir(root.path().join("hsperfdata_me")).unwrap();
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("hsperfdata_me").join(name)
    }

    fn file(&self, name: &str, size: u64) -> PathBuf {
        let path = self.path(name);
        File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    fn open(&self, opener: &Opener, vpid: i32) -> Result<(), RefusalReason> {
        let root = File::open(self.root.path()).unwrap();
        let directory = UserDirectory::open(opener, &root, self.root.path(), OsStr::new("hsperfdata_me"))
            .unwrap()
            .map_err(|refusal| refusal.reason)?;
        let refused = |refused: RefusedItem| refused.refusal.reason;
        let found = directory.find(opener, vpid).unwrap().map_err(refused)?;
        let file = directory.read(&found).map_err(refused)?;
        assert_eq!(file.metadata().unwrap().len(), SIZE);
        Ok(())
    }
}

/// Both ways of resolving, each with a deadline: nothing here may block.
fn both_ways(test: impl Fn(&Opener) + Send + Copy + 'static) {
    for opener in [Opener::default(), Opener::by_component()] {
        let (done, finished) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            test(&opener);
            done.send(()).unwrap();
        });
        let result = finished.recv_timeout(std::time::Duration::from_secs(20));
        assert_ne!(result, Err(std::sync::mpsc::RecvTimeoutError::Timeout), "an open blocked");
        thread.join().unwrap();
    }
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: making nodes and foreign files takes root");
    }
    root
}

#[test]
fn a_region_is_opened() {
    both_ways(|opener| {
        let tmp = Tmp::new();
        tmp.file("1", SIZE);
        assert_eq!(tmp.open(opener, 1), Ok(()));
    });
}

#[test]
fn what_no_jvm_makes_is_refused() {
    let cases: [(fn(&Tmp), RefusalReason); 10] = [
        (|tmp| drop(tmp.file("1", 0)), RefusalReason::NotReady),
        (|tmp| drop(tmp.file("1", 31)), RefusalReason::TooSmall),
        (|tmp| drop(tmp.file("1", 1 << 40)), RefusalReason::TooLarge),
        (|tmp| symlink(tmp.file("other", SIZE), tmp.path("1")).unwrap(), RefusalReason::Symlink),
        (|tmp| symlink("/etc/passwd", tmp.path("1")).unwrap(), RefusalReason::Symlink),
        (|tmp| symlink("missing", tmp.path("1")).unwrap(), RefusalReason::Symlink),
        (|tmp| fs::hard_link(tmp.file("other", SIZE), tmp.path("1")).unwrap(), RefusalReason::HardLink),
        (|tmp| fs::create_dir(tmp.path("1")).unwrap(), RefusalReason::NotRegular),
        (|tmp| drop(UnixListener::bind(tmp.path("1")).unwrap()), RefusalReason::NotRegular),
        (
            |tmp| {
                tmp.file("1", SIZE);
                fs::set_permissions(tmp.root.path().join("hsperfdata_me"), Permissions::from_mode(0o775)).unwrap();
            },
            RefusalReason::InsecureDirectory,
        ),
    ];
    for (at, (plant, reason)) in cases.into_iter().enumerate() {
        both_ways(move |opener| {
            let tmp = Tmp::new();
            plant(&tmp);
            assert_eq!(tmp.open(opener, 1), Err(reason), "case {at}");
        });
    }
}

#[test]
fn a_fifo_or_device_never_blocks() {
    both_ways(|opener| {
        let tmp = Tmp::new();
        mknodat(CWD, tmp.path("1"), NodeType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert_eq!(tmp.open(opener, 1), Err(RefusalReason::NotRegular));
        if is_root() {
            let console = rustix::fs::makedev(5, 1);
            mknodat(CWD, tmp.path("2"), NodeType::CharacterDevice, Mode::from_raw_mode(0o600), console).unwrap();
            assert_eq!(tmp.open(opener, 2), Err(RefusalReason::NotRegular));
        }
    });
}

#[test]
fn a_foreign_owner_is_refused() {
    if is_root() {
        both_ways(|opener| {
            let tmp = Tmp::new();
            chown(tmp.file("1", SIZE), Some(54321), None).unwrap();
            assert_eq!(tmp.open(opener, 1), Err(RefusalReason::OtherOwner));
        });
    }
}

#[test]
fn links_lead_nowhere() {
    both_ways(|opener| {
        let root = TempDir::new().unwrap();
        let inside = root.path().join("inside");
        fs::create_dir_all(inside.join("real/deep")).unwrap();
        fs::write(root.path().join("secret"), "x").unwrap();
        fs::write(inside.join("real/deep/file"), "hello").unwrap();
        symlink("/etc", inside.join("absolute")).unwrap();
        symlink("real", inside.join("relative")).unwrap();
        symlink("..", inside.join("up")).unwrap();
        let handle = File::open(&inside).unwrap();
        for path in ["absolute/passwd", "relative/deep/file", "up/secret"] {
            assert_eq!(opener.handle(&handle, Path::new(path)).unwrap_err(), Errno::LOOP, "{path}");
            assert_eq!(opener.content(&handle, Path::new(path), 9).unwrap_err(), Errno::LOOP, "{path}");
        }
        for path in ["../secret", "/etc/passwd"] {
            assert_eq!(opener.handle(&handle, Path::new(path)).unwrap_err(), Errno::XDEV, "{path}");
        }
        for path in ["absolute", "relative", "up"] {
            assert_eq!(opener.directory(&handle, Path::new(path)).unwrap_err(), Errno::LOOP, "{path}");
        }
        assert_eq!(opener.handle(&handle, Path::new("real/deep/file/more")).unwrap_err(), Errno::NOTDIR);
        assert_eq!(opener.directory(&handle, Path::new("real/deep/file")).unwrap_err(), Errno::NOTDIR);
        assert_eq!(opener.content(&handle, Path::new("real/deep/file"), 4).unwrap(), b"hell");
    });
}

#[test]
fn only_hotspots_names_are_taken() {
    for (name, expected) in [
        ("1", Some(1)),
        ("2147483647", Some(i32::MAX)),
        ("2147483648", None),
        ("0", None),
        ("01", None),
        ("-1", None),
        ("+1", None),
        ("1 ", None),
        ("", None),
        ("one", None),
    ] {
        assert_eq!(crate::perfdata::name::vpid_of(OsStr::new(name)), expected, "{name}");
    }
    assert_eq!(user_of(OsStr::new("hsperfdata_a b")).as_deref(), Some("a b"));
    assert_eq!(user_of(OsStr::new("hsperfdata_")), None);
    assert_eq!(user_of(OsStr::new("hsperfdata")), None);
}

fn filled(byte: u8) -> Vec<u8> {
    vec![byte; usize::try_from(SIZE).unwrap()]
}

/// Somebody who may write to the directory swaps a region for other things between its examination and its opening. What
/// is opened is always the very file that was examined.
#[test]
fn a_name_that_is_swapped_between_check_and_open_leads_nowhere_else() {
    const ROUNDS: u32 = 500;
    both_ways(|opener| {
        let tmp = Tmp::new();
        fs::write(tmp.root.path().join("secret"), filled(b's')).unwrap();
        let swaps: [fn(&Tmp, &Path); 6] = [
            |tmp, name| symlink(tmp.root.path().join("secret"), name).unwrap(),
            |tmp, name| fs::hard_link(tmp.root.path().join("secret"), name).unwrap(),
            |_, name| mknodat(CWD, name, NodeType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap(),
            |_, name| fs::create_dir(name).unwrap(),
            |_, name| fs::write(name, filled(b'n')).unwrap(),
            |_, _| {},
        ];
        let root = File::open(tmp.root.path()).unwrap();
        let open =
            || UserDirectory::open(opener, &root, tmp.root.path(), OsStr::new("hsperfdata_me")).unwrap().unwrap();
        for (at, swap) in (0..ROUNDS).zip(swaps.iter().cycle()) {
            fs::write(tmp.path("1"), filled(b'r')).unwrap();
            let directory = open();
            let found = directory.find(opener, 1).unwrap().unwrap();
            fs::remove_file(tmp.path("1")).unwrap();
            swap(&tmp, &tmp.path("1"));
            match directory.read(&found) {
                Ok(file) => {
                    let mut content = Vec::new();
                    file.take(9).read_to_end(&mut content).unwrap();
                    assert_eq!(content, b"rrrrrrrrr", "round {at}");
                }
                Err(refused) => assert_eq!(refused.refusal.reason, RefusalReason::NotReady, "round {at}"),
            }
            drop(fs::remove_file(tmp.path("1")));
            drop(fs::remove_dir(tmp.path("1")));
        }
    });
}

/// The same where `/proc` is not mounted, so that the name has to be opened again and compared.
#[test]
fn a_swapped_name_is_refused_without_proc_too() {
    let tmp = Tmp::new();
    let opener = Opener::default();
    fs::write(tmp.path("2"), filled(b'n')).unwrap();
    tmp.file("1", SIZE);
    let directory = File::open(tmp.root.path().join("hsperfdata_me")).unwrap();
    let handle = opener.handle(&directory, Path::new("1")).unwrap();
    let again = |name: &str| reopen_by_name(&handle, directory.as_fd(), Path::new(name));
    assert!(again("1").is_ok());
    assert_eq!(again("2").unwrap_err(), Errno::STALE);
    symlink("1", tmp.path("3")).unwrap();
    assert_eq!(again("3").unwrap_err(), Errno::LOOP);
    mknodat(CWD, tmp.path("4"), NodeType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    assert_eq!(again("4").unwrap_err(), Errno::STALE, "and it does not block");
}

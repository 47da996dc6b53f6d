//! The file of `--web.config.file`. The certificates that it names do not exist.
//!
//! Checks: no panic; every problem takes one line.

#![no_main]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use hotspot_exporter::server::Web;
use libfuzzer_sys::fuzz_target;

/// A file in memory, rewritten for each execution.
static PLACE: LazyLock<(File, PathBuf)> = LazyLock::new(|| {
    let path = PathBuf::from(format!("/dev/shm/hotspot-exporter-fuzz-{}.yaml", std::process::id()));
    let file = File::options().create(true).truncate(true).write(true).read(true).open(&path);
    let file = file.expect("a file in /dev/shm");
    let named = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)));
    std::fs::remove_file(path).expect("the name is not needed");
    (file, named)
});

fn write(file: &File, bytes: &[u8]) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all_at(bytes, 0)
}

fuzz_target!(|bytes: &[u8]| {
    let (file, path) = &*PLACE;
    write(file, bytes).expect("room for a small file");
    if let Err(problems) = Web::load(path) {
        let shown = problems.to_string();
        assert_eq!(shown.split('\n').count(), problems.list.len() + usize::from(problems.further > 0), "{shown}");
    }
});

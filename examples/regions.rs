//! Keeps recorded regions alive for `scripts/bench`: `regions DIRECTORY COUNT FILE`.
//!
//! Copies FILE to `DIRECTORY/hsperfdata_bench/1` to `COUNT`, keeps every copy open for writing as a JVM does, and changes
//! a counter of each every 10 ms. Prints `ready`, and exits when its standard input closes.

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use hotspot_exporter::perfdata::Image;

/// The counter that changes: every JDK has it, and a busy JVM changes it most often.
const BUSY: &str = "sun.rt.applicationTime";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, count, file] = arguments.as_slice() else {
        return Err("usage: regions DIRECTORY COUNT FILE".into());
    };
    let bytes = fs::read(file)?;
    let image = Image::decode(bytes.clone())?;
    let offset = image.entry(BUSY).ok_or("the region has no sun.rt.applicationTime")?.offset;
    let regions = make(Path::new(directory), count.parse()?, &bytes)?;
    println!("ready");
    std::thread::spawn(move || keep_busy(&regions, u64::from(offset)));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn make(directory: &Path, count: u32, bytes: &[u8]) -> std::io::Result<Vec<File>> {
    let user = directory.join("hsperfdata_bench");
    fs::create_dir_all(&user)?;
    let region = |pid: u32| {
        let path = user.join(pid.to_string());
        fs::write(&path, bytes)?;
        File::options().write(true).open(path)
    };
    (1..=count).map(region).collect()
}

fn keep_busy(regions: &[File], offset: u64) {
    for time in 0_u64.. {
        for region in regions {
            if let Err(error) = region.write_at(&(time * 10_000_000).to_le_bytes(), offset) {
                eprintln!("cannot write a region: {error}");
                return;
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

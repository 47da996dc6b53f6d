//! Minimum costs, for comparison in `scripts/bench`.
//!
//! `floor FILE ROUNDS` rewrites a saved text exposition: it copies everything except the values from prebuilt bytes and
//! formats the values. It prints the median time in nanoseconds and the number of series. `floor wake ROUNDS [PID...]`
//! wakes up every 10 ms to copy one word of the memory of each process, and prints the CPU time per wake-up in
//! nanoseconds. `floor pieces ROUNDS FILE SERIES` copies a file in that many pieces with eight bytes between, as protobuf
//! has them, and `floor gzip ROUNDS FILE LEVEL` compresses it at once; both print the median CPU time in nanoseconds, and
//! the length of the result. `floor read ROUNDS PID` copies one word of the memory of a process again and again, and `floor open ROUNDS
//! FILE` opens, reads and closes a file; both print the CPU time of each in nanoseconds. `floor words ROUNDS DIRECTORY WORDS`
//! reads that many words of every region in a directory once a second, and prints the CPU time of a round in nanoseconds.

use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use flate2::{Compress, Compression, FlushCompress, Status};
use hotspot_exporter::perfdata::{FileMode, Image, Region, RegionIdentity};
use rustix::time::{ClockId, clock_gettime};

/// A series: all bytes up to its value, including preceding comments, and the value.
struct Line {
    prefix: Vec<u8>,
    value: Number,
}

#[derive(Clone, Copy)]
enum Number {
    Whole(i64),
    Real(f64),
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, rounds, processes @ ..] = arguments.as_slice() else {
        return Err("usage: floor FILE ROUNDS, or floor wake|pieces|gzip|read|open|words ROUNDS …".into());
    };
    if file == "wake" {
        println!("{}", wake(rounds.parse()?, processes)?);
        return Ok(());
    }
    if let ("pieces" | "gzip", [page, number]) = (file.as_str(), processes) {
        let (page, rounds, number) = (fs::read(page)?, rounds.parse()?, number.parse()?);
        let (time, length) = if file == "gzip" { gzip(&page, rounds, number)? } else { pieces(&page, rounds, number)? };
        println!("{time} {length}");
        return Ok(());
    }
    if let ("read" | "open", [subject, ..]) = (file.as_str(), processes) {
        println!("{}", calls(file, rounds.parse()?, subject)?);
        return Ok(());
    }
    if let ("words", [directory, count]) = (file.as_str(), processes) {
        println!("{}", words(rounds.parse()?, directory, count.parse()?)?);
        return Ok(());
    }
    let text = fs::read_to_string(file)?;
    let lines = split(&text);
    let mut out = Vec::with_capacity(text.len() * 2);
    let mut times = Vec::new();
    for _ in 0..rounds.parse()? {
        let start = Instant::now();
        out.clear();
        for line in black_box(&lines) {
            write(line, &mut out);
        }
        black_box(&out);
        times.push(start.elapsed().as_nanos());
    }
    times.sort_unstable();
    println!("{} {}", times.get(times.len() / 2).ok_or("no rounds")?, lines.len());
    Ok(())
}

/// The median CPU time of filling a buffer, in nanoseconds, and the length of what is in it at the end.
fn fill(
    rounds: u32,
    mut fill: impl FnMut(&mut Vec<u8>) -> Result<(), Box<dyn Error>>,
) -> Result<(u128, usize), Box<dyn Error>> {
    let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    let (mut out, mut times) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        out.clear();
        let begin = used();
        fill(black_box(&mut out))?;
        times.push((used() - begin).as_nanos());
    }
    times.sort_unstable();
    Ok((*times.get(times.len() / 2).ok_or("no rounds")?, out.len()))
}

fn pieces(page: &[u8], rounds: u32, series: u32) -> Result<(u128, usize), Box<dyn Error>> {
    let length = (page.len() / series.max(1) as usize).max(9);
    let pieces: Vec<Vec<u8>> =
        page.chunks(length).map(|piece| piece[..piece.len().saturating_sub(8)].to_vec()).collect();
    fill(rounds, |out| {
        for (number, piece) in black_box(&pieces).iter().enumerate() {
            out.extend_from_slice(piece);
            out.extend_from_slice(&(number as f64).to_le_bytes());
        }
        Ok(())
    })
}

fn gzip(page: &[u8], rounds: u32, level: u32) -> Result<(u128, usize), Box<dyn Error>> {
    let mut state = Compress::new_gzip(Compression::new(level), 15);
    fill(rounds, |out| {
        state.reset();
        out.reserve(page.len() + 1024);
        match state.compress_vec(page, out, FlushCompress::Finish)? {
            Status::StreamEnd => Ok(()),
            status => Err(format!("the page does not fit: {status:?}").into()),
        }
    })
}

/// CPU time in nanoseconds of copying a word of a process, or of opening, reading and closing a file.
fn calls(what: &str, rounds: u32, subject: &str) -> Result<u128, Box<dyn Error>> {
    let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    let mut buffer = [0; 256];
    let process = if what == "read" { Some(memory(subject)?) } else { None };
    let begin = used();
    for _ in 0..rounds {
        match &process {
            Some((memory, address)) => _ = memory.read_at(&mut buffer[..8], *address)?,
            None => _ = std::io::Read::read(&mut File::open(subject)?, &mut buffer)?,
        }
        black_box(&buffer);
    }
    Ok((used() - begin).as_nanos() / u128::from(rounds.max(1)))
}

/// CPU time per wake-up, in nanoseconds, of a thread that sleeps and copies a word of each process.
fn wake(rounds: u32, processes: &[String]) -> Result<u128, Box<dyn Error>> {
    let memories = processes.iter().map(|pid| memory(pid)).collect::<Result<Vec<_>, _>>()?;
    let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    let begin = used();
    for _ in 0..rounds {
        std::thread::sleep(Duration::from_millis(10));
        for (file, address) in &memories {
            let mut word = [0; 8];
            file.read_exact_at(&mut word, *address)?;
            black_box(word);
        }
    }
    Ok((used() - begin).as_nanos() / u128::from(rounds.max(1)))
}

/// CPU time in nanoseconds of reading so many words of every region of a directory, spread over it, a second after the last time.
fn words(rounds: u32, directory: &str, count: usize) -> Result<u128, Box<dyn Error>> {
    let mut regions = Vec::new();
    for file in fs::read_dir(directory)? {
        let region = Region::open(File::open(file?.path())?, FileMode::Mapped)?;
        let image = Image::read(&region)?;
        let offsets: Vec<u32> =
            image.entries.list.iter().filter(|entry| entry.is_word()).map(|entry| entry.offset).collect();
        let each = (offsets.len() / count.max(1)).max(1);
        let offsets: Vec<u32> = offsets.into_iter().step_by(each).take(count).collect();
        regions.push((region, RegionIdentity::of(&image), offsets));
    }
    let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    let (mut row, begin) = (Vec::new(), used());
    for _ in 0..rounds {
        std::thread::sleep(Duration::from_secs(1));
        for (region, identity, offsets) in &regions {
            region.read(identity, offsets, &mut row)?;
            black_box(&row);
        }
    }
    Ok((used() - begin).as_nanos() / u128::from(rounds.max(1)))
}

/// The memory of a process, and an address that is private to it: its heap.
fn memory(pid: &str) -> Result<(File, u64), Box<dyn Error>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let heap = maps.lines().find(|line| line.ends_with("[heap]")).ok_or("a process without a heap")?;
    let (start, _) = heap.split_once('-').ok_or("no address")?;
    Ok((File::open(format!("/proc/{pid}/mem"))?, u64::from_str_radix(start, 16)?))
}

fn split(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut prefix = Vec::new();
    for line in text.lines() {
        match line.rsplit_once(' ') {
            Some((series, value)) if !line.starts_with('#') => {
                prefix.extend_from_slice(series.as_bytes());
                prefix.push(b' ');
                let real = || Number::Real(value.parse().unwrap_or(f64::INFINITY));
                let value = value.parse().map_or_else(|_| real(), Number::Whole);
                lines.push(Line { prefix: std::mem::take(&mut prefix), value });
            }
            _ => {
                prefix.extend_from_slice(line.as_bytes());
                prefix.push(b'\n');
            }
        }
    }
    lines
}

fn write(line: &Line, out: &mut Vec<u8>) {
    out.extend_from_slice(&line.prefix);
    match line.value {
        Number::Whole(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        Number::Real(value) => out.extend_from_slice(zmij::Buffer::new().format(value).as_bytes()),
    }
    out.push(b'\n');
}

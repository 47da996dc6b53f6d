//! The least that an exposition can cost, for `scripts/bench`: `floor FILE ROUNDS` copies everything of a saved text
//! exposition but its values from prebuilt bytes, formats the values anew, and prints the median time in nanoseconds
//! and the number of series.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::time::Instant;

/// A series: all bytes up to its value, comments before it included, and the value.
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
    let [file, rounds] = arguments.as_slice() else {
        return Err("usage: floor FILE ROUNDS".into());
    };
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

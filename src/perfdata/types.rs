//! The codes of an entry header, each with a variant for codes that no JDK uses.

use std::fmt;

/// What a value counts (`jvmstat.monitor.Units`, `PerfData::Units` in perfData.hpp, JDK 8 to 27).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Units {
    /// A plain number; also epoch milliseconds and, in Java-side counters, nanoseconds.
    None,
    /// Bytes. HotSpot mislabels a few counters so: see [`crate::hotspot::units`].
    Bytes,
    /// Ticks of `sun.os.hrt.frequency`.
    Ticks,
    /// Number of events.
    Events,
    /// A NUL-terminated string.
    String,
    /// Ticks per second.
    Hertz,
    /// A code outside 1 to 6, kept as found.
    Unknown(u8),
}

impl Units {
    /// Any code is legal input.
    pub fn from_code(code: u8) -> Self {
        match code {
            1 => Self::None,
            2 => Self::Bytes,
            3 => Self::Ticks,
            4 => Self::Events,
            5 => Self::String,
            6 => Self::Hertz,
            other => Self::Unknown(other),
        }
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Bytes => f.write_str("bytes"),
            Self::Ticks => f.write_str("ticks"),
            Self::Events => f.write_str("events"),
            Self::String => f.write_str("string"),
            Self::Hertz => f.write_str("hertz"),
            Self::Unknown(code) => write!(f, "unknown({code})"),
        }
    }
}

/// How a value may change (`PerfData::Variability`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variability {
    /// Written once, possibly seconds after the entry appears.
    Constant,
    /// Never decreases while the JVM runs.
    Monotonic,
    /// Goes up and down.
    Variable,
    /// A code outside 1 to 3, kept as found.
    Unknown(u8),
}

impl Variability {
    /// Any code is legal input.
    pub fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Constant,
            2 => Self::Monotonic,
            3 => Self::Variable,
            other => Self::Unknown(other),
        }
    }
}

impl fmt::Display for Variability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => f.write_str("constant"),
            Self::Monotonic => f.write_str("monotonic"),
            Self::Variable => f.write_str("variable"),
            Self::Unknown(code) => write!(f, "unknown({code})"),
        }
    }
}

/// Element type of an entry: a `BasicType` letter (globalDefinitions.hpp, `type2char`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// `B`. The only vectors that HotSpot writes: strings.
    Byte,
    /// `J`. The only scalars that HotSpot writes.
    Long,
    /// Any other code, kept as found; its value is not interpreted.
    Unknown(u8),
}

impl DataType {
    /// Any code is legal input.
    pub fn from_code(code: u8) -> Self {
        match code {
            b'B' => Self::Byte,
            b'J' => Self::Long,
            other => Self::Unknown(other),
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte => f.write_str("B"),
            Self::Long => f.write_str("J"),
            Self::Unknown(code) if code.is_ascii_graphic() => write!(f, "{}", char::from(*code)),
            Self::Unknown(code) => write!(f, "unknown({code})"),
        }
    }
}

/// Byte order of the JVM that wrote the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Prologue code 0.
    Big,
    /// Every other prologue code, as in the JDK's own reader.
    Little,
}

impl ByteOrder {
    /// The `i32` of four bytes in this order.
    pub fn i32(self, bytes: [u8; 4]) -> i32 {
        match self {
            Self::Big => i32::from_be_bytes(bytes),
            Self::Little => i32::from_le_bytes(bytes),
        }
    }

    /// The `i64` of eight bytes in this order.
    pub fn i64(self, bytes: [u8; 8]) -> i64 {
        match self {
            Self::Big => i64::from_be_bytes(bytes),
            Self::Little => i64::from_le_bytes(bytes),
        }
    }
}

impl fmt::Display for ByteOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Big => "big",
            Self::Little => "little",
        })
    }
}

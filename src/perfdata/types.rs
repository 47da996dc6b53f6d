//! The codes of an entry header, each with a variant for codes that no JDK uses.

use std::fmt;

/// An enum of codes, and a variant for any other code.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display)]
        #[strum(serialize_all = "snake_case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// Any other code, kept as found.
            #[strum(to_string = "unknown({0})")]
            Unknown(u8),
        }

        impl $name {
            /// Any code is legal input.
            pub fn from_code(code: u8) -> Self {
                match code {
                    $($code => Self::$variant,)*
                    other => Self::Unknown(other),
                }
            }
        }
    };
}

codes! {
    /// What a value counts (`jvmstat.monitor.Units`, `PerfData::Units` in perfData.hpp, JDK 8 to 27).
    Units {
        /// A plain number; also epoch milliseconds and, in Java-side counters, nanoseconds.
        None = 1,
        /// Bytes. HotSpot mislabels a few counters so: see [`crate::hotspot::units`].
        Bytes = 2,
        /// Ticks of `sun.os.hrt.frequency`.
        Ticks = 3,
        /// Number of events.
        Events = 4,
        /// A NUL-terminated string.
        String = 5,
        /// Ticks per second.
        Hertz = 6,
    }
}

codes! {
    /// How a value may change (`PerfData::Variability`).
    Variability {
        /// Written once, possibly seconds after the entry appears.
        Constant = 1,
        /// Never decreases while the JVM runs.
        Monotonic = 2,
        /// Goes up and down.
        Variable = 3,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display)]
#[strum(serialize_all = "snake_case")]
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

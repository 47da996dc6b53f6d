//! The Java objects of a JVM's threads: state and daemon flag as `java.lang.Thread` has them.
//!
//! An object counts only if it holds the address of its JavaThread, so one that was moved, or whose memory was used for
//! something else, is not taken for a thread's.

use std::collections::HashMap;

use super::list::JavaThreads;
use crate::discovery::{HotSpotMemory, Implausible, object};
use crate::providers::introspection::fields::{FieldBytes, FieldSpan, Gathered};
use crate::providers::introspection::objects::{ClassEncoding, ClassReader, ReferenceEncoding};

/// Threads of which one must have an object that can be read.
const ATTEMPTS: usize = 32;
/// Classes of mounted threads that are remembered.
const CLASSES_MAXIMUM: usize = 64;
/// Bits of `threadStatus` that JVMTI defines (jvmti.h `JVMTI_THREAD_STATE_*`).
const STATUS_MAXIMUM: u32 = 1 << 24;

/// Reads the objects of threads.
#[derive(Debug)]
pub(super) struct ThreadObjects {
    encoding: ClassEncoding,
    /// Whether a JavaThread has the address of a handle, as from JDK 16 on, and not the object's.
    by_handle: bool,
    thread_object: u64,
    mounted: Option<u64>,
    thread: FieldSpan,
    eetop: u64,
    status: StatusPlace,
    /// Whether objects of a class are virtual threads, by their headers' tag.
    is_virtual: HashMap<u64, bool>,
    classes: ClassReader,
    buffers: [Gathered; 3],
}

/// Where state and daemon flag are.
#[derive(Clone, Copy, Debug)]
enum StatusPlace {
    /// Up to JDK 18: in the thread.
    Thread { status: u64, daemon: u64 },
    /// In an object of its own, `Thread.holder`.
    Holder { field: u64, reference: ReferenceEncoding, holder: FieldSpan, tag: u64, status: u64, daemon: u64 },
}

/// What a thread's object says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ThreadObject {
    /// `threadStatus`
    pub(super) status: u32,
    pub(super) daemon: bool,
    /// It runs a virtual thread; `None` where that cannot be told.
    pub(super) carries: Option<bool>,
}

/// The offsets in a JavaThread of its object and of the virtual thread that it runs.
pub(super) fn object_fields(memory: &HotSpotMemory) -> Result<(u64, Option<u64>), Implausible> {
    Ok((memory.offset("JavaThread", "_threadObj")?, memory.offset("JavaThread", "_vthread").ok()))
}

impl ThreadObjects {
    /// Learns the layout from the first thread whose object can be read.
    pub(super) fn learn(memory: &HotSpotMemory, threads: &JavaThreads) -> Result<Self, Implausible> {
        let classes = ClassReader::of(memory)?;
        let (thread_object, mounted) = object_fields(memory)?;
        let mut failure = Implausible::Value("the number of threads", 0);
        for (index, address) in threads.addresses().iter().enumerate().take(ATTEMPTS) {
            let Some(word) = threads.get(index).and_then(|fields| fields.word(thread_object)) else { continue };
            for by_handle in [false, true] {
                let found = Layout::of(memory, &classes, *address, word, by_handle);
                match found {
                    Ok(layout) => {
                        return Ok(Self {
                            encoding: layout.encoding,
                            by_handle,
                            thread_object,
                            mounted,
                            thread: layout.thread,
                            eetop: layout.eetop,
                            status: layout.status,
                            is_virtual: HashMap::new(),
                            classes,
                            buffers: Default::default(),
                        });
                    }
                    Err(error) => failure = error,
                }
            }
        }
        Err(failure)
    }

    /// The object of each thread, in the list's order; `None` where it is not proven to be the thread's.
    pub(super) fn read(&mut self, memory: &HotSpotMemory, threads: &JavaThreads) -> Vec<Option<ThreadObject>> {
        let count = threads.addresses().len();
        let word = |offset: u64, index| threads.get(index).and_then(|fields| fields.word(offset)).unwrap_or_default();
        let [handles, objects, holders] = &mut self.buffers;
        // First the objects, then the virtual threads.
        let fields = [Some(self.thread_object), self.mounted];
        let mut addresses: Vec<u64> =
            fields.iter().flatten().flat_map(|field| (0..count).map(|index| word(*field, index))).collect();
        if self.by_handle {
            let handle = FieldSpan::covering(&[(0, 8)]).unwrap_or_default();
            handles.read(memory, handle, addresses.iter().copied());
            for (index, address) in addresses.iter_mut().enumerate() {
                *address = handles.get(index).and_then(|fields| fields.word(0)).unwrap_or_default();
            }
        }
        let (own, mounted) = addresses.split_at_checked(count).unwrap_or_default();
        objects.read(memory, self.thread, own.iter().copied());
        let proven = |index: usize, address: &u64| {
            let fields = objects.get(index)?;
            (fields.word(self.eetop)? == *address).then_some(fields)
        };
        let threads = threads.addresses().iter().enumerate();
        let mut found: Vec<Option<ThreadObject>> = match self.status {
            StatusPlace::Thread { status, daemon } => {
                threads.map(|(index, address)| ThreadObject::of(proven(index, address)?, status, daemon)).collect()
            }
            StatusPlace::Holder { field, reference, holder, tag, status, daemon } => {
                let at = threads.map(|(index, address)| {
                    proven(index, address)
                        .and_then(|fields| reference.reference(fields, field).ok())
                        .unwrap_or_default()
                });
                holders.read(memory, holder, at);
                let of = |index| {
                    let fields = holders.get(index)?;
                    (self.encoding.tag(fields)? == tag).then(|| ThreadObject::of(fields, status, daemon)).flatten()
                };
                (0..count).map(of).collect()
            }
        };
        for (index, (own, mounted)) in own.iter().zip(mounted).enumerate() {
            if let Some(Some(found)) = found.get_mut(index) {
                found.carries = match own == mounted {
                    true => Some(false),
                    false => is_virtual(memory, &self.classes, self.encoding, &mut self.is_virtual, *mounted),
                };
            }
        }
        found
    }

    /// Whether [`ThreadObject::carries`] is known where the objects are.
    pub(super) fn knows_mounted(&self) -> bool {
        self.mounted.is_some()
    }
}

/// Whether the object at `address` is a virtual thread.
fn is_virtual(
    memory: &HotSpotMemory,
    classes: &ClassReader,
    encoding: ClassEncoding,
    known: &mut HashMap<u64, bool>,
    address: u64,
) -> Option<bool> {
    let mut buffer = Vec::new();
    let header = FieldSpan::covering(&[encoding.place()]).ok()?;
    let tag = encoding.tag(header.read(memory, address, &mut buffer).ok()?)?;
    if let Some(is_virtual) = known.get(&tag) {
        return Some(*is_virtual);
    }
    let class = encoding.class(tag).ok()?;
    let is_virtual = classes.named(memory, class, "java/lang/VirtualThread").ok()?.is_some();
    if known.len() < CLASSES_MAXIMUM {
        known.insert(tag, is_virtual);
    }
    Some(is_virtual)
}

/// What one thread's object teaches.
struct Layout {
    encoding: ClassEncoding,
    thread: FieldSpan,
    eetop: u64,
    status: StatusPlace,
}

impl Layout {
    fn of(
        memory: &HotSpotMemory,
        classes: &ClassReader,
        thread: u64,
        word: u64,
        by_handle: bool,
    ) -> Result<Self, Implausible> {
        let address = if by_handle { memory.pointer(object(word)?)? } else { object(word)? };
        let class = classes.class_of(memory, &ClassEncoding::all(memory), address, "java/lang/Thread")?;
        let encoding = class.encoding;
        let [eetop] = classes.offsets(memory, class.address, ["eetop"])?;
        let held = memory.word(address.wrapping_add(eetop))?;
        if held != thread {
            return Err(Implausible::Value("eetop of a thread's object", held));
        }
        let (status, fields) = match classes.offsets(memory, class.address, ["threadStatus", "daemon"]) {
            Ok([status, daemon]) => {
                (StatusPlace::Thread { status, daemon }, vec![(eetop, 8), (status, 4), (daemon, 1)])
            }
            Err(_) => {
                let [field] = classes.offsets(memory, class.address, ["holder"])?;
                let encodings = ReferenceEncoding::all(memory);
                let found = encodings
                    .into_iter()
                    .find_map(|reference| Self::holder(memory, classes, encoding, reference, address, field).ok());
                let status = found.ok_or(Implausible::Value("the holder of a thread's object", address))?;
                (status, vec![(eetop, 8), (field, 8)])
            }
        };
        Ok(Self { encoding, thread: FieldSpan::covering(&fields)?, eetop, status })
    }

    fn holder(
        memory: &HotSpotMemory,
        classes: &ClassReader,
        encoding: ClassEncoding,
        reference: ReferenceEncoding,
        thread: u64,
        field: u64,
    ) -> Result<StatusPlace, Implausible> {
        let mut buffer = Vec::new();
        let span = FieldSpan::covering(&[(field, reference.size())])?;
        let holder = reference.reference(span.read(memory, thread, &mut buffer)?, field)?;
        let class = classes.class_of(memory, &[encoding], holder, "java/lang/Thread$FieldHolder")?;
        let [status, daemon] = classes.offsets(memory, class.address, ["threadStatus", "daemon"])?;
        let holder = FieldSpan::covering(&[encoding.place(), (status, 4), (daemon, 1)])?;
        Ok(StatusPlace::Holder { field, reference, holder, tag: class.tag, status, daemon })
    }
}

impl ThreadObject {
    fn of(fields: FieldBytes<'_>, status: u64, daemon: u64) -> Option<Self> {
        let status = fields.half(status).filter(|status| *status < STATUS_MAXIMUM)?;
        let daemon = match fields.byte(daemon)? {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(Self { status, daemon, carries: None })
    }
}

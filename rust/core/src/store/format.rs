//! The `.ancf` file: the safetensors layout with a hash for every byte.
//!
//!   8 bytes   length of the header, little-endian
//!   header    JSON: for each tensor dtype, shape and place; `__metadata__` with `format`, the model's own JSON under
//!             `ancf`, `sha256.<tensor>` for each tensor, and `sha256.header`, the hash of this header with that one
//!             value replaced by zeros; padded with spaces to a multiple of 8
//!   data      the tensors without gaps, widest numbers first, so that each is aligned
//!
//! Readable by the safetensors library (Hugging Face, format 0.4 and later). A file is accepted only if writing what was
//! read gives the same bytes again: there is one way to say a thing, and every flipped bit is found. Nothing in a file is
//! executed. What reading takes beyond the file's own bytes is bounded before it is taken: a header of at most
//! [`MAX_HEADER`] with at most [`MAX_OBJECTS`] objects stays below 1 MiB in memory, whatever it says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::runtime::cancel::Cancel;
use crate::{Error, Result};

/// The version of this layout.
pub const VERSION: &str = "ancf-1";
/// A header larger than this is an attack: a description and a few dozen tensors need kilobytes.
pub const MAX_HEADER: usize = 256 << 10;
/// Objects of a header: one for each tensor and two more. A parsed one takes some 600 bytes.
pub const MAX_OBJECTS: usize = 200;
/// Commas, colons and opening brackets of a header: 12 for a vector, 13 for a table, 6 besides; so that 170 vectors or 157
/// tables fit. What each begins takes some 60 bytes parsed.
const MAX_MARKS: usize = 2048;
const METADATA: &str = "__metadata__";
const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Kinds of numbers in a tensor, by their safetensors names.
pub const DTYPES: [(&str, usize); 8] =
    [("F64", 8), ("I64", 8), ("U64", 8), ("F32", 4), ("I32", 4), ("U32", 4), ("U8", 1), ("BOOL", 1)];

/// One tensor: what it is called, what it holds, where its bytes stand in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// A name of [`DTYPES`].
    pub dtype: &'static str,
    /// Its lengths.
    pub shape: Vec<usize>,
    /// First byte in the file.
    pub start: usize,
    /// Number of bytes.
    pub n_bytes: usize,
}

/// What a file holds, its tensors still as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The model's own JSON.
    pub metadata: String,
    /// The tensors in the order of the file.
    pub tensors: Vec<Tensor>,
}

fn refuse<T>(what: &str) -> Result<T> {
    Err(Error::ModelFile(format!("{what}. The file is damaged or no ancf model; load another copy.")))
}

fn size_of(dtype: &str) -> Option<(&'static str, usize)> {
    DTYPES.iter().copied().find(|(name, _)| *name == dtype)
}

/// Bytes hashed between two looks at whether the caller wants to stop.
const HASH_CHUNK_BYTES: usize = 1 << 20;

fn hash(bytes: &[u8], cancel: &Cancel) -> Result<String> {
    let mut digest = Sha256::new();
    for chunk in bytes.chunks(HASH_CHUNK_BYTES) {
        cancel.check()?;
        digest.update(chunk);
    }
    Ok(hex(&digest.finalize()))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The header of a file with these tensors (name, dtype, shape, bytes), and the order in which their bytes follow.
pub fn header(
    metadata: &str,
    tensors: &[(&str, &str, &[usize], &[u8])],
    cancel: &Cancel,
) -> Result<(Vec<u8>, Vec<usize>)> {
    let bad = |message: String| Err(Error::InvalidData(message));
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    for (name, dtype, shape, bytes) in tensors {
        let Some((_, width)) = size_of(dtype) else {
            return bad(format!("tensor {name:?} holds {dtype}, which a model file cannot."));
        };
        if shape.iter().product::<usize>() * width != bytes.len() || name.starts_with("__") || name.is_empty() {
            return bad(format!("tensor {name:?} of shape {shape:?} has {} bytes.", bytes.len()));
        }
    }
    order.sort_by(|&a, &b| {
        let width = |i: usize| size_of(tensors[i].1).map_or(0, |(_, width)| width);
        width(b).cmp(&width(a)).then(tensors[a].0.cmp(tensors[b].0))
    });
    if order.windows(2).any(|pair| tensors[pair[0]].0 == tensors[pair[1]].0) {
        return bad("two tensors have the same name.".into());
    }
    let mut entries = BTreeMap::new();
    let mut hashes = BTreeMap::new();
    let mut start = 0;
    for &i in &order {
        let (name, dtype, shape, bytes) = tensors[i];
        entries.insert(
            name.to_string(),
            json!({"data_offsets": [start, start + bytes.len()], "dtype": dtype, "shape": shape}),
        );
        hashes.insert(format!("sha256.{name}"), hash(bytes, cancel)?);
        start += bytes.len();
    }
    let written = |hash: &str| {
        let mut text = Vec::new();
        let _ = render(&mut text, metadata, &entries, &hashes, hash);
        text.resize(text.len().next_multiple_of(8), b' ');
        text
    };
    let text = written(&hex(&Sha256::digest(written(NO_HASH))));
    if text.len() > MAX_HEADER || exceeds_limits(&text) {
        return bad(format!(
            "{} tensors and a description of {} bytes do not fit the header of a model file.",
            tensors.len(),
            metadata.len()
        ));
    }
    Ok(([&(text.len() as u64).to_le_bytes()[..], &text].concat(), order))
}

/// The header but for its padding. One way to write it: sorted keys, no spaces.
fn render<W: Write>(
    out: &mut W,
    metadata: &str,
    entries: &BTreeMap<String, Value>,
    hashes: &BTreeMap<String, String>,
    hash: &str,
) -> io::Result<()> {
    let mut about: BTreeMap<&str, &str> = hashes.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    about.extend([("ancf", metadata), ("format", VERSION), ("sha256.header", hash)]);
    let own = entries.keys().filter(|name| name.as_str() < METADATA).count();
    let mut rest = entries.iter();
    for at in 0..=entries.len() {
        out.write_all(if at == 0 { b"{" } else { b"," })?;
        if at == own {
            serde_json::to_writer(&mut *out, METADATA)?;
            out.write_all(b":")?;
            serde_json::to_writer(&mut *out, &about)?;
        } else if let Some((name, entry)) = rest.next() {
            serde_json::to_writer(&mut *out, name)?;
            out.write_all(b":")?;
            serde_json::to_writer(&mut *out, entry)?;
        }
    }
    out.write_all(b"}")
}

/// Whether a header holds more than any model needs; told from its bytes, before anything is allocated for them.
fn exceeds_limits(text: &[u8]) -> bool {
    let (mut objects, mut marks, mut quoted, mut escaped) = (0, 0, false, false);
    for &byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' if !quoted => objects += 1,
            b'[' | b',' | b':' if !quoted => marks += 1,
            _ => {}
        }
    }
    objects > MAX_OBJECTS || marks > MAX_MARKS
}

/// Takes the header that is written again: hashes it, counts it, and compares it with the one that was read.
struct HeaderVerifier<'a> {
    expected: &'a [u8],
    digest: Sha256,
    written: usize,
    same: bool,
}

impl<'a> HeaderVerifier<'a> {
    fn new(expected: &'a [u8]) -> Self {
        Self { expected, digest: Sha256::new(), written: 0, same: true }
    }

    /// The hash, and whether the bytes were the same to the last one.
    fn padded(mut self) -> (String, bool) {
        let spaces = self.written.next_multiple_of(8) - self.written;
        let _ = self.write(&b"        "[..spaces]);
        (hex(&self.digest.finalize()), self.same && self.written == self.expected.len())
    }
}

impl Write for HeaderVerifier<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.digest.update(bytes);
        self.same &= self.expected.get(self.written..self.written + bytes.len()) == Some(bytes);
        self.written += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Checks every byte of a file and says where its tensors stand.
pub fn parse(file: &[u8], cancel: &Cancel) -> Result<Contents> {
    // 1. The length of the header.
    let Some((length, rest)) = file.split_first_chunk::<8>() else {
        return refuse(&format!("{} bytes are too few for a model file", file.len()));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER as u64 || length as usize > rest.len() {
        if file.iter().take(64).all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
            return Err(Error::ModelFile(
                "it does not begin like a model file but like a text, such as a table. 'ancf train' makes a model of \
                 one; load another copy."
                    .into(),
            ));
        }
        return refuse("it does not begin like a model file");
    }
    let (text, data) = rest.split_at(length as usize);
    // 2. The header: an object of objects, no more of them than a model needs.
    if exceeds_limits(text) {
        return refuse("the header holds more than any model needs");
    }
    let Ok(Value::Object(mut all)) = serde_json::from_slice::<Value>(text) else {
        return refuse("the header is not JSON");
    };
    let Some(Value::Object(mut about)) = all.remove(METADATA) else {
        return refuse("the header has no metadata");
    };
    let mut text_of = |key: &str| match about.remove(key) {
        Some(Value::String(value)) => Ok(value),
        _ => refuse(&format!("the header lacks {key:?}")),
    };
    let version = text_of("format")?;
    if version != VERSION {
        return Err(Error::ModelFile(format!(
            "the file has format {version:?}; this version of ancf reads {VERSION:?}. Install a later ancf."
        )));
    }
    let metadata = text_of("ancf")?;
    text_of("sha256.header")?;
    let mut hashes = BTreeMap::new();
    for (key, value) in about {
        let (true, Value::String(value)) = (key.starts_with("sha256."), value) else {
            return refuse(&format!("the header has an unknown entry {key:?}"));
        };
        hashes.insert(key, value);
    }
    // 3. The tensors: known types, shapes that fit their bytes, no gap and no overlap.
    let mut tensors = Vec::with_capacity(all.len());
    for (name, entry) in &all {
        tensors.push(tensor(name, entry, data.len())?);
    }
    tensors.sort_by(|a: &Tensor, b: &Tensor| {
        a.start.cmp(&b.start).then(a.n_bytes.cmp(&b.n_bytes)).then(a.name.cmp(&b.name))
    });
    let mut next = 0;
    for tensor in &tensors {
        if tensor.start != next {
            return refuse(&format!("tensor {:?} does not begin where the one before it ends", tensor.name));
        }
        next += tensor.n_bytes;
    }
    if next != data.len() {
        return refuse(&format!("{} bytes belong to no tensor", data.len().abs_diff(next)));
    }
    // 4. The hashes, and the header written again, which is never held a second time.
    for tensor in &tensors {
        let bytes = &data[tensor.start..tensor.start + tensor.n_bytes];
        if hashes.get(&format!("sha256.{}", tensor.name)) != Some(&hash(bytes, cancel)?) {
            return refuse(&format!("the bytes of tensor {:?} are not those that were written", tensor.name));
        }
    }
    if hashes.len() != tensors.len() {
        return refuse("the header has hashes of tensors that are not there");
    }
    let entries = all.into_iter().collect();
    let written_again = |hash: &str| {
        let mut verifier = HeaderVerifier::new(text);
        let _ = render(&mut verifier, &metadata, &entries, &hashes, hash);
        verifier.padded()
    };
    let (hash, _) = written_again(NO_HASH);
    let (_, same) = written_again(&hash);
    if !same {
        return refuse("the header is not the one that was written");
    }
    for tensor in &mut tensors {
        tensor.start += 8 + text.len();
    }
    Ok(Contents { metadata, tensors })
}

fn tensor(name: &str, entry: &Value, n_data: usize) -> Result<Tensor> {
    let wrong = || refuse(&format!("the header's entry of tensor {name:?} makes no sense"));
    let numbers = |entry: &Map<String, Value>, key: &str| -> Option<Vec<usize>> {
        entry.get(key)?.as_array()?.iter().map(|n| usize::try_from(n.as_u64()?).ok()).collect()
    };
    let Value::Object(entry) = entry else { return wrong() };
    let (Some(dtype), Some(shape), Some(place)) = (
        entry.get("dtype").and_then(Value::as_str).and_then(size_of),
        numbers(entry, "shape"),
        numbers(entry, "data_offsets"),
    ) else {
        return wrong();
    };
    let n_bytes = shape.iter().try_fold(dtype.1, |bytes, &length| bytes.checked_mul(length));
    match place[..] {
        [start, end] if entry.len() == 3 && end <= n_data && start <= end && n_bytes == Some(end - start) => {
            Ok(Tensor { name: name.to_string(), dtype: dtype.0, shape, start, n_bytes: end - start })
        }
        _ => wrong(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn example() -> Vec<u8> {
        let ids: Vec<u8> = [1i64, 2, 3].iter().flat_map(|x| x.to_le_bytes()).collect();
        let vectors: Vec<u8> = [0.5f32, -1.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let tensors: [(&str, &str, &[usize], &[u8]); 3] =
            [("names", "U8", &[3], b"abc"), ("ids", "I64", &[3], &ids), ("vectors", "F32", &[1, 2], &vectors)];
        let (mut file, order) = header("{\"a\":\"\u{e9}\"}", &tensors, &Cancel::default()).unwrap();
        for i in order {
            file.extend(tensors[i].3);
        }
        file
    }

    #[test]
    fn what_is_written_is_read() {
        let file = example();
        let contents = parse(&file, &Cancel::default()).unwrap();
        assert_eq!(contents.metadata, "{\"a\":\"\u{e9}\"}");
        let names: Vec<_> = contents.tensors.iter().map(|t| (t.name.as_str(), t.dtype, t.shape.clone())).collect();
        assert_eq!(names, [("ids", "I64", vec![3]), ("vectors", "F32", vec![1, 2]), ("names", "U8", vec![3])]);
        let last = &contents.tensors[2];
        assert_eq!(&file[last.start..last.start + last.n_bytes], b"abc");
        assert!(contents.tensors.iter().all(|t| t.start % size_of(t.dtype).unwrap().1 == 0));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let file = example();
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut broken = file.clone();
                broken[at] ^= 1 << bit;
                assert!(parse(&broken, &Cancel::default()).is_err(), "byte {at} bit {bit}");
            }
            assert!(parse(&file[..at], &Cancel::default()).is_err(), "cut at {at}");
        }
        assert!(parse(&[&file[..], b"x"].concat(), &Cancel::default()).is_err());
    }

    #[test]
    fn the_safetensors_library_reads_it() {
        let file = example();
        let read = safetensors::SafeTensors::deserialize(&file).unwrap();
        assert_eq!(read.tensor("names").unwrap().data(), b"abc");
    }

    #[test]
    fn hostile_headers_are_refused() {
        for text in [
            "",
            "[]",
            "{}",
            "{\"__metadata__\":{}}",
            "{\"__metadata__\":{\"format\":\"ancf-9\",\"ancf\":\"\"}}",
            "{\"x\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]},\"__metadata__\":{\"format\":\"ancf-1\",\"ancf\":\"\",\"sha256.header\":\"\"}}",
            "{\"x\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]},\"__metadata__\":{\"format\":\"ancf-1\",\"ancf\":\"\",\"sha256.header\":\"\"}}",
        ] {
            let file = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &[0; 16]].concat();
            assert!(parse(&file, &Cancel::default()).is_err(), "{text}");
        }
        assert!(parse(&[0xFF; 64], &Cancel::default()).is_err());
        for text in ["[".repeat(100_000), "{\"a\":".repeat(40_000), format!("[{}0]", "0,".repeat(100_000))] {
            assert!(
                parse(&[&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat(), &Cancel::default()).is_err()
            );
        }
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let long = "x".repeat(MAX_HEADER);
        assert!(matches!(header(&long, &[], &Cancel::default()), Err(Error::InvalidData(_))));
        let names: Vec<String> = (0..MAX_OBJECTS).map(|at| format!("t{at}")).collect();
        let many: Vec<(&str, &str, &[usize], &[u8])> =
            names.iter().map(|n| (&n[..], "U8", &[0][..], &[][..])).collect();
        assert!(matches!(header("", &many, &Cancel::default()), Err(Error::InvalidData(_))));
        let (file, _) = header("", &many[..100], &Cancel::default()).unwrap();
        assert_eq!(parse(&file, &Cancel::default()).unwrap().tensors.len(), 100);
    }

    #[test]
    fn a_name_before_the_metadata_is_found_in_its_place() {
        // `header` writes no such names; the order must hold for a file that somebody else has written.
        let mut written = Vec::new();
        let entries = BTreeMap::from([("A".to_string(), json!(1)), ("a".to_string(), json!(2))]);
        render(&mut written, "", &entries, &BTreeMap::new(), "").unwrap();
        let text = String::from_utf8(written).unwrap();
        assert_eq!(
            text,
            json!({"A": 1, "a": 2, "__metadata__": {"ancf": "", "format": VERSION, "sha256.header": ""}}).to_string()
        );
    }
}

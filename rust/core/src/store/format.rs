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
//! executed, and nothing is allocated beyond the file's own bytes and a header of at most [`MAX_HEADER`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// The version of this layout.
pub const VERSION: &str = "ancf-1";
/// A header larger than this is an attack: metadata and a few dozen tensors need kilobytes.
pub const MAX_HEADER: usize = 64 << 20;
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

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The header of a file with these tensors (name, dtype, shape, bytes), and the order in which their bytes follow.
pub fn header(metadata: &str, tensors: &[(&str, &str, &[usize], &[u8])]) -> Result<(Vec<u8>, Vec<usize>)> {
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
        hashes.insert(format!("sha256.{name}"), hex(&Sha256::digest(bytes)));
        start += bytes.len();
    }
    Ok((render(metadata, &entries, &hashes), order))
}

/// Length and header as bytes. One way to write it: sorted keys, no spaces but the padding.
fn render(metadata: &str, entries: &BTreeMap<String, Value>, hashes: &BTreeMap<String, String>) -> Vec<u8> {
    let with = |hash: &str| {
        let mut about: BTreeMap<&str, &str> = hashes.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        about.extend([("ancf", metadata), ("format", VERSION), ("sha256.header", hash)]);
        let mut all = BTreeMap::from([("__metadata__", json!(about))]);
        all.extend(entries.iter().map(|(name, entry)| (name.as_str(), entry.clone())));
        let mut text = json!(all).to_string().into_bytes();
        text.resize(text.len().next_multiple_of(8), b' ');
        text
    };
    let hash = hex(&Sha256::digest(with(NO_HASH)));
    let text = with(&hash);
    [&(text.len() as u64).to_le_bytes()[..], &text].concat()
}

/// Checks every byte of a file and says where its tensors stand.
pub fn parse(file: &[u8]) -> Result<Contents> {
    // 1. The length of the header.
    let Some((length, rest)) = file.split_first_chunk::<8>() else {
        return refuse(&format!("{} bytes are too few for a model file", file.len()));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER as u64 || length as usize > rest.len() {
        return refuse("it does not begin like a model file");
    }
    let (text, data) = rest.split_at(length as usize);
    // 2. The header: an object of objects, in the one way to write it.
    let Ok(Value::Object(mut all)) = serde_json::from_slice::<Value>(text) else {
        return refuse("the header is not JSON");
    };
    let Some(Value::Object(mut about)) = all.remove("__metadata__") else {
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
    // 4. The hashes, and the header written again.
    for tensor in &tensors {
        let bytes = &data[tensor.start..tensor.start + tensor.n_bytes];
        if hashes.get(&format!("sha256.{}", tensor.name)) != Some(&hex(&Sha256::digest(bytes))) {
            return refuse(&format!("the bytes of tensor {:?} are not those that were written", tensor.name));
        }
    }
    if hashes.len() != tensors.len() {
        return refuse("the header has hashes of tensors that are not there");
    }
    let entries = all.into_iter().collect();
    if render(&metadata, &entries, &hashes) != file[..8 + text.len()] {
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
        let (mut file, order) = header("{\"a\":\"\u{e9}\"}", &tensors).unwrap();
        for i in order {
            file.extend(tensors[i].3);
        }
        file
    }

    #[test]
    fn what_is_written_is_read() {
        let file = example();
        let contents = parse(&file).unwrap();
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
                assert!(parse(&broken).is_err(), "byte {at} bit {bit}");
            }
            assert!(parse(&file[..at]).is_err(), "cut at {at}");
        }
        assert!(parse(&[&file[..], b"x"].concat()).is_err());
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
            assert!(parse(&file).is_err(), "{text}");
        }
        assert!(parse(&[0xFF; 64]).is_err());
        let deep = "[".repeat(100_000);
        assert!(parse(&[&(deep.len() as u64).to_le_bytes()[..], deep.as_bytes()].concat()).is_err());
    }
}

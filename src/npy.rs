//! NumPy's `.npy` files (numpy/lib/format.py): how `infer` writes tensors, and how truth is read. Never writes half a file,
//! and never reads more than a file states and holds.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use tract_onnx::prelude::{DatumType, Tensor, f16};

/// Writes `tensor` to `file`. The file is there whole or not at all: it is written beside under another name first.
pub fn write(file: &Path, tensor: &Tensor) -> io::Result<()> {
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let outcome = File::create(&unfinished).and_then(|created| {
        let mut out = BufWriter::new(created);
        encode(&mut out, tensor)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?;
        std::fs::rename(&unfinished, file)
    });
    if outcome.is_err() {
        // What is left is named as unfinished anyway.
        let _ = std::fs::remove_file(&unfinished);
    }
    outcome
}

fn encode(out: &mut impl Write, tensor: &Tensor) -> io::Result<()> {
    let kind = descriptor(tensor.datum_type())?;
    let plain = tensor.try_as_plain_ram().map_err(|error| io::Error::other(error.to_string()))?;
    header(out, &kind, tensor.shape())?;
    out.write_all(plain.as_bytes())
}

/// A whole file of numbers that are bytes already; `kind` as NumPy writes it: `<f4`.
pub fn file(kind: &str, shape: &[usize], bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len() + 128);
    header(&mut out, kind, shape)?;
    out.extend_from_slice(bytes);
    Ok(out)
}

fn header(out: &mut impl Write, kind: &str, sides: &[usize]) -> io::Result<()> {
    let mut shape: String = sides.iter().map(|side| format!("{side}, ")).collect();
    // Python writes a tuple of one with its comma, longer ones without the last.
    shape.truncate(if sides.len() == 1 { shape.len() - 1 } else { shape.trim_end_matches(", ").len() });
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    // The data starts at a multiple of 64 bytes: 10 bytes come before the header, a newline ends it.
    let padding = (10 + header.len() + 1).next_multiple_of(64) - (10 + header.len() + 1);
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let length = u16::try_from(header.len()).map_err(|_| io::Error::other("too many sides for a .npy header"))?;
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(header.as_bytes())
}

fn descriptor(kind: DatumType) -> io::Result<String> {
    let (letter, bytes) = match kind {
        DatumType::Bool => ('b', 1),
        DatumType::I8 => ('i', 1),
        DatumType::U8 => ('u', 1),
        DatumType::I16 => ('i', 2),
        DatumType::U16 => ('u', 2),
        DatumType::I32 => ('i', 4),
        DatumType::U32 => ('u', 4),
        DatumType::I64 => ('i', 8),
        DatumType::U64 => ('u', 8),
        DatumType::F16 => ('f', 2),
        DatumType::F32 => ('f', 4),
        DatumType::F64 => ('f', 8),
        other => return Err(io::Error::other(format!("NumPy has no type for {other:?}"))),
    };
    let order = match bytes {
        1 => '|',
        _ if cfg!(target_endian = "big") => '>',
        _ => '<',
    };
    Ok(format!("{order}{letter}{bytes}"))
}

/// An array of real numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Its sides.
    pub shape: Vec<usize>,
    /// Its numbers in C order.
    pub values: Vec<f32>,
}

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 30;

/// Reads a file of little-endian float16 or float32 in C order, format version 1, 2 or 3.
pub fn read(file: &Path) -> io::Result<Array> {
    let opened = File::open(file)?;
    if opened.metadata()?.len() > MAX_BYTES {
        return Err(io::Error::other(format!("larger than the {} MiB that are read", MAX_BYTES >> 20)));
    }
    let mut bytes = Vec::new();
    opened.take(MAX_BYTES).read_to_end(&mut bytes)?;
    decode(&bytes).map_err(io::Error::other)
}

fn decode(bytes: &[u8]) -> Result<Array, String> {
    let no_array = || "not a NumPy array file (.npy)".to_owned();
    let (magic, rest) = bytes.split_at_checked(8).ok_or_else(no_array)?;
    if !magic.starts_with(b"\x93NUMPY") {
        return Err(no_array());
    }
    let cut = || "cut off within its header".to_owned();
    // Version 1 has a header length of two bytes, later ones of four.
    let (length, rest) = match magic.get(6) {
        Some(1) => {
            let (length, rest) = rest.split_first_chunk().ok_or_else(cut)?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        _ => {
            let (length, rest) = rest.split_first_chunk().ok_or_else(cut)?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
    };
    let (header, data) = rest.split_at_checked(length).ok_or_else(cut)?;
    let header = std::str::from_utf8(header).map_err(|_| no_array())?;
    let after = |key: &str| header.split_once(key).map(|(_, rest)| rest.trim_start_matches([' ', ':'])).unwrap_or("");
    let kind = after("'descr'").split('\'').nth(1).unwrap_or("");
    if !after("'fortran_order'").starts_with("False") {
        return Err("expected rows one after the other (C order), found Fortran's order".to_owned());
    }
    let sides = after("'shape'").trim_start_matches('(').split(')').next().unwrap_or("");
    let sides = sides.split(',').map(str::trim).filter(|side| !side.is_empty());
    let shape: Option<Vec<usize>> = sides.map(|side| side.parse().ok()).collect();
    let shape = shape.ok_or_else(|| format!("a header without a shape: {header}"))?;
    let count = shape.iter().try_fold(1usize, |count, &side| count.checked_mul(side)).ok_or_else(no_array)?;
    let values: Vec<f32> = match kind {
        "<f2" => data.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
        "<f4" => data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        other => return Err(format!("expected float16 or float32 (<f2, <f4), found {other:?}")),
    };
    match values.len() == count {
        true => Ok(Array { shape, values }),
        false => Err(format!("expected {count} numbers for {shape:?}, found {}", values.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::{tensor0, tensor1, tensor2};

    fn bytes(tensor: &Tensor) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, tensor).unwrap();
        out
    }

    #[test]
    fn a_file_is_byte_for_byte_what_numpy_writes() {
        // numpy.save of numpy.array([[1, 2, 3], [4, 5, 6]], numpy.int8), numpy 2.4.
        let mut expected =
            b"\x93NUMPY\x01\x00v\x00{'descr': '|i1', 'fortran_order': False, 'shape': (2, 3), }".to_vec();
        expected.resize(127, b' ');
        expected.extend(b"\n\x01\x02\x03\x04\x05\x06");
        assert_eq!(bytes(&tensor2(&[[1i8, 2, 3], [4, 5, 6]])), expected);
    }

    #[test]
    fn shapes_and_types_are_named_as_python_names_them() {
        for (tensor, words) in [
            (tensor0(1f32), "'<f4', 'fortran_order': False, 'shape': ()"),
            (tensor1(&[1i64]), "'<i8', 'fortran_order': False, 'shape': (1,)"),
            (tensor1(&[f16::ONE, f16::ZERO]), "'<f2', 'fortran_order': False, 'shape': (2,)"),
            (tensor2(&[[1u8]]), "'|u1', 'fortran_order': False, 'shape': (1, 1)"),
        ] {
            let text = String::from_utf8_lossy(&bytes(&tensor)).into_owned();
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let array = decode(&bytes(&tensor2(&[[1f32, -2.5, f32::INFINITY]]))).unwrap();
        assert_eq!(array, Array { shape: vec![1, 3], values: vec![1.0, -2.5, f32::INFINITY] });
        let array = decode(&bytes(&tensor1(&[f16::ONE, f16::from_f32(0.1)]))).unwrap();
        assert_eq!(array, Array { shape: vec![2], values: vec![1.0, 0.099_975_586] });
    }

    #[test]
    fn what_is_no_array_of_reals_says_what_it_is() {
        let whole = bytes(&tensor1(&[1f32, 2.0]));
        for (bytes, reason) in [
            (&b"PNG"[..], "not a NumPy array"),
            (&b"\x93NUMPY\x01\x00\xff\xff{"[..], "cut off"),
            (&whole[..whole.len() - 4], "expected 2 numbers for [2], found 1"),
            (&bytes(&tensor1(&[1i64])), "found \"<i8\""),
            (&whole.iter().map(|b| if *b == b'F' { b'T' } else { *b }).collect::<Vec<_>>(), "Fortran"),
        ] {
            let error = decode(bytes).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}

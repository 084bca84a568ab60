//! NumPy's `.npy` files, version 1.0 (numpy/lib/format.py): how `infer` writes tensors. Writes only, and never half a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use tract_onnx::prelude::{DatumType, Tensor};

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
    let mut shape: String = tensor.shape().iter().map(|side| format!("{side}, ")).collect();
    // Python writes a tuple of one with its comma, longer ones without the last.
    shape.truncate(if tensor.rank() == 1 { shape.len() - 1 } else { shape.trim_end_matches(", ").len() });
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    // The data starts at a multiple of 64 bytes: 10 bytes come before the header, a newline ends it.
    let padding = (10 + header.len() + 1).next_multiple_of(64) - (10 + header.len() + 1);
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let length = u16::try_from(header.len()).map_err(|_| io::Error::other("too many sides for a .npy header"))?;
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    out.write_all(plain.as_bytes())
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

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::{f16, tensor0, tensor1, tensor2};

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
}

//! Preparation and maps as a filter, bytes in and bytes out, so that other programs can check them.
//!
//! ```text
//! pixels prepare FORMAT MATRIX RANGE WIDTH HEIGHT OUT_WIDTH OUT_HEIGHT RESIZE CROP ROTATE FLIPS   < raw picture > u8 [H,W,4]
//! pixels map KIND CHANNELS HEIGHT WIDTH OUT_HEIGHT OUT_WIDTH                                      < f32 map     > the map
//! ```
//! CROP is `left,top,width,height` or `-`; FLIPS any of `h` and `v`, or `-`; KIND segmentation, metres, log, inverse,
//! normals or raw. Planes lie one after the other without padding; numbers are little-endian.

use std::error::Error;
use std::io::{Read, Write};

use milad_kernels::maps::{DepthEncoding, Upsampler};
use milad_kernels::pixel::prepare::{Preparer, Target};
use milad_kernels::pixel::{Colour, Matrix, Picture, PixelFormat, Range, Resize, plane_sizes};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input)?;
    let output = match args.as_slice() {
        ["prepare", rest @ ..] => prepare(rest, &input)?,
        ["map", rest @ ..] => map(rest, &input)?,
        _ => return Err("expected prepare or map".into()),
    };
    std::io::stdout().write_all(&output)?;
    Ok(())
}

fn prepare(args: &[&str], input: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let &[format, matrix, range, width, height, out_width, out_height, resize, crop, rotate, flips] = args else {
        return Err("prepare takes 11 arguments".into());
    };
    let format = match format {
        "yuyv" => PixelFormat::Yuyv,
        "uyvy" => PixelFormat::Uyvy,
        "nv12" => PixelFormat::Nv12,
        "yu12" => PixelFormat::Yu12,
        "yu16" => PixelFormat::Yu16,
        "yu24" => PixelFormat::Yu24,
        "ycc" => PixelFormat::Ycc,
        "rgb24" => PixelFormat::Rgb24,
        "grey" => PixelFormat::Grey,
        _ => return Err("unknown format".into()),
    };
    let matrix = match matrix {
        "601" => Matrix::Bt601,
        "709" => Matrix::Bt709,
        "2020" => Matrix::Bt2020,
        _ => return Err("unknown matrix".into()),
    };
    let range = if range == "full" { Range::Full } else { Range::Limited };
    let resize = match resize {
        "crop" => Resize::Crop,
        "letterbox" => Resize::Letterbox,
        _ => Resize::Stretch,
    };
    let crop: Option<[usize; 4]> = match crop {
        "-" => None,
        list => {
            let sides: Vec<usize> = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
            Some(sides.try_into().map_err(|_| "crop takes 4 numbers")?)
        }
    };
    let (width, height): (usize, usize) = (width.parse()?, height.parse()?);
    let target = Target {
        width: out_width.parse()?,
        height: out_height.parse()?,
        fill: [124, 116, 104],
        resize,
        crop,
        flip_horizontal: flips.contains('h'),
        flip_vertical: flips.contains('v'),
        rotate: rotate.parse()?,
    };
    let (sizes, count) = plane_sizes(format, width, height);
    let (mut planes, mut strides, mut rest): ([&[u8]; 3], _, _) = ([&[]; 3], [0; 3], input);
    for i in 0..count {
        strides[i] = sizes[i].0;
        (planes[i], rest) = rest.split_at_checked(sizes[i].0 * sizes[i].1).ok_or("too few bytes")?;
    }
    let colour = Colour { matrix, range };
    let mut out = vec![0; 4 * target.width * target.height];
    let picture = Picture { format, colour, width, height, planes, strides };
    Preparer::new(format, colour, width, height, &target)?.run(&picture, &mut out)?;
    Ok(out)
}

fn map(args: &[&str], input: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let &[kind, ref numbers @ ..] = args else { return Err("map takes 6 arguments".into()) };
    let numbers: Vec<usize> = numbers.iter().map(|n| n.parse()).collect::<Result<_, _>>()?;
    let &[channels, height, width, out_height, out_width] = numbers.as_slice() else {
        return Err("map takes 6 arguments".into());
    };
    let values: Vec<f32> = input.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let mut upsampler = Upsampler::new(height, width, out_height, out_width)?;
    let size = out_height * out_width;
    let mut floats = vec![0f32; size * channels];
    match kind {
        "segmentation" => {
            let mut out = vec![0u8; size];
            upsampler.segmentation(&values, channels, &mut out)?;
            return Ok(out);
        }
        "normals" => {
            let mut out = vec![0i8; 3 * size];
            upsampler.normals(&values, &mut out)?;
            return Ok(out.iter().map(|v| *v as u8).collect());
        }
        "metres" => upsampler.depth(&values, DepthEncoding::Metres, &mut floats)?,
        "log" => upsampler.depth(&values, DepthEncoding::Log, &mut floats)?,
        "inverse" => upsampler.depth(&values, DepthEncoding::Inverse, &mut floats)?,
        "raw" => upsampler.raw(&values, channels, &mut floats)?,
        _ => return Err("unknown kind".into()),
    }
    Ok(floats.iter().flat_map(|v| v.to_le_bytes()).collect())
}

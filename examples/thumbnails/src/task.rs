//! One thumbnail of one image: decoded, turned upright, made smaller, written whole or not at all.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader};
use lovage::prelude::*;
use serde::{Deserialize, Serialize};

/// The queue of these tasks, for `--queues` of a worker.
pub const QUEUE: &str = "thumbnails";

/// What a run answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thumbnail {
    /// The name of the file in the folder that was asked for.
    pub file: String,
    /// Its width, smaller than asked for where the image itself is.
    pub width: u32,
    /// Its height.
    pub height: u32,
}

/// Writes a thumbnail of `image`, at most `width` pixels wide, into `folder`.
///
/// A file that cannot be decoded is tried again: it may be on its way here still. Two retries later it is dead, with
/// the decoder's reason. Running twice writes the same file twice.
#[lovage::task(
    cpu,
    queue = QUEUE,
    max_retries = 2,
    backoff = Backoff::constant(ms(500)),
    result_ttl = hours(1)
)]
pub fn thumbnail(
    context: &TaskContext,
    image: PathBuf,
    folder: PathBuf,
    width: u32,
) -> anyhow::Result<Thumbnail> {
    let name = image
        .file_name()
        .and_then(|name| name.to_str())
        .context("the image has no name")?;
    let picture = decode(&image).with_context(|| format!("cannot read {name}"))?;
    let small = if width < picture.width() {
        picture.resize(width, u32::MAX, FilterType::Lanczos3)
    } else {
        picture
    };
    // JPEG has no transparency, and PNG makes photographs large.
    let (small, format) = if small.color().has_alpha() {
        (small.into_rgba8().into(), ImageFormat::Png)
    } else {
        (DynamicImage::from(small.into_rgb8()), ImageFormat::Jpeg)
    };
    let file = format!("{name}-{width}.{}", format.extensions_str()[0]);
    let mut bytes = Cursor::new(Vec::new());
    small
        .write_to(&mut bytes, format)
        .context("cannot encode the thumbnail")?;
    // Named by the run: a worker that was given up for dead may still write while another makes the same thumbnail.
    let part = folder.join(format!("{}-{}{PART}", context.id(), context.fence()));
    write_whole(&folder.join(&file), &part, bytes.get_ref())?;
    Ok(Thumbnail {
        file,
        width: small.width(),
        height: small.height(),
    })
}

const PART: &str = ".part";

/// Whether a file is an image of a kind that [`thumbnail()`] reads, by its name.
pub fn is_image(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| {
        ["jpg", "jpeg", "png", "webp"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

/// Whether a file is what a run of task `id` left behind when its worker was killed.
pub fn is_leftover(file: &Path, id: lovage::TaskId) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(&id.to_string()) && name.ends_with(PART))
}

fn decode(image: &Path) -> anyhow::Result<DynamicImage> {
    let bytes = fs::read(image)?;
    // What the bytes are counts, not what the name says; the reader's own limits stop a decompression bomb.
    let reader = ImageReader::new(Cursor::new(&bytes)).with_guessed_format()?;
    if reader.format() == Some(ImageFormat::Jpeg) && !has_end(&bytes) {
        // The decoder would fill what is missing with grey and say nothing.
        bail!(
            "the JPEG is cut off: {} bytes, and no end among them",
            bytes.len()
        );
    }
    let mut decoder = reader.into_decoder()?;
    // A camera held upright says so in the metadata and stores the picture lying down.
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// Whether a JPEG has its end marker after its picture. Looks from segment to segment: a preview inside the metadata
/// has an end of its own, and cameras append data behind the true one.
fn has_end(jpeg: &[u8]) -> bool {
    const START: u8 = 0xd8;
    const SCAN: u8 = 0xda;
    const END: u8 = 0xd9;
    let mut at = 0;
    while let Some(&[0xff, marker]) = jpeg.get(at..at + 2) {
        at += 2;
        match marker {
            END => return true,
            START => continue,
            // Fill before a marker.
            0xff => {
                at -= 1;
                continue;
            }
            _ => {}
        }
        let Some(&[high, low]) = jpeg.get(at..at + 2) else {
            return false;
        };
        at += usize::from(u16::from_be_bytes([high, low]));
        if marker == SCAN {
            // Up to the next marker that is neither a stuffed byte nor a restart.
            let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7);
            let rest = jpeg.get(at..).unwrap_or_default();
            let Some(length) = rest.windows(2).position(is_marker) else {
                return false;
            };
            at += length;
        }
    }
    false
}

fn write_whole(target: &Path, part: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let written = fs::write(part, bytes).and_then(|()| fs::rename(part, target));
    written.with_context(|| {
        // Whether this succeeds or not, the first error is the one to tell.
        let _ = fs::remove_file(part);
        format!("cannot write {}", target.display())
    })
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    fn call(image: &Path, width: u32) -> anyhow::Result<Thumbnail> {
        let folder = image.parent().unwrap();
        thumbnail::call(
            &TaskContext::for_test(),
            image.to_owned(),
            folder.to_owned(),
            width,
        )
    }

    fn files(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_thumbnail_keeps_the_proportions_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("a & b.png");
        RgbImage::from_pixel(300, 200, Rgb([200, 30, 30]))
            .save(&image)
            .unwrap();
        let made = call(&image, 120).unwrap();
        assert_eq!((made.width, made.height), (120, 80));
        assert_eq!(files(folder.path()), ["a & b.png", "a & b.png-120.jpg"]);
        assert_eq!(
            image::open(folder.path().join(&made.file))
                .unwrap()
                .height(),
            80
        );
    }

    #[test]
    fn a_small_image_is_not_enlarged_and_transparency_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("icon.png");
        RgbaImage::from_pixel(16, 16, Rgba([0, 0, 0, 0]))
            .save(&image)
            .unwrap();
        let made = call(&image, 128).unwrap();
        assert_eq!((made.file.as_str(), made.width), ("icon.png-128.png", 16));
        assert!(
            image::open(folder.path().join(&made.file))
                .unwrap()
                .color()
                .has_alpha()
        );
    }

    #[test]
    fn a_jpeg_that_is_cut_off_is_an_error_and_data_behind_its_end_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("photo.jpg");
        RgbImage::from_fn(64, 64, |x, y| {
            Rgb([x, y, x * y].map(|shade| u8::try_from(shade % 256).unwrap()))
        })
        .save(&image)
        .unwrap();
        let whole = fs::read(&image).unwrap();

        fs::write(&image, &whole[..whole.len() * 3 / 4]).unwrap();
        let error = call(&image, 32).unwrap_err();
        assert!(format!("{error:#}").contains("cut off"), "{error:#}");

        fs::write(&image, [&whole[..], b"appended by a camera"].concat()).unwrap();
        assert_eq!(call(&image, 32).unwrap().height, 32);
    }

    #[test]
    fn a_corrupt_file_is_an_error_that_names_it_and_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("broken.jpg");
        fs::write(
            &image,
            b"\xff\xd8\xff\xe0 and then nothing that a decoder could use",
        )
        .unwrap();
        let error = call(&image, 128).unwrap_err();
        assert!(error.to_string().contains("broken.jpg"), "{error:#}");
        assert_eq!(files(folder.path()), ["broken.jpg"]);
    }
}

//! Makes thumbnails of a folder of images, one task an image and size, and a contact sheet of them.
#![expect(clippy::print_stdout, reason = "a command line speaks to its terminal")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use futures_util::StreamExt as _;
use futures_util::stream;
use indicatif::{ProgressBar, ProgressStyle};
use lovage::prelude::*;
use thumbnails::{Entry, QUEUE, Thumbnail, contact_sheet, is_image, is_leftover, thumbnail};

/// Results that are waited for at a time, in the order of the tasks.
const WAITS_MAX: usize = 256;
/// After so long without a result it is worth asking whether anybody works.
const QUIET: Duration = secs(5);

/// Makes thumbnails of a folder of images, and a contact sheet of them.
///
/// Ends with status 0 when every thumbnail is there, and with 1 when some are not: their images are named, with the
/// reason, here and on the sheet.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder with JPEG, PNG and WebP images
    images: PathBuf,
    /// The widths in pixels
    #[arg(long, value_delimiter = ',', default_value = "128,256")]
    sizes: Vec<u32>,
    /// The folder to write to; it is made where it is not there
    #[arg(long, default_value = "thumbnails")]
    out: PathBuf,
    /// Where the workers are: `redis://…`, with any number of `thumbnails-worker` running; `memory://` works in this
    /// process
    #[arg(long, env = "LOVAGE_BROKER", default_value = "memory://")]
    broker: String,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let images = images_in(&arguments.images)?;
    fs::create_dir_all(&arguments.out)
        .with_context(|| format!("cannot make the folder {}", arguments.out.display()))?;
    // Workers have working folders of their own.
    let out = arguments.out.canonicalize()?;

    let client = Client::connect(&arguments.broker).await?;
    let worker = if arguments.broker.starts_with("memory:") {
        Some(client.worker().queues(QUEUE).start().await?)
    } else {
        None
    };
    let entries = make_all(&client, &images, &arguments.sizes, &out).await?;
    if let Some(worker) = worker {
        worker.shutdown().await;
    }

    let title = arguments
        .images
        .file_name()
        .unwrap_or(arguments.images.as_os_str())
        .to_string_lossy();
    let sheet = out.join("index.html");
    fs::write(&sheet, contact_sheet(&title, &entries))
        .with_context(|| format!("cannot write {}", sheet.display()))?;
    Ok(report(&entries, &sheet))
}

/// The images in `folder`, by name.
fn images_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let folder = folder
        .canonicalize()
        .with_context(|| format!("cannot find {}", folder.display()))?;
    let mut images = Vec::new();
    for entry in folder
        .read_dir()
        .with_context(|| format!("cannot list {}", folder.display()))?
    {
        let path = entry?.path();
        if is_image(&path) && path.is_file() {
            images.push(path);
        }
    }
    if images.is_empty() {
        bail!("{} has no JPEG, PNG or WebP images", folder.display());
    }
    images.sort();
    Ok(images)
}

/// Sends one task an image and size, and gathers what comes of them.
async fn make_all(
    client: &Client,
    images: &[PathBuf],
    sizes: &[u32],
    out: &Path,
) -> Result<Vec<Entry>> {
    let orders: Vec<(&PathBuf, u32)> = images
        .iter()
        .flat_map(|image| sizes.iter().map(move |width| (image, *width)))
        .collect();
    let messages = orders
        .iter()
        .map(|(image, width)| thumbnail((*image).clone(), out.to_owned(), *width));
    let handles = client.send_all(messages).await?;
    let ids: Vec<_> = handles.iter().map(Handle::id).collect();

    let mut entries: BTreeMap<&PathBuf, Entry> = BTreeMap::new();
    let bar = ProgressBar::new(orders.len() as u64).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {msg}")
            .expect("a valid template"),
    );
    let waits = orders
        .iter()
        .zip(handles)
        .map(|(order, handle)| async move { (order, outcome(&handle).await) });
    let mut outcomes = stream::iter(waits).buffer_unordered(WAITS_MAX);
    loop {
        let Ok(next) = tokio::time::timeout(QUIET, outcomes.next()).await else {
            bar.set_message("no result for a while: is a thumbnails-worker running?");
            continue;
        };
        let Some(((image, width), outcome)) = next else {
            break;
        };
        bar.set_message("");
        bar.inc(1);
        let entry = entries.entry(image).or_insert_with(|| Entry {
            name: image
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            thumbnails: Vec::new(),
            failures: Vec::new(),
        });
        match outcome {
            Ok(made) => entry.thumbnails.push(made),
            Err(reason) => entry.failures.push(format!("{width}: {reason}")),
        }
    }
    bar.finish();
    sweep(out, &ids);
    Ok(entries.into_values().collect())
}

/// Waits as long as it takes: with no worker running, the one who started this decides.
async fn outcome(handle: &Handle<thumbnail>) -> Result<Thumbnail, String> {
    loop {
        match handle.wait(mins(1)).await {
            Err(lovage::WaitError::TimedOut) => {}
            ended => return ended.map_err(|error| error.to_string()),
        }
    }
}

/// Removes what killed workers left half written. All tasks have ended: nobody needs it.
fn sweep(out: &Path, ids: &[lovage::TaskId]) {
    let files = out
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    for leftover in files.filter(|file| ids.iter().any(|id| is_leftover(file, *id))) {
        // One that cannot be removed is a file too many, and no reason to fail.
        let _ = fs::remove_file(leftover);
    }
}

fn report(entries: &[Entry], sheet: &Path) -> ExitCode {
    let made: usize = entries.iter().map(|entry| entry.thumbnails.len()).sum();
    println!(
        "{made} thumbnails of {} images; the contact sheet is {}",
        entries.len(),
        sheet.display()
    );
    let failures = entries
        .iter()
        .flat_map(|entry| entry.failures.iter().map(move |why| (&entry.name, why)));
    let failures: Vec<_> = failures.collect();
    if failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!(
        "{} could not be made, and are dead letters now:",
        failures.len()
    );
    for (name, reason) in failures {
        println!("  {name} at {reason}");
    }
    ExitCode::FAILURE
}

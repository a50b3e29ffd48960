//! The contact sheet: one HTML page without scripts, with relative paths, that shows every image or why it is not there.

use std::fmt::Write as _;

use crate::task::Thumbnail;

/// One image on the sheet.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name of its file.
    pub name: String,
    /// Its thumbnails, in the same folder as the sheet.
    pub thumbnails: Vec<Thumbnail>,
    /// Why there are no more, one line a size that failed.
    pub failures: Vec<String>,
}

/// The page.
pub fn contact_sheet(title: &str, entries: &[Entry]) -> String {
    let failed = entries
        .iter()
        .filter(|entry| !entry.failures.is_empty())
        .count();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n<p>{count} images{failed}</p>\n<main>\n",
        title = escape(title),
        count = entries.len(),
        failed = if failed == 0 {
            String::new()
        } else {
            format!(", <b>{failed} failed</b>")
        },
    );
    for entry in entries {
        page.push_str(&figure(entry));
    }
    page.push_str("</main>\n");
    page
}

const STYLE: &str = "
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif }
body { margin: 2rem clamp(1rem, 4vw, 4rem) }
h1 { margin: 0; font-size: 1.4rem }
h1 + p { margin: .2rem 0 1.5rem; opacity: .75 }
main { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fill, minmax(180px, 1fr)) }
figure { margin: 0; display: flex; flex-direction: column; gap: .4rem }
.picture { aspect-ratio: 1; display: grid; place-items: center; border-radius: 6px; background: #8882; overflow: hidden }
.picture img { display: block; width: 100%; height: 100%; object-fit: contain }
.failed { padding: .75rem; align-content: center; background: #d333; color: #c22; font-size: .85rem; overflow-wrap: anywhere }
figcaption { font-size: .85rem; overflow-wrap: anywhere }
figcaption a { opacity: .75; margin-right: .5em; white-space: nowrap }
";

fn figure(entry: &Entry) -> String {
    let name = escape(&entry.name);
    let mut figure = String::from("<figure>\n");
    let mut by_width: Vec<&Thumbnail> = entry.thumbnails.iter().collect();
    by_width.sort_by_key(|thumbnail| thumbnail.width);
    if let Some(largest) = by_width.last() {
        let srcset: Vec<String> = by_width
            .iter()
            .map(|made| format!("{} {}w", link(&made.file), made.width))
            .collect();
        let _infallible = writeln!(
            figure,
            "<div class=\"picture\"><img src=\"{}\" srcset=\"{}\" sizes=\"240px\" width=\"{}\" height=\"{}\" alt=\"{name}\" \
             loading=\"lazy\"></div>",
            link(&largest.file),
            srcset.join(", "),
            largest.width,
            largest.height,
        );
    }
    for failure in &entry.failures {
        let _infallible = writeln!(
            figure,
            "<div class=\"picture failed\">{}</div>",
            escape(failure)
        );
    }
    let _infallible = write!(figure, "<figcaption>{name}<br>");
    for made in by_width {
        let _infallible = write!(
            figure,
            "<a href=\"{}\">{} × {}</a>",
            link(&made.file),
            made.width,
            made.height
        );
    }
    figure.push_str("</figcaption>\n</figure>\n");
    figure
}

/// Text that stays text, inside an attribute as well.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A file's name as a relative link: everything that means something in a URL, or separates links in a `srcset`, is
/// written as its bytes. The leading `./` keeps `a:b.png` from being a link of scheme `a`.
fn link(file: &str) -> String {
    let mut link = String::from("./");
    for byte in file.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            link.push(char::from(byte));
        } else {
            let _infallible = write!(link, "%{byte:02X}");
        }
    }
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry {
        Entry {
            name: name.to_owned(),
            thumbnails: vec![Thumbnail {
                file: format!("{name}-128.jpg"),
                width: 128,
                height: 85,
            }],
            failures: Vec::new(),
        }
    }

    #[test]
    fn names_stay_text_and_links_reach_their_file() {
        let page = contact_sheet("<Holiday>", &[entry("50% <b>\"off\" #1, ä?.jpg")]);
        assert!(page.contains("<h1>&lt;Holiday&gt;</h1>"));
        assert!(page.contains("50% &lt;b&gt;&quot;off&quot; #1, ä?.jpg"));
        assert!(page.contains("./50%25%20%3Cb%3E%22off%22%20%231%2C%20%C3%A4%3F.jpg-128.jpg"));
        assert!(!page.contains("<b>\"off"));
    }

    #[test]
    fn an_image_that_failed_is_on_the_sheet_with_its_reason() {
        let failed = Entry {
            failures: vec!["128: not a <JPEG>".to_owned()],
            thumbnails: Vec::new(),
            ..entry("broken.jpg")
        };
        let page = contact_sheet("x", &[entry("a.jpg"), failed]);
        assert!(page.contains("2 images, <b>1 failed</b>"));
        assert!(page.contains("128: not a &lt;JPEG&gt;"));
        assert!(page.contains("broken.jpg"));
    }
}

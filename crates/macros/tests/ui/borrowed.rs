use lovage::task;

#[task]
async fn text(to: &str) {}

#[task]
async fn list(rows: Vec<&[u8]>) {}

#[task]
async fn path(file: Option<&'static std::path::Path>) {}

#[task]
async fn state(pool: &lovage::State<String>) {}

#[task]
async fn opaque(items: impl Iterator<Item = u8>) {}

#[task]
async fn elided(text: std::borrow::Cow<'_, str>) {}

#[task]
async fn answer() -> &'static str {
    ""
}

fn main() {}

//! As much of an HTTP client as these tests need.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let mut lines = self.headers.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }
}

async fn send(address: SocketAddr, request: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let (headers, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = headers.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(Answer {
        status: status.ok_or(std::io::ErrorKind::InvalidData)?,
        headers: headers.to_owned(),
        body: body.to_owned(),
    })
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n");
    send(address, &request).await.unwrap()
}

/// Posts to `/orders`; `headers` are whole lines.
pub(crate) async fn post(address: SocketAddr, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!(
        "POST /orders HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    send(address, &request).await.unwrap()
}

/// Posts JSON with a key.
pub(crate) async fn post_json(address: SocketAddr, key: &str, body: &str) -> Answer {
    let headers = format!("Content-Type: application/json\r\nIdempotency-Key: {key}\r\n");
    post(address, &headers, body).await
}

/// Posts a form, as a browser does.
pub(crate) async fn post_form(address: SocketAddr, body: &str) -> Answer {
    let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
    post(address, headers, body).await
}

/// A page that listens to what becomes of orders.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    pub(crate) async fn open(address: SocketAddr, path: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: shop\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Self(BufReader::new(stream))
    }

    /// The next event: its id and its data.
    pub(crate) async fn next(&mut self) -> (String, serde_json::Value) {
        let (mut id, mut line) = (String::new(), String::new());
        let reading = async {
            loop {
                line.clear();
                assert_ne!(
                    self.0.read_line(&mut line).await.unwrap(),
                    0,
                    "the stream ended"
                );
                if let Some(text) = line.strip_prefix("id: ") {
                    text.trim().clone_into(&mut id);
                }
                if let Some(data) = line.strip_prefix("data: ") {
                    let data: serde_json::Value = serde_json::from_str(data).unwrap();
                    // The id follows its data or comes before it: the event ends with an empty line.
                    loop {
                        line.clear();
                        self.0.read_line(&mut line).await.unwrap();
                        if let Some(text) = line.strip_prefix("id: ") {
                            text.trim().clone_into(&mut id);
                        }
                        if line.trim().is_empty() {
                            return data;
                        }
                    }
                }
            }
        };
        let waited = tokio::time::timeout(lovage::secs(30), reading).await;
        let data = waited.expect("an event within half a minute");
        (id, data)
    }
}

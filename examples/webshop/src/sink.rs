//! A mail server for one's own machine: it takes every mail by real SMTP and keeps it as a file, and sends none on.
//!
//! An address in the domain `invalid` is refused with 550, so that a failure can be seen as well.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lovage::{Clock, secs};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::Semaphore;

/// The longest line, in bytes: what SMTP asks of a server.
const LINE_BYTES_MAX: usize = 1000;
const MAIL_BYTES_MAX: usize = 1024 * 1024;
const RECIPIENTS_MAX: usize = 100;
const CONNECTIONS_MAX: usize = 64;
const SILENCE_MAX: std::time::Duration = secs(60);

/// A mail server that keeps what it is given.
#[derive(Debug)]
pub struct Sink {
    listener: TcpListener,
    folder: PathBuf,
}

impl Sink {
    /// Listens on `address`; mails go to `folder`, which is made where it is not there.
    pub async fn bind(address: impl ToSocketAddrs, folder: impl Into<PathBuf>) -> io::Result<Self> {
        Self::on(TcpListener::bind(address).await?, folder).await
    }

    /// Takes the connections that come to `listener`.
    pub async fn on(listener: TcpListener, folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        tokio::fs::create_dir_all(&folder).await?;
        Ok(Self { listener, folder })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes mails until it is dropped.
    pub async fn run(self) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let folder = Arc::new(self.folder);
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await;
            let Ok((stream, _)) = self.listener.accept().await else {
                // Out of file descriptors, most likely: some will be closed.
                tokio::time::sleep(secs(1)).await;
                continue;
            };
            let folder = Arc::clone(&folder);
            tokio::spawn(async move {
                // A client that breaks off is its own affair.
                let _ = serve(stream, &folder).await;
                drop(slot);
            });
        }
    }
}

async fn serve(mut stream: TcpStream, folder: &Path) -> io::Result<()> {
    let (reading, writing) = stream.split();
    let mut session = Session {
        input: BufReader::new(reading),
        output: writing,
        folder,
        from: None,
        to: Vec::new(),
    };
    session.say("220 mail-sink").await?;
    while let Some(line) = session.line().await? {
        let Some(line) = line.as_deref().map(String::from_utf8_lossy) else {
            session.say("500 the line is too long").await?;
            continue;
        };
        let line = line.trim_end();
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (verb.to_ascii_uppercase().as_str(), rest) {
            ("EHLO", _) => {
                session.reset();
                session
                    .say(&format!(
                        "250-mail-sink\r\n250-SIZE {MAIL_BYTES_MAX}\r\n250 8BITMIME"
                    ))
                    .await?;
            }
            ("HELO", _) => {
                session.reset();
                session.say("250 mail-sink").await?;
            }
            ("MAIL", path) => session.mail(path).await?,
            ("RCPT", path) => session.recipient(path).await?,
            ("DATA", _) => session.data().await?,
            ("RSET", _) => {
                session.reset();
                session.say("250 forgotten").await?;
            }
            ("NOOP", _) => session.say("250 yes").await?,
            ("QUIT", _) => return session.say("221 good bye").await,
            _ => session.say("502 this command is not known here").await?,
        }
    }
    Ok(())
}

struct Session<'a, R, W> {
    input: R,
    output: W,
    folder: &'a Path,
    from: Option<String>,
    to: Vec<String>,
}

impl<R: AsyncBufRead + Unpin, W: AsyncWrite + Unpin> Session<'_, R, W> {
    fn reset(&mut self) {
        self.from = None;
        self.to.clear();
    }

    async fn say(&mut self, answer: &str) -> io::Result<()> {
        self.output
            .write_all(format!("{answer}\r\n").as_bytes())
            .await
    }

    /// The next line with its end; `None` in the inner option if it is too long, in the outer one at the end.
    async fn line(&mut self) -> io::Result<Option<Option<Vec<u8>>>> {
        let (mut line, mut fits) = (Vec::new(), true);
        loop {
            let mut part = (&mut self.input).take(LINE_BYTES_MAX as u64);
            let reading = part.read_until(b'\n', &mut line);
            let read = tokio::time::timeout(SILENCE_MAX, reading).await;
            if read.map_err(|_| io::ErrorKind::TimedOut)?? == 0 {
                return Ok(None);
            }
            if line.last() == Some(&b'\n') {
                return Ok(Some(fits.then_some(line)));
            }
            fits = false;
            line.clear();
        }
    }

    async fn mail(&mut self, path: &str) -> io::Result<()> {
        match address("FROM:", path) {
            Some(from) => {
                self.reset();
                self.from = Some(from);
                self.say("250 go on").await
            }
            None => self.say("501 it is MAIL FROM:<address>").await,
        }
    }

    async fn recipient(&mut self, path: &str) -> io::Result<()> {
        let Some(to) = address("TO:", path).filter(|to| !to.is_empty()) else {
            return self.say("501 it is RCPT TO:<address>").await;
        };
        if self.from.is_none() {
            self.say("503 MAIL comes first").await
        } else if to.to_ascii_lowercase().ends_with(".invalid") {
            self.say("550 there is nobody of this name").await
        } else if self.to.len() == RECIPIENTS_MAX {
            self.say("452 too many recipients").await
        } else {
            self.to.push(to);
            self.say("250 go on").await
        }
    }

    async fn data(&mut self) -> io::Result<()> {
        if self.to.is_empty() {
            return self.say("503 RCPT comes first").await;
        }
        self.say("354 end with a dot").await?;
        let from = self.from.take().unwrap_or_default();
        let mut mail = format!("Return-Path: <{from}>\r\n").into_bytes();
        for to in self.to.drain(..) {
            mail.extend_from_slice(format!("Delivered-To: {to}\r\n").as_bytes());
        }
        let mut fits = true;
        loop {
            let Some(line) = self.line().await? else {
                return Ok(());
            };
            match line.as_deref() {
                Some(b".\r\n") => break,
                Some(line) if fits && mail.len() + line.len() <= MAIL_BYTES_MAX => {
                    // A dot that begins a line was doubled by the sender.
                    mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
                }
                _ => fits = false,
            }
        }
        if !fits {
            return self
                .say("552 the mail, or a line of it, is too large")
                .await;
        }
        match keep(self.folder, &mail).await {
            Ok(()) => self.say("250 kept").await,
            Err(error) => {
                self.say(&format!("451 cannot be kept: {}", error.kind()))
                    .await
            }
        }
    }
}

/// The address in `FROM:<ada@example.org> SIZE=7`.
fn address(prefix: &str, path: &str) -> Option<String> {
    let (head, rest) = path.split_at_checked(prefix.len())?;
    let (address, _) = rest.trim_start().strip_prefix('<')?.split_once('>')?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| address.to_owned())
}

/// Writes a mail whole or not at all; names sort by the time of their arrival.
async fn keep(folder: &Path, mail: &[u8]) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!(
        "{}-{}-{count:06}",
        Clock::System.now().get(),
        std::process::id()
    );
    let part = folder.join(format!("{name}.part"));
    tokio::fs::write(&part, mail).await?;
    tokio::fs::rename(&part, folder.join(format!("{name}.eml"))).await
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;

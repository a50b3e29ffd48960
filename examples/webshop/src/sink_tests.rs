//! The sink by the wire: what a mail client says, and what it must not be able to do.

use std::fs;

use super::*;

async fn sink() -> (tempfile::TempDir, SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::bind("127.0.0.1:0", folder.path()).await.unwrap();
    let address = sink.address().unwrap();
    tokio::spawn(sink.run());
    (folder, address)
}

/// Says all of `script` and answers all that came back until the server closed.
async fn talk(address: SocketAddr, script: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let mut answer = String::new();
    let (_, written) = tokio::join!(
        reading.read_to_string(&mut answer),
        writing.write_all(script.as_bytes())
    );
    written.unwrap();
    answer
}

fn codes(answer: &str) -> Vec<&str> {
    answer.lines().map(|line| &line[..3]).collect()
}

fn kept(folder: &Path) -> Vec<String> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.iter().all(|path| path.extension().unwrap() == "eml"));
    paths
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

#[tokio::test]
async fn a_mail_is_kept_with_its_dots_and_its_envelope() {
    let (folder, address) = sink().await;
    let answer = talk(
        address,
        "EHLO me\r\nMAIL FROM:<a@x.example> SIZE=9\r\nRCPT TO:<b@y.example>\r\nrcpt to:<c@y.example>\r\nDATA\r\n\
         Subject: x\r\n\r\n..dot\r\n.\r\nRSET\r\nNOOP\r\nQUIT\r\n",
    )
    .await;
    assert_eq!(
        codes(&answer),
        [
            "220", "250", "250", "250", "250", "250", "250", "354", "250", "250", "250", "221"
        ]
    );
    assert_eq!(
        kept(folder.path()),
        [
            "Return-Path: <a@x.example>\r\nDelivered-To: b@y.example\r\nDelivered-To: c@y.example\r\n\
          Subject: x\r\n\r\n.dot\r\n"
        ]
    );
}

#[tokio::test]
async fn what_is_out_of_order_or_unknown_is_refused_and_keeps_nothing() {
    let (folder, address) = sink().await;
    let answer = talk(
        address,
        "DATA\r\nRCPT TO:<b@y.example>\r\nMAIL a@x\r\nMAIL FROM:<>\r\nRCPT TO:<>\r\nRCPT TO:<b@gone.INVALID>\r\n\
         DATA\r\nVRFY b\r\nMAIL\r\nQUIT\r\n",
    )
    .await;
    assert_eq!(
        codes(&answer),
        [
            "220", "503", "503", "501", "250", "501", "550", "503", "502", "501", "221"
        ]
    );
    assert!(kept(folder.path()).is_empty());
}

#[tokio::test]
async fn lines_mails_and_recipients_are_bounded() {
    let (folder, address) = sink().await;
    let answer = talk(address, &format!("NOOP {}\r\nQUIT\r\n", "x".repeat(5000))).await;
    assert_eq!(codes(&answer), ["220", "500", "221"]);

    let body = format!("{}\r\n", "x".repeat(900)).repeat(1300);
    let start = "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n";
    let answer = talk(address, &format!("{start}{body}.\r\nQUIT\r\n")).await;
    assert_eq!(codes(&answer), ["220", "250", "250", "354", "552", "221"]);

    let answer = talk(
        address,
        &format!("{start}{}\r\n.\r\nQUIT\r\n", "x".repeat(2000)),
    )
    .await;
    assert_eq!(codes(&answer)[4..], ["552", "221"]);

    let many = "RCPT TO:<b@y.example>\r\n".repeat(RECIPIENTS_MAX + 1);
    let answer = talk(address, &format!("MAIL FROM:<>\r\n{many}QUIT\r\n")).await;
    assert_eq!(codes(&answer)[RECIPIENTS_MAX + 1..], ["250", "452", "221"]);
    // A client that is gone in the middle of its mail has sent none.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(start.as_bytes()).await.unwrap();
    drop(stream);
    assert_eq!(
        talk(address, "QUIT\r\n").await,
        "220 mail-sink\r\n221 good bye\r\n"
    );
    assert!(kept(folder.path()).is_empty());
}

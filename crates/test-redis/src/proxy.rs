//! A TCP proxy on loopback that breaks in chosen ways while it runs.

use std::future::pending;
use std::io;
use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::server::RedisServer;

const BUFFER_BYTES: usize = 16 * 1024;

/// What the proxy does with the bytes that pass through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: all bytes pass.
    Pass,
    /// A network that stands still: bytes and new connections wait, and all of them pass later.
    Stall,
    /// Requests reach the server, replies wait, and all of them pass later.
    HoldReplies,
    /// A half-open connection: bytes of both directions are lost, nothing is closed. A connection that has lost
    /// bytes stays silent after this fault has ended.
    Swallow,
    /// Requests reach the server, replies are lost, nothing is closed. Likewise silent afterwards.
    DropReplies,
    /// Each connection passes this many more bytes of replies, and is then closed.
    CutAfter(usize),
    /// New connections are reset at once; the present ones go on.
    Refuse,
}

/// A proxy in front of a server. Its connections are closed when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    url: String,
    port: u16,
    orders: watch::Sender<Orders>,
    accepting: AbortHandle,
}

/// What the connections watch.
#[derive(Clone, Copy, Debug)]
struct Orders {
    fault: Fault,
    /// Grows when a fault is set, so that the same one set again counts its bytes anew.
    number: u64,
    /// Grows when all present connections are to be reset.
    resets: u64,
}

impl FaultProxy {
    /// Starts a proxy in front of `server`; all bytes pass.
    ///
    /// # Panics
    /// Where there is no free port.
    pub async fn start(server: &RedisServer) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port on loopback");
        let port = listener
            .local_addr()
            .expect("a bound listener has an address")
            .port();
        let (orders, seen) = watch::channel(Orders {
            fault: Fault::Pass,
            number: 0,
            resets: 0,
        });
        let accepting = tokio::spawn(accept(listener, server.port(), seen)).abort_handle();
        Self {
            url: server.url_by(port),
            port,
            orders,
            accepting,
        }
    }

    /// Where to connect; the server's URL with the proxy's port.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Behaves like this from now on, towards present and new connections.
    pub fn set(&self, fault: Fault) {
        self.orders.send_modify(|orders| {
            orders.fault = fault;
            orders.number += 1;
        });
    }

    /// Resets all present connections (RST); new ones are taken as the present fault says.
    pub fn reset_all(&self) {
        self.orders.send_modify(|orders| orders.resets += 1);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, upstream: u16, orders: watch::Receiver<Orders>) {
    // Dropped with this task, which aborts what it holds.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // An accept fails only for a connection that has gone already, or for want of file descriptors.
                let Ok((client, _)) = accepted else { continue };
                let refused = orders.borrow().fault == Fault::Refuse;
                if refused {
                    reset(&client);
                } else {
                    connections.spawn(serve(client, upstream, orders.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut client: TcpStream, upstream: u16, mut orders: watch::Receiver<Orders>) {
    let resets = orders.borrow().resets;
    let ended = tokio::select! {
        ended = carry(&mut client, upstream, orders.clone()) => ended,
        _ = orders.wait_for(|orders| orders.resets != resets) => Err(io::ErrorKind::ConnectionReset.into()),
    };
    if ended.is_err() {
        reset(&client);
    }
}

/// Carries bytes until one side closes or a fault cuts the connection.
async fn carry(
    client: &mut TcpStream,
    upstream: u16,
    orders: watch::Receiver<Orders>,
) -> io::Result<()> {
    let mut upstream = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await?;
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_upstream, to_upstream) = upstream.split();
    tokio::select! {
        ended = pump(from_client, to_upstream, Direction::Request, orders.clone()) => ended,
        ended = pump(from_upstream, to_client, Direction::Reply, orders) => ended,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Reply,
}

impl Fault {
    fn holds(self, direction: Direction) -> bool {
        match self {
            Self::Stall => true,
            Self::HoldReplies => direction == Direction::Reply,
            _ => false,
        }
    }
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    mut orders: watch::Receiver<Orders>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut silent = false;
    let mut passed = Passed::default();
    loop {
        let read = from.read(&mut buffer).await?;
        // Looked at after the read: what arrives while a fault is set meets it.
        let now = match orders
            .wait_for(|orders| !orders.fault.holds(direction))
            .await
        {
            Ok(now) => *now,
            Err(_proxy_is_gone) => return Ok(()),
        };
        silent |= match now.fault {
            Fault::Swallow => true,
            Fault::DropReplies => direction == Direction::Reply,
            Fault::Pass
            | Fault::Stall
            | Fault::HoldReplies
            | Fault::CutAfter(_)
            | Fault::Refuse => false,
        };
        match read {
            // The client must not hear of the server's end either.
            0 if silent && direction == Direction::Reply => return pending().await,
            0 => return Ok(()),
            _ if silent => continue,
            _ => {}
        }
        let left = match now.fault {
            Fault::CutAfter(bytes) if direction == Direction::Reply => {
                bytes.saturating_sub(passed.since(now.number))
            }
            _ => usize::MAX,
        };
        let take = read.min(left);
        to.write_all(&buffer[..take]).await?;
        passed.bytes += take;
        if take == left {
            return Ok(());
        }
    }
}

/// The bytes that passed since an order was given.
#[derive(Default)]
struct Passed {
    number: u64,
    bytes: usize,
}

impl Passed {
    fn since(&mut self, number: u64) -> usize {
        if self.number != number {
            *self = Self { number, bytes: 0 };
        }
        self.bytes
    }
}

/// Makes the coming close a reset (RST) instead of an orderly end.
fn reset(client: &TcpStream) {
    // Fails only where the client has gone already.
    let _ = client.set_zero_linger();
}

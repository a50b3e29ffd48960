//! Liveness and readiness over HTTP, on a thread of its own: it must answer when the worker's runtime is blocked.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::thread;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::json;

use crate::worker::Shared;

/// The worker that is asked after, once there is one.
pub(crate) type Watched = Arc<OnceLock<Arc<Shared>>>;

/// Serves `/livez` and `/readyz` on `address` until the process ends; answers the address that was bound.
pub(crate) fn serve(address: SocketAddr, worker: Watched) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(worker);
    thread::Builder::new()
        .name(String::from("lovage-health"))
        .spawn(move || {
            let served = runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, routes).await
            });
            if let Err(error) = served {
                tracing::error!(%error, "the health server has ended");
            }
        })?;
    Ok(bound)
}

async fn livez(State(worker): State<Watched>) -> impl IntoResponse {
    // A process that waits for its broker lives: a restart would not bring it nearer.
    if worker.get().is_none_or(|worker| worker.live()) {
        answer(StatusCode::OK, &json!({ "live": true }))
    } else {
        let reasons =
            ["every thread of the async runtime is blocked, or a part of the worker panicked"];
        answer(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({ "live": false, "reasons": reasons }),
        )
    }
}

async fn readyz(State(worker): State<Watched>) -> impl IntoResponse {
    match worker.get().map(|worker| worker.ready()) {
        Some(Ok(())) => answer(StatusCode::OK, &json!({ "ready": true })),
        None => answer(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({ "ready": false, "reasons": ["the broker cannot be reached"] }),
        ),
        Some(Err(reasons)) => answer(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({ "ready": false, "reasons": reasons }),
        ),
    }
}

fn answer(status: StatusCode, body: &serde_json::Value) -> impl IntoResponse + use<> {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Instant;

    use lovage_core::{QueueName, WorkerId, secs};

    use crate::tenure::{Seat, Tenure};

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_worker_is_ready_only_with_a_good_lease_and_says_why_not() {
        let seat = Arc::new(Seat::new(QueueName::parse("mail").unwrap()));
        let watched = Watched::default();
        let address = serve(SocketAddr::from(([127, 0, 0, 1], 0)), Arc::clone(&watched)).unwrap();

        assert!(get(address, "/livez").starts_with("HTTP/1.1 200"));
        let answer = get(address, "/readyz");
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("cannot be reached"), "{answer}");

        let worker = Arc::new(Shared::new(Arc::new([Arc::clone(&seat)])));
        assert!(watched.set(worker).is_ok());
        let answer = get(address, "/readyz");
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(
            answer.contains(r#"{"queue":"mail","reason":"no_lease"}"#),
            "{answer}"
        );
        assert!(get(address, "/livez").starts_with("HTTP/1.1 200"));

        let tenure = Tenure::new(WorkerId::random(), Instant::now() + secs(60));
        seat.take_place(Arc::new(tenure));
        let answer = get(address, "/readyz");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(get(address, "/elsewhere").starts_with("HTTP/1.1 404"));
    }
}

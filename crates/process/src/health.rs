//! Liveness and readiness over HTTP, on a thread of its own: it must answer when the program's runtime is blocked.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Map, Value, json};

/// What is asked after. It is asked on a thread of its own and must not wait for the program.
pub trait Probe: Send + Sync + 'static {
    /// Whether it lives; if not, a sentence for each reason. Who is not alive will be killed and started again.
    fn live(&self) -> Result<(), Vec<String>>;

    /// Whether it is fit for work; if not, each reason, as text or as an object.
    fn ready(&self) -> Result<(), Vec<Value>>;

    /// What else the answer about readiness says.
    fn details(&self) -> Map<String, Value> {
        Map::new()
    }
}

/// Serves `/livez` and `/readyz` on `address` until the process ends; answers the address that was bound.
///
/// The answers are JSON: `{"live":true}` or `{"ready":false,"reasons":[…]}` and the details, with status 200 or 503.
pub fn serve(address: SocketAddr, probe: Arc<dyn Probe>) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(probe);
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

async fn livez(State(probe): State<Arc<dyn Probe>>) -> impl IntoResponse {
    let reasons = probe.live().map_err(Value::from);
    answer("live", reasons, Map::new())
}

async fn readyz(State(probe): State<Arc<dyn Probe>>) -> impl IntoResponse {
    let reasons = probe.ready().map_err(Value::from);
    answer("ready", reasons, probe.details())
}

fn answer(
    what: &str,
    good: Result<(), Value>,
    mut body: Map<String, Value>,
) -> impl IntoResponse + use<> {
    body.insert(what.to_owned(), json!(good.is_ok()));
    let status = match good {
        Ok(()) => StatusCode::OK,
        Err(reasons) => {
            body.insert("reasons".to_owned(), reasons);
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    let body = Value::Object(body).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    struct Broken;

    impl Probe for Broken {
        fn live(&self) -> Result<(), Vec<String>> {
            Ok(())
        }

        fn ready(&self) -> Result<(), Vec<Value>> {
            Err(vec![json!("the broker cannot be reached")])
        }

        fn details(&self) -> Map<String, Value> {
            Map::from_iter([("leads".to_owned(), json!(false))])
        }
    }

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
    fn a_probe_is_answered_with_status_reasons_and_details() {
        let address = serve(SocketAddr::from(([127, 0, 0, 1], 0)), Arc::new(Broken)).unwrap();
        let answer = get(address, "/livez");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.ends_with("{\"live\":true}"), "{answer}");
        let answer = get(address, "/readyz");
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        let body =
            "{\"leads\":false,\"ready\":false,\"reasons\":[\"the broker cannot be reached\"]}";
        assert!(answer.ends_with(body), "{answer}");
        assert!(get(address, "/elsewhere").starts_with("HTTP/1.1 404"));
    }
}

//! What a worker says of itself when it is asked whether it lives and is ready.

use std::sync::{Arc, OnceLock};

use lovage_process::health::Probe;
use serde_json::{Map, Value, json};

use crate::worker::Shared;

/// The worker that is asked after, once there is one.
#[derive(Default)]
pub(crate) struct Watched(OnceLock<Arc<Shared>>);

impl Watched {
    /// From now on it is asked after this one.
    pub(crate) fn watch(&self, worker: impl FnOnce() -> Arc<Shared>) {
        self.0.get_or_init(worker);
    }
}

impl Probe for Watched {
    fn live(&self) -> Result<(), Vec<String>> {
        // A process that waits for its broker lives: a restart would not bring it nearer.
        if self.0.get().is_none_or(|worker| worker.live()) {
            return Ok(());
        }
        let reason =
            "every thread of the async runtime is blocked, or a part of the worker panicked";
        Err(vec![reason.to_owned()])
    }

    fn ready(&self) -> Result<(), Vec<Value>> {
        match self.0.get().map(|worker| worker.ready()) {
            Some(Ok(())) => Ok(()),
            None => Err(vec![json!("the broker cannot be reached")]),
            Some(Err(reasons)) => Err(reasons.iter().map(|reason| json!(reason)).collect()),
        }
    }

    fn details(&self) -> Map<String, Value> {
        let stats = self.0.get().map(|worker| json!(worker.stats()));
        stats
            .map(|stats| ("stats".to_owned(), stats))
            .into_iter()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::time::Instant;

    use lovage_core::{QueueName, WorkerId, secs};
    use lovage_process::Monotonic;
    use lovage_process::health::serve;

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
        let seat = Arc::new(Seat::new(
            QueueName::parse("mail").unwrap(),
            &Arc::default(),
        ));
        let watched = Arc::new(Watched::default());
        let probe: Arc<dyn Probe> = watched.clone();
        let address = serve(SocketAddr::from(([127, 0, 0, 1], 0)), probe).unwrap();

        assert!(get(address, "/livez").starts_with("HTTP/1.1 200"));
        let answer = get(address, "/readyz");
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("cannot be reached"), "{answer}");

        watched.watch(|| Arc::new(Shared::new(Arc::new([Arc::clone(&seat)]))));
        let answer = get(address, "/readyz");
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(
            answer.contains(r#"{"queue":"mail","reason":"no_lease"}"#),
            "{answer}"
        );
        assert!(get(address, "/livez").starts_with("HTTP/1.1 200"));

        let tenure = Tenure::new(
            WorkerId::random(),
            Instant::now() + secs(60),
            Monotonic::default(),
        );
        seat.take_place(Arc::new(tenure));
        let answer = get(address, "/readyz");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains(r#""stats":{"#), "{answer}");
        assert!(get(address, "/elsewhere").starts_with("HTTP/1.1 404"));
    }
}

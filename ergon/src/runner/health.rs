//! Serves the health of the process: `/healthz`, `/readyz`, `/metrics`.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::watch::Vitals;

/// Returns the health of the process.
pub(crate) type Look = Arc<dyn Fn() -> Vitals + Send + Sync>;

/// Returns the metrics in Prometheus' text format; `None` if nothing is measured.
pub(crate) type Measured = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// The reason why the server cannot listen, and a hint.
#[derive(Debug)]
pub(crate) struct BindError {
    pub(crate) what: String,
    pub(crate) hint: &'static str,
}

/// Binds the address before the run starts, so that an address in use is reported early.
///
/// # Errors
/// Returns an error if the address is in use or not of this machine, or the program was built without the server.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    if cfg!(not(feature = "health")) {
        let what = "this program was built without the health server".to_owned();
        return Err(BindError { what, hint: "add the feature `health` to `ergon` in Cargo.toml" });
    }
    let listener = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|error| BindError {
        what: format!("cannot listen on {address}: {error}"),
        hint: "name a port that is free on this machine, as in \"127.0.0.1:9464\"",
    })
}

/// Serves nothing: without the feature, `bind` always fails.
#[cfg(not(feature = "health"))]
pub(crate) fn serve(listener: TcpListener, look: Look, measured: Measured) -> std::future::Ready<()> {
    drop((listener, look, measured));
    std::future::ready(())
}

#[cfg(feature = "health")]
pub(crate) use server::serve;

#[cfg(feature = "health")]
mod server {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;

    use super::{Look, Measured, TcpListener};

    /// Serves requests until dropped.
    pub(crate) async fn serve(listener: TcpListener, look: Look, measured: Measured) {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
        // Ends only with the process.
        let _ = axum::serve(listener, routes(look, measured)).await;
    }

    fn routes(look: Look, measured: Measured) -> Router {
        let alive = move |look: Look| async move { answer(look().unhealthy, "ok") };
        let ready = move |look: Look| async move { answer(look().unready, "ready") };
        let (first, second) = (look.clone(), look);
        Router::new()
            .route("/healthz", get(move || alive(first.clone())))
            .route("/readyz", get(move || ready(second.clone())))
            .route("/metrics", get(move || std::future::ready(metrics(&measured))))
    }

    /// The answer of a health check: `well`, or the reason why not.
    fn answer(trouble: Option<String>, well: &str) -> (StatusCode, String) {
        match trouble {
            None => (StatusCode::OK, format!("{well}\n")),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        }
    }

    /// The answer with the metrics.
    fn metrics(measured: &Measured) -> (StatusCode, String) {
        match measured() {
            Some(text) => (StatusCode::OK, text),
            None => (StatusCode::NOT_FOUND, "nothing is measured yet\n".to_owned()),
        }
    }
}

//! Answers those who ask how the process is: `/healthz`, `/readyz`, `/metrics`.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::watch::Vitals;

/// Says how the process is now.
pub(crate) type Look = Arc<dyn Fn() -> Vitals + Send + Sync>;

/// Says what was measured, as Prometheus asks for it; `None` if nothing is.
pub(crate) type Measured = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// Why nobody can be answered, and what helps.
#[derive(Debug)]
pub(crate) struct Unheard {
    pub(crate) what: String,
    pub(crate) hint: &'static str,
}

/// Takes the address, so that another program's is found out before anything begins.
///
/// # Errors
/// It is taken, or not this machine's, or the program was built without the server.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, Unheard> {
    if cfg!(not(feature = "health")) {
        let what = "this program was built without the health server".to_owned();
        return Err(Unheard { what, hint: "add the feature `health` to `ergon` in Cargo.toml" });
    }
    let listener = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|error| Unheard {
        what: format!("cannot listen on {address}: {error}"),
        hint: "name a port that is free on this machine, as in \"127.0.0.1:9464\"",
    })
}

/// Answers nobody: no address can be had.
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

    /// Answers until it is dropped.
    pub(crate) async fn serve(listener: TcpListener, look: Look, measured: Measured) {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
        // It ends only with the process.
        let _ = axum::serve(listener, routes(look, measured)).await;
    }

    fn routes(look: Look, measured: Measured) -> Router {
        let alive = move |look: Look| async move { answer(look().ill, "ok") };
        let ready = move |look: Look| async move { answer(look().unready, "ready") };
        let (first, second) = (look.clone(), look);
        Router::new()
            .route("/healthz", get(move || alive(first.clone())))
            .route("/readyz", get(move || ready(second.clone())))
            .route("/metrics", get(move || std::future::ready(metrics(&measured))))
    }

    /// All is well, or why not.
    fn answer(trouble: Option<String>, well: &str) -> (StatusCode, String) {
        match trouble {
            None => (StatusCode::OK, format!("{well}\n")),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        }
    }

    /// What was measured, as Prometheus reads it.
    fn metrics(measured: &Measured) -> (StatusCode, String) {
        match measured() {
            Some(text) => (StatusCode::OK, text),
            None => (StatusCode::NOT_FOUND, "nothing is measured yet\n".to_owned()),
        }
    }
}

//! An HTTP server whose every byte a test decides, so that it can misbehave.

mod certificate;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub use certificate::Certificate;

/// A server that answers one request for each connection.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// A request that reached the server.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The method and the path: `GET /orders?page=2`.
    pub line: String,
    headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// An action of the server.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends nothing more, and keeps the connection.
    Hang,
    /// Resets the connection.
    Reset,
}

impl Asked {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A complete response: the status, the headers (`name: value`, one in each line) and the body.
pub fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<Step> {
    let (body, more) = (body.as_ref(), if headers.is_empty() { "" } else { "\r\n" });
    let headers = headers.replace('\n', "\r\n");
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}{more}\r\n", body.len());
    vec![Step::Send(head.into_bytes()), Step::Send(body.to_vec())]
}

/// A complete response of 200 with this JSON.
pub fn json(body: &serde_json::Value) -> Vec<Step> {
    answer("200 OK", "content-type: application/json", body.to_string())
}

impl Server {
    /// Starts a server. `answers` receives the number of earlier requests, and the request.
    pub async fn start(answers: impl Fn(usize, &Asked) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::serve(None, Arc::new(answers)).await
    }

    /// The same over TLS, with this certificate.
    pub async fn encrypted(
        certificate: &Certificate,
        answers: impl Fn(usize, &Asked) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::serve(Some(certificate.acceptor()), Arc::new(answers)).await
    }

    async fn serve(tls: Option<TlsAcceptor>, answers: Arc<Answers>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (log, scheme) = (Arc::clone(&asked), if tls.is_some() { "https" } else { "http" });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, log, tls) = (Arc::clone(&answers), Arc::clone(&log), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => converse(stream, &*answers, &log).await,
                        // A client that does not trust the certificate closes the connection here.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => converse(stream, &*answers, &log).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { address, scheme, asked }
    }

    /// The address of the server: `http://127.0.0.1:1234`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

type Answers = dyn Fn(usize, &Asked) -> Vec<Step> + Send + Sync;

/// The error of a reset connection.
trait Break {
    fn reset(&self);
}

impl Break for TcpStream {
    fn reset(&self) {
        self.set_zero_linger().expect("it is a socket");
    }
}

impl Break for tokio_rustls::server::TlsStream<TcpStream> {
    fn reset(&self) {
        self.get_ref().0.reset();
    }
}

async fn converse<S>(stream: S, answers: &Answers, log: &Mutex<Vec<Asked>>) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Break + Unpin,
{
    let mut stream = BufReader::new(stream);
    let asked = read(&mut stream).await?;
    let before = {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(asked.clone());
        log.len() - 1
    };
    for step in answers(before, &asked) {
        match step {
            // A client that has read enough closes the connection.
            Step::Send(bytes) => stream.write_all(&bytes).await.ok()?,
            Step::Hang => std::future::pending().await,
            Step::Reset => {
                stream.get_ref().reset();
                return None;
            }
        }
        stream.flush().await.ok()?;
    }
    stream.shutdown().await.ok()
}

async fn read(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut lines = lines.into_iter();
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let pair =
        |line: String| line.split_once(": ").map(|(key, value)| (key.to_lowercase(), value.to_owned()));
    let headers: Vec<_> = lines.filter_map(pair).collect();
    let mut asked = Asked { line, headers, body: String::new() };
    if let Some(length) = asked.header("content-length").and_then(|length| length.parse().ok()) {
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        asked.body = String::from_utf8(body).ok()?;
    }
    Some(asked)
}

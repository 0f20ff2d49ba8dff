//! A server that webhooks are sent to: it answers as it is told, and keeps what it got.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Requests that nobody has looked at yet.
const KEPT: usize = 256;

/// What came.
#[derive(Debug)]
pub struct Got {
    /// The head, in lines.
    pub head: String,
    /// The body as it was sent.
    pub body: String,
    /// What it was answered with.
    pub status: u16,
}

impl Got {
    /// A field of the head.
    pub fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name}: {}", self.head))
    }

    /// The body, read.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// What happened.
    pub fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }
}

/// The server.
pub struct Receiver {
    /// Where it listens.
    pub at: SocketAddr,
    answers: Arc<Mutex<VecDeque<u16>>>,
    got: mpsc::Receiver<Got>,
}

impl Receiver {
    /// Begins to listen on loopback.
    pub async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// The same on a socket that is somewhere else.
    pub fn on(listener: TcpListener) -> Self {
        let at = listener.local_addr().unwrap();
        let answers = Arc::<Mutex<VecDeque<u16>>>::default();
        let (tell, got) = mpsc::channel(KEPT);
        let next = Arc::clone(&answers);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (next, tell) = (Arc::clone(&next), tell.clone());
                tokio::spawn(async move {
                    if let Some(got) = serve(stream, &next).await {
                        let _ = tell.send(got).await; // the test is over
                    }
                });
            }
        });
        Self { at, answers, got }
    }

    /// The next requests are answered by these statuses, all others by 204.
    pub fn answer(&self, statuses: &[u16]) {
        self.answers.lock().unwrap().extend(statuses);
    }

    /// The next request.
    pub async fn got(&mut self) -> Got {
        let within = crate::process::WITHIN;
        let got = tokio::time::timeout(within, self.got.recv()).await;
        got.unwrap_or_else(|_| panic!("no request within {within:?}")).expect("a server")
    }
}

async fn serve(mut stream: TcpStream, answers: &Mutex<VecDeque<u16>>) -> Option<Got> {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        let mut more = [0; 4096];
        let len = stream.read(&mut more).await.ok().filter(|len| *len > 0)?;
        bytes.extend_from_slice(&more[..len]);
        let text = std::str::from_utf8(&bytes).ok()?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if length.is_some_and(|length| length.parse() == Ok(body.len())) {
            break (head.to_owned(), body.to_owned());
        }
    };
    let status = answers.lock().unwrap().pop_front().unwrap_or(204);
    let answer = format!("HTTP/1.1 {status} So\r\nContent-Length: 4\r\n\r\nsaid");
    let answer = if status == 204 { "HTTP/1.1 204 So\r\n\r\n".to_owned() } else { answer };
    stream.write_all(answer.as_bytes()).await.ok()?;
    Some(Got { head, body, status })
}

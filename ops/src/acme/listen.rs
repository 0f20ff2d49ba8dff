//! A listener that answers HTTP-01 challenges (RFC 8555 section 8.3), and nothing else.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use chappe_cluster::http::Acme;
use chappe_proto::limits::{ACME_CHALLENGE_MAX, ACME_CHALLENGE_WITHIN, ACME_CHALLENGES_MAX};
use futures_util::future::{join_all, pending};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Answers;

/// Where an authority asks.
const PATH: &str = "/.well-known/acme-challenge/";
/// After an error of accepting (no file descriptors), the next attempt waits for this.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Answers on these sockets.
pub(super) async fn run(listeners: Vec<TcpListener>, answers: &Arc<Answers>) -> Infallible {
    let room = Arc::new(Semaphore::new(ACME_CHALLENGES_MAX));
    join_all(listeners.into_iter().map(|listener| accept(listener, answers, &room))).await;
    pending().await
}

async fn accept(listener: TcpListener, answers: &Arc<Answers>, room: &Arc<Semaphore>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "--acme-http cannot be listened on"),
    };
    // Those beyond the limit wait in the kernel's queue.
    while let Ok(place) = Arc::clone(room).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let answers = Arc::clone(answers);
                tokio::spawn(async move {
                    // Whoever is too slow, or gone, gets no answer.
                    let _ = timeout(ACME_CHALLENGE_WITHIN, serve(stream, &answers)).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn serve(mut stream: TcpStream, answers: &Answers) -> io::Result<()> {
    let (mut head, mut len) = ([0; ACME_CHALLENGE_MAX], 0);
    while !head[..len].windows(4).any(|window| window == b"\r\n\r\n") {
        let count = stream.read(&mut head[len..]).await?;
        if count == 0 {
            return Ok(());
        }
        len += count;
    }
    let line = head[..len].split(|byte| *byte == b'\r').next().unwrap_or_default();
    let (status, body) = match token(line).and_then(|token| answers.answer(token)) {
        Some(answer) => ("200 OK", answer),
        None => ("404 Not Found", String::new()),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// The token that a request line asks for.
fn token(line: &[u8]) -> Option<&str> {
    let mut words = str::from_utf8(line).ok()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let known = method == "GET" && version.starts_with("HTTP/1.") && words.next().is_none();
    target.strip_prefix(PATH).filter(|_| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(request: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let at = listener.local_addr().unwrap();
        let answers = Arc::new(Answers::default());
        answers.open_http("known", "known.thumb");
        let ask = async {
            let mut stream = TcpStream::connect(at).await.unwrap();
            stream.write_all(request).await.unwrap();
            let mut answer = String::new();
            // Closed with bytes unread, a connection is reset.
            let _ = stream.read_to_string(&mut answer).await;
            answer
        };
        tokio::select! {
            answer = ask => answer,
            never = run(vec![listener], &answers) => match never {},
        }
    }

    #[tokio::test]
    async fn an_open_challenge_is_answered_and_nothing_else_is_there() {
        let answer = asked(b"GET /.well-known/acme-challenge/known HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nknown.thumb"), "{answer}");
        for other in
            ["GET /.well-known/acme-challenge/other", "GET /", "POST /.well-known/acme-challenge/known"]
        {
            let answer = asked(format!("{other} HTTP/1.1\r\n\r\n").as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 404 "), "{other}: {answer}");
        }
    }

    #[tokio::test]
    async fn a_request_without_an_end_gets_no_answer() {
        let endless = [&b"GET / HTTP/1.1\r\nCookie: "[..], &[b'a'; 2 * ACME_CHALLENGE_MAX]].concat();
        assert_eq!(asked(&endless).await, "");
    }
}

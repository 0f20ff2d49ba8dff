//! `GET /admin/api/v1/cluster/backup`: the whole registry as a file.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::rt::task::{JoinHandle, spawn_blocking};
use actix_web::web::{Bytes, Data};

use crate::Mount;
use crate::access::Owner;
use crate::api::problem::Problem;

/// A backup is read in pieces of this many bytes.
const PIECE: usize = 256 * 1024;

/// Backs the whole registry up, secrets included.
#[utoipa::path(
    get, path = "/cluster/backup", tag = "cluster",
    responses((
        status = 200, description = "A file for `chappe cluster restore`: keep it as a secret",
        content_type = "application/octet-stream", body = Vec<u8>,
        headers(("Chappe-Index" = u64, description = "The last entry that it holds"))
    ))
)]
pub(crate) async fn serve(owner: Owner, mount: Data<Mount>) -> Result<HttpResponse, Problem> {
    let backup = mount.cluster.backup(owner.note("took a backup of the registry")).await?;
    let mut file = backup.file;
    let len = spawn_blocking(move || rest(&mut file).map(|len| (file, len))).await;
    let (file, len) = match len {
        Ok(Ok(found)) => found,
        failed => {
            tracing::error!(?failed, "a backup cannot be read");
            return Err(Problem::NotNow("the backup cannot be read; the log says why".to_owned()));
        }
    };
    let name = format!("attachment; filename=\"chappe-{}.backup\"", backup.index);
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header(("Content-Disposition", name))
        .insert_header(("Cache-Control", "no-store"))
        .insert_header(("Chappe-Index", backup.index.to_string()))
        .body(Pieces { left: len, reading: Reading::Idle(Some(file)) }))
}

/// Bytes from where a file stands to its end.
fn rest(file: &mut File) -> io::Result<u64> {
    use std::io::Seek;
    let at = file.stream_position()?;
    Ok(file.metadata()?.len().saturating_sub(at))
}

/// A file as a body, read off the thread that serves.
struct Pieces {
    left: u64,
    reading: Reading,
}

enum Reading {
    Idle(Option<File>),
    Busy(JoinHandle<io::Result<(File, Vec<u8>)>>),
}

impl MessageBody for Pieces {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.left)
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let Self { left, reading } = &mut *self;
        loop {
            match reading {
                Reading::Idle(file) => {
                    let Some(mut file) = file.take().filter(|_| *left > 0) else { return Poll::Ready(None) };
                    let len = PIECE.min(usize::try_from(*left).unwrap_or(PIECE));
                    *reading = Reading::Busy(spawn_blocking(move || {
                        let mut piece = vec![0; len];
                        file.read_exact(&mut piece)?;
                        Ok((file, piece))
                    }));
                }
                Reading::Busy(task) => {
                    let read = std::task::ready!(Pin::new(task).poll(cx));
                    let (file, piece) = read.map_err(io::Error::other)??;
                    *left = left.saturating_sub(piece.len() as u64);
                    *reading = Reading::Idle(Some(file));
                    return Poll::Ready(Some(Ok(piece.into())));
                }
            }
        }
    }
}

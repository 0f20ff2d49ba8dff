//! `/admin/api/v1`.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Json, Path, Query, ServiceConfig};
use chappe_proto::id::{AppId, PeerId, RoomKey, RoomName};
use serde::Deserialize;

use crate::auth::Operator;
use crate::problem::Problem;
use crate::{Kicked, Mount, Overview, Peer};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/overview", web::get().to(overview))
        .route("/apps/{app}/rooms/{room}", web::get().to(room))
        .route("/apps/{app}/rooms/{room}/peers/{peer}", web::delete().to(kick));
}

async fn overview(_: Operator, mount: Data<Mount>) -> Json<Overview> {
    Json(mount.cluster.overview().await)
}

pub(crate) fn app_id(app: &str) -> Result<AppId, Problem> {
    AppId::new(app).map_err(|_| Problem::BadName("app: 1 to 64 of A-Z a-z 0-9 -_.~:@"))
}

pub(crate) fn key(app: &str, room: &str) -> Result<RoomKey, Problem> {
    let app = app_id(app)?;
    let room = RoomName::new(room).map_err(|_| Problem::BadName("room: 1 to 128 of A-Z a-z 0-9 -_.~:@"))?;
    Ok(RoomKey { app, room })
}

async fn room(
    _: Operator,
    mount: Data<Mount>,
    path: Path<(String, String)>,
) -> Result<Json<Vec<Peer>>, Problem> {
    let peers = mount.cluster.room(key(&path.0, &path.1)?).await;
    peers.map(Json).ok_or(Problem::NotFound("room"))
}

#[derive(Deserialize)]
struct Kick {
    #[serde(default)]
    ban: bool,
}

async fn kick(
    _: Operator,
    mount: Data<Mount>,
    path: Path<(String, String, String)>,
    query: Query<Kick>,
) -> Result<HttpResponse, Problem> {
    let peer: PeerId = path.2.parse().map_err(|_| Problem::BadName("peer: p_ and 24 characters"))?;
    match mount.cluster.kick(key(&path.0, &path.1)?, peer, query.ban).await {
        Kicked::Done => Ok(HttpResponse::NoContent().finish()),
        Kicked::NotThere => Err(Problem::NotFound("peer in that room")),
        Kicked::Unavailable => Err(Problem::Unavailable),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::StatusCode;
    use actix_web::{App, test};
    use chappe_proto::mesh::uplink::Secret;

    use crate::Mount;
    use crate::memory::Memory;

    async fn status(method: &str, path: &str, token: Option<&str>) -> StatusCode {
        let mount = Mount::new(Arc::new(Memory::default()), Secret(b"right".to_vec()));
        let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
        let mut request = test::TestRequest::with_uri(&format!("/admin/api/v1{path}"));
        request = request.method(method.parse().unwrap());
        if let Some(token) = token {
            request = request.insert_header(("Authorization", format!("Bearer {token}")));
        }
        test::call_service(&app, request.to_request()).await.status()
    }

    #[actix_rt::test]
    async fn only_the_operator_is_answered() {
        assert_eq!(status("GET", "/overview", None).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status("GET", "/overview", Some("wrong")).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status("GET", "/overview", Some("right")).await, StatusCode::OK);
        let kick = "/apps/a/rooms/r/peers/p_000000000000000000000000";
        assert_eq!(status("DELETE", kick, None).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status("DELETE", kick, Some("right")).await, StatusCode::NOT_FOUND);
    }

    #[actix_rt::test]
    async fn bad_names_are_told() {
        assert_eq!(status("GET", "/apps/a/rooms/r", Some("right")).await, StatusCode::NOT_FOUND);
        assert_eq!(status("GET", "/apps/a/rooms/a%20b", Some("right")).await, StatusCode::BAD_REQUEST);
        assert_eq!(status("DELETE", "/apps/a/rooms/r/peers/x", Some("right")).await, StatusCode::BAD_REQUEST);
    }
}

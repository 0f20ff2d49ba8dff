//! `/admin/api/v1/cluster/invitations`: who may join.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, Query, ServiceConfig};
use chappe_proto::id::{InvitationId, Region};
use chappe_proto::limits::INVITATION_TTL_MAX;
use chappe_proto::registry::InvitedEdge;
use serde::Deserialize;
use utoipa::{OpenApi, ToSchema};

use crate::Mount;
use crate::access::{Operator, Owner, Viewer};
use crate::api::page::{Ask, Page};
use crate::api::problem::Problem;
use crate::api::turn::read;
use crate::control::{Invitation, InvitationStatus, InvitationWish};
use crate::schema;

/// How long an invitation is good unless said otherwise.
const INVITATION_TTL: Duration = Duration::from_secs(3600);

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/cluster/invitations", web::get().to(invitations))
        .route("/cluster/invitations", web::post().to(invite))
        .route("/cluster/invitations/{id}", web::delete().to(remove));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(invitations, invite, remove))]
pub(crate) struct Part;

/// Lists the invitations that nobody has used yet.
#[utoipa::path(
    get, path = "/cluster/invitations", tag = "cluster", params(Ask),
    responses((status = 200, description = "A page of them, without their tokens", body = Page<InvitationStatus>))
)]
async fn invitations(
    _: Viewer,
    mount: Data<Mount>,
    ask: Query<Ask>,
) -> Result<Json<Page<InvitationStatus>>, Problem> {
    let mut open = mount.cluster.status().await.invitations;
    open.sort_by_key(|invitation| invitation.id);
    Page::of(&ask, open, |invitation| invitation.id).map(Json)
}

/// What invitation is asked for; nothing has to be said.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = NewInvitation)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// The region in which the node or edge must stand.
    #[schema(value_type = Option<schema::Region>)]
    region: Option<Region>,
    /// That the token is for an edge: `{}` for any new one, `{"name": …}` for that one.
    #[schema(value_type = Option<schema::InvitedEdge>)]
    edge: Option<InvitedEdge>,
    /// For how many seconds it is good: an hour unless said otherwise.
    #[schema(minimum = 1, maximum = 2_592_000, default = 3600)]
    ttl_secs: Option<u64>,
}

/// Invites a node or an edge: its token is told this once.
#[utoipa::path(
    post, path = "/cluster/invitations", tag = "cluster", request_body = Option<Wish>,
    responses((status = 201, description = "With the token, which is secret", body = Invitation))
)]
async fn invite(operator: Owner, mount: Data<Mount>, body: Bytes) -> Result<HttpResponse, Problem> {
    let wish: Wish = if body.is_empty() { Wish::default() } else { read(&body)? };
    let ttl = wish.ttl_secs.map_or(INVITATION_TTL, Duration::from_secs);
    if ttl.is_zero() || ttl > INVITATION_TTL_MAX {
        let fix = format!("1 to {} seconds", INVITATION_TTL_MAX.as_secs());
        return Err(Problem::Field { field: "ttl_secs", fix });
    }
    let place = wish.region.as_ref().map_or_else(String::new, |region| format!(" in {region}"));
    let whom = match &wish.edge {
        None => "a node".to_owned(),
        Some(InvitedEdge { name: None }) => "an edge".to_owned(),
        Some(InvitedEdge { name: Some(name) }) => format!("the edge {name}"),
    };
    let note = operator.note(&format!("invited {whom}{place}"));
    let wish = InvitationWish { region: wish.region, edge: wish.edge, ttl };
    let invitation: Invitation = mount.cluster.invite(wish, note).await?;
    // Told this once, and kept by nobody on the way.
    Ok(HttpResponse::Created().insert_header(("Cache-Control", "no-store")).json(invitation))
}

/// Withdraws an invitation.
#[utoipa::path(
    delete, path = "/cluster/invitations/{id}", tag = "cluster",
    params(("id" = String, Path, description = "Its id, which is no secret")),
    responses((status = 204, description = "Its token opens nothing"))
)]
async fn remove(operator: Operator, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let id: InvitationId = path.parse().map_err(|_| Problem::Field {
        field: "invitation",
        fix: "its id, as `GET …/cluster/invitations` has it".to_owned(),
    })?;
    let note = operator.note(&format!("withdrew the invitation {id}"));
    mount.cluster.invitation_remove(id, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::Method;
    use serde_json::{Value, json};

    use crate::memory::{Memory, ask, refused};

    #[actix_rt::test]
    async fn an_invitation_is_told_once_and_can_be_withdrawn() {
        let memory = Arc::new(Memory::default());
        let wish = json!({ "region": "eu", "ttl_secs": 60 });
        let (status, made) = ask(&memory, Method::POST, "/cluster/invitations", wish).await;
        assert_eq!((status, &made["token"]), (201, &json!("chappe-join-secret")));
        let (_, kept) = ask(&memory, Method::GET, "/cluster/invitations", Value::Null).await;
        assert_eq!(kept["items"], json!([{ "id": made["id"], "region": "eu", "until": 60_000 }]));
        let path = format!("/cluster/invitations/{}", made["id"].as_str().unwrap());
        assert_eq!(ask(&memory, Method::DELETE, &path, Value::Null).await.0, 204);
        assert!(refused(&memory, Method::DELETE, &path, Value::Null).await.starts_with("404"));
        let told = refused(&memory, Method::DELETE, "/cluster/invitations/x", Value::Null).await;
        assert!(told.starts_with("400 invitation: its id"), "{told}");
        let wish = json!({ "edge": { "name": "edge-eu" } });
        assert_eq!(ask(&memory, Method::POST, "/cluster/invitations", wish).await.0, 201);
        let (_, kept) = ask(&memory, Method::GET, "/cluster/invitations", Value::Null).await;
        assert_eq!(kept["items"][0]["edge"], json!({ "name": "edge-eu" }));
        for (wish, told) in [
            (json!({ "edge": { "name": "a b" } }), "body:"),
            (json!({ "ttl_secs": 0 }), "ttl_secs: 1 to 2592000"),
            (json!({ "ttl_secs": 999_999_999 }), "ttl_secs: 1 to 2592000"),
            (json!({ "region": "a b" }), "body:"),
            (json!({ "reigon": "eu" }), "unknown field"),
        ] {
            let refused = refused(&memory, Method::POST, "/cluster/invitations", wish).await;
            assert!(refused.starts_with("400") && refused.contains(told), "{refused}");
        }
    }
}

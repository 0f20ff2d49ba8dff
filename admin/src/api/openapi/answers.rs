//! What all operations have in common: their ids, and how each of them may be refused.

use std::collections::BTreeMap;

use utoipa::PartialSchema;
use utoipa::openapi::path::{HttpMethod, Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::{Content, OpenApi as Description, Ref, RefOr, Required, Response, ResponseBuilder};

use crate::api::problem::Document;

/// Each refusal: its status, its name in the description, when it comes.
const REFUSALS: &[(&str, &str, &str)] = &[
    ("400", "BadRequest", "Something that was said is wrong: `detail` says what, and `field` where"),
    ("401", "Unauthorized", "Nobody who is known asks"),
    ("403", "Forbidden", "Whoever asks may not, or a login's `Chappe-Csrf` is missing"),
    ("404", "NotFound", "There is no such thing, or none that whoever asks may know of"),
    ("409", "Conflict", "Not as things are: `detail` says what to do first"),
    ("412", "Stale", "It has changed since it was read: it is not what `If-Match` names"),
    ("413", "TooLong", "The body is too long"),
    ("422", "OtherBody", "The `Idempotency-Key` was used for something else"),
    ("429", "TooMany", "Too often: `Retry-After` says when to come again"),
    ("503", "NotNow", "The cluster cannot decide now, or this node has too much to do: try again"),
];

/// The methods that paths have here.
pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Delete, &mut item.delete),
        (HttpMethod::Patch, &mut item.patch),
    ]
    .into_iter()
    .filter_map(|(method, held)| Some((method, held.as_mut()?)))
}

/// As it is written.
pub(super) const fn name(method: &HttpMethod) -> &'static str {
    match method {
        HttpMethod::Put => "put",
        HttpMethod::Post => "post",
        HttpMethod::Delete => "delete",
        HttpMethod::Patch => "patch",
        _ => "get",
    }
}

/// Its method and its path in words that programs can have as a name: `post_nodes_node_drain`.
fn id(method: &HttpMethod, path: &str) -> String {
    let words = path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    [name(method)].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

/// Whether an operation is refused like that, unless it says so itself.
fn may_be(status: &str, method: &HttpMethod, operation: &Operation) -> bool {
    let of_path = |parameter: &RefOr<Parameter>| matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Path);
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    let changes = !matches!(method, HttpMethod::Get);
    match status {
        "401" | "403" | "429" | "503" => true,
        "400" => !parameters.is_empty() || operation.request_body.is_some(),
        "404" => parameters.iter().any(of_path),
        "409" => changes,
        "413" => operation.request_body.is_some(),
        "422" => matches!(method, HttpMethod::Post),
        _ => false,
    }
}

/// Completes a description: every refusal is a problem document, every operation has an id and its refusals.
pub(super) fn complete(whole: &mut Description) {
    let held = whole.components.get_or_insert_default();
    held.schemas.insert("Problem".to_owned(), Document::schema());
    for (_, name, words) in REFUSALS {
        let problem = Ref::from_schema_name("Problem");
        let content = Content::new(Some(RefOr::Ref(problem)));
        let response =
            ResponseBuilder::new().description(*words).content("application/problem+json", content);
        held.responses.insert((*name).to_owned(), RefOr::T(response.build()));
    }
    for (path, item) in &mut whole.paths.paths {
        for (method, operation) in operations(item) {
            operation.operation_id = Some(id(&method, path));
            if matches!(method, HttpMethod::Post) {
                let key = ParameterBuilder::new()
                    .name("Idempotency-Key")
                    .parameter_in(ParameterIn::Header)
                    .required(Required::False)
                    .description(Some(
                        "Repeats with the same key get the first one's answer, on the same node",
                    ))
                    .schema(Some(String::schema()));
                operation.parameters.get_or_insert_default().push(RefOr::T(key.build()));
            }
            refusals(&method, operation);
        }
    }
}

fn refusals(method: &HttpMethod, operation: &mut Operation) {
    let known: BTreeMap<_, _> = REFUSALS.iter().map(|(status, name, _)| (*status, *name)).collect();
    for (status, name) in known {
        let bare = |held: &RefOr<Response>| matches!(held, RefOr::T(held) if held.content.is_empty());
        let said = operation.responses.responses.get(status);
        if said.is_some_and(bare) || (said.is_none() && may_be(status, method, operation)) {
            let shared = RefOr::Ref(Ref::from_response_name(name));
            operation.responses.responses.insert(status.to_owned(), shared);
        }
    }
}

//! What a node asks of other servers for the API's sake.

use chappe_proto::mesh::uplink::Secret;

use crate::Answer;

/// Requests to servers elsewhere, one at a time, each bounded in bytes
/// ([`PROVIDER_ANSWER_MAX`](chappe_proto::limits::PROVIDER_ANSWER_MAX)) and time
/// ([`PROVIDER_WITHIN`](chappe_proto::limits::PROVIDER_WITHIN)). Redirects are not followed.
pub trait Web: Send + Sync + 'static {
    /// Sends a request; what keeps the answer away, in words for operators.
    fn web(&self, request: WebRequest) -> Answer<'_, Result<WebAnswer, String>>;
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebRequest {
    /// Where to: `https://…`, or `http://…` on this machine.
    pub url: String,
    /// What is posted; a GET without it.
    pub form: Option<WebForm>,
}

/// A form (`application/x-www-form-urlencoded`), which is as secret as what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebForm {
    /// Its fields, encoded.
    pub body: Secret,
    /// User and password of `Authorization: Basic`, encoded.
    pub basic: Option<Secret>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebAnswer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

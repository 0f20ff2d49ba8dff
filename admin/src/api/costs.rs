//! `/costs`: what relayed traffic costs, by rooms, edges, apps and regions, and the prices that it is counted by.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Query, ServiceConfig};
use chappe_proto::id::Region;
use chappe_proto::limits::{CURRENCY_MAX, PRICE_MAX, PRICES_MAX};
use chappe_proto::registry::{Money, Prices, Refusal, Thing};
use chappe_proto::time::Unix;
use chappe_proto::usage::{Relayed, Tally, UsageOf};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::Mount;
use crate::access::{Operator, Viewer};
use crate::api::page::{Ask, Page};
use crate::api::problem::Problem;
use crate::api::turn::{answer, read};
use crate::api::usage::{Figure, UsageReport};
use crate::schema;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/costs", web::get().to(costs))
        .route("/costs/prices", web::get().to(prices))
        .route("/costs/prices", web::put().to(set));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(costs, prices, set))]
pub(crate) struct Part;

/// Traffic of edges whose region no node has heard.
pub(crate) const UNKNOWN: &str = "(unknown)";

/// By what costs are ranked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    /// By rooms, as `app/room`: the 1,024 that relayed most.
    #[default]
    Rooms,
    /// By the edges that relayed.
    Edges,
    /// By apps.
    Apps,
    /// By the regions of the edges.
    Regions,
}

impl By {
    /// As a query has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rooms => "rooms",
            Self::Edges => "edges",
            Self::Apps => "apps",
            Self::Regions => "regions",
        }
    }
}

/// What was relayed, by what is asked for.
pub(crate) async fn report(mount: &Mount, by: By) -> UsageReport {
    let of = match by {
        By::Rooms => UsageOf::Rooms,
        By::Edges => UsageOf::Edges,
        By::Apps | By::Regions => UsageOf::Apps,
    };
    let mut report = mount.cluster.usage(of).await.unwrap_or_default();
    if by == By::Regions {
        report.parts = regions(&report.relayed);
    }
    report
}

/// The regions of a tally. What went which way is not kept by region: all of it stands as sent.
fn regions(all: &Tally) -> BTreeMap<String, Tally> {
    let one = |region: Option<&Region>, bytes| {
        let mut relayed = Relayed::default();
        relayed.sent.bytes = bytes;
        Tally { relayed, regions: region.into_iter().map(|region| (region.clone(), bytes)).collect() }
    };
    let known = all.regions.iter().map(|(region, bytes)| (region.to_string(), one(Some(region), *bytes)));
    let unknown = Some(all.elsewhere()).filter(|bytes| *bytes > 0);
    known.chain(unknown.map(|bytes| (UNKNOWN.to_owned(), one(None, bytes)))).collect()
}

/// Where a part stands: the dearest first, of those that cost the same what relayed most.
pub(crate) type Rank = (Reverse<u64>, Reverse<u64>, String);

/// Its parts, ranked.
pub(crate) fn ranked(report: &UsageReport) -> Vec<(Rank, &Tally)> {
    let rank = |(name, tally): (&String, _)| {
        let cost = report.cost(tally).money.0;
        ((Reverse(cost), Reverse(Tally::bytes(tally)), name.clone()), tally)
    };
    let mut all: Vec<_> = report.parts.iter().map(rank).collect();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all
}

#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct Wanted {
    /// By what: rooms, edges, apps or regions.
    #[param(inline, default = "rooms")]
    by: By,
}

/// What something costs.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct CostLine {
    /// What: a room as `app/room`, an edge, an app, a region.
    name: String,
    /// Bytes that edges sent out for it, to peers and to clients.
    bytes: u64,
    /// The same by the region of the edge; less than all where it is not known.
    #[schema(value_type = BTreeMap<String, u64>)]
    regions: BTreeMap<Region, u64>,
    /// What that costs by today's prices, as a decimal number; none where there are no prices.
    #[schema(examples("12.345678"))]
    cost: Option<String>,
    /// Bytes that have no price, and are not in `cost`.
    unpriced_bytes: u64,
}

impl CostLine {
    fn of(name: String, tally: &Tally, report: &UsageReport) -> Self {
        let Figure { regions, cost, unpriced_bytes, .. } = report.figure(tally);
        Self { name, bytes: tally.bytes(), regions, cost, unpriced_bytes }
    }
}

/// What relayed traffic costs.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct CostsView {
    /// When the first of the nodes that answer began to count: what was relayed before is not in it.
    #[schema(value_type = schema::Time)]
    since: Unix,
    /// What costs are in; none where there are no prices.
    currency: Option<String>,
    /// All of it: more than its parts where some of those are not remembered one by one.
    total: CostLine,
    /// The dearest first; those that cost the same by their traffic.
    items: Vec<CostLine>,
    /// What to ask for the next page by, as `after`; none where this is the last.
    next: Option<String>,
}

/// Ranks what was relayed by what it costs.
///
/// Each byte that is relayed is sent out by an edge once, to a peer or to its client: that is what clouds bill, and what is
/// counted here. It is payload: IP, UDP and TURN add some 5 % to video, and more than half to audio. What two people relay
/// to each other over one edge counts for both. Nodes count in memory, since their start: see `since`. Where traffic grows
/// while pages are read, what has moved up may come twice.
#[utoipa::path(
    get, path = "/costs", tag = "usage", params(Wanted, Ask),
    responses((status = 200, description = "The dearest first", body = CostsView))
)]
async fn costs(
    _: Viewer,
    mount: Data<Mount>,
    wanted: Query<Wanted>,
    ask: Query<Ask>,
) -> Result<Json<CostsView>, Problem> {
    let report = report(&mount, wanted.by).await;
    let page = Page::of(&ask, ranked(&report), |(rank, _)| rank.clone())?;
    let line = |((.., name), tally): (Rank, &Tally)| CostLine::of(name, tally, &report);
    Ok(Json(CostsView {
        since: report.since,
        currency: report.currency(),
        total: CostLine::of("total".to_owned(), &report.relayed, &report),
        items: page.items.into_iter().map(line).collect(),
        next: page.next,
    }))
}

/// Prices of 10⁹ bytes that edges send out. Without any there are no costs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PriceList {
    /// What the currency is called: nothing is converted.
    #[schema(examples("EUR"), max_length = 16)]
    pub(crate) currency: String,
    /// Of regions that are not named, and of traffic whose region is not known: a decimal number, with six digits behind the
    /// point at most. None where it has no price.
    #[schema(examples("0.085"), pattern = r"^[0-9]+(\.[0-9]{1,6})?$")]
    pub(crate) default: Option<String>,
    /// Of regions, likewise: 256 at most.
    #[schema(example = json!({ "eu": "0.02" }))]
    pub(crate) regions: BTreeMap<String, String>,
}

impl From<&Prices> for PriceList {
    fn from(prices: &Prices) -> Self {
        let price = |(region, price): (&Region, &Money)| (region.to_string(), price.to_string());
        Self {
            currency: prices.currency.clone(),
            default: prices.default.map(|price| price.to_string()),
            regions: prices.regions.iter().map(price).collect(),
        }
    }
}

impl TryFrom<PriceList> for Prices {
    type Error = Problem;

    fn try_from(list: PriceList) -> Result<Self, Problem> {
        let money = |field, of: &str, text: &str| {
            let fix = |bad| Problem::Field { field, fix: format!("{of}`{text}` is no price: {bad}") };
            text.trim().parse::<Money>().map_err(fix)
        };
        let region = |(name, text): (&String, &String)| {
            let fix = |bad| Problem::Field { field: "regions", fix: format!("`{name}`: {bad}") };
            let region = Region::new(name).map_err(fix)?;
            Ok((region, money("regions", &format!("{name}: "), text)?))
        };
        let prices = Self {
            currency: list.currency.trim().to_owned(),
            default: list.default.as_deref().map(|text| money("default", "", text)).transpose()?,
            regions: list.regions.iter().map(region).collect::<Result<_, Problem>>()?,
        };
        prices.check().map_err(|refusal| wrong(&prices, refusal))?;
        Ok(prices)
    }
}

/// Which field of prices is refused, and what to do about it.
fn wrong(prices: &Prices, refusal: Refusal) -> Problem {
    let dear = |price: &Money| price.0 > PRICE_MAX;
    let (field, fix) = match refusal {
        Refusal::Invalid(Thing::Currency) => {
            ("currency", format!("what prices are in, as `EUR`: 1 to {CURRENCY_MAX} bytes"))
        }
        Refusal::Invalid(Thing::Price) => {
            let field = if prices.default.as_ref().is_some_and(dear) { "default" } else { "regions" };
            (field, format!("{} for 10⁹ bytes at most", PRICE_MAX / 1_000_000))
        }
        Refusal::Full { thing: Thing::Price, .. } => ("regions", format!("{PRICES_MAX} at most")),
        refusal => return refusal.into(),
    };
    Problem::Field { field, fix }
}

/// Shows what relayed traffic costs.
#[utoipa::path(get, path = "/costs/prices", tag = "usage", responses((status = 200, description = "The prices", body = PriceList)))]
async fn prices(_: Viewer, mount: Data<Mount>) -> Result<Json<PriceList>, Problem> {
    Ok(Json(PriceList::from(&mount.cluster.prices().await?)))
}

/// Sets what relayed traffic costs. All of it is replaced; `{}` takes the prices away.
#[utoipa::path(
    put, path = "/costs/prices", tag = "usage", request_body = PriceList,
    responses((status = 204, description = "What was relayed costs this, before as after"))
)]
async fn set(operator: Operator, mount: Data<Mount>, body: Bytes) -> Result<HttpResponse, Problem> {
    let prices = Prices::try_from(read::<PriceList>(&body)?)?;
    answer(mount.cluster.prices_set(prices, operator.note("set the prices of relayed traffic")).await)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::Method;
    use serde_json::{Value, json};

    use super::*;
    use crate::memory::{Memory, ask, refused};

    async fn get(memory: &Arc<Memory>, path: &str) -> Value {
        let (status, told) = ask(memory, Method::GET, path, Value::Null).await;
        assert_eq!(status, 200, "{told}");
        told
    }

    #[actix_rt::test]
    async fn costs_are_ranked_by_what_is_asked_for() {
        let memory = Arc::new(Memory::default());
        let names = async |path: &str| {
            let told = get(&memory, path).await;
            let items = told["items"].as_array().unwrap().clone();
            items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        for (by, wanted) in
            [("", "dev/room"), ("?by=rooms", "dev/room"), ("?by=edges", "edge-eu"), ("?by=apps", "dev")]
        {
            assert_eq!(names(&format!("/costs{by}")).await, [wanted], "{by}");
        }
        // Without prices it is ranked by traffic.
        assert_eq!(names("/costs?by=regions").await, ["eu", UNKNOWN]);
        let told = get(&memory, "/costs?by=regions").await;
        let line = json!({ "name": "eu", "bytes": 250, "regions": { "eu": 250 }, "cost": null, "unpriced_bytes": 250 });
        assert_eq!(
            (&told["items"][0], &told["currency"], &told["since"]),
            (&line, &Value::Null, &json!(1000))
        );

        let list = json!({ "currency": "EUR", "default": "400000", "regions": { "eu": "40000" } });
        assert_eq!(ask(&memory, Method::PUT, "/costs/prices", list.clone()).await.0, 204);
        assert_eq!(names("/costs?by=regions").await, [UNKNOWN, "eu"]);
        let first = get(&memory, "/costs?by=regions&limit=1").await;
        assert_eq!((&first["items"][0]["cost"], &first["total"]["cost"]), (&json!("0.06"), &json!("0.07")));
        let after = first["next"].as_str().unwrap();
        let second = get(&memory, &format!("/costs?by=regions&limit=1&after={after}")).await;
        assert_eq!((&second["items"][0]["name"], &second["next"]), (&json!("eu"), &Value::Null));
        for (query, words) in
            [("?by=towns", "400 query"), ("?limit=0", "400 limit"), ("?after=x", "400 after")]
        {
            let told = refused(&memory, Method::GET, &format!("/costs{query}"), Value::Null).await;
            assert!(told.starts_with(words) || query.starts_with("?by"), "{told}");
        }
    }

    #[actix_rt::test]
    async fn prices_are_shown_replaced_and_taken_away() {
        let memory = Arc::new(Memory::default());
        let none = json!({ "currency": "", "default": null, "regions": {} });
        assert_eq!(get(&memory, "/costs/prices").await, none);
        let some = json!({ "currency": " EUR ", "default": "0.085", "regions": { "eu": "0.02", "us": "1" } });
        assert_eq!(ask(&memory, Method::PUT, "/costs/prices", some).await.0, 204);
        let held =
            json!({ "currency": "EUR", "default": "0.085", "regions": { "eu": "0.02", "us": "1.00" } });
        assert_eq!(get(&memory, "/costs/prices").await, held);
        let put = json!({ "currency": "EUR", "default": "0.085" });
        for (field, value, words) in [
            ("currency", json!(""), "400 currency: what prices are in, as `EUR`: 1 to 16 bytes"),
            (
                "currency",
                json!("seventeen letters"),
                "400 currency: what prices are in, as `EUR`: 1 to 16 bytes",
            ),
            (
                "default",
                json!("0,1"),
                "400 default: `0,1` is no price: a number as 0.085, with six digits behind the point at most",
            ),
            ("default", json!("1000001"), "400 default: 1000000 for 10⁹ bytes at most"),
            (
                "regions",
                json!({ "eu": "x" }),
                "400 regions: eu: `x` is no price: a number as 0.085, with six digits behind the point at most",
            ),
            ("regions", json!({ "eu": "1000001" }), "400 regions: 1000000 for 10⁹ bytes at most"),
        ] {
            let mut body = put.clone();
            body[field] = value;
            assert_eq!(refused(&memory, Method::PUT, "/costs/prices", body).await, words);
        }
        let many: BTreeMap<String, &str> = (0..=PRICES_MAX).map(|n| (format!("r{n}"), "1")).collect();
        let body = json!({ "currency": "EUR", "regions": many });
        assert_eq!(refused(&memory, Method::PUT, "/costs/prices", body).await, "400 regions: 256 at most");
        for body in
            [json!({ "regions": { "a b": "1" } }), json!({ "defaults": "1" }), json!({ "default": 1 })]
        {
            let told = refused(&memory, Method::PUT, "/costs/prices", body).await;
            assert!(told.starts_with("400 regions: `a b`") || told.starts_with("400 body: "), "{told}");
        }
        assert_eq!(get(&memory, "/costs/prices").await, held, "nothing changed");
        assert_eq!(ask(&memory, Method::PUT, "/costs/prices", json!({})).await.0, 204);
        assert_eq!(get(&memory, "/costs/prices").await, none);
    }
}

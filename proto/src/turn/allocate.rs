//! Allocate (RFC 8656 section 7.2).

use super::allocation::{self, Allocation, Relayed};
use super::answer::{Answer, Refusal};
use super::api::{BindError, Event, Output, RelayId};
use super::authenticate::Request;
use super::bandwidth::Meter;
use super::channel::Channels;
use super::counters::Drop;
use super::credential::User;
use super::limit::{Limit, Pace};
use super::permission::Permissions;
use super::ports::Wanted;
use super::relays::Binding;
use super::server::Server;
use super::table::AllocationId;
use crate::limits;
use crate::mesh::uplink::Traffic;
use crate::stun::attributes::{DONT_FRAGMENT, Family, XOR_MAPPED_ADDRESS, XOR_RELAYED_ADDRESS};
use crate::stun::{Class, Code, Message, Method, Writer};
use crate::time::Now;

/// UDP's number among the IP protocols: the only one that is relayed.
const UDP: u8 = 17;

/// What an Allocate asks for.
struct Wish {
    families: &'static [Family],
    port: Wanted,
    token: Option<[u8; 8]>,
    lifetime: u32,
}

impl Wish {
    /// Steps 3 to 8 of RFC 8656 section 7.2.
    fn read(message: &Message<'_>, dont_fragment: bool) -> Result<Self, Refusal> {
        // 3. REQUESTED-TRANSPORT: missing or malformed 400, anything but UDP 442.
        if message.requested_transport()?.ok_or(Code::BAD_REQUEST)? != UDP {
            return Err(Code::UNSUPPORTED_TRANSPORT_PROTOCOL.into());
        }
        // 4. Where the system cannot send unfragmented, the attribute is an unknown one.
        if message.range(DONT_FRAGMENT).is_some() && !dont_fragment {
            return Err(Refusal { code: Code::UNKNOWN_ATTRIBUTE, unknown: vec![DONT_FRAGMENT] });
        }
        let even = message.even_port()?;
        let token = message.reservation_token()?;
        let requested = message.requested_address_family()?;
        let additional = message.additional_address_family()?;
        // 5. A RESERVATION-TOKEN has settled all of these.
        if token.is_some() && (even.is_some() || requested.is_some() || additional.is_some()) {
            return Err(Code::BAD_REQUEST.into());
        }
        // 6. One family, or both: not in two ways at once.
        if requested.is_some() && additional.is_some() {
            return Err(Code::BAD_REQUEST.into());
        }
        let reserve = even.is_some_and(|even| even.reserve);
        let families: &[Family] = match (requested, additional) {
            // 7. ADDITIONAL-ADDRESS-FAMILY can only be IPv6, and R = 1 is for one address.
            (_, Some(Ok(Family::V6))) if !reserve => &Family::ALL,
            (_, Some(_)) => return Err(Code::BAD_REQUEST.into()),
            (Some(Err(_)), _) => return Err(Code::ADDRESS_FAMILY_NOT_SUPPORTED.into()),
            (Some(Ok(Family::V6)), _) => &[Family::V6],
            // IPv4 without a wish: what browsers mean.
            (Some(Ok(Family::V4)) | None, None) => &[Family::V4],
        };
        // 8. EVEN-PORT.
        let port = match even {
            None => Wanted::Any,
            Some(_) if reserve => Wanted::EvenAndNext,
            Some(_) => Wanted::Even,
        };
        Ok(Self { families, port, token, lifetime: lifetime(message.lifetime()?) })
    }
}

/// The lifetime in seconds that is granted for a wish (RFC 8656 sections 7.2 and 8.2).
pub(super) fn lifetime(wish: Option<u32>) -> u32 {
    let seconds = |limit: std::time::Duration| u32::try_from(limit.as_secs()).unwrap_or(u32::MAX);
    wish.unwrap_or(0).clamp(seconds(limits::LIFETIME), seconds(limits::LIFETIME_MAX))
}

impl Server {
    /// Answers an authenticated Allocate. Step 1, authentication, has been done.
    pub(super) fn allocate(&mut self, now: Now, request: &Request<'_>) -> Result<Answer, Refusal> {
        // 2. The five-tuple has an allocation: the same request again gets the same answer, another
        // one 437, whoever sends it.
        if let Some(id) = request.allocation {
            let held = self.table.get(id).ok_or(Code::ALLOCATION_MISMATCH)?;
            if held.request.transaction != request.message.transaction {
                return Err(Code::ALLOCATION_MISMATCH.into());
            }
            if held.is_active() {
                return Ok(Answer::Success(self.allocated(held)));
            }
            self.dropped(Drop::Duplicate);
            return Ok(Answer::Later);
        }
        let wish = Wish::read(request.message, self.dont_fragment)?;
        let supported = |family: &Family| self.relays.supports(*family);
        // 6. and 9. A family without a relay address; of two, one suffices.
        if wish.token.is_none() && !wish.families.iter().any(supported) {
            return Err(Code::ADDRESS_FAMILY_NOT_SUPPORTED.into());
        }
        if let Err((limit, code)) = self.check_quotas(now, request) {
            let user = Some(&*request.username);
            limit.inspect(|limit| self.limited(now, *limit, user, request.from.client.ip()));
            return Err(code.into());
        }
        let (bindings, missing) = self.reserve(now, request, &wish)?;
        self.begin(now, request, &wish, bindings, missing);
        Ok(Answer::Later)
    }

    /// 10. Who has as many as he may gets 486; what the server as a whole cannot do is 508.
    fn check_quotas(&mut self, now: Now, request: &Request<'_>) -> Result<(), (Option<Limit>, Code)> {
        if request.user == User::Probe {
            return self.check_probe(now);
        }
        let quotas = &self.quotas;
        if self.draining {
            return Err((None, Code::INSUFFICIENT_CAPACITY));
        }
        if self.is_full() {
            return Err((Some(Limit::Allocations), Code::INSUFFICIENT_CAPACITY));
        }
        let ip = request.from.client.ip();
        let reached = |held: u32, ended: u32, quota: u32| {
            held >= quota || held.saturating_add(ended) >= quota.saturating_mul(limits::ALLOCATIONS_CHURN)
        };
        let held = u32::try_from(self.table.of_user(&request.user).len()).unwrap_or(u32::MAX);
        if reached(held, self.churn.of_user(now.mono, &request.user), quotas.per_user) {
            return Err((Some(Limit::AllocationsPerUser), Code::ALLOCATION_QUOTA_REACHED));
        }
        if reached(self.table.of_source(ip), self.churn.of_source(now.mono, ip), quotas.per_source) {
            return Err((Some(Limit::AllocationsPerSource), Code::ALLOCATION_QUOTA_REACHED));
        }
        Ok(())
    }

    /// A probe has little, and nothing that people need: what it lacks for their sake is 486, so that whoever
    /// made it tells it from a server that cannot give what it should.
    fn check_probe(&mut self, now: Now) -> Result<(), (Option<Limit>, Code)> {
        let refused = self.draining
            || self.table.len() >= self.quotas.allocations as usize
            || self.table.of_user(&User::Probe).len() >= limits::PROBE_ALLOCATIONS_MAX
            || self.relays.free_ports(now.mono) < limits::PROBE_PORTS_FREE;
        if refused { Err((None, Code::ALLOCATION_QUOTA_REACHED)) } else { Ok(()) }
    }

    /// Holds ports of each wanted family: all are missing 508, one of two an ADDRESS-ERROR-CODE.
    fn reserve(&mut self, now: Now, request: &Request<'_>, wish: &Wish) -> Result<Reserved, Refusal> {
        let full = Code::INSUFFICIENT_CAPACITY;
        if let Some(token) = wish.token {
            let binding = self.relays.request_reserved(now.mono, token).ok_or(full)?;
            return Ok((vec![binding], None));
        }
        let (mut bindings, mut missing) = (Vec::new(), None);
        for family in wish.families.iter().copied() {
            match self.relays.request(now.mono, &mut self.rng, family, wish.port) {
                Ok(binding) => bindings.push(binding),
                Err(limit) if self.relays.supports(family) => {
                    self.limited(now, limit, Some(&request.username), request.from.client.ip());
                    missing = Some((family, full));
                }
                Err(_) => missing = Some((family, Code::ADDRESS_FAMILY_NOT_SUPPORTED)),
            }
        }
        if bindings.is_empty() { Err(full.into()) } else { Ok((bindings, missing)) }
    }

    /// Makes the allocation and asks the shell for its sockets.
    fn begin(
        &mut self,
        now: Now,
        request: &Request<'_>,
        wish: &Wish,
        bindings: Vec<Binding>,
        missing: Option<(Family, Code)>,
    ) {
        let mut relays = Relayed::default();
        for binding in &bindings {
            relays.set(binding.family, Some(binding.relay));
        }
        let expires = now.mono + std::time::Duration::from_secs(wish.lifetime.into());
        let usage = self.usage.begin(&request.user);
        let id = self.table.insert(Allocation {
            client: *request.from,
            via: request.via,
            username: request.username.clone(),
            realm: request.realm.clone(),
            user: request.user.clone(),
            protection: request.protection,
            relays,
            began: now.mono,
            expires,
            timer: expires,
            serial: 0,
            permissions: Permissions::default(),
            channels: Channels::default(),
            usage,
            used: crate::usage::Relayed::default(),
            sent: Traffic::default(),
            received: Traffic::default(),
            meters: [Meter::new(now.mono, &self.bandwidth); 2],
            icmp: Pace::default(),
            request: allocation::Request {
                transaction: request.message.transaction,
                lifetime: wish.lifetime,
                token: None,
                fingerprint: request.message.fingerprint,
                missing,
                pending: u8::try_from(bindings.len()).unwrap_or(u8::MAX),
            },
        });
        for Binding { relay, ip, ports, .. } in bindings {
            self.relays.set_owner(relay, id);
            self.outputs.push_back(Output::BindRelay { relay, ip, ports });
        }
    }

    /// Takes what became of a relayed socket, and answers the Allocate when it was the last.
    pub(super) fn bound(
        &mut self,
        now: Now,
        relay: RelayId,
        result: Result<std::net::SocketAddr, BindError>,
    ) {
        let Some(bound) = self.relays.bound(now.mono, &mut self.rng, relay, result) else { return };
        if bound.close {
            self.outputs.push_back(Output::CloseRelay(relay));
        }
        let Some(id) = bound.owner else { return };
        let Some(allocation) = self.table.get_mut(id) else { return };
        if !bound.kept {
            allocation.relays.set(bound.family, None);
            allocation.request.missing = Some((bound.family, Code::INSUFFICIENT_CAPACITY));
        }
        allocation.request.token = bound.token.map(Box::new);
        allocation.request.pending -= 1;
        let active = allocation.is_active();
        if !bound.kept {
            self.limited_allocation(now, Limit::Ports, id);
        }
        if active {
            self.answer_allocate(id);
        }
    }

    fn answer_allocate(&mut self, id: AllocationId) {
        let Some(allocation) = self.table.get(id) else { return };
        let (client, via) = (allocation.client, allocation.via);
        let (protection, fingerprint) = (allocation.protection, allocation.request.fingerprint);
        let relayed = allocation.relays.iter().next().and_then(|relay| self.relays.addresses(relay));
        if let Some((relayed, _)) = relayed {
            let answer = self.allocated(allocation);
            let username = allocation.username.to_string();
            let session = allocation.user.session();
            if allocation.user != User::Probe {
                self.counters.allocated += 1;
            }
            self.answer(client, via, answer, Some(protection), fingerprint);
            self.outputs.push_back(Output::Event(Event::Allocated { client, relayed, username, session }));
        } else {
            let code = Code::INSUFFICIENT_CAPACITY;
            let answer = Writer::new(Class::Error, Method::ALLOCATE, allocation.request.transaction)
                .error_code(code, code.reason());
            self.table.remove(id);
            self.answer(client, via, answer, Some(protection), fingerprint);
            self.refused(client, code);
        }
    }

    /// The success response of an allocation, the same each time.
    fn allocated(&self, allocation: &Allocation) -> Writer {
        let request = &allocation.request;
        let mut answer = Writer::new(Class::Success, Method::ALLOCATE, request.transaction);
        for (relayed, _) in allocation.relays.iter().filter_map(|relay| self.relays.addresses(relay)) {
            answer = answer.xor_address(XOR_RELAYED_ADDRESS, relayed);
        }
        answer = answer.lifetime(request.lifetime);
        if let Some(token) = &request.token {
            answer = answer.reservation_token(**token);
        }
        if let Some((family, code)) = request.missing {
            answer = answer.address_error_code(family, code);
        }
        answer.xor_address(XOR_MAPPED_ADDRESS, allocation.client.client)
    }
}

/// Sockets to bind, and the family that there is none of.
type Reserved = (Vec<Binding>, Option<(Family, Code)>);

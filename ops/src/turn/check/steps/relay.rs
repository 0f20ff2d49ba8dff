//! From one allocation to the other: what media will meet.

use std::net::SocketAddr;
use std::time::Duration;

use chappe_cluster::clock;
use chappe_proto::stun::Method;
use serde_json::json;

use super::super::fault::Fault;
use super::super::report::{Step, millis};
use super::super::run::Check;
use super::super::talk::Talk;
use super::allocate::Allocation;

/// Packets of each size each way.
const PACKETS: usize = 10;
/// Their sizes in bytes: audio's, and what browsers make of video.
const SIZES: [usize; 2] = [100, 1200];
/// From one packet to the next.
const PACE: Duration = Duration::from_millis(5);
/// How long the last packet is waited for at least.
const DRAIN: Duration = Duration::from_millis(700);

/// What came of some packets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Measure {
    bytes: usize,
    sent: usize,
    /// How long each that came was on its way, the shortest first.
    trips: Vec<Duration>,
}

impl Measure {
    fn median(&self) -> Option<Duration> {
        self.trips.get(self.trips.len() / 2).copied()
    }

    fn text(&self) -> String {
        let came = format!("{} of {} with {} bytes", self.trips.len(), self.sent, self.bytes);
        match (self.trips.first(), self.median(), self.trips.last()) {
            (Some(min), Some(median), Some(max)) => {
                let [min, median, max] = [*min, median, *max].map(millis);
                format!("{came}, {min:.2}/{median:.2}/{max:.2} ms")
            }
            _ => came,
        }
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "bytes": self.bytes,
            "sent": self.sent,
            "received": self.trips.len(),
            "min_ms": self.trips.first().copied().map(millis),
            "median_ms": self.median().map(millis),
            "max_ms": self.trips.last().copied().map(millis),
        })
    }
}

/// Permissions both ways, then data by Send and Data there, and by channels back.
pub(in super::super) async fn run(check: &mut Check<'_>, first: &mut Allocation, second: &mut Allocation) {
    const PERMIT: &str = "CreatePermission";
    const CHANNEL: &str = "ChannelBind";
    check.begin(PERMIT);
    let (a, b) = (first.relayed, second.relayed);
    let permitted = async {
        let took = permit(&mut first.talk, b).await?;
        permit(&mut second.talk, a).await.map(|_| took)
    };
    match permitted.await {
        Ok(took) => check.put(Step::ok(PERMIT, "each for the other").took(took)),
        Err(fault) => return check.fail(PERMIT, &fault),
    }
    let came = data(check, "Send and Data", &mut first.talk, &mut second.talk, b).await;
    if !came {
        return;
    }
    check.begin(CHANNEL);
    let bound = async {
        let bind = |peer| move |client: &mut chappe_proto::turn::Client, now| client.bind(now, peer);
        let took = first.talk.ask(Method::CHANNEL_BIND, bind(b)).await?.took;
        second.talk.ask(Method::CHANNEL_BIND, bind(a)).await.map(|_| took)
    };
    match bound.await {
        Ok(took) => check.put(Step::ok(CHANNEL, "each to the other").took(took)),
        Err(fault) => return check.fail(CHANNEL, &fault),
    }
    data(check, "ChannelData", &mut second.talk, &mut first.talk, a).await;
}

pub(super) async fn permit(talk: &mut Talk, peer: SocketAddr) -> Result<Duration, Fault> {
    let answer = talk.ask(Method::CREATE_PERMISSION, |client, now| client.permit(now, &[peer])).await?;
    Ok(answer.took)
}

/// Sends packets of each size and tells what came of them. Whether any did.
async fn data(
    check: &mut Check<'_>,
    name: &'static str,
    from: &mut Talk,
    to: &mut Talk,
    peer: SocketAddr,
) -> bool {
    check.begin(name);
    let mut measures = Vec::new();
    for bytes in SIZES {
        match burst(check.baseline, from, to, peer, bytes).await {
            Ok(measure) => measures.push(measure),
            Err(fault) => {
                check.fail(name, &fault);
                return false;
            }
        }
    }
    let text = measures.iter().map(Measure::text).collect::<Vec<_>>().join("\n");
    let step = match verdict(&measures, peer) {
        None => Step::ok(name, text),
        Some(fault @ Fault::Loss { .. }) => Step::warning(name, text, check.diagnose(&fault)),
        Some(fault) => Step::failed(name, format!("{fault}\n{text}"), check.diagnose(&fault)),
    };
    let took = measures.first().and_then(Measure::median);
    let step = took.map_or(step.clone(), |took| step.took(took));
    let binding = check.baseline.map(millis);
    let packets: Vec<_> = measures.iter().map(Measure::json).collect();
    check.put(step.fact("packets", packets).fact("binding_ms", binding));
    measures.iter().any(|measure| !measure.trips.is_empty())
}

/// What is wrong, if anything is.
fn verdict(measures: &[Measure], relayed: SocketAddr) -> Option<Fault> {
    let sent = measures.iter().map(|measure| measure.sent).sum();
    let received: usize = measures.iter().map(|measure| measure.trips.len()).sum();
    let large = measures.last().filter(|measure| measure.trips.is_empty());
    match (received, large) {
        (0, _) => Some(Fault::RelaySilent { relayed }),
        (_, Some(large)) => Some(Fault::LargeLost { bytes: large.bytes }),
        _ if received < sent => Some(Fault::Loss { sent, received }),
        _ => None,
    }
}

/// Sends packets of one size, and notes how long each takes to come out at the other end.
async fn burst(
    baseline: Option<Duration>,
    from: &mut Talk,
    to: &mut Talk,
    peer: SocketAddr,
    bytes: usize,
) -> Result<Measure, Fault> {
    let marks: Vec<[u8; 16]> = (0..PACKETS).map(|_| clock::random()).collect();
    let mut at = Vec::new();
    let mut trips: Vec<Option<Duration>> = vec![None; PACKETS];
    let mut due = clock::mono();
    while trips.iter().any(Option::is_none) {
        let now = clock::mono();
        if now >= due {
            let Some(mark) = marks.get(at.len()) else { break };
            let mut payload = mark.to_vec();
            payload.resize(bytes, 0);
            at.push(now);
            from.send(peer, &payload).await?;
            let last = at.len() == PACKETS;
            due = now + if last { DRAIN.max(3 * baseline.unwrap_or_default()) } else { PACE };
        }
        tokio::select! {
            packet = to.packet() => {
                let arrived = clock::mono();
                let Some((_, payload)) = packet? else { continue };
                let mark = marks.iter().position(|mark| payload.len() == bytes && payload.starts_with(mark));
                let Some((trip, sent)) = mark.and_then(|it| Some((trips.get_mut(it)?, *at.get(it)?))) else {
                    continue;
                };
                trip.get_or_insert(arrived.since(sent));
            }
            packet = from.packet() => { packet?; } // ICMP, of which nothing follows here
            () = tokio::time::sleep(due.until(clock::mono())) => {}
        }
    }
    let mut trips: Vec<Duration> = trips.into_iter().flatten().collect();
    trips.sort();
    Ok(Measure { bytes, sent: at.len(), trips })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(bytes: usize, came: u64) -> Measure {
        Measure { bytes, sent: 10, trips: (0..came).map(|at| Duration::from_micros(200 + 10 * at)).collect() }
    }

    #[test]
    fn what_came_tells_what_is_wrong() {
        let relayed: SocketAddr = "198.51.100.7:50000".parse().unwrap();
        let of = |small, large| verdict(&[measure(100, small), measure(1200, large)], relayed);
        assert_eq!(of(10, 10), None);
        assert_eq!(of(0, 0), Some(Fault::RelaySilent { relayed }));
        assert_eq!(of(10, 0), Some(Fault::LargeLost { bytes: 1200 }));
        assert_eq!(of(10, 7), Some(Fault::Loss { sent: 20, received: 17 }));
        assert_eq!(of(0, 9), Some(Fault::Loss { sent: 20, received: 9 }));
    }

    #[test]
    fn times_are_the_median_and_the_ends() {
        assert_eq!(measure(100, 10).text(), "10 of 10 with 100 bytes, 0.20/0.25/0.29 ms");
        assert_eq!(measure(1200, 0).text(), "0 of 10 with 1200 bytes");
    }
}

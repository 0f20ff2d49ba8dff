//! Further allocations: the other end of the relay test, and the other family.

use std::net::SocketAddr;

use chappe_proto::stun::Code;
use chappe_proto::stun::attributes::Family;

use super::super::fault::{Fault, Refusal};
use super::super::report::Step;
use super::super::run::Check;
use super::allocate::{Allocation, Granted, allocate};

/// A second allocation of the same credential.
pub(in super::super) async fn run(check: &mut Check<'_>) -> Option<Allocation> {
    const NAME: &str = "Allocate another";
    check.begin(NAME);
    let talk = check.again().await;
    let granted = async {
        let mut talk = talk?;
        let mut granted = allocate(&mut talk, None).await;
        if matches!(&granted, Err(Fault::Code(Refusal { code: Code::ADDRESS_FAMILY_NOT_SUPPORTED, .. }))) {
            granted = allocate(&mut talk, Some(Family::V6)).await;
        }
        granted.map(|granted| (talk, granted))
    };
    match granted.await {
        Ok((talk, Granted { relayed, took, .. })) => {
            let step = Step::ok(NAME, format!("relayed {relayed}")).took(took);
            check.put(step.fact("relayed", relayed.to_string()));
            Some(Allocation { talk, relayed })
        }
        Err(fault) => {
            check.fail(NAME, &fault);
            None
        }
    }
}

/// An allocation of the family that the first one is not of, where the server has that.
pub(in super::super) async fn other_family(check: &mut Check<'_>, first: SocketAddr) -> Option<Allocation> {
    let (name, family) = match first {
        SocketAddr::V4(_) => ("IPv6 relay", Family::V6),
        SocketAddr::V6(_) => ("IPv4 relay", Family::V4),
    };
    check.begin(name);
    let talk = check.again().await;
    let granted = async {
        let mut talk = talk?;
        let granted = allocate(&mut talk, Some(family)).await?;
        Ok((talk, granted))
    };
    match granted.await {
        Ok((talk, Granted { relayed, took, .. })) if Family::of(relayed) == family => {
            let step = Step::ok(name, format!("yes: {relayed}")).took(took);
            check.put(step.fact("available", true).fact("relayed", relayed.to_string()));
            Some(Allocation { talk, relayed })
        }
        Ok((talk, Granted { relayed, .. })) => {
            check.put(Step::skipped(name, format!("no: {relayed} was given")).fact("available", false));
            Allocation { talk, relayed }.release().await;
            None
        }
        // 420: a server that does not know RFC 6156.
        Err(Fault::Code(Refusal {
            code: code @ (Code::ADDRESS_FAMILY_NOT_SUPPORTED | Code::UNKNOWN_ATTRIBUTE),
            ..
        })) => {
            check.put(Step::skipped(name, format!("no ({code})")).fact("available", false));
            None
        }
        Err(fault) => {
            check.fail(name, &fault);
            None
        }
    }
}

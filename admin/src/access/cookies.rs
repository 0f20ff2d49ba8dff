//! The cookies: of a login, of a browser that has logged in before, of somebody who is with the provider.
//!
//! All have the `__Host-` prefix (RFC 6265bis section 4.1.3.2): browsers take them over HTTPS alone, or from this
//! machine, for this host alone, so that no neighbouring host can plant one.

use std::time::Duration;

use actix_web::HttpRequest;
use chappe_proto::id::OperatorName;
use chappe_proto::limits::{DEVICE_COOKIE_FOR, LOGIN_FOR, PROVIDER_ENTRY_FOR};
use chappe_proto::mesh::uplink::Secret;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::secret::{Bearer, random};
use crate::api::problem::Problem;

/// Names the login.
pub(crate) const LOGIN: &str = "__Host-chappe";
/// Holds what a browser comes back from the provider with.
pub(crate) const ENTRY: &str = "__Host-chappe-entry";
/// Names the browser.
const DEVICE: &str = "__Host-chappe-device";

/// A cookie that a request carries.
pub(crate) fn cookie<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    let lines = request.headers().get_all("cookie").filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(held, _)| *held == name).map(|(_, value)| value)
}

fn line(name: &str, value: &str, life: Duration) -> String {
    line_of(name, value, life, "Strict")
}

fn line_of(name: &str, value: &str, life: Duration, site: &str) -> String {
    let secs = life.as_secs();
    format!("{name}={value}; Path=/; Max-Age={secs}; Secure; HttpOnly; SameSite={site}")
}

/// The `Set-Cookie` of somebody who is sent to the provider: one that comes along when they are sent back.
pub(crate) fn of_entry(sealed: &str) -> String {
    line_of(ENTRY, sealed, PROVIDER_ENTRY_FOR, "Lax")
}

/// The one that ends it.
pub(crate) fn no_entry() -> String {
    line_of(ENTRY, "", Duration::ZERO, "Lax")
}

/// The `Set-Cookie` of a login.
pub(crate) fn of_login(bearer: &Bearer) -> String {
    line(LOGIN, &bearer.text(), LOGIN_FOR)
}

/// The one that ends it.
pub(crate) fn no_login() -> String {
    line(LOGIN, "", Duration::ZERO)
}

/// What requests of a login carry in `Chappe-Csrf`: made of the cookie's secret, so that it needs no place of its
/// own, and of which the secret cannot be had back.
pub(crate) fn csrf(bearer: &Bearer) -> String {
    let mut hash = Sha256::new();
    hash.update(b"chappe csrf");
    hash.update(bearer.secret);
    BASE64URL_NOPAD.encode(&hash.finalize())
}

/// Whether a header has it, in constant time.
pub(crate) fn is_csrf(bearer: &Bearer, given: &str) -> bool {
    csrf(bearer).as_bytes().ct_eq(given.as_bytes()).into()
}

/// A browser from which somebody has logged in before: the nonce of its cookie.
pub(crate) type Device = [u8; 16];

/// What vouches for a device. Its key is the hash of the operator's password, which no one but nodes knows: another
/// password, and no browser is known any more.
fn vouch(name: &OperatorName, password: &Secret, device: &Device) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&password.0).ok()?;
    mac.update(b"chappe device");
    mac.update(device);
    mac.update(name.as_str().as_bytes());
    Some(mac)
}

/// The `Set-Cookie` of a browser from which `name` has logged in (OWASP, Slow Down Online Guessing Attacks with
/// Device Cookies).
///
/// # Errors
/// Where there is no randomness.
pub(crate) fn of_device(name: &OperatorName, password: &Secret) -> Result<String, Problem> {
    let device: Device = random()?;
    let tag = vouch(name, password, &device).map(|mac| mac.finalize().into_bytes().to_vec());
    let value = BASE64URL_NOPAD.encode(&[device.as_slice(), &tag.unwrap_or_default()].concat());
    Ok(line(DEVICE, &value, DEVICE_COOKIE_FOR))
}

/// The device, where the request carries the cookie of one from which `name` has logged in.
pub(crate) fn device(request: &HttpRequest, name: &OperatorName, password: &Secret) -> Option<Device> {
    let value = cookie(request, DEVICE).filter(|value| value.len() == 64)?;
    let bytes = BASE64URL_NOPAD.decode(value.as_bytes()).ok()?;
    let (device, tag) = bytes.split_at_checked(size_of::<Device>())?;
    let device = device.try_into().ok()?;
    vouch(name, password, &device)?.verify_slice(tag).ok().map(|()| device)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn value(cookie: &str) -> &str {
        cookie.split(';').next().unwrap()
    }

    #[test]
    fn cookies_are_for_this_host_over_https_and_for_no_script() {
        let bearer = Bearer::draw().unwrap();
        let set = of_login(&bearer);
        assert!(set.starts_with("__Host-chappe="), "{set}");
        for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict", "Max-Age=43200"] {
            assert!(set.split("; ").any(|held| held == attribute), "{set}");
        }
        assert!(!set.contains("Domain"));
        let request = TestRequest::default()
            .insert_header(("Cookie", format!("a=b; {}; c", value(&set))))
            .to_http_request();
        assert_eq!(cookie(&request, LOGIN), Some(bearer.text().as_str()));
        assert_eq!(cookie(&request, DEVICE), None);
        assert!(
            is_csrf(&bearer, &csrf(&bearer))
                && !is_csrf(&bearer, "")
                && !csrf(&bearer).contains(&bearer.text())
        );
    }

    #[test]
    fn a_device_is_known_for_one_operator_until_the_password_changes() {
        let name = |name| OperatorName::new(name).unwrap();
        let password = Secret(b"$argon2id$1".to_vec());
        let set = of_device(&name("ada"), &password).unwrap();
        let request = |value: &str| {
            TestRequest::default().insert_header(("Cookie", value.to_owned())).to_http_request()
        };
        let known = request(value(&set));
        assert!(device(&known, &name("ada"), &password).is_some());
        assert!(device(&known, &name("bob"), &password).is_none());
        assert!(device(&known, &name("ada"), &Secret(b"$argon2id$2".to_vec())).is_none());
        assert!(device(&request("__Host-chappe-device=abc"), &name("ada"), &password).is_none());
    }
}

//! A credential in one line: for what takes no `iceServers`, and as a QR code for a phone's camera.

use std::fmt::Write as _;

use qrcode::{Color, EcLevel, QrCode};

use crate::cluster::turn::NewCredential;

/// Light modules around a QR code, which its readers need (ISO/IEC 18004).
const QUIET: usize = 4;

/// The first URL with username and password before its host. RFC 7065 has no place for them; GStreamer's `webrtcbin`
/// and libdatachannel take `turn://username:password@host:port?transport=udp`, both parts percent-encoded.
pub(crate) fn of(made: &NewCredential) -> Option<String> {
    let (scheme, host) = made.urls.first()?.split_once(':')?;
    let part = |text: &str| askama::filters::urlencode_strict(text).ok().map(|to| to.to_string());
    Some(format!("{scheme}://{}:{}@{host}", part(&made.username)?, part(&made.credential)?))
}

/// A QR code of a text as an SVG: one unit a module. Nothing where the text is too long for one.
pub(crate) fn qr(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let (width, mut dark) = (code.width(), String::new());
    for (at, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let _ = write!(dark, "M{} {}h1v1h-1z", at % width + QUIET, at / width + QUIET);
        }
    }
    let side = width + 2 * QUIET;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\" \
         role=\"img\" aria-label=\"QR code\"><path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path fill=\"#000\" \
         d=\"{dark}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use chappe_proto::id::SessionId;
    use chappe_proto::time::Unix;

    use super::*;

    #[test]
    fn a_link_has_all_that_it_needs_and_a_code_fits() {
        let id = SessionId::from_random([1; 15]);
        let by = ("9:s_1".to_owned(), "a+b/c=".to_owned());
        let urls = vec![vec!["turns:[2001:db8::1]:5349?transport=tcp".to_owned()], vec!["turn:b".to_owned()]];
        let made = NewCredential::new(id, Unix::from_secs(9), by.clone(), urls);
        let link = of(&made).unwrap();
        assert_eq!(link, "turns://9%3As_1:a%2Bb%2Fc%3D@[2001:db8::1]:5349?transport=tcp");
        let svg = qr(&link).unwrap();
        // The upper left corner of any code: seven dark modules of its finder pattern, then a light one.
        assert!(svg.contains("M4 4h1") && svg.contains("M10 4h1") && !svg.contains("M11 4h1"), "{svg}");
        assert_eq!(qr(&"x".repeat(5_000)), None);
        assert_eq!(of(&NewCredential::new(id, Unix::from_secs(9), by, Vec::new())), None);
    }
}

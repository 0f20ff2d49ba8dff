//! What becomes of coturn's options, in plain words: what says the same here, what is so anyway, what
//! there is not.

use chappe_proto::limits::BANDWIDTH_MIN;

/// What to know about an option that stands in a configuration file; nothing where it says what is so
/// here anyway.
pub(super) fn about(name: &str, value: &str) -> Option<String> {
    let words = same(name, value).or_else(|| other(name).map(str::to_owned));
    match words {
        Some(words) if words.is_empty() => None,
        Some(words) => Some(format!("{name}: {words}")),
        None => Some(format!("{name}: not known here, left out")),
    }
}

/// Options that `chappe edge` has by another name.
fn same(name: &str, value: &str) -> Option<String> {
    Some(match name {
        "listening-port" => format!("give it with each --listen IP:{value}"),
        "listening-ip" => format!("--listen {value}:PORT"),
        "relay-ip" => format!("--relay-ip {value}"),
        "external-ip" => format!("--advertise {}", value.split('/').next().unwrap_or(value)),
        "tls-listening-port" => format!("give it with each --tls-listen IP:{value}, and --dtls-listen"),
        "cert" => format!("--certificate {value}, read again when it changes"),
        "pkey" => format!("--key {value}"),
        "max-bps" => bandwidth("--allocation-bandwidth", value),
        "bps-capacity" => bandwidth("--bandwidth", value),
        "min-port" => format!("--min-port {value}"),
        "max-port" => format!("--max-port {value}"),
        "user-quota" if value == "0" => {
            "no limit there; here a credential has a number of allocations (--user-quota)".to_owned()
        }
        "user-quota" => format!("--user-quota {value}"),
        "total-quota" if value == "0" => "no limit there; here an edge has one (--capacity)".to_owned(),
        "total-quota" => format!("--capacity {value}"),
        "allow-loopback-peers" => "--allow-peer 127.0.0.0/8; think twice".to_owned(),
        "verbose" | "Verbose" => "--log info, or debug".to_owned(),
        _ => return None,
    })
}

/// A limit in bytes a second, in bits as an edge takes it.
fn bandwidth(option: &str, value: &str) -> String {
    match value.parse::<u64>() {
        Ok(0) | Err(_) => format!("no limit there; here there is one ({option})"),
        Ok(bytes) => {
            format!("{option} {}: bits here, bytes there", bytes.saturating_mul(8).max(BANDWIDTH_MIN))
        }
    }
}

/// The others, by names: what to know of them, and nothing where what they ask for is so anyway.
const OTHERS: &[(&str, &str)] = &[
    (
        "lt-cred-mech use-auth-secret no-multicast-peers no-cli no-stdout-log \
         no-software-attribute no-sslv2 no-sslv3 no-tlsv1 no-tlsv1_1 fingerprint dh566 dh1066 \
         dh2066 prod no-web-admin relay-threads ne udp-self-balance keep-address-family \
         no-stun-backward-compatibility response-origin-only-with-rfc5780 no-rfc5780 \
         unauthorized-ratelimit",
        "",
    ),
    ("no-auth", "there is no relay without credentials here"),
    ("stale-nonce", "a nonce lasts an hour here, and a stale one costs a client one more request"),
    ("secure-stun", "a Binding request is answered without credentials here, as browsers ask it"),
    (
        "max-allocate-lifetime channel-lifetime permission-lifetime",
        "the lifetimes are those of RFC 8656 here: 1 hour at most, 10 minutes, 5 minutes",
    ),
    ("pkey-pwd", "a private key is read without a password here: `openssl pkey` takes it off"),
    ("CA-file", "clients are not asked for certificates"),
    (
        "cipher-list ec-curve-name dh-file no-tlsv1_2 no-tlsv1_3",
        "TLS is 1.2 and 1.3 with modern ciphers here, and not to be weakened",
    ),
    ("no-udp no-tcp no-tls no-dtls", "say with --listen what to listen on"),
    ("no-udp-relay", "an edge relays UDP; without that it has nothing to do"),
    ("no-tcp-relay", "TCP relays (RFC 6062) are not there yet"),
    ("oauth", "third-party authorization (RFC 7635) is not there yet"),
    ("mobility", "moving allocations (RFC 8016) are not there yet: ICE restarts instead"),
    (
        "tls-alternate-server aux-server alt-listening-port \
         alt-tls-listening-port rfc5780",
        "left out: nodes tell clients which edge to use",
    ),
    ("alternate-server", "alternates = [\"IP:PORT\"] in the credentials file, one of each family"),
    ("userdb db", "give the SQLite file by --database"),
    (
        "psql-userdb mysql-userdb mongo-userdb redis-userdb sql-userdb",
        "only SQLite is read: list the users there by `turnadmin -l`, and copy the table into a \
         SQLite file of coturn's schema",
    ),
    (
        "redis-statsdb prometheus prometheus-port prometheus-username-labels",
        "figures are in the nodes' overview; limits that are met are in the log",
    ),
    (
        "cli-ip cli-port cli-password web-admin web-admin-ip web-admin-port \
         web-admin-listen-on-workers cli-max-output-sessions acme-redirect",
        "there is no CLI and no web server on an edge; operators use the nodes' admin API",
    ),
    (
        "log-file syslog syslog-facility simple-log new-log-timestamp new-log-timestamp-format \
         log-binding",
        "logs go to standard error: systemd or the container keeps them",
    ),
    ("pidfile proc-user proc-group", "systemd or the container does it"),
    ("check-origin-consistency", "a client's origin decides its realm; it is no protection here"),
    ("server-name", "a name of coturn's own for OAuth; nothing uses it here"),
    ("stun-only no-stun", "STUN and TURN are one here"),
    ("static-auth-secret-file", "put what is in that file into --secret-file"),
    ("listening-device relay-device", "give the device's addresses by --listen and --relay-ip"),
    ("tcp-proxy-port", "--proxy-protocol-from CIDR makes PROXY protocol listeners of all TCP and TLS ones"),
    ("allocation-default-address-family", "IPv4 unless the client asks otherwise (RFC 8656)"),
    ("secret-key-file", "decrypts a MySQL database, which is not read"),
    ("server-relay", "not offered"),
    ("max-allocate-timeout", "fixed here, see limits in the documentation"),
];

fn other(name: &str) -> Option<&'static str> {
    let known = |names: &str| names.split(' ').any(|known| known == name);
    OTHERS.iter().find(|(names, _)| known(names)).map(|(_, words)| *words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_debians_example_is_known() {
        // The options of /etc/turnserver.conf of coturn 4.6, those that hold credentials left out.
        let options = "listening-device listening-port tls-listening-port alt-listening-port alt-tls-listening-port \
            tcp-proxy-port listening-ip aux-server udp-self-balance relay-device relay-ip external-ip relay-threads \
            min-port max-port verbose Verbose fingerprint lt-cred-mech no-auth prometheus use-auth-secret server-name \
            oauth userdb psql-userdb mysql-userdb secret-key-file mongo-userdb redis-userdb redis-statsdb \
            check-origin-consistency user-quota total-quota max-bps bps-capacity no-udp no-tcp no-tls no-dtls \
            no-udp-relay no-tcp-relay stale-nonce max-allocate-lifetime channel-lifetime permission-lifetime cert \
            pkey pkey-pwd cipher-list ec-curve-name dh566 dh1066 dh-file no-stdout-log log-file syslog \
            syslog-facility simple-log new-log-timestamp log-binding alternate-server tls-alternate-server stun-only \
            no-software-attribute no-stun allow-loopback-peers no-multicast-peers max-allocate-timeout pidfile \
            secure-stun mobility keep-address-family allocation-default-address-family proc-user proc-group no-cli \
            cli-ip cli-port cli-password web-admin web-admin-ip web-admin-port web-admin-listen-on-workers \
            acme-redirect server-relay cli-max-output-sessions ne no-tlsv1 no-rfc5780 \
            no-stun-backward-compatibility response-origin-only-with-rfc5780";
        for name in options.split_whitespace() {
            let about = about(name, "1");
            assert!(!about.is_some_and(|words| words.contains("not known")), "{name}");
        }
        assert_eq!(
            about("external-ip", "192.0.2.1/10.0.0.1").as_deref(),
            Some("external-ip: --advertise 192.0.2.1")
        );
        assert_eq!(about("no-cli", ""), None);
        assert_eq!(
            about("max-bps", "3000000").as_deref(),
            Some("max-bps: --allocation-bandwidth 24000000: bits here, bytes there")
        );
    }
}

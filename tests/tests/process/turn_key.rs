//! `chappe turn key` beside Debian's `turnadmin -k`.

use std::io::Write;
use std::process::{Command, Stdio};

use chappe_tests::process::{binary, run};

/// What `turnadmin -k` prints; none where it refuses the name or the password.
fn turnadmin(user: &str, realm: &str, password: &str) -> Option<String> {
    let (_, out, error) = run("turnadmin", &["-k", "-u", user, "-r", realm, "-p", password]);
    let key = out.lines().chain(error.lines()).find(|line| line.starts_with("0x"));
    key.map(str::to_owned)
}

/// Asks `chappe turn key`, with the password on standard input.
fn key(user: &str, realm: &str, password: &str, options: &[&str]) -> String {
    let mut command = Command::new(binary());
    command.args(["turn", "key", "-u", user, "-r", realm]).args(options);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What `printf | sha256sum` and the like say.
fn digest(program: &str, text: &str) -> String {
    let mut command = Command::new(program);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    output.split(' ').next().unwrap().to_owned()
}

const ODD: [(&str, &str, &str); 11] = [
    ("ada", "example.org", "secret"),
    ("lovelace", "example dot org", " pass  word "),
    ("-", " ", " "),
    ("a:b", "c:d", "e:f"),
    ("1700000000:ada", "example.org", ":"),
    ("ünï", "zürich", "pässwörd"),
    ("ada@example.org", "example.org", "$5$x;y%z'q`|&"),
    ("x;y", "r;s", "\"quoted\\"),
    ("0xe7689b73e913479d2a40be88f22bca68", "r", "0x00"),
    ("a", "r", "p"),
    ("long", "r", "0123456789012345678901234567890123456789012345678901234567890123456789"),
];

#[test]
fn prints_what_turnadmin_prints() {
    for (user, realm, password) in ODD {
        let theirs = turnadmin(user, realm, password);
        let theirs = theirs.unwrap_or_else(|| panic!("turnadmin refuses {user:?} {password:?}"));
        assert_eq!(key(user, realm, password, &[]), theirs + "\n", "{user:?} {realm:?} {password:?}");
    }
}

/// `turnadmin` takes UTF-8 for Latin-1: of `à` (C3 A0) it makes C3 20, a "non-breaking space", and 日
/// (E6 97 A5) it refuses as a control character. Names with spaces and quotes it refuses too. Clients
/// hash the bytes that they send, and so do we.
#[test]
fn where_turnadmin_has_no_key_or_a_broken_one_the_clients_key_is_printed() {
    for (user, password) in [("ada", "à"), ("ada", "日本語"), ("ada", "\u{ad}"), ("a b", "p"), ("o'b", "p")]
    {
        let ours = key(user, "r", password, &[]);
        assert_ne!(turnadmin(user, "r", password).map(|key| key + "\n"), Some(ours.clone()));
        assert_eq!(ours, format!("0x{}\n", digest("md5sum", &format!("{user}:r:{password}"))));
    }
}

#[test]
fn the_sha256_key_and_an_entry_to_paste() {
    for (user, realm, password) in ODD {
        let text = format!("{user}:{realm}:{password}");
        let sha256 = digest("sha256sum", &text);
        assert_eq!(key(user, realm, password, &["--sha256"]), format!("0x{sha256}\n"));
        let entry = key(user, realm, password, &["--toml"]);
        assert!(entry.starts_with("[[user]]\nrealm = \""), "{entry}");
        let keys = format!("md5 = \"{}\"\nsha256 = \"{sha256}\"\n", digest("md5sum", &text));
        assert!(entry.ends_with(&keys), "{entry}");
    }
}

#[test]
fn a_password_on_the_command_line_is_warned_of_and_a_bad_name_told() {
    let ask = |args: &[&str]| run(binary(), &[&["turn", "key"], args].concat());
    let (ok, out, error) = ask(&["-u", "a", "-r", "r", "-p", "p"]);
    assert!(ok && out == "0xe7689b73e913479d2a40be88f22bca68\n", "{out}");
    assert!(error.contains("`ps`") && error.contains("CHAPPE_TURN_PASSWORD"), "{error}");
    let (ok, _, error) = ask(&["-u", "a\u{7}", "-r", "r", "-p", "p"]);
    assert!(!ok && error.contains("name") && error.contains("control characters"), "{error}");
    let (ok, _, error) = ask(&["-u", "a", "-r", "", "-p", "p"]);
    assert!(!ok && error.contains("realm has 1 to 127"), "{error}");
    // Standard input has nothing.
    let (ok, _, error) = ask(&["-u", "a", "-r", "r"]);
    assert!(!ok && error.contains("password is empty"), "{error}");
    let mut command = Command::new(binary());
    let command = command.args(["turn", "key", "-u", "a", "-r", "r"]).env("CHAPPE_TURN_PASSWORD", "p");
    assert_eq!(command.output().unwrap().stdout, b"0xe7689b73e913479d2a40be88f22bca68\n");
}

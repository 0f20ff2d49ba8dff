//! `chappe turn key`: the keys of a long-term user, made of a password that is kept nowhere.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{self, BufRead, IsTerminal};

use anyhow::{Context, Result, bail};
use chappe_proto::mesh::uplink::{Secret, TurnUser};
use data_encoding::HEXLOWER;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Where the password is taken from, unless it is given otherwise.
const PASSWORD: &str = "CHAPPE_TURN_PASSWORD";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The user's name.
    #[arg(short, long, value_name = "NAME")]
    user: String,
    /// The realm: the key is good for this one alone.
    #[arg(short, long, value_name = "REALM")]
    realm: String,
    /// The password. Better left out: others see it in the list of processes. Then it is taken from the
    /// environment (CHAPPE_TURN_PASSWORD), asked on a terminal, or read from standard input.
    #[arg(short, long, value_name = "PASSWORD", hide_default_value = true)]
    password: Option<String>,
    /// Print the SHA-256 key (RFC 8489) in place of the MD5 one.
    #[arg(long)]
    sha256: bool,
    /// Print both keys as an entry of a credentials file (`chappe edge --credentials`).
    #[arg(long, conflicts_with = "sha256")]
    toml: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let user = TurnUser::of_password(&args.realm, &args.user, "");
    user.check().with_context(|| format!("the {} is no good", field(&user)))?;
    let password = password(args)?;
    if password.is_empty() {
        bail!("the password is empty: give one by {PASSWORD}, on the terminal or on standard input");
    }
    let user = TurnUser::of_password(&args.realm, &args.user, &password);
    if args.toml {
        print!("{}", entry(&user));
    } else {
        println!("0x{}", hex(if args.sha256 { &user.sha256 } else { &user.md5 }));
    }
    Ok(())
}

/// The field of a user that is wrong.
fn field(user: &TurnUser) -> &'static str {
    user.check().err().map_or("user", chappe_proto::mesh::user::BadUser::field)
}

/// The digits of a key.
pub(crate) fn hex(key: &Option<Secret>) -> String {
    key.as_ref().map_or_else(String::new, |key| HEXLOWER.encode(&key.0))
}

/// A user as a table of a credentials file.
pub(crate) fn entry(user: &TurnUser) -> String {
    let mut text = format!("[[user]]\nrealm = {}\nname = {}\n", quoted(&user.realm), quoted(&user.name));
    for (field, key) in [("md5", &user.md5), ("sha256", &user.sha256)] {
        if key.is_some() {
            text += &format!("{field} = \"{}\"\n", hex(key));
        }
    }
    text
}

/// A TOML basic string.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted += &format!("\\u{:04X}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn password(args: &Args) -> Result<String> {
    if let Some(password) = &args.password {
        eprintln!(
            "chappe: -p shows the password to everybody on this machine (`ps`) and to the shell's history; \
             {PASSWORD} or standard input do not"
        );
        return Ok(password.clone());
    }
    match std::env::var(PASSWORD) {
        Ok(password) => return Ok(password),
        Err(std::env::VarError::NotPresent) => {}
        Err(error) => return Err(error).context(PASSWORD),
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return line(&stdin);
    }
    eprint!("Password of {} in {}: ", args.user, args.realm);
    let before = tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
    let read = line(&stdin);
    tcsetattr(&stdin, OptionalActions::Flush, &before)?;
    eprintln!();
    read
}

fn line(stdin: &io::Stdin) -> Result<String> {
    let mut line = String::new();
    stdin.lock().read_line(&mut line).context("the password cannot be read as UTF-8")?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_ready_to_paste() {
        let user = TurnUser { sha256: None, ..TurnUser::of_password("r", "a\"\\\u{7f}ü", "p") };
        let md5 = hex(&user.md5);
        let text = "[[user]]\nrealm = \"r\"\nname = \"a\\\"\\\\\\u007Fü\"\n".to_owned();
        assert_eq!(entry(&user), text + &format!("md5 = \"{md5}\"\n"));
    }
}

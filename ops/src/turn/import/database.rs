//! coturn's SQLite database (its `schema.sql`).

use std::path::Path;

use anyhow::{Context, Result};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};

use super::found::{Credential, Found};

/// Reads a database, which is not changed; its rows of no realm are of `realm`.
pub(super) fn read(path: &Path, realm: Option<&str>, found: &mut Found) -> Result<()> {
    let about = || format!("{} is no SQLite database of coturn's that can be read", path.display());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags).with_context(about)?;
    let of =
        |text: &str| if text.is_empty() { realm.unwrap_or_default().to_owned() } else { text.to_owned() };
    let mut of_table = |table: &str, columns: &str, mut each: Each<'_>| {
        rows(&database, table, columns, found, &mut each).with_context(about)
    };
    of_table("turnusers_lt", "realm, name, hmackey", &mut |found, [realm, name, key]| {
        let key = key.strip_prefix("0x").unwrap_or(&key);
        found.user(&of(&realm), &name, &Credential::Key(key));
    })?;
    of_table("turn_secret", "realm, value, ''", &mut |found, [realm, value, _]| {
        found.secret(&realm, &value);
    })?;
    of_table("turn_origin_to_realm", "origin, realm, ''", &mut |found, [origin, realm, _]| {
        found.origin(&origin, &realm);
    })?;
    of_table("allowed_peer_ip", "realm, ip_range, ''", &mut |found, [realm, range, _]| {
        found.peers(true, &realm, &range);
    })?;
    of_table("denied_peer_ip", "realm, ip_range, ''", &mut |found, [realm, range, _]| {
        found.peers(false, &realm, &range);
    })?;
    of_table("turn_realm_option", "realm, opt, value", &mut |found, [realm, option, value]| {
        let what = format!("{option}={value} of the realm {realm:?}");
        found.skip(what, "limits are the edge's here, for every realm (--user-quota, --capacity)");
    })?;
    of_table("oauth_key", "kid, '', ''", &mut |found, [kid, ..]| {
        found.skip(format!("OAuth key {kid:?}"), "third-party authorization (RFC 7635) is not there yet");
    })?;
    of_table("admin_user", "name, '', ''", &mut |found, [name, ..]| {
        found.skip(
            format!("administrator {name:?}"),
            "a hash of coturn's; operators are those of the cluster",
        );
    })
}

/// What is done with a row.
type Each<'a> = &'a mut dyn FnMut(&mut Found, [String; 3]);

fn rows(
    database: &Connection,
    table: &str,
    columns: &str,
    found: &mut Found,
    each: &mut Each<'_>,
) -> rusqlite::Result<()> {
    let there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1";
    if !database.prepare(there)?.exists([table])? {
        return Ok(()); // an older schema
    }
    // Both names are ours.
    let mut query = database.prepare(&format!("SELECT {columns} FROM {table} ORDER BY 1, 2"))?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        match (text(row, 0), text(row, 1), text(row, 2)) {
            (Some(a), Some(b), Some(c)) => each(found, [a, b, c]),
            _ => found.skip(format!("a row of {table}"), "not UTF-8"),
        }
    }
    Ok(())
}

/// A column as text; nothing where it is none.
fn text(row: &Row<'_>, column: usize) -> Option<String> {
    match row.get_ref(column).ok()? {
        ValueRef::Null => Some(String::new()),
        ValueRef::Text(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(_) | ValueRef::Blob(_) => None,
    }
}

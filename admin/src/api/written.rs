//! The routes as the sources have them, so that tests forget none.

use std::collections::BTreeSet;
use std::path::Path;

/// The routes that a file's text makes.
fn routes_of(text: &str) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let quoted = |text: &str| text.split('"').nth(1).unwrap_or_default().to_owned();
    let methods = |text: &str| -> Vec<String> {
        let calls = text.split("web::").skip(1).map(|call| call.split('(').next().unwrap_or_default());
        calls
            .filter(|call| ["get", "put", "post", "delete", "patch"].contains(call))
            .map(str::to_owned)
            .collect()
    };
    let mut found = BTreeSet::new();
    let mut resource = String::new();
    let begins = |begin: &'static str| text.match_indices(begin).map(|(at, _)| at);
    let mut begins: Vec<usize> =
        begins(".route(").chain(begins("web::resource(")).chain([text.len()]).collect();
    begins.sort_unstable();
    for piece in begins.windows(2).map(|ends| &text[ends[0]..ends[1]]) {
        if piece.starts_with("web::resource(") {
            resource = quoted(piece);
            continue;
        }
        let first = piece[".route(".len()..].trim_start();
        let path = if first.starts_with('"') { quoted(first) } else { resource.clone() };
        let call = piece.split(';').next().unwrap();
        found.extend(methods(call).into_iter().map(|method| format!("{method} {path}")));
    }
    found
}

/// All of them: `get /nodes/{node}`.
pub(crate) fn written() -> BTreeSet<String> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api")];
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("tests.rs") && !path.ends_with("written.rs") {
                found.extend(routes_of(&std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

#[test]
fn routes_are_found_in_each_way_of_writing_them() {
    let text = "config\n.route(\"/a/{b}\", web::get().to(a))\n.route(\n\"/c\",\nweb::post().to(c),\n);\n\
                config.service(web::resource(\"/s\").app_data(x).route(web::get().to(s)).route(web::put().to(p)));";
    let found: Vec<_> = routes_of(text).into_iter().collect();
    assert_eq!(found, ["get /a/{b}", "get /s", "post /c", "put /s"]);
}

//! The options of a command as they are in force, read off its command line's own description: nothing is listed twice.

use std::any::TypeId;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use chappe_proto::id::{EdgeId, Region};
use chappe_proto::limits::{SETTING_MAX, SETTINGS_MAX};
use chappe_proto::settings::{Origin, Scope, Setting};
use clap::builder::ValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// What options stand under in `--help` that count at the first start alone.
pub(crate) const FIRST_START: &str = "The first start";

/// Options of each node's or edge's own whose values are neither addresses nor files: names, places, and what a machine
/// can bear.
const NAMES: [&str; 9] = [
    "public",
    "acme_hostname",
    "hostname",
    "web_host",
    "coordinates",
    "min_port",
    "max_port",
    "capacity",
    "bandwidth",
];

/// The options of the command that was asked for.
pub(crate) fn of(command: &Command, matches: &ArgMatches) -> Vec<Setting> {
    let Some((name, matches)) = matches.subcommand() else { return Vec::new() };
    let Some(command) = command.find_subcommand(name) else { return Vec::new() };
    let is_option = |arg: &&Arg| {
        !matches!(
            arg.get_action(),
            ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
        )
    };
    command.get_arguments().filter(is_option).take(SETTINGS_MAX).map(|arg| setting(arg, matches)).collect()
}

/// Not more of a value than is told.
fn cut(mut value: String) -> String {
    if value.len() > SETTING_MAX {
        value.truncate(value.floor_char_boundary(SETTING_MAX - '…'.len_utf8()));
        value.push('…');
    }
    value
}

fn setting(arg: &Arg, matches: &ArgMatches) -> Setting {
    let id = arg.get_id().as_str();
    let text = |value: &std::ffi::OsStr| value.to_string_lossy().into_owned();
    let joined = |values: Vec<String>| (!values.is_empty()).then(|| values.join(", "));
    let given = match arg.get_action() {
        ArgAction::SetTrue => Some(matches.get_flag(id).to_string()),
        _ => joined(matches.get_raw(id).into_iter().flatten().map(text).collect()),
    };
    // What `--help` does not show of the environment is secret.
    let value = given.map(|value| if arg.is_hide_env_values_set() { "set".to_owned() } else { cut(value) });
    Setting {
        name: arg.get_long().unwrap_or(id).to_owned(),
        value,
        default: joined(arg.get_default_values().iter().map(|value| text(value)).collect()),
        origin: match matches.value_source(id) {
            Some(ValueSource::CommandLine) => Origin::Flag,
            Some(ValueSource::EnvVariable) => Origin::Environment,
            _ => Origin::Default,
        },
        scope: scope(arg),
        variable: arg.get_env().map(text),
    }
}

fn scope(arg: &Arg) -> Scope {
    let is_of = |parser: &ValueParser| {
        let of = parser.type_id();
        [
            TypeId::of::<SocketAddr>(),
            TypeId::of::<IpAddr>(),
            TypeId::of::<PathBuf>(),
            TypeId::of::<Region>(),
            TypeId::of::<EdgeId>(),
        ]
        .into_iter()
        .any(|own| of == own)
    };
    if arg.get_help_heading() == Some(FIRST_START) {
        Scope::Start
    } else if is_of(arg.get_value_parser()) || NAMES.contains(&arg.get_id().as_str()) {
        Scope::Own
    } else {
        Scope::Shared
    }
}

/// An option has this value, which the data directory has kept.
pub(crate) fn kept(settings: &mut [Setting], name: &str, value: &str) {
    for setting in settings.iter_mut().filter(|setting| setting.name == name) {
        (setting.value, setting.origin) = (Some(value.to_owned()), Origin::File);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn told(line: &str) -> BTreeMap<String, Setting> {
        let mut command = Cli::command();
        command.build();
        let matches = command.clone().try_get_matches_from(line.split(' ')).unwrap();
        of(&command, &matches).into_iter().map(|setting| (setting.name.clone(), setting)).collect()
    }

    #[test]
    fn options_are_told_with_where_they_come_from() {
        let told = told(
            "chappe node --data d --workers 4 --join chappe-join-secret --http 192.0.2.1:80,192.0.2.2:80",
        );
        let of = |name: &str| {
            let setting = &told[name];
            (setting.value.as_deref(), setting.default.as_deref(), setting.origin, setting.scope)
        };
        assert_eq!(of("workers"), (Some("4"), Some("2"), Origin::Flag, Scope::Shared));
        assert_eq!(of("drain-within"), (Some("60"), Some("60"), Origin::Default, Scope::Shared));
        assert_eq!(
            of("http"),
            (Some("192.0.2.1:80, 192.0.2.2:80"), Some("127.0.0.1:8080"), Origin::Flag, Scope::Own)
        );
        assert_eq!(of("join"), (Some("set"), None, Origin::Flag, Scope::Start), "the token is not told");
        assert_eq!(of("geoip"), (None, None, Origin::Default, Scope::Own));
        assert_eq!(of("anonymous"), (Some("false"), Some("false"), Origin::Default, Scope::Start));
        assert_eq!(of("accept-loss").0, Some("false"));
        assert_eq!(
            of("log"),
            (Some(crate::log::FILTER), Some(crate::log::FILTER), Origin::Default, Scope::Shared)
        );
        assert_eq!(told["workers"].variable.as_deref(), Some("CHAPPE_WORKERS"));
        assert!(!told.contains_key("help") && !told.contains_key("version"));
        assert!(!format!("{told:?}").contains("chappe-join-secret"));
    }

    #[test]
    fn what_is_each_nodes_own_is_an_option() {
        let (told, edge) = (told("chappe node --data d --log info"), told("chappe edge --data d"));
        assert_eq!(told["log"].origin, Origin::Flag);
        for name in NAMES.map(|name| name.replace('_', "-")) {
            let setting = told.get(&name).or_else(|| edge.get(&name));
            assert_eq!(setting.map(|one| one.scope), Some(Scope::Own), "{name}");
        }
        let own: Vec<_> =
            told.values().filter(|one| one.scope == Scope::Own).map(|one| one.name.as_str()).collect();
        assert!(
            ["data", "region", "mesh", "advertise", "key"].iter().all(|name| own.contains(name)),
            "{own:?}"
        );
        let start: Vec<_> =
            told.values().filter(|one| one.scope == Scope::Start).map(|one| one.name.as_str()).collect();
        assert_eq!(start, ["anonymous", "app", "credential-ttl", "found", "join", "join-file", "realm"]);
    }

    #[test]
    fn an_edge_tells_its_options_too() {
        let told =
            told("chappe edge --data d --join chappe-join-secret --advertise 192.0.2.1 --user-quota 7");
        let of = |name: &str| {
            let setting = &told[name];
            (setting.value.as_deref(), setting.origin, setting.scope)
        };
        assert_eq!(of("join"), (Some("set"), Origin::Flag, Scope::Start), "the token is not told");
        assert_eq!(of("advertise"), (Some("192.0.2.1"), Origin::Flag, Scope::Own));
        assert_eq!(of("user-quota"), (Some("7"), Origin::Flag, Scope::Shared));
        assert_eq!(of("bandwidth"), (Some("10g"), Origin::Default, Scope::Own));
        assert_eq!(of("listen"), (Some("127.0.0.1:3478"), Origin::Default, Scope::Own));
        assert_eq!(of("name"), (None, Origin::Default, Scope::Start));
        assert!(told.len() > 30 && !format!("{told:?}").contains("chappe-join-secret"));
    }

    #[test]
    fn a_long_value_is_cut() {
        let long = "\u{e9}".repeat(SETTING_MAX);
        let told = told(&format!("chappe edge --standalone --secret-file s --realm {long}x"));
        let value = told["realm"].value.as_ref().unwrap();
        assert!(value.len() <= SETTING_MAX && value.ends_with("\u{e9}…"), "{}", value.len());
    }

    #[test]
    fn what_the_directory_has_kept_wins() {
        let mut settings: Vec<_> = told("chappe node --data d --region eu").into_values().collect();
        kept(&mut settings, "region", "us");
        let region = settings.iter().find(|one| one.name == "region").unwrap();
        assert_eq!((region.value.as_deref(), region.origin), (Some("us"), Origin::File));
    }
}

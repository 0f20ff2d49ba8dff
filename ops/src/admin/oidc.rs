//! `chappe admin oidc`: the OpenID provider by which operators may log in.
#![allow(clippy::print_stdout)]

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use chappe_admin::{ShownProvider, TestedProvider};
use serde_json::{Map, Value, json};

use crate::api::Api;

const PATH: &str = "/identity-provider";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// How it is set up; the secret is not shown.
    Show,
    /// Set it up, all of it anew.
    Set(Box<Wish>),
    /// Ask it for what a login needs of it.
    Test,
    /// Nobody logs in by it any more.
    Remove,
}

#[derive(Debug, clap::Args)]
struct Wish {
    /// Its issuer identifier, exactly as its tokens have it in `iss`.
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// What it calls this console.
    #[arg(long, value_name = "ID")]
    client_id: String,
    /// A file with the secret that it gave for that; as before without it, of the same issuer and client.
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// Where browsers open the console, as `https://chappe.example`.
    #[arg(long, value_name = "URL")]
    console_url: String,
    /// The word on the button [default: single sign-on].
    #[arg(long)]
    label: Option<String>,
    /// What is asked for beyond `openid` [default: profile email].
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// The claim of the ID token that gives roles [default: groups].
    #[arg(long, value_name = "CLAIM")]
    roles_claim: Option<String>,
    /// A value of it that makes an owner.
    #[arg(long, value_name = "VALUE")]
    owner: Vec<String>,
    /// One that makes an operator.
    #[arg(long, value_name = "VALUE")]
    operator: Vec<String>,
    /// One that makes a viewer.
    #[arg(long, value_name = "VALUE")]
    viewer: Vec<String>,
    /// The role of everybody else there; they stay out without it.
    #[arg(long, value_parser = ["viewer", "operator", "owner"])]
    everybody: Option<String>,
    /// The only domain of verified addresses of mail that may come.
    #[arg(long, value_name = "DOMAIN")]
    email_domain: Option<String>,
}

impl Wish {
    fn body(&self) -> Result<Value> {
        let roles = json!({ "owner": self.owner, "operator": self.operator, "viewer": self.viewer });
        let mut body = Map::new();
        let secret = self.client_secret_file.as_ref().map(|file| {
            let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()));
            text.map(|text| text.trim_end().to_owned())
        });
        let scopes = (!self.scopes.is_empty()).then(|| json!(self.scopes));
        for (name, value) in [
            ("issuer", Some(json!(self.issuer))),
            ("client_id", Some(json!(self.client_id))),
            ("client_secret", secret.transpose()?.map(Value::from)),
            ("console_url", Some(json!(self.console_url))),
            ("label", self.label.clone().map(Value::from)),
            ("scopes", scopes),
            ("roles_claim", self.roles_claim.clone().map(Value::from)),
            ("roles", Some(roles)),
            ("everybody", self.everybody.clone().map(Value::from)),
            ("email_domain", self.email_domain.clone().map(Value::from)),
        ] {
            body.extend(value.map(|value| (name.to_owned(), value)));
        }
        Ok(Value::Object(body))
    }
}

pub(super) fn run(api: &mut Api, args: &Args, json: bool) -> Result<()> {
    let answer = match &args.verb {
        Verb::Show => api.call("GET", PATH, &Value::Null)?,
        Verb::Set(wish) => api.call("PUT", PATH, &wish.body()?)?,
        Verb::Test => return test(&api.call("POST", &format!("{PATH}/test"), &Value::Null)?, json),
        Verb::Remove => {
            api.call("DELETE", PATH, &Value::Null)?;
            println!("nobody logs in by it any more; who did stays logged in until that ends");
            return Ok(());
        }
    };
    if json {
        println!("{answer}");
        return Ok(());
    }
    let shown: ShownProvider = serde_json::from_value(answer)?;
    let everybody = shown.everybody.map_or_else(|| "stays out".to_owned(), |role| format!("is {role}"));
    println!("issuer        {}", shown.issuer);
    println!("client id     {}", shown.client_id);
    println!("redirect URI  {}", shown.redirect_uri);
    println!("scopes        openid {}", shown.scopes.join(" "));
    for (role, values) in
        [("owner", shown.roles.owner), ("operator", shown.roles.operator), ("viewer", shown.roles.viewer)]
    {
        println!("{role:<13} {} in [{}]", shown.roles_claim, values.join(", "));
    }
    println!("everybody     {everybody}");
    println!("mail          {}", shown.email_domain.as_deref().unwrap_or("of any domain"));
    Ok(())
}

fn test(answer: &Value, json: bool) -> Result<()> {
    if json {
        println!("{answer}");
        return Ok(());
    }
    let tested: TestedProvider = serde_json::from_value(answer.clone())?;
    if !tested.fine {
        bail!(tested.says);
    }
    println!("{}", tested.says);
    Ok(())
}

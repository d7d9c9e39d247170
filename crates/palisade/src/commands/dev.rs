//! `palisade dev`: the whole service on loopback, with nothing to configure.

use std::{os::unix::fs::DirBuilderExt, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use clap::Args;
use palisade_model::{Clock, Scope, SystemClock};
use palisade_server::{
    Service, StartSettings,
    dev::{self, Claims, DevIssuer, token_service},
    telemetry::Telemetry,
};

use crate::{Outcome, commands::serve};

/// Run everything on loopback with no configuration, and print commands to try it with.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  palisade dev")]
pub(crate) struct Dev {}

impl Dev {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let state = dev::state_folder();
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&state)
            .with_context(|| state.display().to_string())?;
        dev::check_state_folder(&state)?;
        let loaded = dev::configuration(&state)?;
        let issuer = DevIssuer::generate()?;
        serve::runtime()?.block_on(async {
            let telemetry = Arc::new(Telemetry::install(&loaded.config.telemetry)?);
            let settings = StartSettings {
                loaded,
                embedded: issuer.embedded()?,
                clock: Arc::new(SystemClock),
                telemetry: Arc::clone(&telemetry),
            };
            let service = Service::start(settings).await?;
            issuer.save(&dev::key_file(&state))?;
            print_guide(&issuer, &service.addresses().decision, &state)?;
            serve::asked_to_stop().await?;
            service.stop().await;
            Ok(Outcome::Yes)
        })
    }
}

/// One call of the sample MCP server.
struct Example {
    title: &'static str,
    user: &'static str,
    scopes: &'static [&'static str],
    roles: &'static [&'static str],
    tool: &'static str,
    arguments: &'static str,
}

const EXAMPLES: [Example; 3] = [
    Example {
        title: "A permit: anyone who signed in may call `echo`",
        user: "alice",
        scopes: &[],
        roles: &[],
        tool: "echo",
        arguments: r#"{"message":"hello"}"#,
    },
    Example {
        title: "A denial: `system_status` is for administrators; the record says why",
        user: "alice",
        scopes: &[],
        roles: &[],
        tool: "system_status",
        arguments: "{}",
    },
    Example {
        title: "A step-up: the administrator root lacks one scope, and is told which",
        user: "root",
        scopes: &[],
        roles: &["admin"],
        tool: "delete_file",
        arguments: r#"{"path":"/tmp/a"}"#,
    },
];

fn print_guide(issuer: &DevIssuer, decision: &str, state: &Path) -> anyhow::Result<()> {
    println!(
        "palisade dev is listening: decisions on {decision}, metadata on 127.0.0.1:7255, health on 127.0.0.1:7256, an MCP server \
         behind the gateway at {}",
        dev::RESOURCE
    );
    println!("Paste these into another terminal:\n");
    for example in &EXAMPLES {
        let scopes: Result<Vec<Scope>, _> = example.scopes.iter().map(|scope| scope.parse()).collect();
        let claims = Claims {
            user: example.user.to_owned(),
            scopes: scopes?,
            roles: example.roles.iter().map(|role| (*role).to_owned()).collect(),
            audience: dev::RESOURCE.to_owned(),
            ttl: Duration::from_secs(60 * 60),
        };
        let token = issuer.mint(&claims, SystemClock.now())?;
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{}","arguments":{}}}}}"#,
            example.tool, example.arguments
        );
        println!("# {}", example.title);
        println!(
            "curl -si http://{decision}/authz/demo -H 'content-type: application/json' -H 'authorization: Bearer {token}' -d '{body}'\n"
        );
    }
    print_list(issuer)?;
    print_exchange(issuer, state)?;
    println!("# The records of these decisions");
    let program = std::env::args().next().unwrap_or_else(|| "palisade".to_owned());
    println!("{program} audit query --path {}", state.join("audit").display());
    Ok(())
}

/// What an MCP client sees through the gateway: the tools that its user may call, and no others.
fn print_list(issuer: &DevIssuer) -> anyhow::Result<()> {
    let claims = Claims {
        user: "alice".to_owned(),
        scopes: Vec::new(),
        roles: Vec::new(),
        audience: dev::RESOURCE.to_owned(),
        ttl: Duration::from_secs(60 * 60),
    };
    let token = issuer.mint(&claims, SystemClock.now())?;
    let version = "2026-07-28";
    let meta = format!(
        r#"{{"io.modelcontextprotocol/protocolVersion":"{version}","io.modelcontextprotocol/clientCapabilities":{{}}}}"#
    );
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{meta}}}}}"#);
    println!(
        "# A list through the gateway: of five tools alice sees those that she may call, or could with more scopes"
    );
    println!(
        "curl -s {} -H 'content-type: application/json' -H 'accept: application/json, text/event-stream' \
         -H 'mcp-protocol-version: {version}' -H 'mcp-method: tools/list' -H 'authorization: Bearer {token}' -d '{body}'\n",
        dev::RESOURCE
    );
    Ok(())
}

/// What a server sends to get a token for the next one, in the name of the user who called it.
fn print_exchange(issuer: &DevIssuer, state: &Path) -> anyhow::Result<()> {
    let claims = Claims {
        user: "alice".to_owned(),
        scopes: vec!["files:read".parse()?, "files:delete".parse()?],
        roles: Vec::new(),
        audience: dev::RESOURCE.to_owned(),
        ttl: Duration::from_secs(60 * 60),
    };
    let token = issuer.mint(&claims, SystemClock.now())?;
    let (public, client, audience) = (dev::PUBLIC, token_service::CLIENT, token_service::AUDIENCE);
    let secret = token_service::client_secret(state)?;
    println!(
        "# A token for the next service, in alice's name: what the sample server would ask the token service for"
    );
    println!(
        "curl -s {public}/oauth2/token -u {client}:{secret} -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \
         -d audience={audience} -d subject_token_type=urn:ietf:params:oauth:token-type:access_token -d subject_token={token}\n"
    );
    Ok(())
}

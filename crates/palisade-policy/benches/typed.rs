//! What tools cost when policies are loaded: `cargo bench -p palisade-policy --bench typed`.
//!
//! Untyped tools are resources, so validation does not see them. A typed tool is an action, and an unscoped policy is
//! validated once for each. Loading a set of 1 policy and one of 201 tells what a policy costs; the fastest of the rounds
//! counts, because what loads is the same in each. Times are processor time.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::error::Error;

use palisade_policy::{
    Kind, OnError, Policies, SourceFile, Sources, World, WorldResource, read_catalog, with_types,
};
use serde_json::{Value, json};

/// How many policies are loaded beside the first.
const MORE: u32 = 200;
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let cases = [(0, 0), (1_000, 0), (1_000, 1), (1_000, 10), (1_000, 100), (1_000, 1_000)];
    println!(
        "{:>6} {:>6} {:>16} {:>10} {:>16} {:>10}",
        "tools", "typed", "us a policy", "ratio", "load 1 (ms)", "ratio"
    );
    let mut base = None;
    for (tools, typed) in cases {
        let world = world(tools, typed)?;
        let one = fastest(1, &world)?;
        let policy = (fastest(1 + MORE, &world)? - one).max(0.0) / f64::from(MORE);
        let (first_policy, first_load) = *base.get_or_insert((policy, one));
        println!(
            "{tools:>6} {typed:>6} {:>16.1} {:>10.1} {:>16.1} {:>10.1}",
            policy * 1e6,
            policy / first_policy,
            one * 1e3,
            one / first_load
        );
    }
    Ok(())
}

/// Seconds to load so many unscoped policies.
fn fastest(policies: u32, world: &World) -> Result<f64, Box<dyn Error>> {
    let text: Vec<String> = (0..policies)
        .map(|at| format!("@id(\"{at}\") permit (principal, action, resource) when {{ context.scopes.contains(\"s{at}\") }};"))
        .collect();
    let sources =
        Sources { policies: vec![SourceFile::new("p.cedar", text.join("\n"))], ..Sources::default() };
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = processor_time();
        let loaded = Policies::load(&sources, world, OnError::Forbid);
        times.push(processor_time() - begun);
        loaded.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(times.into_iter().fold(f64::INFINITY, f64::min))
}

/// Seconds this thread has had.
fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::try_from(time).unwrap_or_default().as_secs_f64()
}

/// A server with so many tools, of which some are typed.
fn world(tools: usize, typed: usize) -> Result<World, Box<dyn Error>> {
    let name = |at: usize| format!("tool-{at}");
    let listed: Vec<Value> = (0..tools)
        .map(|at| {
            json!({ "name": name(at), "inputSchema": { "type": "object", "required": ["path"], "properties": {
                "path": { "type": "string" }, "depth": { "type": "integer" }, "tags": { "type": "array", "items": { "type": "string" } } } } })
        })
        .collect();
    let file = SourceFile::new("tools.json", Value::from(listed).to_string());
    let names: Vec<String> = (0..typed).map(name).collect();
    let tools = read_catalog(&file).map_err(|error| error.to_string())?;
    let tools = with_types(tools, &names, &file).map_err(|errors| format!("{errors:?}"))?;
    let resource = WorldResource {
        name: "files".parse()?,
        kind: Kind::Mcp,
        identifier: "https://mcp.example.com/files".to_owned(),
        tools,
        routes: Vec::new(),
        graph: None,
    };
    Ok(World { resources: vec![resource], ..World::default() })
}

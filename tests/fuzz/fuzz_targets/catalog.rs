//! Catalogues of tools, all of them typed where that can be.
//!
//! A server's list and a file of somebody's are read alike; what is read is written, and read again the same. A type
//! that an input schema gives makes a schema that policies load with, and whatever arguments a call then has, it is
//! answered.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use palisade_model::{
    Action, Arguments, Circumstances, ResourceName, Scopes, Subject, Surface, Target, Timestamp,
};
use palisade_policy::{
    Catalog, Kind, OnError, Policies, Query, SourceFile, Sources, Strength, Tool, World, WorldResource,
    read_catalog, with_types,
};
use serde_json::Value;

static FILES: LazyLock<ResourceName> = LazyLock::new(|| "files".parse().expect("a name"));

// The arguments of the calls, a line, and then the catalogue.
fuzz_target!(|input: &str| {
    let (arguments, text) = input.split_once('\n').unwrap_or(("{}", input));
    let file = SourceFile::new("tools.json", text);
    let Ok(mut tools) = read_catalog(&file) else { return };
    let catalog = Catalog::read(&file).expect("what the service reads is a catalogue");
    let again = SourceFile::new("tools.json", catalog.to_text());
    tools.sort_by(|left, right| left.name.cmp(&right.name));
    assert_eq!(read_catalog(&again).expect("what is written is read"), tools);
    assert_eq!(Catalog::read(&again).expect("what is written is read").to_text(), again.text);
    let typed: Vec<Tool> = tools.into_iter().take(8).map(|tool| typed(tool, &file)).collect();
    if let (true, Ok(arguments)) =
        (typed.iter().any(|tool| tool.input.is_some()), serde_json::from_str(arguments))
    {
        call(typed, &arguments);
    }
});

fn typed(tool: Tool, file: &SourceFile) -> Tool {
    let names = [tool.name.clone()];
    let tools = with_types(vec![tool.clone()], &names, file);
    tools.ok().and_then(|mut tools| tools.pop()).unwrap_or(tool)
}

fn call(tools: Vec<Tool>, arguments: &Value) {
    let names: Vec<String> = tools.iter().map(|tool| tool.name.clone()).collect();
    let resource = WorldResource {
        name: FILES.clone(),
        kind: Kind::Mcp,
        identifier: "https://mcp.example.com/files".to_owned(),
        tools,
        routes: Vec::new(),
        graph: None,
    };
    let world = World { resources: vec![resource], ..World::default() };
    let policy = "@id(\"p\") permit (principal, action in Mcp::Action::\"tools/call\", resource);";
    let sources = Sources { policies: vec![SourceFile::new("p.cedar", policy)], ..Sources::default() };
    // A type may be read from a schema that is no JSON Schema; such a catalogue is refused.
    let Ok(policies) = Policies::load(&sources, &world, OnError::Forbid) else { return };
    let arguments = Arguments::from_json(arguments).ok();
    let (subject, scopes) = (Subject::anonymous(), Scopes::new());
    for name in names {
        let verdict = policies.evaluate(&Query {
            subject: &subject,
            authority: None,
            strength: Strength { scopes: &scopes, acr: None, auth_time: None },
            action: &Action::mcp("tools/call"),
            target: &Target::mcp_tool(&FILES, &name),
            resource: &FILES,
            arguments: arguments.as_ref(),
            supplied: None,
            circumstances: &Circumstances {
                now: Timestamp::from_unix_seconds(0),
                ip: None,
                host: None,
                path: None,
                surface: Surface::Decide,
                asserted: false,
                sent: None,
            },
        });
        assert_ne!(verdict.reason(), palisade_model::Reason::InternalError, "{:?}", verdict.detail());
    }
}

//! What a list costs: `cargo bench -p palisade-policy --bench listing`.
//!
//! One subject lists a server of a thousand tools. A quarter of them it may call now, if the arguments are right; a
//! quarter needs another scope, a quarter another login, and a quarter is out of reach. Six scopes, two classes and one
//! age are on offer. The times are those of the whole list, with the subject prepared for it, in processor time; medians
//! of rounds. Beside it stands what Cedar's authorizer takes for a thousand decisions on requests and entities that are
//! there already, which is less than a list: it knows no step-up and has to be given arguments. In the hard list every
//! tool asks for five scopes that are on offer, and a challenge names at most three: no choice of them has to be tried.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{collections::BTreeMap, error::Error, time::Duration};

use cedar_policy::{Authorizer, Decision, PolicySet};
use palisade_model::{
    Action, Authority, Circumstances, ResourceName, Scope, Scopes, Subject, SubjectKind, Surface, Target,
    Timestamp,
};
use palisade_policy::{
    About, Kind, Offer, OnError, Policies, PreparedSubject, Reach, SourceFile, Sources, Strength, Tool,
    World, WorldResource, measure::Ready,
};

type Failure = Box<dyn Error>;

const TOOLS: usize = 1_000;
const ROUNDS: usize = 51;
const SERVER: &str = "files";

/// For everybody who reads, and nobody who acts for somebody else's agent.
const USUAL: &str = r#"
@id("read") permit (principal in Role::"corp/reader", action in Mcp::Action::"tools/call", resource in Mcp::Server::"files")
when { resource.read_only && context.scopes.contains("files:read") };
@id("write") permit (principal in Role::"corp/reader", action in Mcp::Action::"tools/call", resource in Mcp::ToolGroup::"files/write")
when { context.args.text.hasTag("/path") && context.args.text.getTag("/path") like "/workspace/*"
  && !(context.args.text.getTag("/path") like "*..*") && context.scopes.contains("files:write") };
@id("delete") permit (principal in Role::"corp/reader", action in Mcp::Action::"tools/call", resource in Mcp::ToolGroup::"files/delete");
@id("sensitive") forbid (principal, action in Mcp::Action::"tools/call", resource in Mcp::ToolGroup::"files/delete")
unless { context has acr && context.acr == "mfa" };
@id("large") forbid (principal, action, resource)
when { context has args && context.args.number.hasTag("/limit") && context.args.number.getTag("/limit") > 1000 };
@id("agents") forbid (principal, action, resource) when { context.delegation_depth > 3 };
@id("parts") forbid (principal, action, resource) when { !context.groups_complete };
"#;

/// Every tool asks for more scopes than a challenge names, all of which are on offer: the search tries whatever it may.
const HARD: &str = r#"
@id("all") permit (principal in Role::"corp/reader", action in Mcp::Action::"tools/call", resource in Mcp::Server::"files")
when { resource.listed && context.scopes.containsAll(["s1", "s2", "s3", "s4", "files:write"]) };
"#;

/// A list as it is asked for.
struct Bench {
    policies: Policies,
    set: PolicySet,
    resource: ResourceName,
    action: Action,
    tools: Vec<Target>,
    subject: Subject,
    authority: Authority,
    circumstances: Circumstances,
    step_up: Vec<Scope>,
    implies: BTreeMap<Scope, Vec<Scope>>,
}

fn main() -> Result<(), Failure> {
    println!(
        "{:>6} {:>9} {:>14} {:>14} {:>18} {:>8}   shown",
        "list", "policies", "permitted (ms)", "reachable (ms)", "Cedar x 1,000 (ms)", "ratio"
    );
    for (name, text, size) in [("usual", USUAL, 100), ("usual", USUAL, 10_000), ("hard", HARD, 100)] {
        let bench = Bench::new(text, size)?;
        let (mut permitted, mut reachable) = (Reached::default(), Reached::default());
        let now = median(|| permitted = bench.list(false));
        let with_step_up = median(|| reachable = bench.list(true));
        let cedar = bench.cedar()?;
        let [now, with_step_up, cedar] = [now, with_step_up, cedar].map(|time| time.as_secs_f64() * 1e3);
        println!(
            "{name:>6} {size:>9} {now:>14.2} {with_step_up:>14.2} {cedar:>18.1} {:>8.0}   {} and {} of {TOOLS}",
            cedar / with_step_up,
            permitted.permitted,
            reachable.permitted + reachable.step_up,
        );
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Reached {
    permitted: usize,
    step_up: usize,
}

impl Bench {
    fn new(text: &str, size: usize) -> Result<Self, Failure> {
        let resource: ResourceName = SERVER.parse()?;
        let name = |tool: usize| format!("t{tool}");
        let tools = (0..TOOLS).map(|tool| Tool {
            name: name(tool),
            read_only: Some(tool % 4 == 0),
            groups: ["read", "write", "delete", "admin"]
                .get(tool % 4)
                .map(|group| (*group).to_owned())
                .into_iter()
                .collect(),
            ..Tool::default()
        });
        let world = World {
            resources: vec![WorldResource {
                name: resource.clone(),
                kind: Kind::Mcp,
                identifier: "https://mcp.example.com/files".to_owned(),
                tools: tools.collect(),
                routes: Vec::new(),
                graph: None,
            }],
            ..World::default()
        };
        let narrow = (7..size).map(|number| {
            let (tool, scope) = (number % TOOLS, number % 20);
            format!("@id(\"p{number}\") permit (principal in Role::\"corp/r{number}\", action in Mcp::Action::\"tools/call\", resource == Mcp::Tool::\"files/t{tool}\") when {{ context.scopes.contains(\"s{scope}\") }};\n")
        });
        let text: String = std::iter::once(text.to_owned()).chain(narrow).collect();
        let set = text.parse()?;
        let sources = Sources { policies: vec![SourceFile::new("p.cedar", text)], ..Sources::default() };
        let policies = Policies::load(&sources, &world, OnError::Forbid);
        Ok(Self {
            policies: policies.map_err(|errors| format!("{errors:?}"))?,
            set,
            tools: (0..TOOLS).map(|tool| Target::mcp_tool(&resource, &name(tool))).collect(),
            resource,
            action: Action::mcp("tools/call"),
            subject: subject(),
            authority: authority()?,
            circumstances: Circumstances {
                now: Timestamp::from_unix_seconds(1_767_225_600),
                ip: None,
                host: None,
                path: None,
                surface: Surface::Decide,
                asserted: false,
                sent: None,
            },
            step_up: ["s1", "s2", "files:write", "s3", "s4", "s5"]
                .iter()
                .map(|scope| scope.parse())
                .collect::<Result<_, _>>()?,
            implies: BTreeMap::new(),
        })
    }

    fn prepare(&self) -> PreparedSubject {
        let Authority { scopes, acr, auth_time, .. } = &self.authority;
        let strength = Strength { scopes, acr: acr.as_deref(), auth_time: *auth_time };
        self.policies.prepare(&self.subject, Some(&self.authority), strength)
    }

    /// The whole list, from the token's claims on.
    fn list(&self, reachable: bool) -> Reached {
        let (acr_values, max_age) = (["otp", "mfa"].map(str::to_owned), [Duration::from_secs(600)]);
        let offer = Offer {
            step_up: &self.step_up,
            implies: &self.implies,
            acr_values: &acr_values,
            max_age: &max_age,
        };
        let subject = self.prepare();
        let asking = self.policies.ask(&subject, &self.circumstances);
        let mut list = asking.list(Some(&offer).filter(|_| reachable));
        let mut reached = Reached::default();
        for tool in &self.tools {
            let (action, resource) = (&self.action, &self.resource);
            let about = About { action, target: tool, resource, arguments: None, supplied: None };
            match list.reach(&about) {
                Reach::Permitted => reached.permitted += 1,
                Reach::StepUp => reached.step_up += 1,
                Reach::Never | Reach::Exhausted => {}
            }
        }
        reached
    }

    /// What Cedar's authorizer takes for a decision on every tool.
    fn cedar(&self) -> Result<Duration, Failure> {
        let subject = self.prepare();
        let asking = self.policies.ask(&subject, &self.circumstances);
        let ready = self.tools.iter().map(|target| {
            let about = About {
                action: &self.action,
                target,
                resource: &self.resource,
                arguments: None,
                supplied: None,
            };
            Ready::new(&asking, &about).and_then(|ready| ready.for_cedar()).ok_or("a tool is no question")
        });
        let ready: Vec<_> = ready.collect::<Result<_, _>>()?;
        let authorizer = Authorizer::new();
        let begin = processor_time();
        let allowed = ready.iter().filter(|(request, entities)| {
            authorizer.is_authorized(request, &self.set, entities).decision() == Decision::Allow
        });
        std::hint::black_box(allowed.count());
        Ok(processor_time().saturating_sub(begin))
    }
}

fn subject() -> Subject {
    Subject {
        kind: SubjectKind::User,
        id: "corp/alice".to_owned(),
        roles: ["reader", "r11", "r12", "r13", "r14"].iter().map(|role| format!("corp/{role}")).collect(),
        groups: Default::default(),
        tenant: Some("corp/acme".to_owned()),
        tags: BTreeMap::new(),
        supplied: palisade_model::Properties::default(),
    }
}

fn authority() -> Result<Authority, Failure> {
    let mut scopes: Scopes = (6..24).map(|scope| format!("s{scope}").parse()).collect::<Result<_, _>>()?;
    scopes.insert("files:read".parse()?);
    Ok(Authority {
        issuer: "corp".parse()?,
        audience: ["https://mcp.example.com/files".into()].into(),
        scopes,
        client: Some("corp/app".to_owned()),
        actors: Vec::new(),
        acr: Some("pwd".to_owned()),
        amr: Default::default(),
        auth_time: Some(Timestamp::from_unix_seconds(1_767_222_000)),
        groups_complete: true,
        token_id: "jti:1".to_owned(),
        expires_at: Timestamp::from_unix_seconds(1_767_229_200),
    })
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begin = processor_time();
            work();
            processor_time().saturating_sub(begin)
        })
        .collect();
    times.sort();
    times.get(ROUNDS / 2).copied().unwrap_or_default()
}

/// What this thread has had of a processor: a busy machine does not count.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

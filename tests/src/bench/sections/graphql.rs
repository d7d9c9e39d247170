//! GraphQL: what an operation costs as it has more fields, against the call of one tool; and a router that asks about each operation
//! against the same router that judges the directives of its schema by itself, and against one that judges nothing.
//!
//! The decision is asked as Envoy asks: the operation is parsed, validated and measured, and every field of it asked of the
//! policies. Behind a router all that an answer takes runs on the servers' processor: router, subgraph, and what is asked.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    bench::{
        Run,
        calls::{self, Form},
        compare::{self, Contender, Effort, Runs},
        latency::{Rounds, float},
        load::Call,
        matrix::Matrix,
        progress::Progress,
        report::Table,
        sides::{self, Side},
        tokens::{Algorithm, Holder},
        world::World,
    },
    components::{HiveGateway, OidcProvider, Subgraph, repository},
};

/// How many fields the operations have.
const SIZES: [usize; 3] = [10, 100, 1_000];
/// The identifier of the API.
const API: &str = "https://api.example.com/graphql";
/// How many users the routers' tokens are of.
const USERS: usize = 40;
/// How many clients wait for an answer at once.
const CLIENTS: usize = 8;
/// At which part of the lowest peak latencies are compared.
const PART: f64 = 0.5;
/// Every field needs a scope; one in ten bears a tag that needs another.
const POLICIES: &str = r#"
@id("operations") permit (principal is User, action in Graphql::Action::"execute", resource in Graphql::Graph::"graph");
@id("fields") permit (principal, action in Graphql::Action::"field", resource in Graphql::Graph::"graph") when { context.scopes.contains("s0000") };
@id("tagged") forbid (principal, action in Graphql::Action::"field", resource in Graphql::Label::"graph/tagged") unless { context.scopes.contains("s0001") };
"#;
/// What the policies of `policies/graphql-fields` and the directives of the router's schema both permit.
const MIXED: &str =
    "{ me { id name } customer(id: 2) { id name } orders(first: 1) { id total } products { name } }";
/// What both deny.
const REFUSED: &str = "mutation { cancelOrder(id: 10) { id } }";

/// A schema with as many fields as the largest operation asks for.
fn schema() -> String {
    let mut text = "type Query { row: Row }\ntype Row {\n".to_owned();
    for field in 0..SIZES.iter().copied().max().unwrap_or_default() {
        let tag = if field % 10 == 0 { " @tag(name: \"tagged\")" } else { "" };
        let _ = writeln!(text, "  f{field}: String{tag}");
    }
    text + "}\n"
}

/// An operation of so many fields.
fn operation(fields: usize) -> String {
    let names: Vec<String> = (0..fields.saturating_sub(1)).map(|field| format!("f{field}")).collect();
    format!("query Rows {{ row {{ {} }} }}", names.join(" "))
}

/// A router's operation of a hundred fields: fifty with arguments of their own, so that each is a question of its own, half of which a
/// directive stands on; and a field of each.
fn wide() -> String {
    let one = |number: usize| {
        format!("o{number}: orders(first: {number}) {{ id }} c{number}: customer(id: {number}) {{ name }}")
    };
    format!("{{ {} }}", (1..=25).map(one).collect::<Vec<_>>().join(" "))
}

/// What the routers are asked.
fn routed() -> [(&'static str, String); 2] {
    [("11 fields", MIXED.to_owned()), ("100 fields", wide())]
}

/// A service that is asked about tools and about operations, and the requests that it is asked.
struct Decisions {
    side: Side,
    tools: Vec<Call>,
    operations: Vec<(usize, Vec<Call>)>,
}

impl Decisions {
    async fn start(run: &Run) -> Result<Self> {
        let (world, matrix) = (World::new()?, Matrix::new(100));
        let policies = world.policies(&matrix, 0)?;
        fs::write(policies.join("graph.cedar"), POLICIES)?;
        let sdl = world.folder("graph")?.join("schema.graphql");
        fs::write(&sdl, schema())?;
        let configuration = format!(
            "{}  graph: {{identifier: \"{API}\", kind: graphql, issuers: [corp], schema: {{sdl: {}}}}}\n",
            world.configuration(&policies, None),
            sdl.display()
        );
        let side = Side::configured(&run.cores, "Palisade", &configuration).await?;
        side.compare(&world, &matrix).await?;
        let permitted: Vec<_> = matrix.load().into_iter().filter(|question| question.permitted).collect();
        let tools = Form::ExtAuthz.warm(&world.issuer, &matrix, &permitted)?;
        let token = |number: usize| {
            let scopes = ["s0000", "s0001"].map(str::to_owned).into();
            let holder = Holder { subject: format!("u{number}"), roles: Vec::new(), scopes };
            world.issuer.token_for(API, Algorithm::Es256, &holder, number)
        };
        let tokens = (0..100).map(token).collect::<Result<Vec<_>>>()?;
        let of = |fields: usize| {
            let calls = tokens.iter().map(|token| calls::asked_operation("graph", token, &operation(fields)));
            Ok((fields, calls.collect::<Result<Vec<_>>>()?))
        };
        let operations = SIZES.into_iter().map(of).collect::<Result<Vec<_>>>()?;
        let weak = Holder { subject: "weak".to_owned(), roles: Vec::new(), scopes: vec!["s0000".to_owned()] };
        let weak = world.issuer.token_for(API, Algorithm::Es256, &weak, 0)?;
        for (fields, calls) in &operations {
            let some = calls.get(..1).context("no call")?;
            ensure!(
                side.answers(some).await?.iter().all(|(permitted, _)| *permitted),
                "{fields} fields are denied"
            );
            let refused = calls::asked_operation("graph", &weak, &operation(*fields))?;
            let answer = side.answers(&[refused]).await?;
            ensure!(
                answer.iter().all(|(permitted, _)| !permitted),
                "{fields} fields are permitted without a scope"
            );
        }
        Ok(Self { side, tools, operations })
    }
}

/// The same router three times, in front of one subgraph.
struct Routers {
    open: Side,
    directives: Side,
    asking: Side,
    /// What each operation is, with the token of every user.
    calls: Vec<(&'static str, Vec<Call>)>,
    refused: Call,
    _subgraph: Subgraph,
    _provider: OidcProvider,
    _service: crate::service::Palisade,
    _files: tempfile::TempDir,
}

impl Routers {
    async fn start(run: &Run) -> Result<Self> {
        let scopes = ["customers:read", "orders:write"];
        let names: Vec<String> = (0..USERS).map(|number| format!("u{number}")).collect();
        let users: serde_json::Map<String, Value> =
            names.iter().map(|name| (name.clone(), json!({}))).collect();
        let provider = OidcProvider::start_with(
            &json!({ "users": users, "resources": {"*": scopes}, "token_ttl_s": 7_200 }),
        )
        .await?;
        let mut tokens = Vec::with_capacity(USERS);
        for name in &names {
            tokens.push(provider.token(name, API, "customers:read").await?);
        }
        let cores = &run.cores;
        let subgraph = {
            let _held = cores.for_server()?;
            Subgraph::start().await?
        };
        let (supergraph, files) = (subgraph.supergraph()?, tempfile::tempdir()?);
        let sdl = files.path().join("supergraph.graphql");
        fs::write(&sdl, &supergraph)?;
        let configuration = configuration(provider.issuer(), &sdl);
        let service = sides::service(cores, &configuration, "").await?;
        let check = format!("http://127.0.0.1:{}/authz/storefront", service.decision);
        let keys = format!("{}/jwks", provider.issuer());
        let (open, directives, asking) = {
            let _held = cores.for_server()?;
            (
                HiveGateway::start_open(&supergraph).await?,
                HiveGateway::start_with_keys(&supergraph, (provider.issuer(), &keys), API).await?,
                HiveGateway::start(&supergraph, &check).await?,
            )
        };
        let side = |name: &str, router: HiveGateway| Side::router(name, router).with(subgraph.pid());
        let asking = side("asking Palisade", asking).with(service.pid().context("it does not run")?);
        let call = |(name, document): (&'static str, String)| {
            let calls = tokens.iter().map(|token| calls::operation(token, &document));
            Ok((name, calls.collect::<Result<Vec<_>>>()?))
        };
        Ok(Self {
            open: side("judging nothing", open),
            directives: side("its own directives", directives),
            asking,
            calls: routed().into_iter().map(call).collect::<Result<Vec<_>>>()?,
            refused: calls::operation(tokens.first().context("no token")?, REFUSED)?,
            _subgraph: subgraph,
            _provider: provider,
            _service: service,
            _files: files,
        })
    }

    fn all(&self) -> [&Side; 3] {
        [&self.open, &self.directives, &self.asking]
    }

    /// Asks all the same, and holds the answers against each other.
    async fn compare(&self) -> Result<()> {
        let calls: Vec<Call> = self.calls.iter().flat_map(|(_, calls)| calls).cloned().collect();
        let plain = self.open.answers(&calls).await?;
        for side in self.all() {
            ensure!(side.answers(&calls).await? == plain, "{} answers otherwise", side.name);
        }
        for side in [&self.directives, &self.asking] {
            let answers = side.answers(std::slice::from_ref(&self.refused)).await?;
            let (_, body) = answers.first().context("no answer")?;
            let body: Value = serde_json::from_slice(body)?;
            ensure!(body.get("errors").is_some(), "{} executes what it must not: {body}", side.name);
        }
        Ok(())
    }
}

/// Palisade with the set of `policies/graphql-fields`.
fn configuration(issuer: &str, sdl: &Path) -> String {
    format!(
        "policies: {{path: {}}}\nissuers:\n  corp: {{issuer: \"{issuer}\", network: {{private: true}}, max_lifetime: 3h}}\nresources:\n  \
         storefront: {{identifier: \"{API}\", kind: graphql, issuers: [corp], schema: {{sdl: {}}}}}\n",
        repository().join("policies/graphql-fields").display(),
        sdl.display()
    )
}

/// Starts every side and compares the answers.
pub(in crate::bench) async fn check(run: &mut Run) -> Result<()> {
    Decisions::start(run).await?;
    let routers = Routers::start(run).await?;
    routers.compare().await?;
    let names = routers.all().map(|side| side.name.as_str());
    run.report.line(&format!("the same GraphQL answers: {}", names.join("; ")))
}

/// Measures and prints everything.
pub(in crate::bench) async fn run(run: &mut Run) -> Result<()> {
    run.report.heading("graphql: decisions on operations, over ext_authz, 100 policies and 3 of the API")?;
    let Decisions { side, tools, operations } = Decisions::start(run).await?;
    // As many at once as are decided long before their deadline, also of the largest.
    let few = |name: &str, calls| Contender::warm(name, &side, calls).over(CLIENTS, 1);
    let mut contenders = vec![few("one tool", tools)];
    for (fields, calls) in operations {
        contenders.push(few(&format!("{fields} fields"), calls));
    }
    let effort = run.effort();
    let (peaks, _) = measure(run, "graphql", &contenders, effort, 1)?;
    print_decisions(run, &contenders, &peaks)?;
    drop(contenders);
    drop(side);
    run.report
        .heading("graphql: Hive Gateway in front of a subgraph, all that an answer takes on one processor")?;
    run.report.line(&format!(
        "{USERS} tokens in turn, each of which has been seen: Palisade keeps what it has verified, and the router the operations that it has parsed"
    ))?;
    let routers = Routers::start(run).await?;
    routers.compare().await?;
    for (name, calls) in &routers.calls {
        let contender = |side| -> Contender<'_> { Contender::warm(&side_name(side), side, calls.clone()) };
        let contenders: Vec<Contender<'_>> =
            routers.all().into_iter().map(|side| contender(side).over(CLIENTS, 1)).collect();
        let (peaks, level) = measure(run, name, &contenders, effort, 2)?;
        print_routers(run, name, &contenders, &peaks, &level)?;
    }
    Ok(())
}

fn side_name(side: &Side) -> String {
    side.name.clone()
}

/// Peaks, and where two kinds of rounds are wanted latencies at the same rate for all.
fn measure(
    run: &Run,
    what: &str,
    contenders: &[Contender<'_>],
    effort: Effort,
    kinds: usize,
) -> Result<(Vec<Runs>, Vec<Runs>)> {
    let progress = Progress::new(what, compare::steps(contenders.len(), effort, kinds));
    let peaks = compare::peaks(contenders, effort, &run.cores, &progress)?;
    if kinds < 2 {
        return Ok((peaks, Vec::new()));
    }
    let lowest = peaks.iter().map(|runs| runs.peak().median).fold(f64::INFINITY, f64::min);
    let level = compare::at_rate(lowest * PART, contenders, effort, &run.cores, &progress)?;
    Ok((peaks, level))
}

fn print_decisions(run: &mut Run, contenders: &[Contender<'_>], peaks: &[Runs]) -> Result<()> {
    let Some(tool) = peaks.first() else { return Ok(()) };
    run.report.line(
        "\n`of` is the peak against that of a tool's call, `a field` what each field adds to its cost",
    )?;
    let heading = ["", "peak per s", "rounds", "of", "us of processor", "us a field", "late"];
    let (mut table, mut rows) = (Table::new(heading), Vec::new());
    let fields = std::iter::once(None).chain(SIZES.into_iter().map(Some));
    for ((contender, runs), fields) in contenders.iter().zip(peaks).zip(fields) {
        let (peak, ratio, cost) = (runs.peak(), runs.throughput_ratio(tool), runs.cost());
        let each = fields.map(|fields| (cost.median - tool.cost().median) / float(fields));
        table.row([
            contender.name.clone(),
            format!("{:.0}", peak.median),
            format!("{:.0} to {:.0}", peak.lowest, peak.highest),
            format!("{:.3}", ratio.median),
            format!("{:.0}", cost.median),
            each.map(|each| format!("{each:.2}")).unwrap_or_default(),
            runs.late(),
        ]);
        rows.push(json!({
            "what": contender.name, "peak_per_s": peak.report(), "of_one_tool": ratio.report(), "cost_us": cost.report(),
            "us_a_field": each,
        }));
    }
    table.print()?;
    run.report.keep("graphql_decisions", Value::Array(rows));
    Ok(())
}

fn print_routers(
    run: &mut Run,
    what: &str,
    contenders: &[Contender<'_>],
    peaks: &[Runs],
    level: &[Runs],
) -> Result<()> {
    let (Some(open), Some(calm)) = (peaks.first(), level.first()) else { return Ok(()) };
    run.report.line(&format!(
        "\nan operation of {what}: `of` and `added` are against the router that judges nothing, round by round"
    ))?;
    let heading = ["", "peak per s", "of", "us of processor", "p50 us", "added", "p99 us", "added"];
    let (mut table, mut rows) = (Table::new(heading), Vec::new());
    for ((contender, runs), at) in contenders.iter().zip(peaks).zip(level) {
        let (peak, ratio, cost) = (runs.peak(), runs.throughput_ratio(open), runs.cost());
        let added = |thousandths| -> Rounds { at.latency_added(calm, thousandths) };
        table.row([
            contender.name.clone(),
            format!("{:.0}", peak.median),
            format!("{:.2}", ratio.median),
            format!("{:.0}", cost.median),
            format!("{:.0}", at.latency(500).median),
            format!("{:+.0}", added(500).median),
            format!("{:.0}", at.latency(990).median),
            format!("{:+.0}", added(990).median),
        ]);
        rows.push(json!({
            "what": contender.name, "peak_per_s": peak.report(), "of_open": ratio.report(), "cost_us": cost.report(),
            "added_p50_us": added(500).report(), "added_p99_us": added(990).report(),
        }));
    }
    table.print()?;
    run.report.keep(&format!("graphql_router_{}", what.replace(' ', "_")), Value::Array(rows));
    Ok(())
}

//! What it takes to analyse and filter operations of 10, 100 and 1,000 fields, to refuse or read the worst that the
//! limits let by, and to answer introspection of schemas of 1,000 and 10,000 fields.
//!
//!     cargo bench -p palisade-graphql
//!
//! All are measured in turns in one run; what is told is the median of each and the ratio to the library's own parsing and
//! validation of the same text, without which nobody could do anything with an operation. A refusal has no such ratio.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measures")]

use std::error::Error;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use apollo_compiler::{ExecutableDocument, validation::Valid};
use palisade_graphql::{Analysis, Decisions, Dialect, Mode, OperationError, OperationKind, Schema, Shown};
use serde_json::Map;

type Failure = Box<dyn Error + Send + Sync>;

const ROUNDS: usize = 41;
const SDL: &str = r#"
type Query { item(id: ID!): Item items: [Item!] node: Node }
interface Node { id: ID! name: String }
type Item implements Node {
  id: ID! name: String price: Int @requiresScopes(scopes: [["price:read"]]) cost: Int @policy(policies: [["costs"]])
  more: [Item!] owner: Owner
}
type Owner implements Node @authenticated { id: ID! name: String mail: String @tag(name: "pii") }
"#;

struct Measured {
    library: Vec<Duration>,
    analysis: Vec<Duration>,
    filter: Vec<Duration>,
}

fn main() -> Result<(), Failure> {
    let schema = Schema::load(SDL)?;
    let library =
        apollo_compiler::Schema::parse_and_validate(bare_sdl(), "schema").map_err(|why| why.to_string())?;
    println!(
        "{:<30} {:>10} {:>10} {:>7} {:>10} {:>7}",
        "", "library", "analysis", "ratio", "filter", "ratio"
    );
    for fields in [10, 100, 1_000] {
        row(&format!("{fields} fields"), &operation(fields), &schema, &library)?;
    }
    row(
        "5,000 selections of a field",
        &format!("{{ node {{ {} }} }}", "id ".repeat(4_990)),
        &schema,
        &library,
    )?;
    row("the same through fragments", &wide(), &schema, &library)?;
    row("4,800 denied, 80 levels down", &deep(), &schema, &library)?;
    for (name, document) in [("30 fragments, twice each", bomb()), ("10,000 aliases", aliases())] {
        println!("{name:<30} {:>10} {:>10.1} us, refused", "", micros(refusal(&schema, &document)?));
    }
    for fields in [1_000, 10_000] {
        let (shown, answer) = introspection(fields)?;
        println!(
            "a schema of {fields:<6} fields: what is shown {:>8.2} ms, the answer {:>8.2} ms",
            micros(shown) / 1_000.0,
            micros(answer) / 1_000.0
        );
    }
    Ok(())
}

/// What it takes to find what of a schema is shown, and to answer what tools ask, where one field in ten is not permitted.
fn introspection(fields: usize) -> Result<(Duration, Duration), Failure> {
    let types: String = (0..fields / 10).fold(String::new(), |mut text, number| {
        let next = (number + 1) % (fields / 10);
        let _ = write!(text, "type T{number} {{ next: T{next} ");
        for field in 0..9 {
            let _ = write!(text, "f{field}(first: Int = 10, by: By): String ");
        }
        text + "} "
    });
    let schema = Schema::load(&format!("type Query {{ t: T0 }} input By {{ id: ID name: String }} {types}"))?;
    let names = schema.elements().map(|(coordinate, _)| coordinate);
    let permitted = Shown::of(names.filter(|it| it.field_name() != Some("f4")));
    let document = "query I { __schema { queryType { name } types { kind name description
        fields(includeDeprecated: true) { name description args { name description type { ...R } defaultValue }
          type { ...R } isDeprecated deprecationReason }
        inputFields { name type { ...R } } interfaces { ...R } enumValues { name } possibleTypes { ...R } }
        directives { name args { name } } } }
        fragment R on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";
    let analysis = schema.analyze(document, None, &Map::new())?;
    let (mut finding, mut answering) = (Vec::new(), Vec::new());
    for _ in 0..11 {
        let started = Instant::now();
        let shown = schema.shown(&Decisions::none(), &permitted, &[OperationKind::Query], Dialect::Apollo);
        finding.push(started.elapsed());
        let started = Instant::now();
        black_box(schema.introspect(&analysis, &shown)?);
        answering.push(started.elapsed());
    }
    Ok((median(finding), median(answering)))
}

/// Measures one operation, each way in turns.
fn row(
    name: &str,
    document: &str,
    schema: &Schema,
    library: &Valid<apollo_compiler::Schema>,
) -> Result<(), Failure> {
    let mut measured = Measured { library: Vec::new(), analysis: Vec::new(), filter: Vec::new() };
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let parsed = ExecutableDocument::parse_and_validate(library, document, "document");
        black_box(parsed.map_err(|why| why.to_string())?);
        measured.library.push(began.elapsed());
        let began = Instant::now();
        let analysis = black_box(schema.analyze(document, None, &Map::new())?);
        measured.analysis.push(began.elapsed());
        let decisions = granted(&analysis);
        let began = Instant::now();
        black_box(schema.filter(&analysis, &decisions, Dialect::Apollo, Mode::Filter));
        measured.filter.push(began.elapsed());
    }
    let library = micros(median(measured.library));
    let (analysis, filter) = (micros(median(measured.analysis)), micros(median(measured.filter)));
    println!(
        "{name:<30} {library:>7.1} us {analysis:>7.1} us {:>7.2} {filter:>7.1} us {:>7.2}",
        analysis / library,
        filter / library
    );
    Ok(())
}

/// Every coordinate is granted but those that are told by a directive.
fn granted(analysis: &Analysis) -> Decisions {
    Decisions::none().authenticated(true).scopes(["price:read"]).fields(analysis.asks().iter().cloned())
}

fn refusal(schema: &Schema, document: &str) -> Result<Duration, Failure> {
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let refused = black_box(schema.analyze(document, None, &Map::new()));
        all.push(began.elapsed());
        if !matches!(refused, Err(OperationError::TooMuch { .. })) {
            return Err("a bomb was not refused".into());
        }
    }
    Ok(median(all))
}

/// The schema without what only Palisade reads.
fn bare_sdl() -> String {
    let directives = [
        "@requiresScopes(scopes: [[\"price:read\"]])",
        "@policy(policies: [[\"costs\"]])",
        "@authenticated",
        "@tag(name: \"pii\")",
    ];
    directives.iter().fold(SDL.to_owned(), |sdl, directive| sdl.replace(directive, ""))
}

/// An operation of about so many fields.
fn operation(fields: usize) -> String {
    let mut text = "{ ".to_owned();
    for index in 0..fields / 5 {
        // Aliases for some, so that nothing has to be merged, and one field for the rest.
        let alias = if index < 200 { format!("a{index}: ") } else { String::new() };
        let _ = write!(text, "{alias}items {{ id name price owner {{ mail }} }} ");
    }
    text + "}"
}

/// Fragments that come to nearly as many selections as are allowed.
fn wide() -> String {
    let mut text = "{ items { ...F0 } }".to_owned();
    for index in 0..9 {
        let _ = write!(
            text,
            " fragment F{index} on Item {{ id ...F{} more {{ ...F{} }} }}",
            index + 1,
            index + 1
        );
    }
    text + " fragment F9 on Item { name }"
}

/// As many denials as can be, as deep as can be.
fn deep() -> String {
    let (open, close) = ("... on Item { ".repeat(80), "}".repeat(80));
    format!("{{ items {{ {open} {} {close} }} }}", "cost ".repeat(4_800))
}

fn bomb() -> String {
    let mut text = "{ items { ...F0 } }".to_owned();
    for index in 0..30 {
        let _ = write!(text, " fragment F{index} on Item {{ ...F{} ...F{} }}", index + 1, index + 1);
    }
    text + " fragment F30 on Item { name }"
}

fn aliases() -> String {
    let mut text = "{ ".to_owned();
    for index in 0..10_000 {
        let _ = write!(text, "a{index}: node {{ id }} ");
    }
    text + "}"
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000_000.0
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

//! What a decision costs: Cedar's authorizer and the engine of this crate, in one run, turn by turn, on the same
//! questions. `--quick` stops at 10,000 policies; `--shape NAME` measures one kind of set; `--json FILE` writes the rows.
//! `--ask mixed:100` does nothing but ask, for a profiler: a million questions, the fastest thousand's mean in nanoseconds.
//!
//! `alone` is `palisade` in a process that holds nothing else, as a service does: beside Cedar's set and after its walk
//! through it, the caches are cold. Times are processor time, medians of rounds; those of loading are by the clock. `cedar` and `engine` evaluate a request and entities that are there already; `cedar+`
//! and `palisade` begin with the question, the one building every entity anew, the other with a prepared subject; `new
//! token` prepares the subject, too. What is measured is first compared: the same decisions, by as many policies.

mod cedar;
mod memory;
mod report;
mod sets;

use std::{
    env, fs,
    io::Write as _,
    time::{Duration, Instant},
};

use cedar_policy::{Authorizer, PolicySet, Schema, SchemaFragment, ValidationMode, Validator};
use palisade_policy::{
    OnError, Policies, PreparedSubject, VOCABULARY,
    measure::{Bare, Ready},
};

use self::{
    report::{Row, Times},
    sets::{Asked, Shape},
};

/// What the service allocates with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) type Failure = Box<dyn std::error::Error>;

/// The largest set that Cedar validates by itself here: it takes minutes beyond.
const VALIDATED: usize = 1_000;
const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let value = |name: &str| {
        arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1)).cloned()
    };
    if let Some(what) = value("--memory-of") {
        return memory::measure_here(&what);
    }
    if let Some(what) = value("--ask") {
        return memory::ask(&what);
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let only = value("--shape");
    let mut rows = Vec::new();
    report::heading()?;
    for shape in
        Shape::ALL.into_iter().filter(|shape| only.as_deref().is_none_or(|name| name == shape.name()))
    {
        for size in SIZES.into_iter().filter(|size| !quick || *size <= 10_000) {
            let row = measure(shape, size)?;
            report::line(&row)?;
            rows.push(row);
        }
    }
    report::ratios(&rows)?;
    list_of_a_thousand()?;
    if let Some(file) = value("--json") {
        fs::write(&file, serde_json::to_vec_pretty(&rows)?)?;
    }
    Ok(())
}

/// A set as both sides have it, and the questions.
struct Bench {
    set: PolicySet,
    schema: Schema,
    engine: Bare,
    policies: Policies,
    asked: Vec<Asked>,
    subjects: Vec<PreparedSubject>,
}

fn measure(shape: Shape, size: usize) -> Result<Row, Failure> {
    let text = sets::policies(shape, size);
    let (set, parse) = timed(|| text.parse::<PolicySet>().map_err(Box::new));
    let set = set?;
    let schema = schema(shape, size)?;
    let validate = (size <= VALIDATED).then(|| {
        timed(|| Validator::new(schema.clone()).validate(&set, ValidationMode::Strict).validation_passed())
    });
    if validate.is_some_and(|(valid, _)| !valid) {
        return Err(format!("the {} set of {size} is not valid", shape.name()).into());
    }
    let (engine, index) = timed(|| Bare::new(&set));
    let (sources, world) = (sets::sources(shape, size, 1), sets::world()?);
    let (policies, load) = timed(|| Policies::load(&sources, &world, OnError::Forbid));
    let policies =
        policies.map_err(|errors| errors.iter().map(|error| format!("{error}\n")).collect::<String>())?;
    let (split, load_split) =
        timed(|| Policies::load(&sets::sources(shape, size, 100), &world, OnError::Forbid).is_ok());
    if !split {
        return Err("the set cannot be loaded from a hundred files".into());
    }
    let (asked, subjects) = questions(&policies, shape, size)?;
    let bench = Bench { set, schema, engine, policies, asked, subjects };
    let candidates = bench.compare()?;
    let mut times = bench.time()?;
    let memory = memory::measure("palisade", shape, size)?;
    times.alone = memory.nanoseconds;
    Ok(Row {
        shape: shape.name(),
        size,
        times,
        candidates,
        parse_ms: millis(parse),
        validate_ms: validate.map(|(_, took)| millis(took)),
        index_ms: millis(index),
        load_ms: millis(load),
        load_split_ms: millis(load_split),
        cedar_memory: memory::measure("cedar", shape, size)?,
        memory,
    })
}

/// The questions about a set, and their subjects as the policies see them.
pub(crate) fn questions(
    policies: &Policies,
    shape: Shape,
    size: usize,
) -> Result<(Vec<Asked>, Vec<PreparedSubject>), Failure> {
    let count = if size > 10_000 { 16 } else { 64 };
    let asked = sets::questions(size, count).into_iter().map(|number| Asked::new(shape, number));
    let asked: Vec<Asked> = asked.collect::<Result<_, _>>()?;
    let prepare = |asked: &Asked| policies.prepare(&asked.subject, Some(&asked.authority), asked.strength());
    let subjects = asked.iter().map(prepare).collect();
    Ok((asked, subjects))
}

/// The whole way for one of the questions.
pub(crate) fn question_to_verdict(
    policies: &Policies,
    asked: &[Asked],
    subjects: &[PreparedSubject],
    turn: usize,
) -> bool {
    let at = turn % asked.len();
    asked.get(at).zip(subjects.get(at)).is_some_and(|(asked, subject)| {
        policies.ask(subject, &asked.circumstances).about(&asked.about()).permits()
    })
}

fn schema(shape: Shape, size: usize) -> Result<Schema, Failure> {
    let mut fragments = vec![SchemaFragment::from_cedarschema_str(VOCABULARY)?.0];
    if shape == Shape::Action {
        fragments.push(SchemaFragment::from_cedarschema_str(&sets::own_schema(size))?.0);
    }
    Ok(Schema::from_schema_fragments(fragments)?)
}

impl Bench {
    /// Holds every answer against Cedar's; gives the mean number of candidates.
    fn compare(&self) -> Result<f64, Failure> {
        let mut candidates = 0;
        for (asked, subject) in self.asked.iter().zip(&self.subjects) {
            let (request, entities) = cedar::question(asked, &self.schema)?;
            let response = Authorizer::new().is_authorized(&request, &self.set, &entities);
            let theirs = (
                response.decision() == cedar_policy::Decision::Allow,
                response.diagnostics().reason().count(),
            );
            let (_, ready) = self.ready(asked, subject)?;
            let (allowed, determining, found) = self.engine.answer(&ready);
            let verdict = self.policies.ask(subject, &asked.circumstances).about(&asked.about());
            let first = self.policies.evaluate(&asked.query());
            let ours = (verdict.permits(), verdict.determining().len());
            if ours != theirs || (allowed, determining) != theirs || first != verdict {
                return Err(format!("Cedar says {theirs:?} and Palisade {ours:?} to {asked:?}").into());
            }
            candidates += found;
        }
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        Ok(candidates as f64 / self.asked.len() as f64)
    }

    fn ready(
        &self,
        asked: &Asked,
        subject: &PreparedSubject,
    ) -> Result<((cedar_policy::Request, cedar_policy::Entities), Ready), Failure> {
        let asking = self.policies.ask(subject, &asked.circumstances);
        let ready = Ready::new(&asking, &asked.about()).ok_or("a question is none")?;
        Ok((ready.for_cedar().ok_or("a question is none for Cedar")?, ready))
    }

    fn time(&self) -> Result<Times, Failure> {
        let pairs = self.asked.iter().zip(&self.subjects);
        let ready: Vec<_> =
            pairs.map(|(asked, subject)| self.ready(asked, subject)).collect::<Result<_, _>>()?;
        let authorizer = Authorizer::new();
        let at = |turn: usize| turn % self.asked.len();
        let mut cedar = |turn: usize| {
            ready.get(at(turn)).is_some_and(|((request, entities), _)| {
                authorizer.is_authorized(request, &self.set, entities).decision()
                    == cedar_policy::Decision::Allow
            })
        };
        let mut engine =
            |turn: usize| ready.get(at(turn)).is_some_and(|(_, ready)| self.engine.answer(ready).0);
        let mut cedar_whole = |turn: usize| {
            let question =
                self.asked.get(at(turn)).and_then(|asked| cedar::question(asked, &self.schema).ok());
            question.is_some_and(|(request, entities)| {
                authorizer.is_authorized(&request, &self.set, &entities).decision()
                    == cedar_policy::Decision::Allow
            })
        };
        let mut palisade = |turn| question_to_verdict(&self.policies, &self.asked, &self.subjects, turn);
        let mut new_token = |turn: usize| {
            self.asked.get(at(turn)).is_some_and(|asked| self.policies.evaluate(&asked.query()).permits())
        };
        let [cedar, engine, cedar_whole, palisade, new_token] =
            turn_by_turn([&mut cedar, &mut engine, &mut cedar_whole, &mut palisade, &mut new_token]);
        Ok(Times { cedar, engine, cedar_whole, palisade, new_token, alone: 0.0 })
    }
}

/// The median nanoseconds of one call of each side, which take turns.
pub(crate) fn turn_by_turn<const SIDES: usize>(
    mut sides: [&mut dyn FnMut(usize) -> bool; SIDES],
) -> [f64; SIDES] {
    const ROUNDS: usize = 15;
    const ROUND: Duration = Duration::from_millis(3);
    let mut turn = 0;
    let mut run = |side: &mut dyn FnMut(usize) -> bool, calls: usize| {
        let begin = processor_time();
        for _ in 0..calls {
            std::hint::black_box(side(turn));
            turn += 1;
        }
        processor_time().saturating_sub(begin)
    };
    let calls: Vec<usize> = sides
        .iter_mut()
        .map(|side| {
            let once = run(side, 4).as_nanos().max(1) / 4;
            usize::try_from(ROUND.as_nanos() / once.max(1)).unwrap_or(1).clamp(1, 10_000)
        })
        .collect();
    let mut samples = vec![Vec::with_capacity(ROUNDS); SIDES];
    for _ in 0..ROUNDS {
        for ((side, calls), samples) in sides.iter_mut().zip(&calls).zip(&mut samples) {
            #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a few milliseconds")]
            samples.push(run(side, *calls).as_nanos() as f64 / *calls as f64);
        }
    }
    let mut medians = [0.0; SIDES];
    for (median, samples) in medians.iter_mut().zip(&mut samples) {
        samples.sort_by(f64::total_cmp);
        *median = samples.get(ROUNDS / 2).copied().unwrap_or_default();
    }
    medians
}

/// What it takes to filter a list of a thousand tools for one subject.
fn list_of_a_thousand() -> Result<(), Failure> {
    let policies = Policies::load(&sets::sources(Shape::Mixed, 10_000, 1), &sets::world()?, OnError::Forbid)
        .map_err(|errors| format!("{errors:?}"))?;
    let asker = Asked::new(Shape::Mixed, 0)?;
    let tools: Vec<Asked> =
        (0..1_000).map(|tool| Asked::new(Shape::Mixed, tool)).collect::<Result<_, _>>()?;
    let mut filter = |_| {
        let subject = policies.prepare(&asker.subject, Some(&asker.authority), asker.strength());
        let asking = policies.ask(&subject, &asker.circumstances);
        tools.iter().filter(|tool| asking.about(&tool.about()).permits()).count() > 0
    };
    let [nanos] = turn_by_turn([&mut filter]);
    writeln!(
        std::io::stdout(),
        "\n1,000 tools filtered for one subject, 10,000 mixed policies: {:.2} ms",
        nanos / 1e6
    )?;
    Ok(())
}

/// What this thread has had of a processor: a busy machine does not count.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    let result = work();
    (result, begin.elapsed())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

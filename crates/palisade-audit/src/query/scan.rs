//! Going through the lines of both series in order of time, a segment at a time.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    ops::{ControlFlow, Range},
    path::{Path, PathBuf},
    time::Duration,
};

use palisade_model::Timestamp;

use super::{Order, Plan, QueryError, Summary};
use crate::{
    record::Record,
    segment::{SeriesName, list},
};

/// How much the time of a record may lie outside the times of its segment: a record is timed before it is written,
/// and clocks are adjusted.
const SLACK: Duration = Duration::from_secs(300);

/// Visits every wanted line, in order of time, until the visitor breaks off.
pub(super) fn scan(
    folder: &Path,
    plan: &Plan<'_>,
    mut visit: impl FnMut(&[u8], &mut Summary) -> ControlFlow<()>,
) -> Result<Summary, QueryError> {
    let mut summary = Summary::default();
    let mut decisions = Stream::open(folder, SeriesName::Decisions, plan, &mut summary)?;
    let mut refusals = Stream::open(folder, SeriesName::Refusals, plan, &mut summary)?;
    decisions.advance(&mut summary)?;
    refusals.advance(&mut summary)?;
    loop {
        let first = match (&decisions.head, &refusals.head) {
            (None, None) => return Ok(summary),
            (Some(_), None) => &mut decisions,
            (None, Some(_)) => &mut refusals,
            (Some(one), Some(other)) => {
                let one_first = match plan.filter.order {
                    Order::OldestFirst => decisions.time(one) <= refusals.time(other),
                    Order::NewestFirst => decisions.time(one) >= refusals.time(other),
                };
                if one_first { &mut decisions } else { &mut refusals }
            }
        };
        let line = first.head.clone().and_then(|head| first.content.get(head)).unwrap_or_default();
        if visit(line, &mut summary).is_break() {
            return Ok(summary);
        }
        first.advance(&mut summary)?;
    }
}

/// The wanted lines of a series.
struct Stream<'p> {
    plan: &'p Plan<'p>,
    segments: VecDeque<PathBuf>,
    /// The segment at hand.
    content: Vec<u8>,
    /// What of it is not looked at yet. Begins and ends between lines.
    rest: Range<usize>,
    /// The next wanted line.
    head: Option<Range<usize>>,
}

impl<'p> Stream<'p> {
    fn open(
        folder: &Path,
        series: SeriesName,
        plan: &'p Plan<'p>,
        summary: &mut Summary,
    ) -> Result<Self, QueryError> {
        let listed = list(folder, series).map_err(|error| QueryError::new(folder, error))?;
        let begun = listed.into_iter().map(|segment| {
            let path = series.path(folder, segment.sequence);
            let time = header_time(&path);
            (path, time)
        });
        let begun: Vec<_> = begun.collect();
        let (filter, mut segments) = (plan.filter, VecDeque::new());
        // When the segments behind the one at hand were begun, at the latest: no record of this one is later.
        let mut ends: Option<Timestamp> = None;
        for (path, time) in begun.into_iter().rev() {
            let too_old = filter.since.zip(ends).is_some_and(|(since, ends)| ends.plus(SLACK) < since);
            let too_new = filter.until.zip(time).is_some_and(|(until, begins)| begins > until.plus(SLACK));
            if too_old || too_new {
                summary.segments_skipped += 1;
            } else {
                segments.push_front(path);
            }
            ends = ends.max(time);
        }
        Ok(Self { plan, segments, content: Vec::new(), rest: 0..0, head: None })
    }

    fn time(&self, line: &Range<usize>) -> &[u8] {
        self.plan.time_of(self.content.get(line.clone()).unwrap_or_default())
    }

    /// Goes on to the next wanted line.
    fn advance(&mut self, summary: &mut Summary) -> Result<(), QueryError> {
        loop {
            while let Some(line) = self.next_line() {
                if self.content.get(line.clone()).is_some_and(|line| self.plan.wants(line)) {
                    self.head = Some(line);
                    return Ok(());
                }
            }
            let next = match self.plan.filter.order {
                Order::OldestFirst => self.segments.pop_front(),
                Order::NewestFirst => self.segments.pop_back(),
            };
            let Some(path) = next else {
                self.head = None;
                return Ok(());
            };
            self.read(&path, summary)?;
        }
    }

    fn read(&mut self, path: &Path, summary: &mut Summary) -> Result<(), QueryError> {
        self.content.clear();
        match File::open(path).and_then(|mut file| file.read_to_end(&mut self.content)) {
            Ok(bytes) => {
                summary.segments_read += 1;
                summary.bytes_read += bytes as u64;
            }
            // A service that runs may delete its oldest segments meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(QueryError::new(path, error)),
        }
        self.rest = 0..memchr::memrchr(b'\n', &self.content).map_or(0, |end| end + 1);
        Ok(())
    }

    /// Takes the next line off the rest; without its line feed.
    fn next_line(&mut self) -> Option<Range<usize>> {
        let rest = self.content.get(self.rest.clone()).filter(|rest| !rest.is_empty())?;
        match self.plan.filter.order {
            Order::OldestFirst => {
                let begin = self.rest.start;
                let end = begin + memchr::memchr(b'\n', rest)?;
                self.rest.start = end + 1;
                Some(begin..end)
            }
            Order::NewestFirst => {
                let end = self.rest.end - 1;
                let before = rest.get(..rest.len() - 1)?;
                let begin = self.rest.start + memchr::memrchr(b'\n', before).map_or(0, |feed| feed + 1);
                self.rest.end = begin;
                Some(begin..end)
            }
        }
    }
}

/// When a segment was begun; `None` where its first line does not say.
fn header_time(path: &Path) -> Option<Timestamp> {
    let mut line = Vec::new();
    let file = File::open(path).ok()?;
    BufReader::new(file.take(4_096)).read_until(b'\n', &mut line).ok()?;
    match Record::read(&line) {
        Ok(Record::Segment(header)) => Some(header.time),
        Ok(Record::Decision(_) | Record::Event(_)) | Err(_) => None,
    }
}

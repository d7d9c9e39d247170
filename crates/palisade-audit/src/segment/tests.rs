use std::{fs::OpenOptions, os::unix::fs::PermissionsExt};

use super::*;
use crate::{
    checkpoint::{Checkpoint, Position},
    query::{Flaw, Verification, verify},
    status::lock,
};

const QUOTA: u64 = 1024 * 1024;
const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

struct Bench {
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
}

impl Bench {
    fn new(exports: bool) -> Self {
        let shared = Arc::new(Shared::new(QUOTA, exports, Checkpoint::default()));
        Self { folder: tempfile::tempdir().unwrap(), shared }
    }

    fn open(&self) -> Opened {
        Series::open(SeriesName::Decisions, self.folder.path(), &self.shared, false, NOW).unwrap()
    }

    fn path(&self, sequence: u64) -> PathBuf {
        SeriesName::Decisions.path(self.folder.path(), sequence)
    }

    fn sequences(&self) -> Vec<u64> {
        list(self.folder.path(), SeriesName::Decisions)
            .unwrap()
            .iter()
            .map(|segment| segment.sequence)
            .collect()
    }

    fn acknowledge(&self, sequence: u64) {
        lock(&self.shared.checkpoint).set(SeriesName::Decisions, Position { sequence, offset: 0 });
    }

    /// How many segments made room, exported and not.
    fn deleted(&self, series: SeriesName) -> [u64; 2] {
        let series = self.shared.of(series);
        [&series.deleted_exported, &series.deleted_unexported].map(|count| count.load(Ordering::Relaxed))
    }

    /// Appends until so many segments were begun.
    fn fill(&self, series: &mut Series, segments: u64) {
        while self
            .shared
            .segments(SeriesName::Decisions)
            .last()
            .is_none_or(|newest| newest.sequence < segments)
        {
            series.append(&[[b'x'; 999].as_slice(), b"\n"].concat(), NOW).unwrap();
        }
    }
}

#[test]
fn segments_rotate_by_size_and_age_and_only_their_user_reads_them() {
    let bench = Bench::new(false);
    let mut series = bench.open().series;
    bench.fill(&mut series, 3);
    assert_eq!(bench.sequences(), [1, 2, 3]);
    let segments = bench.shared.segments(SeriesName::Decisions).clone();
    assert!(segments[0].length >= series.largest && segments[0].length < series.largest + 1_000);
    for segment in &segments {
        let metadata = fs::metadata(bench.path(segment.sequence)).unwrap();
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (segment.length, 0o600));
    }
    series.append(b"{}\n", NOW.plus(OLDEST)).unwrap();
    assert_eq!(bench.sequences(), [1, 2, 3, 4]);
}

#[test]
fn a_series_goes_on_with_its_newest_segment() {
    let bench = Bench::new(false);
    bench.open().series.append(b"{}\n", NOW).unwrap();
    let Opened { mut series, torn } = bench.open();
    assert_eq!(torn, []);
    series.append(b"[]\n", NOW).unwrap();
    assert_eq!(bench.sequences(), [1]);
    bench.fill(&mut series, 3);
    assert_eq!(verify(bench.folder.path()).unwrap(), Verification { vouched: 2, newest: 1, flaws: vec![] });
}

#[test]
fn a_torn_end_is_moved_aside_and_a_new_segment_begins() {
    for torn_end in [b"{\"half\":".as_slice(), &[0; 4_096]] {
        let bench = Bench::new(false);
        bench.open().series.append(b"{}\n", NOW).unwrap();
        let whole = fs::read(bench.path(1)).unwrap();
        OpenOptions::new().append(true).open(bench.path(1)).unwrap().write_all(torn_end).unwrap();

        let Opened { mut series, torn } = bench.open();
        let [Event::TornLine { segment, moved_to, bytes }] =
            torn.iter().map(|torn| &torn.event).collect::<Vec<_>>()[..]
        else {
            panic!("a torn line is an event")
        };
        assert_eq!(*bytes, torn_end.len() as u64);
        assert!(bench.path(1).ends_with(segment));
        assert_eq!(fs::read(bench.folder.path().join(moved_to)).unwrap(), torn_end);
        assert_eq!(fs::read(bench.path(1)).unwrap(), whole);
        series.append(b"{}\n", NOW).unwrap();
        assert_eq!(bench.sequences(), [1, 2]);
        assert_eq!(verify(bench.folder.path()).unwrap().flaws, []);
    }
}

#[test]
fn a_segment_without_its_whole_header_is_begun_again() {
    for (content, torn_lines) in [("", 0), ("{\"type\":\"palis", 1)] {
        let bench = Bench::new(false);
        bench.open().series.append(b"{}\n", NOW).unwrap();
        fs::write(bench.path(2), content).unwrap();
        let Opened { mut series, torn } = bench.open();
        assert_eq!(torn.len(), torn_lines);
        assert_eq!(bench.sequences(), [1]);
        bench.fill(&mut series, 3);
        assert_eq!(
            verify(bench.folder.path()).unwrap(),
            Verification { vouched: 2, newest: 1, flaws: vec![] }
        );
    }
}

#[test]
fn tampering_is_found() {
    let bench = Bench::new(false);
    let mut series = bench.open().series;
    bench.fill(&mut series, 5);
    let name = |sequence: u64| bench.path(sequence).file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(verify(bench.folder.path()).unwrap(), Verification { vouched: 4, newest: 1, flaws: vec![] });

    let original = fs::read(bench.path(2)).unwrap();
    let mut changed = original.clone();
    changed[500] ^= 1;
    fs::write(bench.path(2), &changed).unwrap();
    assert_eq!(verify(bench.folder.path()).unwrap().flaws, [Flaw::Changed(name(2))]);

    fs::write(bench.path(2), &original).unwrap();
    fs::remove_file(bench.path(3)).unwrap();
    assert_eq!(verify(bench.folder.path()).unwrap().flaws, [Flaw::Missing(name(3))]);

    fs::write(bench.path(3), fs::read(bench.path(4)).unwrap()).unwrap();
    assert!(verify(bench.folder.path()).unwrap().flaws.contains(&Flaw::Header(name(3))));
}

#[test]
fn the_oldest_segments_make_room_when_nothing_is_exported() {
    let bench = Bench::new(false);
    let mut series = bench.open().series;
    bench.fill(&mut series, 5);
    assert!(series.make_room(bench.shared.quota(SeriesName::Decisions) - 3 * series.largest, false).unwrap());
    assert_eq!(bench.sequences(), [3, 4, 5]);
    assert!(!series.make_room(u64::MAX, false).unwrap());
    assert_eq!(bench.sequences(), [5], "the newest is never deleted");
    assert_eq!(bench.deleted(SeriesName::Decisions), [0, 4]);
}

#[test]
fn with_a_receiver_only_acknowledged_segments_make_room() {
    let bench = Bench::new(true);
    let mut series = bench.open().series;
    bench.fill(&mut series, 5);
    assert!(!series.make_room(QUOTA, false).unwrap());
    assert_eq!(bench.sequences(), [1, 2, 3, 4, 5]);
    bench.acknowledge(3);
    assert!(!series.make_room(QUOTA, false).unwrap());
    assert_eq!(bench.sequences(), [3, 4, 5]);
    bench.acknowledge(4);
    assert!(series.make_room(0, true).unwrap(), "forced: room by the quota, none on the disk");
    assert_eq!(bench.sequences(), [4, 5]);
    assert_eq!(bench.deleted(SeriesName::Decisions), [3, 0]);
}

#[test]
fn counted_refusals_make_room_even_when_they_were_not_exported() {
    let bench = Bench::new(true);
    let open = Series::open(SeriesName::Refusals, bench.folder.path(), &bench.shared, false, NOW);
    let mut series = open.unwrap().series;
    for _ in 0..40 {
        series.append(&[[b'x'; 9_999].as_slice(), b"\n"].concat(), NOW).unwrap();
    }
    assert!(series.make_room(10_000, false).unwrap());
    let [exported, unexported] = bench.deleted(SeriesName::Refusals);
    assert!(exported == 0 && unexported > 0);
    assert!(bench.shared.used(SeriesName::Refusals) + 10_000 <= bench.shared.quota(SeriesName::Refusals));
}

/// Swaps the file of the active segment for a disk that is full.
fn fill_disk(series: &mut Series) -> File {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    std::mem::replace(&mut series.active.as_mut().unwrap().file, full)
}

#[test]
fn a_failed_write_leaves_nothing_and_is_tried_again() {
    let bench = Bench::new(false);
    let mut series = bench.open().series;
    series.append(b"{\"a\":1}\n", NOW).unwrap();
    let before = fs::read(bench.path(1)).unwrap();
    let mut file = fill_disk(&mut series);
    assert_eq!(series.append(b"{\"b\":1}\n", NOW).unwrap_err().kind(), io::ErrorKind::StorageFull);
    // What a write that failed half-way would have left.
    file.write_all(b"{\"b\"").unwrap();
    series.active.as_mut().unwrap().file = file;
    series.append(b"{\"c\":1}\n", NOW).unwrap();
    assert_eq!(fs::read(bench.path(1)).unwrap(), [before, b"{\"c\":1}\n".to_vec()].concat());
    bench.fill(&mut series, 2);
    assert_eq!(verify(bench.folder.path()).unwrap().flaws, []);
}

#[test]
fn a_probe_writes_and_leaves_nothing() {
    let bench = Bench::new(false);
    let mut series = bench.open().series;
    series.append(b"{\"a\":1}\n", NOW).unwrap();
    let before = fs::read(bench.path(1)).unwrap();
    series.probe(10_000, NOW).unwrap();
    assert_eq!(fs::read(bench.path(1)).unwrap(), before);
    let file = fill_disk(&mut series);
    assert_eq!(series.probe(10_000, NOW).unwrap_err().kind(), io::ErrorKind::StorageFull);
    series.active.as_mut().unwrap().file = file;
    series.probe(10_000, NOW).unwrap();
    series.append(b"{\"b\":1}\n", NOW).unwrap();
    assert_eq!(fs::read(bench.path(1)).unwrap(), [before, b"{\"b\":1}\n".to_vec()].concat());
    bench.fill(&mut series, 2);
    assert_eq!(verify(bench.folder.path()).unwrap().flaws, []);
}

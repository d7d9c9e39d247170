//! How far the OTLP receiver has acknowledged each series: one small file, replaced whole.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    folder,
    segment::{SegmentInfo, SeriesName},
};

const FILE: &str = "exported.json";

/// How far each series is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    decisions: Position,
    refusals: Position,
}

/// Everything before `offset` of segment `sequence`, and every segment before that one, is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) sequence: u64,
    pub(crate) offset: u64,
}

impl Position {
    /// The position, or the end of what there is where that comes earlier. `segments` are those of the series, oldest
    /// first.
    pub(crate) fn clamped(self, segments: &[SegmentInfo]) -> Self {
        let Some(newest) = segments.last() else { return Self::default() };
        if self.sequence > newest.sequence {
            return Self { sequence: newest.sequence, offset: newest.length };
        }
        match segments.iter().find(|segment| segment.sequence == self.sequence) {
            Some(segment) => Self { offset: self.offset.min(segment.length), ..self },
            // It was deleted; what comes after it is not acknowledged.
            None => self,
        }
    }

    /// How many bytes of a segment are acknowledged.
    pub(crate) fn within(self, sequence: u64) -> u64 {
        match sequence.cmp(&self.sequence) {
            std::cmp::Ordering::Less => u64::MAX,
            std::cmp::Ordering::Equal => self.offset,
            std::cmp::Ordering::Greater => 0,
        }
    }
}

impl Checkpoint {
    /// The checkpoint of a folder; the beginning where it has none. One that cannot be read is the beginning too:
    /// sending a record twice is better than not sending it.
    pub(crate) fn load(folder: &Path) -> io::Result<Self> {
        match fs::read(folder.join(FILE)) {
            Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(%error, "the export checkpoint cannot be read; every record is exported again");
                Self::default()
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn store(&self, folder: &Path) -> io::Result<()> {
        folder::replace(&folder.join(FILE), &serde_json::to_vec(self)?)
    }

    /// As `store`, and it is on the disk.
    pub(crate) fn store_durably(&self, folder: &Path) -> io::Result<()> {
        folder::replace_durably(&folder.join(FILE), &serde_json::to_vec(self)?)
    }

    pub(crate) fn get(&self, series: SeriesName) -> Position {
        match series {
            SeriesName::Decisions => self.decisions,
            SeriesName::Refusals => self.refusals,
        }
    }

    pub(crate) fn set(&mut self, series: SeriesName, position: Position) {
        match series {
            SeriesName::Decisions => self.decisions = position,
            SeriesName::Refusals => self.refusals = position,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_back_and_a_broken_one_is_the_beginning() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Checkpoint::load(folder.path()).unwrap(), Checkpoint::default());
        let mut checkpoint = Checkpoint::default();
        checkpoint.set(SeriesName::Refusals, Position { sequence: 2, offset: 7 });
        checkpoint.store(folder.path()).unwrap();
        assert_eq!(Checkpoint::load(folder.path()).unwrap(), checkpoint);
        fs::write(folder.path().join(FILE), "{").unwrap();
        assert_eq!(Checkpoint::load(folder.path()).unwrap(), Checkpoint::default());
    }

    #[test]
    fn positions_say_how_much_of_a_segment_is_acknowledged() {
        let position = Position { sequence: 2, offset: 7 };
        assert_eq!([1, 2, 3].map(|sequence| position.within(sequence)), [u64::MAX, 7, 0]);
    }

    #[test]
    fn a_position_beyond_what_there_is_is_taken_back() {
        let segments =
            [(3, 100), (4, 200), (6, 300)].map(|(sequence, length)| SegmentInfo { sequence, length });
        for (position, expected) in [
            ((0, 0), (0, 0)),
            ((2, 900), (2, 900)),
            ((3, 100), (3, 100)),
            ((3, 101), (3, 100)),
            ((5, 900), (5, 900)),
            ((6, 299), (6, 299)),
            ((6, 301), (6, 300)),
            ((7, 1), (6, 300)),
        ] {
            let [position, expected] =
                [position, expected].map(|(sequence, offset)| Position { sequence, offset });
            assert_eq!(position.clamped(&segments), expected);
            assert_eq!(position.clamped(&[]), Position::default());
        }
    }
}

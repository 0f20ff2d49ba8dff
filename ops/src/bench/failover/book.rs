//! The rounds of a bench with all their gaps, one line each in a file that many runs may add to, one after
//! another or at once.

use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::checker::Verdict;
use super::report::{RATE_MIN, ROOMS_MIN};

/// What a round was run with: figures of rounds that differ in it are not of one measurement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Conditions {
    /// Which build was measured: [`build`].
    pub(super) build: String,
    /// Nodes of the cluster.
    pub(super) nodes: u8,
    /// Regions that they stand in.
    pub(super) regions: u8,
    /// The round-trip time between them, in milliseconds.
    pub(super) delay: u64,
    /// Whether everything passed a network between, which can swallow it.
    pub(super) net: bool,
    /// Rooms of two clients each.
    pub(super) rooms: u16,
    /// Signals a second that were asked for.
    pub(super) rate: u32,
    /// Bytes of a signal's payload.
    pub(super) size: u16,
    /// Joins asked for right after the fault.
    pub(super) joins: u32,
    /// How long the fault lasts at least, in seconds.
    pub(super) lasts: u64,
    /// Whether the signals pass a victim.
    pub(super) through: bool,
    /// Built for debugging, and slow.
    pub(super) debug: bool,
}

impl Conditions {
    /// Whether a round may count at all.
    pub(super) fn may_count(&self) -> bool {
        usize::from(self.rooms) >= ROOMS_MIN && (!self.through || f64::from(self.rate) >= RATE_MIN)
    }
}

/// How a round ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum End {
    /// Its log was judged.
    Judged(Verdict),
    /// It did not come to its end.
    Failed {
        /// Why: a cluster that did not get well again, say.
        why: String,
        /// Its log all the same, once the load was struck.
        verdict: Option<Verdict>,
    },
}

impl End {
    /// What the log says, if there is one.
    pub(super) fn verdict(&self) -> Option<&Verdict> {
        match self {
            Self::Judged(verdict) => Some(verdict),
            Self::Failed { verdict, .. } => verdict.as_ref(),
        }
    }
}

/// Names this build, which is that of the nodes: the version, and a hash of this very file.
pub(super) fn build() -> Result<String> {
    let path = std::env::current_exe()?;
    let mut hasher = DefaultHasher::new(); // its keys are constant
    hasher.write(&std::fs::read(&path).with_context(|| path.display().to_string())?);
    Ok(format!("{}-{:016x}", chappe_cluster::BUILD, hasher.finish()))
}

/// A round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Round {
    /// Its cell: fault and role.
    pub(super) cell: String,
    /// When it ended, in seconds since 1970.
    pub(super) at: u64,
    /// What it was run with.
    pub(super) conditions: Conditions,
    /// Its phases, and the seconds that each took.
    pub(super) took: Vec<(String, f64)>,
    /// What came of it.
    #[serde(flatten)]
    pub(super) end: End,
}

impl Round {
    /// Whether its load was too small for its figures to count.
    pub(super) fn is_void(&self) -> bool {
        let Conditions { rooms, through, .. } = self.conditions;
        let slow = self.end.verdict().is_some_and(|verdict| through && verdict.rate < RATE_MIN);
        usize::from(rooms) < ROOMS_MIN || slow
    }

    /// From the first phase to the end of the last.
    pub(super) fn whole(&self) -> Duration {
        let seconds: f64 = self.took.iter().map(|(_, seconds)| seconds).sum();
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }
}

/// Rounds, and the file that keeps them.
#[derive(Debug, Default)]
pub(super) struct Book {
    file: Option<(PathBuf, File)>,
    /// Bytes and lines of the file that were read.
    read: (u64, usize),
    rounds: Vec<Round>,
}

impl Book {
    /// A file to add to, made if there is none, with what it holds.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        Self::with(path, &options)
    }

    /// A file that is only read.
    pub(super) fn read(path: &Path) -> Result<Self> {
        Self::with(path, OpenOptions::new().read(true))
    }

    fn with(path: &Path, options: &OpenOptions) -> Result<Self> {
        let file = options.open(path).with_context(|| path.display().to_string())?;
        let mut book = Self { file: Some((path.to_owned(), file)), ..Self::default() };
        book.refresh()?;
        Ok(book)
    }

    /// All rounds, the oldest first.
    pub(super) fn rounds(&self) -> &[Round] {
        &self.rounds
    }

    /// Those of one cell.
    pub(super) fn of<'a>(&'a self, cell: &'a str) -> impl Iterator<Item = &'a Round> {
        self.rounds.iter().filter(move |round| round.cell == cell)
    }

    /// Reads what others have added meanwhile.
    pub(super) fn refresh(&mut self) -> Result<()> {
        let Some((_, file)) = &self.file else { return Ok(()) };
        file.lock_shared()?;
        let read = self.read_on();
        self.unlock()?;
        read
    }

    /// Adds a round, at the file's end.
    pub(super) fn add(&mut self, round: Round) -> Result<()> {
        let Some((_, file)) = &self.file else {
            self.rounds.push(round);
            return Ok(());
        };
        file.lock()?;
        let written = self.read_on().and_then(|()| self.write(&round));
        self.unlock()?;
        written
    }

    fn unlock(&self) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |(_, file)| Ok(file.unlock()?))
    }

    /// Reads whole lines. What follows the last one is of a run that was killed while it wrote.
    fn read_on(&mut self) -> Result<()> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let mut text = String::new();
        file.seek(SeekFrom::Start(self.read.0))?;
        file.read_to_string(&mut text).with_context(|| path.display().to_string())?;
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            self.read.1 += 1;
            let what = || format!("{}: line {} is no round of this bench", path.display(), self.read.1);
            let round: Round = serde_json::from_str(line).with_context(what)?;
            self.read.0 += u64::try_from(line.len())?;
            agree(&self.rounds, &round.cell, &round.conditions)
                .with_context(|| format!("{}: line {}", path.display(), self.read.1))?;
            keep(&mut self.rounds, round);
        }
        Ok(())
    }

    fn write(&mut self, round: &Round) -> Result<()> {
        self.agrees(&round.cell, &round.conditions)?;
        let Some((_, file)) = &mut self.file else { return Ok(()) };
        file.set_len(self.read.0)?;
        file.write_all(format!("{}\n", serde_json::to_string(round)?).as_bytes())?;
        file.sync_data()?;
        self.read_on()
    }

    /// Adds all rounds of another, but those that both hold.
    pub(super) fn extend(&mut self, other: Self) -> Result<()> {
        for round in other.rounds {
            self.agrees(&round.cell, &round.conditions)?;
            keep(&mut self.rounds, round);
        }
        Ok(())
    }

    /// Whether rounds of that cell may be added: all that there are are of the same build, and those of the cell
    /// were run in the same way.
    pub(super) fn agrees(&self, cell: &str, conditions: &Conditions) -> Result<()> {
        agree(&self.rounds, cell, conditions)
    }
}

/// Rounds that are alike to the microsecond of every gap are one that was read twice.
fn keep(rounds: &mut Vec<Round>, round: Round) {
    if !rounds.contains(&round) {
        rounds.push(round);
    }
}

fn agree(rounds: &[Round], cell: &str, new: &Conditions) -> Result<()> {
    if let Some(Round { conditions: Conditions { build, .. }, .. }) = rounds.first()
        && *build != new.build
    {
        bail!("rounds of build {build} and of build {} are not put together", new.build);
    }
    let held = rounds.iter().find(|round| round.cell == cell).map(|round| &round.conditions);
    let Some(held) = held.filter(|held| *held != new) else { return Ok(()) };
    let (held, new) = (serde_json::to_string(held)?, serde_json::to_string(new)?);
    bail!("rounds of {cell} were run otherwise, and are not put together with these: {held}, {new}");
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bench::failover::report::Cell;
    use crate::bench::files::Files;

    pub(in super::super) fn conditions() -> Conditions {
        Conditions {
            build: "1.0.0-a".to_owned(),
            nodes: 5,
            regions: 3,
            delay: 0,
            net: false,
            rooms: 300,
            rate: 2400,
            size: 200,
            joins: 40,
            lasts: 0,
            through: true,
            debug: false,
        }
    }

    pub(in super::super) fn round(cell: &str, end: End) -> Round {
        let took = vec![("before".to_owned(), 1.5), ("fault".to_owned(), 2.25)];
        Round { cell: cell.to_owned(), at: 1_800_000_000, conditions: conditions(), took, end }
    }

    fn judged(gaps: &[Option<u64>]) -> End {
        let present = gaps.iter().map(|gap| gap.map(Duration::from_micros)).collect();
        End::Judged(Verdict { rate: 2400.0, sent: 10, present, ..Verdict::default() })
    }

    fn here() -> (Files, PathBuf) {
        let files = Files::new().unwrap();
        let path = files.join("rounds.jsonl");
        (files, path)
    }

    #[test]
    fn a_round_is_read_as_it_was_written() {
        let faults = BTreeMap::from([("lost".to_owned(), 2)]);
        let gaps = vec![Some(Duration::from_micros(314_159)), None];
        let verdict = Verdict {
            sent: 36_000,
            faults,
            rate: 2401.5,
            present: gaps.clone(),
            through_gateway: gaps.clone(),
            resumed: gaps.clone(),
            rebuilt: 3,
            longest: gaps.clone(),
            joined: gaps,
        };
        let (_files, path) = here();
        let rounds = [
            round("kill:owner", End::Judged(verdict.clone())),
            round("stop:two", End::Failed { why: "why".into(), verdict: Some(verdict) }),
            round("stop:two", End::Failed { why: "why".into(), verdict: None }),
        ];
        let mut book = Book::open(&path).unwrap();
        for round in &rounds {
            book.add(round.clone()).unwrap();
        }
        assert_eq!(book.rounds(), rounds);
        assert_eq!(Book::read(&path).unwrap().rounds(), rounds);
        assert_eq!(rounds[0].whole(), Duration::from_millis(3750));
    }

    #[test]
    fn two_runs_are_summed_up_together() {
        let (_files, path) = here();
        let mut first = Book::open(&path).unwrap();
        first.add(round("kill:owner", judged(&[Some(300_000), Some(310_000)]))).unwrap();
        first.add(round("kill:leader", judged(&[Some(60_000)]))).unwrap();
        drop(first);
        // The second run, and a third at the same time.
        let (mut second, mut third) = (Book::open(&path).unwrap(), Book::open(&path).unwrap());
        second.add(round("kill:owner", judged(&[Some(320_000), None]))).unwrap();
        third.add(round("kill:owner", judged(&[Some(90_000)]))).unwrap();
        second.refresh().unwrap();
        assert_eq!((second.rounds().len(), third.rounds().len()), (4, 4));
        let cell = Cell::of("kill:owner", second.of("kill:owner"));
        let present = cell.present.unwrap();
        assert_eq!((cell.rounds, cell.signals, present.count, present.never), (3, 30, 5, 1));
        assert_eq!((present.p50, present.max), (Some(310.0), None));
        // And of two files. What both hold counts once.
        let other = path.with_extension("other");
        std::fs::copy(&path, &other).unwrap();
        Book::open(&other).unwrap().add(round("kill:owner", judged(&[Some(1)]))).unwrap();
        let mut both = Book::read(&path).unwrap();
        both.extend(Book::read(&other).unwrap()).unwrap();
        assert_eq!(Cell::of("kill:owner", both.of("kill:owner")).present.unwrap().count, 6);
    }

    #[test]
    fn half_a_line_is_of_a_run_that_was_killed() {
        let (_files, path) = here();
        let mut book = Book::open(&path).unwrap();
        book.add(round("kill:owner", judged(&[Some(1000)]))).unwrap();
        drop(book);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"cell\":\"ki").unwrap();
        let mut book = Book::open(&path).unwrap();
        assert_eq!(book.rounds().len(), 1);
        book.add(round("kill:owner", judged(&[Some(2000)]))).unwrap();
        assert_eq!(Book::read(&path).unwrap().rounds().len(), 2);
    }

    #[test]
    fn what_is_no_round_is_refused_by_its_line() {
        let (_files, path) = here();
        let whole = serde_json::to_string(&round("kill:owner", judged(&[]))).unwrap();
        std::fs::write(&path, format!("{whole}\n{{\"t\":1,\"e\":\"end\"}}\n")).unwrap();
        let error = format!("{:#}", Book::open(&path).unwrap_err());
        assert!(error.contains("rounds.jsonl: line 2 is no round of this bench"), "{error}");
    }

    #[test]
    fn rounds_that_were_run_otherwise_are_not_put_together() {
        let (_files, path) = here();
        let mut book = Book::open(&path).unwrap();
        book.add(round("kill:owner", judged(&[]))).unwrap();
        let mut other = round("kill:owner", judged(&[]));
        other.conditions.delay = 150;
        assert!(book.agrees("kill:owner", &other.conditions).is_err());
        assert!(book.agrees("kill:two", &other.conditions).is_ok());
        assert!(book.add(other.clone()).is_err());
        assert_eq!(Book::read(&path).unwrap().rounds().len(), 1);
        let mut apart = Book::default();
        apart.add(other).unwrap();
        assert!(apart.extend(book).is_err());
    }

    #[test]
    fn rounds_of_another_build_are_not_put_together() {
        assert_eq!(build().unwrap(), build().unwrap());
        let (_files, path) = here();
        let mut book = Book::open(&path).unwrap();
        book.add(round("kill:owner", judged(&[]))).unwrap();
        let mut other = round("kill:two", judged(&[]));
        other.conditions.build = "1.0.0-b".to_owned();
        let mut apart = Book::default();
        apart.add(other.clone()).unwrap();
        for refused in [book.add(other), apart.extend(Book::read(&path).unwrap())] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("1.0.0-a") && refused.contains("1.0.0-b"), "{refused}");
        }
    }
}

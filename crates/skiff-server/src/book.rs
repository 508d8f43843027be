//! The state: all of it in memory, and every change in the database first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use skiff_fs::Lock;
use skiff_protocol::{Name, Release, ReleaseState, Text};
use skiff_tree::ReleaseId;

use crate::database::{Change, Database, Table};
use crate::record::{
    DeltaRecord, DeviceRecord, FleetRecord, ImageRecord, JobRecord, Record, Role, SignatureRecord,
    TokenRecord,
};
use crate::{DatabaseError, ServerError};

/// Everything that is known.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) fleets: BTreeMap<Name, FleetRecord>,
    pub(crate) devices: BTreeMap<Name, DeviceRecord>,
    pub(crate) tokens: HashMap<String, Role>,
    pub(crate) releases: BTreeMap<(Name, u64), Release>,
    pub(crate) images: HashMap<ReleaseId, ImageRecord>,
    pub(crate) signatures: HashMap<ReleaseId, SignatureRecord>,
    pub(crate) deltas: BTreeMap<String, DeltaRecord>,
    pub(crate) jobs: BTreeMap<String, JobRecord>,
}

impl Book {
    /// The releases of a fleet, the newest last.
    pub(crate) fn releases_of<'b>(&'b self, fleet: &Name) -> impl DoubleEndedIterator<Item = &'b Release> {
        self.releases.range((fleet.clone(), 0)..=(fleet.clone(), u64::MAX)).map(|(_, release)| release)
    }

    /// Whether a release is one of a fleet that devices can have.
    pub(crate) fn is_of_fleet(&self, release: ReleaseId, fleet: &Name) -> bool {
        self.releases_of(fleet).any(|other| ready(other) == Some(release))
    }

    /// What the devices of a fleet are to run.
    pub(crate) fn target_of(&self, fleet: &Name) -> Option<ReleaseId> {
        self.fleets.get(fleet)?.target.map(|release| release.0)
    }

    /// Whether deltas from a release may be made for a device. Its word alone is not enough, which could name what another fleet has: it
    /// takes a release of its fleet, one that it was known to run while it might, or a signature that came from its fleet.
    pub(crate) fn may_start_from(&self, device: &DeviceRecord, base: ReleaseId) -> bool {
        self.is_of_fleet(base, &device.fleet)
            || device.bases.contains(&Text(base))
            || (device.running() == Some(base) && self.is_signed_for(&device.fleet, base))
    }

    /// Whether a release is known by a signature alone that a device of the fleet sent, or an administrator.
    fn is_signed_for(&self, fleet: &Name, release: ReleaseId) -> bool {
        let Some(signature) = self.signatures.get(&release) else { return false };
        let is_of_fleet = |by| self.devices.get(by).is_some_and(|by| by.fleet == *fleet);
        !self.images.contains_key(&release) && signature.by.as_ref().is_none_or(is_of_fleet)
    }

    /// Whether deltas can be made from a release: its image is here, or a signature.
    pub(crate) fn is_known(&self, release: ReleaseId) -> bool {
        self.images.contains_key(&release) || self.signatures.contains_key(&release)
    }

    /// A device, with what it runs among its bases where that is a release of its fleet.
    pub(crate) fn with_what_it_runs(&self, device: DeviceRecord) -> DeviceRecord {
        match device.running() {
            Some(running) if self.is_of_fleet(running, &device.fleet) => device.with_base(running),
            _ => device,
        }
    }

    /// The devices of a fleet.
    pub(crate) fn devices_of<'b>(&'b self, fleet: &'b Name) -> impl Iterator<Item = &'b DeviceRecord> {
        self.devices.values().filter(move |device| device.fleet == *fleet)
    }

    fn put(&mut self, table: Table, key: &str, value: &[u8]) -> Result<(), DatabaseError> {
        match table {
            Table::Fleets => {
                let fleet = FleetRecord::read(key, value)?;
                self.fleets.insert(fleet.name.clone(), fleet);
            }
            Table::Devices => {
                let device = DeviceRecord::read(key, value)?;
                self.devices.insert(device.name.clone(), device);
            }
            Table::Tokens => {
                let TokenRecord { digest, role } = TokenRecord::read(key, value)?;
                self.tokens.insert(digest, role);
            }
            Table::Releases => {
                let release = Release::read(key, value)?;
                self.releases.insert((release.fleet.clone(), release.number), release);
            }
            Table::Images => {
                let image = ImageRecord::read(key, value)?;
                self.images.insert(image.release.0, image);
            }
            Table::Signatures => {
                let signature = SignatureRecord::read(key, value)?;
                self.signatures.insert(signature.release.0, signature);
            }
            Table::Deltas => drop(self.deltas.insert(key.into(), DeltaRecord::read(key, value)?)),
            Table::Jobs => drop(self.jobs.insert(key.into(), JobRecord::read(key, value)?)),
        }
        Ok(())
    }

    fn remove(&mut self, table: Table, key: &str) {
        match table {
            Table::Fleets => self.fleets.retain(|name, _| name.as_str() != key),
            Table::Devices => self.devices.retain(|name, _| name.as_str() != key),
            Table::Tokens => drop(self.tokens.remove(key)),
            Table::Releases => self.releases.retain(|_, release| release.key() != key),
            Table::Images => self.images.retain(|_, image| image.key() != key),
            Table::Signatures => self.signatures.retain(|_, signature| signature.key() != key),
            Table::Deltas => drop(self.deltas.remove(key)),
            Table::Jobs => drop(self.jobs.remove(key)),
        }
    }
}

/// The release that devices can have, where a fleet's release is one.
pub(crate) fn ready(release: &Release) -> Option<ReleaseId> {
    match &release.state {
        ReleaseState::Ready { release, .. } => Some(release.0),
        _ => None,
    }
}

/// A change that takes a record away.
pub(crate) fn remove<R: Record>(record: &R) -> Change {
    Change::Remove { table: R::TABLE, key: record.key() }
}

/// A record that memory has newer than the database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Unsaved {
    /// A device said how far it is.
    Device(Name),
    /// A delta was asked for.
    Delta(String),
}

/// How many of these are written with one change, which waits for them.
const UNSAVED: usize = 1000;

/// The book, where several threads read it, and one at a time changes it.
#[derive(Debug)]
pub(crate) struct Books {
    book: RwLock<Book>,
    database: Box<dyn Database>,
    /// Held from looking at the book to having changed it.
    writing: Mutex<()>,
    /// What memory has newer than the database, and may be lost: it is written with what is noted next, so that it costs no write to the
    /// disk of its own.
    unsaved: Mutex<BTreeSet<Unsaved>>,
    /// Nobody else works on the data, for as long as anybody here may change the book.
    _lock: Lock,
}

impl Books {
    pub(crate) fn open(database: Box<dyn Database>, lock: Lock) -> Result<Self, DatabaseError> {
        let mut book = Book::default();
        database.load(&mut |table, key, value| book.put(table, key, value))?;
        let (writing, unsaved) = (Mutex::new(()), Mutex::default());
        Ok(Self { book: RwLock::new(book), database, writing, unsaved, _lock: lock })
    }

    /// Looks at it. What is returned must not be held while anything else is waited for.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes it as a function says that looks at it. Waits for the disk.
    pub(crate) fn change<T, E: Into<ServerError>>(
        &self,
        decide: impl FnOnce(&Book) -> Result<(Vec<Change>, T), E>,
    ) -> Result<T, ServerError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (changes, value) = decide(&self.read()).map_err(Into::into)?;
        if !changes.is_empty() {
            self.commit(&changes)?;
            let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
            for change in &changes {
                match change {
                    Change::Put { table, key, value } => book.put(*table, key, value)?,
                    Change::Remove { table, key } => book.remove(*table, key),
                }
            }
        }
        Ok(value)
    }

    /// Brings changes to the database, and some of what it has not got yet before them.
    fn commit(&self, changes: &[Change]) -> Result<(), DatabaseError> {
        let taken: BTreeSet<Unsaved> = {
            let mut unsaved = self.unsaved();
            let rest = unsaved.iter().nth(UNSAVED).cloned();
            let rest = rest.map(|rest| unsaved.split_off(&rest)).unwrap_or_default();
            std::mem::replace(&mut unsaved, rest)
        };
        let saved: Vec<Change> = {
            let book = self.read();
            // What was removed since is not to come back.
            let put = |unsaved: &Unsaved| match unsaved {
                Unsaved::Device(name) => Some(book.devices.get(name)?.put()),
                Unsaved::Delta(name) => Some(book.deltas.get(name)?.put()),
            };
            taken.iter().filter_map(put).collect()
        };
        let committed = if saved.is_empty() {
            self.database.commit(changes)
        } else {
            self.database.commit(&[saved, changes.to_vec()].concat())
        };
        if committed.is_err() {
            self.unsaved().extend(taken);
        }
        committed
    }

    fn unsaved(&self) -> MutexGuard<'_, BTreeSet<Unsaved>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a device said that may be lost with the server.
    pub(crate) fn note(&self, device: &Name, status: skiff_protocol::Status) {
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = book.devices.get_mut(device) {
            device.status = Some(status);
            self.unsaved().insert(Unsaved::Device(device.name.clone()));
        }
    }

    /// Notes that a delta was asked for.
    pub(crate) fn use_delta(&self, name: &str, now: u64) {
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(delta) = book.deltas.get_mut(name) {
            delta.used = now;
            self.unsaved().insert(Unsaved::Delta(name.into()));
        }
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        // As much as it takes: nobody waits any more.
        while !self.unsaved().is_empty() {
            if let Err(error) = self.commit(&[]) {
                tracing::warn!(%error, "when devices and deltas were heard of last is lost");
                break;
            }
        }
    }
}
